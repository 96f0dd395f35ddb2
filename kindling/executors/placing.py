"""What an object needs in a cluster before it can be written: its namespace, and of our own kinds
the definition."""

from __future__ import annotations

from collections.abc import Callable

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    AlreadyExistsError,
    ForbiddenError,
    NotFoundError,
    UnknownKindError,
)
from kindling.kube.protocol import Cluster
from kindling.objects.inject import OWNER_LABEL
from kindling.operator.definitions.core import GROUP, VERSION

__all__ = ["ensure_kind", "ensure_namespace"]


async def ensure_namespace(
    cluster: Cluster, name: str, project: str, say: Callable[[str], None]
) -> None:
    """Create a namespace that is missing. It stays when what is in it goes: others may have put
    something there.

    Raises:
        ClusterError: It is missing and we may not create it.
    """
    try:
        await cluster.get(ObjectRef("v1", "Namespace", name))
    except ForbiddenError:
        return  # who may not look may still write into it
    except NotFoundError:
        metadata = {"name": name, "labels": {OWNER_LABEL: project}}
        try:
            await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        except AlreadyExistsError:
            return
        except ForbiddenError as error:
            raise ClusterError(
                f"There is no namespace `{name}` in the cluster `{cluster.context}`, and we may "
                "not create it",
                details=error.details,
                hint=f"Have somebody who may run `kubectl create namespace {name}`, or name "
                "another in the Kindlingfile: `cluster(namespace=...)`",
            ) from error
        say(f"Namespace/{name}: created, since it was missing")


async def ensure_kind(cluster: Cluster, ref: ObjectRef, say: Callable[[str], None]) -> None:
    """Teach the cluster the kind of an object, if it is one of ours and unknown there.

    Raises:
        ClusterError: It is missing and we may not write it.
    """
    if ref.api_version != f"{GROUP}/{VERSION}":
        return
    try:
        await cluster.resource(ref.api_version, ref.kind)
    except UnknownKindError:
        from kindling.operator.controller.definitions import install_definitions

        for name in await install_definitions(cluster):
            say(f"CustomResourceDefinition/{name}: installed")
