"""Declarations made by hand, without a file, and the graph they become: for tests of assembling."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kindling.graph.node import EdgeKind, FileSet, Node, NodeId, Where
from kindling.lang.assemble.assembly import Assembly, assemble
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.lang.declared import (
    CustomBuild,
    Declarations,
    DockerBuild,
    KubernetesObject,
    LocalResource,
    ResourceConfiguration,
    TestDeclaration,
)
from kindling.objects.identity import canonical, object_ref

__all__ = ["KIND", "UNKNOWN", "WITH_REGISTRY", "Built", "Said", "deployment", "service", "thing"]

WITH_REGISTRY = TargetFacts("dev", registry=AnnouncedRegistry("localhost:5000"))
KIND = TargetFacts("kind-dev", product="kind", cluster="dev")
UNKNOWN = TargetFacts("far", product="unknown")


@dataclass
class Said:
    """Declarations as a file would make them: every call has a line of its own."""

    files: dict[str, str] = field(default_factory=dict)
    target: TargetFacts | None = WITH_REGISTRY
    parts: dict[str, list[Any]] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    line: int = 0

    def where(self) -> Where:
        """The place of the next call."""
        self.line += 1
        return Where("Kindlingfile", self.line, 1)

    def add(self, field_name: str, value: Any) -> None:
        self.parts.setdefault(field_name, []).append(value)

    def docker_build(self, ref: str, dockerfile: str = "FROM scratch", **more: Any) -> None:
        context = more.pop("context", ref.replace("/", "_").replace(":", "_"))
        path = more.pop("path", f"{context}/Dockerfile")
        self.files[path] = dockerfile
        build = DockerBuild(
            ref, self.where(), context, more.pop("files", FileSet((context,))), path, **more
        )
        self.add("images", build)

    def custom_build(
        self, ref: str, command: str = "make", deps: tuple[str, ...] = (), **more: Any
    ) -> None:
        build = CustomBuild(ref, self.where(), ("sh", "-c", command), FileSet(deps), **more)
        self.add("images", build)

    def yaml(self, *manifests: Mapping[str, Any], allow_duplicates: bool = False) -> None:
        where = self.where()
        for manifest in manifests:
            self.add(
                "objects",
                KubernetesObject(
                    object_ref(manifest), canonical(manifest), where, "k8s.yaml", allow_duplicates
                ),
            )

    def k8s_resource(self, workload: str = "", **more: Any) -> None:
        self.add("resources", ResourceConfiguration(self.where(), workload, **more))

    def local(
        self, name: str, command: str = "true", deps: tuple[str, ...] = (), **more: Any
    ) -> None:
        argv = ("sh", "-c", command) if command else ()
        self.add("locals", LocalResource(name, self.where(), argv, files=FileSet(deps), **more))

    def test(self, name: str, deps: tuple[str, ...] = (), **more: Any) -> None:
        self.add(
            "tests", TestDeclaration(name, self.where(), ("true",), files=FileSet(deps), **more)
        )

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def assemble(self, *names: str) -> Built:
        parts: dict[str, Any] = {name: tuple(each) for name, each in self.parts.items()}
        declarations = Declarations("/project", "Kindlingfile", **parts, **self.fixed)
        return Built(assemble(declarations, self.target, self, names))


@dataclass
class Built:
    """An assembly, with questions that read well."""

    assembly: Assembly

    @property
    def ids(self) -> list[str]:
        return list(self.assembly.graph.nodes)

    def node(self, id_: str) -> Node:
        return self.assembly.graph[NodeId(id_)]

    def spec(self, id_: str) -> Any:
        return self.node(id_).spec

    def edge(self, before: str, after: str) -> EdgeKind | None:
        return self.assembly.graph.predecessors(NodeId(after)).get(NodeId(before))

    def before(self, id_: str) -> dict[str, str]:
        return {k: v.value for k, v in self.assembly.graph.predecessors(NodeId(id_)).items()}

    def warnings(self) -> list[str]:
        return [str(remark) for remark in self.assembly.warnings]

    def manifests(self, id_: str) -> list[dict[str, Any]]:
        return [json.loads(each.manifest) for each in self.spec(id_).objects]


def deployment(name: str, image: str = "", **more: Any) -> dict[str, Any]:
    """A Deployment with one container; `ports` are container ports, `kind` may be another."""
    labels = more.get("labels", {"app": name})
    container: dict[str, Any] = {"name": name, "image": image or name}
    if ports := more.get("ports"):
        container["ports"] = [{"containerPort": port} for port in ports]
    if env := more.get("env"):
        container["env"] = [{"name": k, "value": v} for k, v in env.items()]
    metadata = {"name": name}
    if namespace := more.get("namespace"):
        metadata["namespace"] = namespace
    return {
        "apiVersion": more.get("api", "apps/v1"),
        "kind": more.get("kind", "Deployment"),
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def thing(
    kind: str, name: str, namespace: str = "", api: str = "v1", **more: Any
) -> dict[str, Any]:
    """Any object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **more}


def service(name: str, selector: Mapping[str, str], namespace: str = "") -> dict[str, Any]:
    """A Service that selects pods by these labels."""
    return thing("Service", name, namespace, spec={"selector": dict(selector)})
