"""Which Service an Ingress request is for: the matching rules of networking.k8s.io/v1. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kindling.cluster.model.api import Obj

__all__ = ["CLASS_NAME", "Backend", "Rule", "choose", "rules_of"]

CLASS_NAME = "kindling"
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


@dataclass(frozen=True, slots=True)
class Backend:
    """A Service port, by number or name."""

    namespace: str
    service: str
    port: int | str


@dataclass(frozen=True, slots=True)
class Rule:
    """One host and path of an Ingress. `host` empty is any host; `exact` paths match as a whole.
    A default backend has the path `/`, no host and `last` True."""

    host: str
    path: str
    exact: bool
    backend: Backend
    ingress: str
    last: bool = False


def rules_of(ingresses: Iterable[Obj]) -> tuple[Rule, ...]:
    """The rules of those Ingresses that are ours: of class `kindling`, or of none (the class is the
    default one). First come those of the older Ingress, as the controllers users know have it."""
    mine = [one for one in ingresses if _class_of(one) in ("", CLASS_NAME)]
    mine.sort(
        key=lambda one: (
            one["metadata"].get("creationTimestamp") or "",
            one["metadata"]["namespace"],
            one["metadata"]["name"],
        )
    )
    found: list[Rule] = []
    for one in mine:
        metadata, spec = one["metadata"], one.get("spec") or {}
        name = f"{metadata['namespace']}/{metadata['name']}"
        for rule in spec.get("rules") or ():
            for path in (rule.get("http") or {}).get("paths") or ():
                backend = _backend(metadata["namespace"], path.get("backend"))
                if backend is not None:
                    found.append(
                        Rule(
                            (rule.get("host") or "").lower(),
                            path.get("path") or "/",
                            path.get("pathType") == "Exact",
                            backend,
                            name,
                        )
                    )
        default = _backend(metadata["namespace"], spec.get("defaultBackend"))
        if default is not None:
            found.append(Rule("", "/", False, default, name, last=True))
    return tuple(found)


def _class_of(ingress: Obj) -> str:
    spec, metadata = ingress.get("spec") or {}, ingress["metadata"]
    named = spec.get("ingressClassName")
    return str(named or (metadata.get("annotations") or {}).get(_CLASS_ANNOTATION) or "")


def _backend(namespace: str, backend: Obj | None) -> Backend | None:
    service = (backend or {}).get("service")
    if not service:
        return None  # a resource backend: no kind of object can serve one here
    port = service.get("port") or {}
    return Backend(namespace, service["name"], port.get("number") or port.get("name") or 0)


def choose(rules: Iterable[Rule], host: str, path: str) -> Rule | None:
    """The rule for a request: the exact host before a wildcard before any host, then the exact path
    before the longest prefix. `host` may carry a port."""
    name = host.lower().partition(":")[0] if not host.startswith("[") else host.lower()
    best: tuple[tuple[int, int, int, int], Rule] | None = None
    for rule in rules:
        fit = _host_fit(rule.host, name)
        if fit < 0 or not _path_fits(rule, path):
            continue
        rank = (0 if rule.last else 1, fit, 1 if rule.exact else 0, len(rule.path))
        if best is None or rank > best[0]:
            best = rank, rule
    return best[1] if best else None


def _host_fit(wanted: str, name: str) -> int:
    if not wanted:
        return 0
    if wanted.startswith("*."):
        first, _, rest = name.partition(".")
        return 1 if first and rest == wanted[2:] else -1
    return 2 if wanted == name else -1


def _path_fits(rule: Rule, path: str) -> bool:
    if rule.exact:
        return path == rule.path
    # By element: /foo matches /foo and /foo/bar, not /foobar.
    prefix = rule.path.rstrip("/")
    return path == prefix or path.startswith(prefix + "/")
