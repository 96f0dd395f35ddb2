"""Environments of every shape that the definition allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from kindling.operator.backing.table import SERVICES
from kindling.operator.definitions.environment import DEPENDENCY_TYPES
from tests.operator.manifests import Obj, environment

__all__ = ["environments"]

_ports = st.integers(1, 65535)
_words = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
_hosts = st.builds("{}.{}".format, _words, st.sampled_from(["localhost", "example.com"]))
_paths = st.from_regex(r"/[a-z0-9/_-]{0,12}", fullmatch=True).filter(lambda p: "//" not in p)
_values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
_resources = st.fixed_dictionaries(
    {},
    optional={
        "cpuRequest": st.sampled_from(["100m", 1, "0.5"]),
        "cpuLimit": st.sampled_from([2, "4", "1000m"]),
        "memoryRequest": st.sampled_from(["64Mi", "1e6"]),
        "memoryLimit": st.sampled_from(["1Gi", "512M"]),
    },
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Obj]:
    return st.fixed_dictionaries({}, optional=fields)


def _env(names: st.SearchStrategy[str]) -> st.SearchStrategy[list[Obj]]:
    plain = st.fixed_dictionaries({"name": names}, optional={"value": _values})
    other = st.fixed_dictionaries(
        {
            "name": names,
            "valueFrom": st.sampled_from(
                [
                    {"fieldRef": {"fieldPath": "metadata.name"}},
                    {"secretKeyRef": {"name": "own", "key": "k"}},
                    {"configMapKeyRef": {"name": "own", "key": "k", "optional": True}},
                ]
            ),
        }
    )
    return st.lists(plain | other, max_size=4)


_names = st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True) | st.sampled_from(
    ["DATABASE_URL", "REDIS_URL", "S3_ACCESS_KEY"]
)


@st.composite
def _dependencies(draw: st.DrawFn) -> Obj:
    sort = draw(st.sampled_from(DEPENDENCY_TYPES))
    known = [setting.name for setting in SERVICES[sort].settings]
    names = st.sampled_from(known) if known else _names
    optional = _some(
        name=_words,
        version=st.sampled_from(["1", "16.4-alpine"]),
        image=st.just("mine:1"),
        port=_ports,
        env=_env(names | _names),
        envVarName=_names,
        storageSize=st.sampled_from(["1Gi", 1000000, "0"]),
        resources=_resources,
    )
    return {"type": sort} | draw(optional)


@st.composite
def environments(draw: st.DrawFn) -> Obj:
    """Any environment that a server would take, clashes and all."""
    health = _some(
        type=st.sampled_from(["http", "grpc", "tcp", "none"]),
        path=_paths,
        port=_ports,
        initialDelaySeconds=st.integers(0, 60),
        periodSeconds=st.integers(0, 60),
    )
    deployment = {"image": "a:1", "port": draw(_ports)} | draw(
        _some(
            replicas=st.integers(1, 9),
            command=st.lists(_values, max_size=2),
            args=st.lists(_values, max_size=2),
            env=_env(_names),
            resources=_resources,
            healthCheck=health,
        )
    )
    service = {"port": draw(_ports)} | draw(
        _some(targetPort=_ports, type=st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]))
    )
    tls = st.fixed_dictionaries(
        {"secretName": _words}, optional={"hosts": st.lists(_hosts, max_size=2)}
    )
    ingress = _some(
        enabled=st.booleans(),
        host=_hosts,
        path=_paths,
        pathType=st.sampled_from(["Prefix", "Exact", "ImplementationSpecific"]),
        ingressClassName=_words,
        tls=tls,
        annotations=st.dictionaries(_words, _values, max_size=2),
    )
    more = draw(_some(ingress=ingress, dependencies=st.lists(_dependencies(), max_size=4)))
    name = draw(st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?(\.[a-z0-9]+)?", fullmatch=True))
    return environment(name, deployment=deployment, service=service, **more)
