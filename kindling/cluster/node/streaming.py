"""Logs, exec, attach and port-forward for the pods of the node, with the kubelet's refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from kindling.cluster.model.api import Api, Obj
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError, bad_request, not_found
from kindling.cluster.model.streams import ContainerProcess, ExecRequest, LogRequest, TerminalSize
from kindling.cluster.node.dial import open_stream
from kindling.cluster.node.life import log_path
from kindling.cluster.node.logfile import LogFile
from kindling.cluster.node.logread import read_log
from kindling.cluster.node.slot import Run, Slot
from kindling.cluster.node.worker import PodWorker
from kindling.cluster.runtime.protocol import Runtime, StartError
from kindling.cluster.runtime.streams import memory_writer

__all__ = ["Streaming"]

_PODS = builtin("pods")
_DEFAULT = "kubectl.kubernetes.io/default-container"


class Streaming:
    """`find` gives the worker of a pod by its UID."""

    def __init__(self, api: Api, runtime: Runtime, find: Callable[[str], PodWorker | None]) -> None:
        self._api = api
        self._runtime = runtime
        self._find = find

    async def exec(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess:
        _, slot = self._slot(namespace, pod, container)
        run = self._running(slot)
        if not request.command:
            raise bad_request("you must specify at least 1 command for the container")
        try:
            return await run.container.exec(request)
        except (StartError, OSError) as error:
            text = f"Internal error occurred: error executing command in container: {error}"
            raise ApiError(500, "InternalError", text) from error

    async def attach(
        self, namespace: str, pod: str, container: str, request: ExecRequest
    ) -> ContainerProcess:
        _, slot = self._slot(namespace, pod, container)
        run = self._running(slot)
        tty = bool(slot.spec.get("tty"))
        audience = run.output.join(stdout=request.stdout, stderr=request.stderr and not tty)
        stdin: asyncio.StreamWriter | None = None
        if request.stdin and run.container.stdin is not None:
            stdin = _shared_input(run.container.stdin, once=bool(slot.spec.get("stdinOnce")))

        async def wait() -> int:
            return (await run.container.wait()).code

        def resize(size: TerminalSize) -> None:
            run.container.resize(size.width, size.height)

        async def end() -> None:
            run.output.leave(audience)
            if stdin is not None:
                stdin.close()

        return ContainerProcess(stdin, audience.stdout, audience.stderr, wait, resize, end)

    async def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        worker, slot = self._slot(namespace, pod, request.container)
        attempt = _attempt(worker, slot, pod, request.previous)
        path = log_path(worker.home.folder, slot.name, attempt)

        def live() -> LogFile | None:
            run = slot.run
            return run.log if run is not None and run.log.path == path else None

        if not path.exists():
            # Ended before it could print, or its log went with a restart of the cluster.
            return _nothing()
        return read_log(path, request, live)

    async def connect(
        self, namespace: str, pod: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        worker = self._worker(namespace, pod)
        if worker.home.sandbox is None:
            raise ApiError(
                500,
                "InternalError",
                f'unable to do port forwarding: network namespace for pod "{pod}" is not there',
            )
        return await open_stream(self._runtime, "127.0.0.1", port, sandbox=worker.uid)

    def _worker(self, namespace: str, name: str) -> PodWorker:
        pod = self._api.get(_PODS, name, namespace)
        if pod is None:
            raise not_found("pods", name)
        worker = self._find(pod["metadata"]["uid"])
        if worker is None:
            raise bad_request(f"pod {name} does not have a host assigned")
        return worker

    def _slot(self, namespace: str, name: str, container: str) -> tuple[PodWorker, Slot]:
        worker = self._worker(namespace, name)
        container = container or _default_container(worker.pod)
        for slot in worker.slots:
            if slot.name == container:
                return worker, slot
        raise bad_request(f"container {container} is not valid for pod {name}")

    def _running(self, slot: Slot) -> Run:
        if slot.run is None:
            raise ApiError(404, "NotFound", f'container not found ("{slot.name}")')
        return slot.run


async def _nothing() -> AsyncIterator[bytes]:
    """An empty log."""
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


def _default_container(pod: Obj) -> str:
    named = (pod["metadata"].get("annotations") or {}).get(_DEFAULT)
    containers = [one["name"] for one in pod["spec"]["containers"]]
    if named in containers:
        return str(named)
    if len(containers) == 1:
        return str(containers[0])
    name = pod["metadata"]["name"]
    text = f"a container name must be specified for pod {name}, choose one of:"
    text += f" [{' '.join(containers)}]"
    inits = [one["name"] for one in pod["spec"].get("initContainers") or ()]
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise bad_request(text)


def _attempt(worker: PodWorker, slot: Slot, pod: str, previous: bool) -> int:
    """Which run's log is meant. Raises `ApiError` 400 when there was none."""
    about = f'container "{slot.name}" in pod "{pod}"'
    over = slot.run is None and slot.terminated is not None
    if previous:
        # As the status says it: what waits after an end has that end as its last state.
        waits = slot.waiting is not None and over
        if not waits and slot.last is None:
            raise bad_request(f"previous terminated {about} not found")
        return slot.attempts - 1 if waits else slot.attempts - 2
    if slot.run is not None or slot.terminated is not None or slot.last is not None:
        return slot.attempts - 1
    reason = slot.state("ContainerCreating")[0]["waiting"]["reason"]
    if reason == "ContainerCreating" and worker.pod["spec"].get("initContainers"):
        reason = "PodInitializing"
    why = {
        "ErrImagePull": "image can't be pulled",
        "ImagePullBackOff": "trying and failing to pull image",
    }.get(reason, reason)
    raise bad_request(f"{about} is waiting to start: {why}")


def _shared_input(inner: asyncio.StreamWriter, *, once: bool) -> asyncio.StreamWriter:
    """A container's stdin as one of several attached clients writes to it: closing it is the end of
    the input only where the pod says `stdinOnce`."""

    def close() -> None:
        if once:
            inner.close()

    return memory_writer(inner.write, close)
