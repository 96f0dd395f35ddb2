"""Workloads of real runtimes in a cluster, looked at from outside: what they answer, what files
they hold, what their templates are. Nothing here goes through kindling's sync."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kindling.errors import ClusterError
from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Cluster, EventKind

__all__ = ["IMAGES", "PORT", "Stage", "Tree", "Workload", "eventually", "tree_here"]

IMAGES = Path(__file__).parent / "images"
PORT = 8080
LIMIT = 120.0
"""Seconds that anything may take on a busy machine."""

Tree = Mapping[str, str]
"""Path to `f MODE DIGEST`, `d MODE` or `l TARGET`."""

_LIST = (
    'cd "$0" && find . ! -path . -printf "%y %m %P\\t%l\\0" && printf "\\0" && '
    "find . -type f -print0 | xargs -0r sha256sum -z"
)
"""GNU's find and sha256sum, as images of Debian's have them."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment or StatefulSet of one pod template. `pod` and `container` are what is laid over
    the usual; `beside` are further containers."""

    name: str
    image: str
    words: tuple[str, ...] = ()
    kind: str = "Deployment"
    replicas: int = 1
    container: Mapping[str, Any] = field(default_factory=dict)
    pod: Mapping[str, Any] = field(default_factory=dict)
    beside: tuple[Mapping[str, Any], ...] = ()
    probe: bool = True

    def manifest(self, namespace: str) -> dict[str, Any]:
        labels = {"app": self.name}
        main: dict[str, Any] = {
            "name": "main",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            **({"command": list(self.words)} if self.words else {}),
            **self.container,
        }
        if self.probe:
            main["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "enableServiceLinks": False,
                "automountServiceAccountToken": False,
                "containers": [main, *(dict(one) for one in self.beside)],
                **self.pod,
            },
        }
        return {
            "apiVersion": "apps/v1",
            "kind": self.kind,
            "metadata": {"name": self.name, "namespace": namespace},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "template": template,
                **({"serviceName": self.name} if self.kind == "StatefulSet" else {}),
            },
        }


class Stage:
    """A namespace with workloads in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    async def open(self) -> None:
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": self.namespace},
        }
        await self.cluster.apply(namespace)

    async def deploy(self, workload: Workload) -> None:
        """Create it and wait until all of its pods are ready."""
        await self.cluster.create(workload.manifest(self.namespace))
        await self.ready(workload)

    async def ready(self, workload: Workload) -> list[Mapping[str, Any]]:
        """The pods, once as many are ready as there should be and no others are left."""
        labels = (("app", workload.name),)
        seen: dict[str, Mapping[str, Any]] = {}
        try:
            async with (
                asyncio.timeout(LIMIT),
                aclosing(
                    self.cluster.watch("v1", "Pod", namespace=self.namespace, labels=labels)
                ) as events,
            ):
                async for event in events:
                    if event.kind is EventKind.SYNCED:
                        seen = {one["metadata"]["uid"]: one for one in event.items}
                    elif event.kind is EventKind.DELETED:
                        seen.pop(event.object["metadata"]["uid"], None)
                    elif event.object:
                        seen[event.object["metadata"]["uid"]] = event.object
                    pods = list(seen.values())
                    if len(pods) == workload.replicas and all(map(_ready, pods)):
                        return pods
        except TimeoutError:
            told = {one["metadata"]["name"]: one.get("status") for one in seen.values()}
            raise AssertionError(f"pods of {workload.name} are not ready: {told}") from None
        raise AssertionError("the watch ended")

    async def pods(self, workload: Workload) -> list[Mapping[str, Any]]:
        """Those that are there and are not on their way out."""
        found = await self.cluster.list(
            "v1", "Pod", namespace=self.namespace, labels=(("app", workload.name),)
        )
        return [one for one in found.items if not one["metadata"].get("deletionTimestamp")]

    async def object(self, workload: Workload) -> Mapping[str, Any]:
        return await self.cluster.get(
            ObjectRef("apps/v1", workload.kind, workload.name, self.namespace)
        )

    async def template(self, workload: Workload) -> str:
        """The pod template to the byte, as the API server has it."""
        return json.dumps((await self.object(workload))["spec"]["template"], sort_keys=True)

    async def assert_restored(self, workload: Workload, before: str) -> None:
        """The template is what it was, and nothing of a session is left."""
        found = await self.object(workload)
        assert json.dumps(found["spec"]["template"], sort_keys=True) == before
        assert "kindling.dev/session" not in (found["metadata"].get("annotations") or {})
        maps = await self.cluster.list("v1", "ConfigMap", namespace=self.namespace)
        named = [one["metadata"]["name"] for one in maps.items]
        ours = re.compile(rf"kindling-sync-{workload.name}(-[0-9a-f]+)?")
        assert [name for name in named if ours.fullmatch(name)] == []

    async def answers(self, workload: Workload) -> set[str]:
        """What each pod says at `/`; `-` for one that does not answer."""
        pods = await self.pods(workload)
        return {await self._get(pod["metadata"]["name"]) for pod in pods}

    async def serves(
        self, workload: Workload, wanted: str, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until every pod answers this and nothing else. `meanwhile` raises when waiting is
        of no use."""

        async def looked() -> tuple[bool, object]:
            meanwhile()
            found = await self.answers(workload)
            return found == {wanted}, found

        await eventually(looked, f"{workload.name} serves `{wanted}`")

    async def tree(self, pod: str, place: str, container: str = "main") -> Tree:
        """What a container holds below a folder. Its image must be one of Debian's."""
        argv = ["sh", "-c", _LIST, place]
        result = await self.cluster.exec(self.namespace, pod, container, argv)
        assert result.code == 0, result.stderr.decode("utf-8", "replace")
        heads, _, sums = result.stdout.partition(b"\0\0")
        digests = {}
        for line in sums.split(b"\0"):
            if line:
                digest, _, name = line.partition(b"  ./")
                digests[os.fsdecode(name)] = digest.decode()
        found: dict[str, str] = {}
        for head in heads.split(b"\0"):
            if not head:
                continue
            kind, mode, rest = os.fsdecode(head).split(" ", 2)
            path, _, target = rest.rpartition("\t")
            tail = {"f": f"{mode} {digests.get(path, '?')}", "d": mode, "l": target}
            found[path] = f"{kind} {tail.get(kind, '')}"
        return found

    async def equal(
        self,
        workload: Workload,
        place: str,
        source: Path,
        *,
        strangers: Tree | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until every pod holds what the source holds, and besides what it had of its own
        (`strangers`)."""

        async def looked() -> tuple[bool, object]:
            meanwhile()
            wanted = {**(strangers or {}), **tree_here(source)}
            pods = await self.pods(workload)
            different: list[str] = []
            for pod in pods:
                try:
                    found = await self.tree(pod["metadata"]["name"], place)
                except (ClusterError, AssertionError) as error:
                    return False, str(error)[:300]
                pairs = set(wanted.items()) ^ set(found.items())
                different += [f"{path}: {text}" for path, text in sorted(pairs)[:6]]
            return bool(pods) and not different, different

        await eventually(looked, f"{workload.name} holds what {source} holds")

    async def _get(self, pod: str) -> str:
        try:
            async with asyncio.timeout(5):
                stream = await self.cluster.open_port(self.namespace, pod, PORT)
                try:
                    await stream.write(b"GET / HTTP/1.0\r\nHost: world\r\n\r\n")
                    said = b""
                    while more := await stream.read():
                        said += more
                finally:
                    await stream.close()
        except (ClusterError, TimeoutError):
            return "-"
        head, _, body = said.partition(b"\r\n\r\n")
        return body.decode("utf-8", "replace").strip() if b" 200 " in head[:20] else "-"


def _ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


async def eventually(
    look: Callable[[], Awaitable[tuple[bool, object]]], what: str, seconds: float = LIMIT
) -> None:
    """Look again and again, until it is so or the time is up."""
    found: object = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                there, found = await look()
                if there:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"in {seconds:.0f} s not: {what}; last seen: {found}") from None


def tree_here(root: Path) -> Tree:
    """What a folder of this machine holds."""
    found: dict[str, str] = {}
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(folder) / name
            at = str(path.relative_to(root))
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                found[at] = f"l {os.readlink(path)}"
            elif stat.S_ISDIR(mode):
                found[at] = f"d {mode & 0o7777:o}"
            elif stat.S_ISREG(mode):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[at] = f"f {mode & 0o7777:o} {digest}"
    return found
