"""What a pod has on this machine: its folder, volumes, sandbox, names and host ports."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from kindling.cluster.model.api import Obj
from kindling.cluster.node.backoff import Backoff
from kindling.cluster.node.clock import wait_until
from kindling.cluster.node.downward import PodFacts
from kindling.cluster.node.hostports import HostPorts, host_ports
from kindling.cluster.node.launch import Place
from kindling.cluster.node.names import Resolver, hostname_of, hosts_file, resolver_of
from kindling.cluster.node.site import Site
from kindling.cluster.node.slot import Slot
from kindling.cluster.node.volumes import PodVolumes, VolumeError, VolumePlace
from kindling.cluster.runtime.protocol import Sandbox, SandboxSpec, StartError

__all__ = ["PodHome"]


class PodHome:
    """Made by `prepare`, kept up to date by `refresh`, and taken down by `leave`. The folder stays
    as long as the pod's object does, for its logs."""

    def __init__(self, site: Site, uid: str) -> None:
        self.folder: Path = site.folder / uid
        self.sandbox: Sandbox | None = None
        self.inputs = asyncio.Event()
        """Something that the pod refers to, or says of itself, has changed."""
        self._site = site
        self._uid = uid
        self._volumes = PodVolumes(
            site.api,
            site.tokens,
            site.clock,
            self.folder / "volumes",
            users=site.runtime.isolation.users,
        )
        self._places: Mapping[str, VolumePlace] = {}
        self._ports: asyncio.Task[None] | None = None
        self.address = ""
        """Of the pod, once it has had a sandbox: a pod that is over still tells it."""

    def facts(self) -> PodFacts:
        address = self.sandbox.address if self.sandbox else ""
        site = self._site
        return PodFacts(site.name, site.runtime.node_address, address, site.allocatable)

    def place(self, slot: Slot) -> Place:
        """Where the next run of a container is made."""
        etc = self.folder / "etc"
        return Place(
            self._uid,
            self.folder / "containers" / slot.name / str(slot.attempts),
            self._places,
            {f"/etc/{name}": etc / name for name in ("hosts", "hostname", "resolv.conf")},
            self.folder / "termination" / slot.name / str(slot.attempts),
        )

    async def prepare(
        self, pod: Callable[[], Obj], tasks: asyncio.TaskGroup, stuck: Callable[[], None]
    ) -> None:
        """Make everything, as often as it takes; `stuck` is called whenever it fails. `pod` gives
        the newest object."""
        site = self._site
        patience = Backoff(0.5, 120.0)
        while True:
            self.inputs.clear()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._places = self._volumes.prepare(pod(), self.facts())
                sandbox = await site.runtime.create_sandbox(_sandbox_spec(pod()))
                self._write_etc(pod(), sandbox.address)
                break
            except VolumeError as error:
                self._tell_mount(pod(), error)
            except (StartError, OSError) as error:
                # What was half made must not stand in the way of the next try.
                await site.runtime.remove_sandbox(self._uid)
                text = f"Failed to create pod sandbox: {error}"
                site.events.warning(pod(), "FailedCreatePodSandBox", text)
            stuck()
            patience.step(site.clock.monotonic())
            await wait_until(self.inputs, site.clock, site.clock.monotonic() + patience.delay)
        if any(host_ports(pod())):
            await self._open_ports(pod(), sandbox.address, tasks)
        self.sandbox = sandbox
        self.address = sandbox.address

    def refresh(self, pod: Obj) -> float | None:
        """Bring the volumes up to date; the moment at which that is due again, on the monotonic
        clock."""
        clock = self._site.clock
        if self.inputs.is_set() or self._volumes.token_renewal <= clock.time():
            try:
                self._places = self._volumes.prepare(pod, self.facts())
            except VolumeError as error:
                self._tell_mount(pod, error)
        due = self._volumes.token_renewal
        if due == float("inf"):
            return None
        return clock.monotonic() + max(1.0, due - clock.time())

    async def leave(self) -> None:
        """Take down the sandbox and whatever runs in it."""
        if self._ports is not None:
            self._ports.cancel()
        await self._site.runtime.remove_sandbox(self._uid)
        self.sandbox = None

    def _tell_mount(self, pod: Obj, error: VolumeError) -> None:
        text = f'MountVolume.SetUp failed for volume "{error.volume}" : {error}'
        self._site.events.warning(pod, "FailedMount", text)

    def _write_etc(self, pod: Obj, address: str) -> None:
        etc = self.folder / "etc"
        etc.mkdir(exist_ok=True)
        resolver: Resolver = resolver_of(pod, self._site.resolver, self._site.dns_address)
        hosts = ""
        if pod["spec"].get("hostNetwork"):
            hosts = Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")
        texts = {
            "hosts": hosts_file(pod, address, hosts),
            "hostname": hostname_of(pod)[0] + "\n",
            "resolv.conf": resolver.render(),
        }
        for name, text in texts.items():
            (etc / name).write_text(text, encoding="utf-8")

    async def _open_ports(self, pod: Obj, address: str, tasks: asyncio.TaskGroup) -> None:
        ports = HostPorts(self._site.runtime, pod, address)
        self._ports = tasks.create_task(ports.run(), name=f"host-ports-{self._uid}")
        await ports.opened.wait()
        for text in ports.refused:
            self._site.events.warning(pod, "HostPortConflict", text)


def _sandbox_spec(pod: Obj) -> SandboxSpec:
    spec = pod["spec"]
    return SandboxSpec(
        str(pod["metadata"]["uid"]),
        hostname_of(pod)[0],
        bool(spec.get("hostNetwork")),
        bool(spec.get("shareProcessNamespace")),
    )
