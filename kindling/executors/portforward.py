"""`portforward`: one port of this machine that leads to a resource's pods for as long as a session
lasts.

The local port is taken once and kept. Each connection goes to the pod that is the right one at that
moment, so that a replaced pod needs nothing to be restarted. Bytes decide whether it works: a
connection is made through the whole way before success is said, and again whenever the pod or the
luck changes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import socket
import struct
from collections.abc import Callable, Collection
from typing import Any

from kindling.errors import ClusterError, HostError
from kindling.executors.localport import holder
from kindling.executors.protocol import (
    Clock,
    Failed,
    Job,
    LogSink,
    Observation,
    Outcome,
    ReadinessReport,
    Succeeded,
)
from kindling.graph.node import Kind, NodeId
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import ObjectRef, PortForwardSpec, Readiness
from kindling.kube.podwatch import PodWatch
from kindling.kube.portforward import PortListener
from kindling.kube.protocol import Cluster, Object, PortStream
from kindling.objects.pods import is_deleting, is_ready, pod_name
from kindling.objects.revision import assess
from kindling.objects.workloads import declared_ports

__all__ = ["PortForwardExecutor", "choose_pod"]

_PATIENCE = 15.0
_QUIET = 0.3
"""Seconds after which a connection that nobody refused counts as made: most servers wait for the
client to speak first, and nothing else tells."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 5.0


class PortForwardExecutor:
    """Its output is the local address; its digest does not depend on the pod behind it."""

    @property
    def kind(self) -> Kind:
        return Kind.PORTFORWARD

    async def run(self, job: Job) -> Outcome:
        spec = _spec(job)
        cluster = await job.world.cluster()
        forward = _Forward(cluster, job, spec)
        try:
            await forward.open(_port_before(job))
            failure = await forward.until_it_works()
        except BaseException:
            await forward.close()
            raise
        if failure is not None:
            return Failed(failure, live=forward)
        job.log(f"{forward.address} leads to {forward.target}", "kindling")
        return Succeeded(_output(spec, forward), live=forward)

    async def observe(self, job: Job, recorded: Output) -> Observation:
        return Observation(same=False, difference="it lives with the session")

    async def restore(self, job: Job, cached: Output) -> bool:
        return False

    async def undo(self, job: Job, recorded: Output) -> tuple[str, ...]:
        """The port was given back when its session ended."""
        return ()


