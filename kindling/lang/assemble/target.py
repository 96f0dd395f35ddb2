"""What assembling must know of the cluster, such as how images reach it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AnnouncedRegistry", "TargetFacts"]


@dataclass(frozen=True, slots=True)
class AnnouncedRegistry:
    """The registry that a cluster announces (KEP-1755, ConfigMap `local-registry-hosting`).

    `host` is its name on this machine, `host_from_cluster` its name for the nodes
    (`hostFromContainerRuntime`), empty when that is the same.
    """

    host: str
    host_from_cluster: str = ""


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """The cluster that was chosen.

    `product` is `kind`, `k3d`, `minikube`, `docker-desktop`, ... or `unknown`; `cluster` the name
    by which that product knows it (`dev` for the context `kind-dev`). `namespace` is the context's
    own. `provider` says how it was chosen: `context`, `kind`, `embedded`. `registry_known` False:
    nobody has asked the cluster yet whether it announces a registry.
    """

    context: str
    product: str = "unknown"
    cluster: str = ""
    namespace: str = "default"
    registry: AnnouncedRegistry | None = None
    provider: str = "context"
    registry_known: bool = True
