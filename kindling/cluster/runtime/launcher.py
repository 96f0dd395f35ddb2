"""Containers in namespaces: the runtime for Linux, as root or as a user with user namespaces."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from kindling.cluster.runtime.egress import Egress
from kindling.cluster.runtime.launch.wire import Message
from kindling.cluster.runtime.protocol import (
    ContainerSpec,
    Isolation,
    RootFs,
    SandboxSpec,
    StartError,
)
from kindling.cluster.runtime.spawned import SpawnedRuntime

__all__ = ["POD_NETWORK", "SERVICE_NETWORK", "LauncherRuntime"]

POD_NETWORK = "10.199.0.0/16"
SERVICE_NETWORK = "10.198.0.0/16"
_PROBE = "probe-of-kindling"


class LauncherRuntime(SpawnedRuntime):
    """`folder` is for the launcher's own use, with one launcher at a time. `interpreter` is the
    command that runs Python for it, as whatever user. Containers on this machine's own root find
    the `hidden` folders empty, unless they are privileged. `start` raises `StartError` saying what
    this machine does not allow."""

    def __init__(
        self,
        folder: Path,
        *,
        pods: str = POD_NETWORK,
        services: str = SERVICE_NETWORK,
        interpreter: tuple[str, ...] = (sys.executable,),
        hidden: tuple[Path, ...] = (),
    ) -> None:
        super().__init__(folder, interpreter)
        self._config: Message = {
            "mode": "spaces",
            "pods": pods,
            "services": services,
            "hidden": [str(path) for path in hidden],
        }
        self._isolation = Isolation(True, True, True, False, False)
        self._egress: Egress | None = None

    @property
    def isolation(self) -> Isolation:
        """Known once it was started."""
        return self._isolation

    async def start(self) -> None:
        if self.alive:
            return
        if self._egress is not None:
            await self._egress.close()
            self._egress = None
        if sys.platform != "linux":
            raise StartError("namespaces are a matter of Linux")
        ready, fds = await self._begin(self._config)
        try:
            await self._try_out()
        except BaseException:
            for fd in fds:
                os.close(fd)
            await self.close()
            raise
        missing = [
            "network: pods reach the outside by TCP and name servers by UDP, and by nothing else"
        ]
        if fds:
            self._egress = Egress(*(socket.socket(fileno=fd) for fd in fds))
            await self._egress.start()
        else:
            missing = [f"network: pods reach nothing outside: {ready['why_no_egress']}"]
        if not ready["memory"]:
            missing.append(
                f"memory: limits are watched, not enforced by the kernel: {ready['why_memory']}"
            )
        if not ready["cpu"]:
            missing.append("cpus: limits are not enforced: no control group for it is ours")
        if ready["single"]:
            missing.append(
                "users: every user of a container is you on this machine, and none can change to"
                f" another: {ready['why_single']}"
            )
        self._isolation = Isolation(
            pids=True,
            root=True,
            network=True,
            memory=ready["memory"],
            users=not ready["single"],
            missing=tuple(missing),
        )

    async def _try_out(self) -> None:
        """Make a container up to its program, which is not there: so everything else works, or
        `StartError` says what does not. Some 15 ms."""
        await self.create_sandbox(SandboxSpec(_PROBE, "probe"))
        spec = ContainerSpec(
            _PROBE, _PROBE, self._folder / _PROBE, RootFs(host=True), (f"/{_PROBE}",)
        )
        try:
            await self.run(spec)
        except StartError as error:
            if not str(error).startswith(f'exec: "/{_PROBE}"'):
                raise StartError(f"containers cannot be made here: {error}") from error
        finally:
            await self.remove_sandbox(_PROBE)

    async def close(self) -> None:
        if self._egress is not None:
            await self._egress.close()
            self._egress = None
        await super().close()