class _Forward:
    """A listener and the pods behind it."""

    def __init__(self, cluster: Cluster, job: Job, spec: PortForwardSpec) -> None:
        self._cluster = cluster
        self._spec = spec
        self._clock: Clock = job.world.clock
        self._log: LogSink = job.log
        self._node = job.node.id
        refs, selectors = _workloads(job, spec)
        self._watch = PodWatch(cluster, refs, selectors)
        self._refs = refs
        self._listener = PortListener(self._dial, self._broke)
        self._trouble: ClusterError | None = None
        self._alarm = asyncio.Event()
        self._works = False
        self._pod = ""
        self.target = ""

    @property
    def port(self) -> int:
        return self._listener.port

    @property
    def address(self) -> str:
        path = self._spec.path
        slash = "" if not path or path.startswith("/") else "/"
        return f"http://{self._spec.host}:{self.port}{slash}{path}"

    async def open(self, wanted: int) -> None:
        """Take the local port and begin to watch pods.

        Raises:
            HostError: The port is taken.
        """
        for port in dict.fromkeys((self._spec.local_port or wanted, self._spec.local_port)):
            try:
                await self._listener.bind(self._spec.host, port)
                break
            except HostError as error:
                if not self._spec.local_port and port:
                    continue  # the port of last time is only a wish
                raise await self._explained(error, port) from error
        await self._watch.start()

    async def until_it_works(self) -> Failure | None:
        """Try until bytes flow; the failure when they do not within some seconds."""
        deadline = self._clock.monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        while True:
            failure = await self._probe()
            if failure is None or self._clock.monotonic() >= deadline:
                return failure
            await self._wait_for_news(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def follow(self, report: Callable[[ReadinessReport], None]) -> None:
        told = self._works
        pause = 0.0 if told else _FIRST_PAUSE
        while True:
            await self._wait_for_news(pause)
            if self._watch.error is not None:
                raise self._watch.error
            if self._works and not self._alarm.is_set() and self._is_still_right():
                continue
            failure = await self._probe()
            if failure is None:
                pause = 0.0
                self._log(f"{self.address} leads to {self.target}", "kindling")
            else:
                pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, pause * 2))
            if told != (failure is None):
                told = failure is None
                report(ReadinessReport(ready=told, failure=failure))

    async def close(self) -> None:
        await self._watch.close()
        await self._listener.close()

    async def _dial(self) -> PortStream:
        pod, port = await self._destination()
        return await self._cluster.open_port(str(pod["metadata"]["namespace"]), pod_name(pod), port)

    def _broke(self, error: ClusterError) -> None:
        self._trouble = error
        self._alarm.set()

    async def _destination(self) -> tuple[Object, int]:
        await self._watch.settle()
        pod = self._right_pod()
        if pod is None:
            raise ClusterError("no pod is running that could take a connection", transient=True)
        return pod, _container_port(pod, self._spec)

    def _pods(self, ref: ObjectRef) -> list[Object]:
        if ref.kind == "Pod":
            found = self._watch.workloads.get(ref)
            return [found] if found else []
        return self._watch.pods(ref)

    def _right_pod(self) -> Object | None:
        pods: list[Object] = []
        current: set[str] = set()
        for ref in self._refs:
            found = self._pods(ref)
            pods += found
            if workload := self._watch.workloads.get(ref):
                sets = self._watch.replica_sets()
                standing = assess(workload, sets, found, Readiness.WAIT)
                current |= {str(pod["metadata"]["uid"]) for pod in standing.pods}
        return choose_pod([*pods, *self._watch.extra_pods()], current)

    def _is_still_right(self) -> bool:
        pod = self._right_pod()
        return pod is not None and pod["metadata"]["uid"] == self._pod

    async def _probe(self) -> Failure | None:
        """Connect to the local port as anybody would, and see whether the connection holds."""
        self._alarm.clear()
        self._trouble = None
        pod: Object = {}
        port = 0
        try:
            pod, port = await self._destination()
            reader, writer = await asyncio.open_connection(self._spec.host, self.port)
            try:
                await asyncio.wait_for(reader.read(1), _QUIET)
            except TimeoutError:
                pass  # it holds, and waits for us to speak
            finally:
                _break_off(writer)
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        except ClusterError as error:
            self._trouble = error
        except OSError as error:
            self._trouble = ClusterError(f"cannot connect to {self.address}: {error}")
        trouble: ClusterError | None = self._trouble
        self._works = trouble is None
        self._alarm.clear()
        if trouble is None:
            self._pod = str(pod["metadata"]["uid"])
            self.target = f"port {port} of pod {pod_name(pod)}"
            return None
        return Failure(
            FailureKind.CLUSTER,
            f"{self.address} leads nowhere: {trouble.message}",
            trouble.details,
            "Does the container listen on this port, on all its addresses?"
            if any("nothing listens" in line for line in trouble.details)
            else trouble.hint,
            transient=True,
        )

    async def _wait_for_news(self, limit: float) -> None:
        """Return when pods changed or a connection broke; with `limit`, after that at the
        latest."""
        tasks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._watch.changed.wait()),
            asyncio.ensure_future(self._alarm.wait()),
        ]
        if limit:
            tasks.append(asyncio.ensure_future(self._clock.sleep(limit)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._watch.changed.clear()

    async def _explained(self, error: HostError, port: int) -> HostError:
        cause = error.__cause__
        taken = isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE
        who = await asyncio.to_thread(holder, port) if taken else ""
        if not taken:
            return error
        return HostError(
            f"The local port {port} is taken" + (f" by {who}" if who else ""),
            hint=f"Stop what holds it and `kindling trigger {self._node}`, or forward another port",
        )


def choose_pod(pods: list[Object], current: Collection[str] = ()) -> Object | None:
    """The pod that new connections go to: ready before merely running, of these one of the
    `current` revision (by UID), and of these the newest; never one that is being deleted.

    Ages alone do not tell: they are in whole seconds, and a rollout may take less.
    """
    running = [
        pod
        for pod in pods
        if not is_deleting(pod) and (pod.get("status") or {}).get("phase") == "Running"
    ]
    return max(
        running,
        key=lambda pod: (
            is_ready(pod),
            pod["metadata"].get("uid") in current,
            pod["metadata"]["creationTimestamp"],
            pod_name(pod),
        ),
        default=None,
    )


def _break_off(writer: asyncio.StreamWriter) -> None:
    """End a connection by a reset, which ends it up to the pod at once.

    After an orderly end the listener would wait for an answer still, and a server that serves one
    connection after the other would answer no other meanwhile, its health check included.
    """
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def _container_port(pod: Object, spec: PortForwardSpec) -> int:
    if spec.container_port:
        return spec.container_port
    declared = [port.number for port in declared_ports({"kind": "Pod", **pod})]
    if not declared or spec.local_port in declared:
        return spec.local_port
    return declared[0]


def _workloads(
    job: Job, spec: PortForwardSpec
) -> tuple[tuple[ObjectRef, ...], tuple[tuple[tuple[str, str], ...], ...]]:
    output = job.inputs.get(NodeId(spec.rollout))
    data = output.data if output else {}
    refs = tuple(
        ObjectRef(o["apiVersion"], o["kind"], o["name"], o.get("namespace") or "")
        for o in data.get("objects", ())
    )
    selectors = tuple(
        tuple((str(key), str(value)) for key, value in selector)
        for selector in data.get("selectors", ())
    )
    return refs, selectors


def _port_before(job: Job) -> int:
    return int(job.previous.data.get("local_port") or 0) if job.previous else 0


def _output(spec: PortForwardSpec, forward: _Forward) -> Output:
    digest = hashlib.sha256(f"{spec.host}:{forward.port}".encode()).hexdigest()
    return Output(
        f"sha256:{digest}",
        {
            "address": forward.address,
            "url": forward.address,
            "host": spec.host,
            "local_port": forward.port,
            "container_port": spec.container_port,
        },
    )


def _spec(job: Job) -> PortForwardSpec:
    assert isinstance(job.node.spec, PortForwardSpec)
    return job.node.spec
