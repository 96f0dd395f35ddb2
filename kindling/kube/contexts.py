"""Which cluster is meant, and whether kindling may touch it.

Reads kubeconfig files as plain YAML, so that evaluating a Kindlingfile needs no Kubernetes client.
The rules of merging are client-go's: of several files in `KUBECONFIG` the first that names a thing
wins, and relative paths are relative to the file they stand in. The target of a session is chosen
once, here, and carried by name from then on: nothing later looks at the current context again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from kindling.errors import ClusterError, ConfigError, ContextNotAllowedError, nearest
from kindling.kube.incluster import IN_CLUSTER, in_cluster

__all__ = [
    "PROVIDERS",
    "KubeContext",
    "Kubeconfig",
    "Product",
    "Target",
    "check_allowed",
    "choose_target",
    "embedded_context",
    "kubeconfig_paths",
    "product_of",
    "read_kubeconfig",
]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SECTIONS = ("clusters", "contexts", "users")
_PATH_KEYS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


PROVIDERS = ("auto", "context", "embedded")
"""What `cluster(provider=...)` may be."""


class Product(Enum):
    """What kind of cluster a context leads to, as far as its names tell."""

    KIND = "kind"
    K3D = "k3d"
    MINIKUBE = "minikube"
    DOCKER_DESKTOP = "docker-desktop"
    MICROK8S = "microk8s"
    CRC = "crc"
    KRUCIBLE = "krucible"
    RANCHER_DESKTOP = "rancher-desktop"
    COLIMA = "colima"
    ORBSTACK = "orbstack"
    EMBEDDED = "kindling"
    UNKNOWN = "unknown"
    """Not one of the local products: to be touched only when the Kindlingfile allows it."""


_PATTERNS: tuple[tuple[Product, re.Pattern[str]], ...] = (
    (Product.KIND, re.compile(r"kind(-.+)?")),
    (Product.K3D, re.compile(r"k3d-.+")),
    (Product.MINIKUBE, re.compile(r"minikube(-.+)?")),
    (Product.DOCKER_DESKTOP, re.compile(r"docker-(for-)?desktop(-cluster)?")),
    (Product.MICROK8S, re.compile(r"microk8s(-cluster)?")),
    (Product.CRC, re.compile(r"(api-crc-testing:6443|crc)(/.*)?")),
    (Product.KRUCIBLE, re.compile(r"krucible-.+")),
    (Product.RANCHER_DESKTOP, re.compile(r"rancher-desktop")),
    (Product.COLIMA, re.compile(r"colima(-.+)?")),
    (Product.ORBSTACK, re.compile(r"orbstack")),
    (Product.EMBEDDED, re.compile(r"kindling(-.+)?")),
)


def product_of(cluster: str, entry: Mapping[str, Any] | None = None) -> Product:
    """The product of the kubeconfig cluster called `cluster`.

    The name decides, as each product writes it. minikube lets users choose any name and marks the
    cluster with an extension instead, which `entry` (the cluster as the file has it) may hold.
    """
    for product, pattern in _PATTERNS:
        if pattern.fullmatch(cluster):
            return product
    for extension in _list(entry or {}, "extensions"):
        if _mapping(extension, "extension").get("provider") == "minikube.sigs.k8s.io":
            return Product.MINIKUBE
    return Product.UNKNOWN


@dataclass(frozen=True, slots=True)
class KubeContext:
    """One context of a kubeconfig, with what its cluster says. It holds no credentials."""

    name: str
    cluster: str
    server: str
    user: str = ""
    namespace: str = "default"
    product: Product = Product.UNKNOWN

    @property
    def local(self) -> bool:
        """Whether it leads to a cluster that exists for development on this machine."""
        return self.product is not Product.UNKNOWN


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """All contexts of the files that were read, in order, and which one is current.

    `files` are those that exist, `missing` those that were looked for in vain. `raw` is the merged
    document with absolute paths: credentials included, so it is for the wire client alone and never
    printed.
    """

    contexts: tuple[KubeContext, ...] = ()
    current_name: str = ""
    files: tuple[Path, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    missing: tuple[Path, ...] = ()

    @property
    def current(self) -> KubeContext | None:
        """The current context, if the files name one that exists."""
        return next((c for c in self.contexts if c.name == self.current_name), None)

    def find(self, name: str) -> KubeContext:
        """The context called `name`.

        Raises:
            ConfigError: There is none; the message lists those there are.
        """
        for context in self.contexts:
            if context.name == name:
                return context
        names = [context.name for context in self.contexts]
        raise ConfigError(
            f"The kubeconfig has no context `{name}`",
            details=[f"known: [{', '.join(names)}]", f"files: [{', '.join(map(str, self.files))}]"],
            hint=nearest(name, names),
        )

    def minified(self, name: str) -> dict[str, Any]:
        """A kubeconfig document that knows only this context: what an external program is given.

        It holds the credentials that the files hold, so it is written with mode 0600 and removed
        after use.
        """
        context = self.find(name)
        keep = {"contexts": name, "clusters": context.cluster, "users": context.user}
        sections = {
            section: [entry for entry in _list(self.raw, section) if entry.get("name") == wanted]
            for section, wanted in keep.items()
        }
        return {"apiVersion": "v1", "kind": "Config", "current-context": name, **sections}


@dataclass(frozen=True, slots=True)
class Target:
    """The cluster a session talks to, and one sentence that says why it is this one."""

    context: KubeContext
    reason: str


def read_kubeconfig(environment: Mapping[str, str] | None = None) -> Kubeconfig:
    """The kubeconfig that `environment` (this process's, when not given) leads to.

    `KUBECONFIG` may list several files; without it, `~/.kube/config`. Files that do not exist are
    passed over, as every Kubernetes client does; with none at all it is the cluster that this
    process runs in, if it is a pod's, and else empty.

    Raises:
        ClusterError: A file cannot be read or is no kubeconfig.
    """
    paths = kubeconfig_paths(os.environ if environment is None else environment)
    files = tuple(path.absolute() for path in dict.fromkeys(paths) if path.exists())
    raw: dict[str, Any] = {section: [] for section in _SECTIONS}
    raw["current-context"] = ""
    for path in files:
        _merge(raw, _read(path), path)
    if not files and (own := in_cluster(os.environ if environment is None else environment)):
        raw = own
    clusters = {entry["name"]: _mapping(entry, "cluster") for entry in raw["clusters"]}
    contexts = tuple(_context(entry, clusters) for entry in raw["contexts"])
    missing = tuple(path for path in paths if path.absolute() not in files)
    return Kubeconfig(contexts, raw["current-context"], files, raw, missing)


def kubeconfig_paths(environment: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that `read_kubeconfig` looks for, whether or not they exist."""
    listed = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    home = environment.get("HOME", "") or os.path.expanduser("~")
    return tuple(Path(part) for part in listed) or (Path(home) / ".kube" / "config",)


def check_allowed(context: KubeContext, allowed: Sequence[str]) -> None:
    """Let local clusters pass, and others only where `allow_k8s_contexts` names them.

    Raises:
        ContextNotAllowedError: The message has the very line that would allow it.
    """
    if context.local or context.name in allowed:
        return
    raise ContextNotAllowedError(
        f"The context `{context.name}` ({context.server}) is not a known local cluster, and the "
        "Kindlingfile does not allow it",
        details=[f"allowed: [{', '.join(allowed)}]"] if allowed else [],
        hint=(
            "If kindling may deploy to it, add this line to the Kindlingfile:\n"
            f'  allow_k8s_contexts("{context.name}")\n'
            "To take the embedded cluster, whatever the current context is, add this one:\n"
            '  cluster(provider = "embedded")'
        ),
    )


def choose_target(
    kubeconfig: Kubeconfig, provider: str = "auto", name: str = "", allowed: Sequence[str] = ()
) -> Target:
    """The cluster that `cluster(provider=..., name=...)` means.

    `context` is the context called `name`, or the current one. `embedded` is the embedded cluster
    called `name` (`kindling` when empty), whether or not it runs. `auto` (with `name` empty) is the
    current context where it is a known local cluster or allowed by name, else the embedded cluster.

    Raises:
        ConfigError: No such context, or a provider that kindling does not have.
        ContextNotAllowedError: The cluster is not local and nobody allowed it.
        ClusterError: There is no cluster to choose.
    """
    if provider not in PROVIDERS:
        raise ConfigError(
            f"`cluster(provider=...)` cannot be `{provider}`",
            details=[f"known: [{', '.join(PROVIDERS)}]"],
            hint=nearest(provider, PROVIDERS)
            or 'A cluster of any kind that is in your kubeconfig is reached by provider="context"',
        )
    if provider == "embedded":
        return Target(embedded_context(kubeconfig, name), "the Kindlingfile asks for it")
    if name:
        target = Target(kubeconfig.find(name), f'the Kindlingfile names it: name="{name}"')
    elif provider == "auto":
        return _automatic(kubeconfig, allowed)
    else:
        target = _current(kubeconfig)
    check_allowed(target.context, allowed)
    return target


def embedded_context(kubeconfig: Kubeconfig, name: str = "") -> KubeContext:
    """The context of an embedded cluster, as the kubeconfig has it or, before the cluster was ever
    started, as it will be."""
    context = f"{Product.EMBEDDED.value}-{name or Product.EMBEDDED.value}"
    known = next((one for one in kubeconfig.contexts if one.name == context), None)
    return known or KubeContext(context, context, "", context, product=Product.EMBEDDED)


def _looked_in(kubeconfig: Kubeconfig) -> list[str]:
    files, missing = (", ".join(map(str, p)) for p in (kubeconfig.files, kubeconfig.missing))
    return [
        *([f"files: [{files}]"] if files else []),
        *([f"not there: [{missing}]"] if missing else []),
    ]


def _automatic(kubeconfig: Kubeconfig, allowed: Sequence[str]) -> Target:
    current = kubeconfig.current
    # The cluster that a pod runs in was not chosen by anybody: jobs of a pipeline run in pods.
    if current is None or (current.name == IN_CLUSTER and IN_CLUSTER not in allowed):
        embedded = embedded_context(kubeconfig)
        return Target(embedded, "the embedded cluster, since the kubeconfig names no other")
    # Commands of the file would still reach a remote current context, so it is no case for
    # choosing another one in silence.
    check_allowed(current, allowed)
    if not current.local:
        return Target(current, "it is the current context, and the Kindlingfile allows it")
    product = "embedded" if current.product is Product.EMBEDDED else current.product.value
    return Target(current, f"it is the current context, a local cluster ({product})")


def _current(kubeconfig: Kubeconfig) -> Target:
    context = kubeconfig.current
    if context is None:
        known = ", ".join(c.name for c in kubeconfig.contexts)
        if kubeconfig.current_name:
            problem = f"The current context `{kubeconfig.current_name}` is not in the kubeconfig"
        elif kubeconfig.contexts:
            problem = "The kubeconfig names no current context"
        else:
            problem = "There is no cluster: no kubeconfig with a context was found"
        raise ClusterError(
            problem,
            details=[
                *_looked_in(kubeconfig),
                *([f"contexts: [{known}]"] if known else []),
            ],
            hint=(
                'Name a context with `cluster(provider="context", name=...)`, point KUBECONFIG '
                'at a cluster, or leave it to `cluster(provider="embedded")`'
            ),
        )
    return Target(context, "it is the current context")


def _context(entry: Mapping[str, Any], clusters: Mapping[str, Mapping[str, Any]]) -> KubeContext:
    body = _mapping(entry, "context")
    cluster = str(body.get("cluster") or "")
    details = clusters.get(cluster, {})
    return KubeContext(
        name=str(entry["name"]),
        cluster=cluster,
        server=str(details.get("server") or ""),
        user=str(body.get("user") or ""),
        namespace=str(body.get("namespace") or "default"),
        product=product_of(cluster, details),
    )


def _read(path: Path) -> Mapping[str, Any]:
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ClusterError(f"Cannot read the kubeconfig `{path}`: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The problem's text would quote the line, which may hold a token.
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark is not None else ""
        raise ClusterError(f"The kubeconfig `{path}{place}` is not valid YAML") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ClusterError(f"The kubeconfig `{path}` does not hold a mapping")
    return document


def _merge(raw: dict[str, Any], document: Mapping[str, Any], path: Path) -> None:
    raw["current-context"] = raw["current-context"] or str(document.get("current-context") or "")
    for section in _SECTIONS:
        known = {entry["name"] for entry in raw[section]}
        entries = document.get(section) or []
        if not isinstance(entries, list):
            raise ClusterError(f"In the kubeconfig `{path}`, `{section}` is not a list")
        for entry in entries:
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                raise ClusterError(
                    f"In the kubeconfig `{path}`, an entry of `{section}` has no name"
                )
            if entry["name"] not in known:
                known.add(entry["name"])
                raw[section].append(_absolute(entry, path.parent))


def _absolute(entry: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    resolved = dict(entry)
    for part in ("cluster", "user"):
        body = entry.get(part)
        if not isinstance(body, dict):
            continue
        body = dict(body)
        for key in _PATH_KEYS:
            if body.get(key):
                body[key] = os.path.normpath(folder / str(body[key]))
        plugin = body.get("exec")
        if isinstance(plugin, dict) and os.sep in (command := str(plugin.get("command") or "")):
            # A bare name is looked up in PATH; one with a slash belongs beside the file.
            body["exec"] = {**plugin, "command": os.path.normpath(folder / command)}
        resolved[part] = body
    return resolved


def _mapping(entry: object, key: str) -> Mapping[str, Any]:
    body = entry.get(key) if isinstance(entry, dict) else None
    return body if isinstance(body, dict) else {}


def _list(mapping: Mapping[str, Any], key: str) -> Sequence[Any]:
    body = mapping.get(key)
    return body if isinstance(body, list) else ()
