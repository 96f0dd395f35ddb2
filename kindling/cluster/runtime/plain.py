"""Containers without containment: plain processes of this machine, ended as one."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
from pathlib import Path
from typing import Any

from kindling.cluster.model.streams import ExecRequest
from kindling.cluster.runtime.launch.plain_loop import RUNTIME_TOKEN, carriers
from kindling.cluster.runtime.protocol import ContainerSpec, Isolation, StartError
from kindling.cluster.runtime.rewriting import View, merge_layers
from kindling.cluster.runtime.spawned import SpawnedRuntime

__all__ = ["PlainRuntime"]


class PlainRuntime(SpawnedRuntime):
    """`why` says, for people, why there is nothing better. `folder` is for its own use, one runtime
    at a time.

    The files of an image are copied to the container's folder (`upper`), and paths that mean them
    are rewritten: see `rewriting`.
    """

    def __init__(self, folder: Path, *, why: str = "") -> None:
        super().__init__(folder)
        self._why = why
        # The same for every runtime of this folder, so that the next one knows its leftovers.
        self._token = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:20]
        self._views: dict[str, View] = {}

    @property
    def isolation(self) -> Isolation:
        why = f" ({self._why})" if self._why else ""
        return Isolation(
            pids=False,
            root=False,
            network=False,
            memory=False,
            users=False,
            missing=(
                f"containers are plain processes of this machine{why}",
                "pids: an app is not PID 1, and sees the processes of this machine",
                "root: the root file system is this machine's; paths in commands and environment"
                " that mean files of the image or a volume are rewritten, others are not",
                "network: pods share this machine's network and its ports at 127.0.0.1",
                "services: their addresses and DNS names lead nowhere; port-forwards and the"
                " ingress lead to their pods",
                "builds: RUN is refused in Dockerfiles",
                "memory: limits are ignored",
                "users: every container runs as you",
            ),
        )

    async def start(self) -> None:
        if not self.alive:
            await asyncio.to_thread(_end_carriers, self._token)
            await self._begin({"mode": "plain", "token": self._token})

    async def _prepare(self, spec: ContainerSpec) -> dict[str, Any]:
        root = spec.folder / "upper"
        try:
            await asyncio.to_thread(merge_layers, spec.root.layers, root)
        except OSError as error:
            raise StartError(f"failed to copy rootfs: {error}", "CreateContainerError") from error
        view = View(spec, root)
        told = await super()._prepare(spec)
        env = view.env(spec.env)
        cwd = view.path(spec.cwd)
        if cwd == spec.cwd:
            cwd = await asyncio.to_thread(_made_folder, cwd, root)
        argv = view.command(spec.argv, env)
        self._views[spec.id] = view
        return {**told, "env": env, "cwd": cwd, "argv": argv}

    def _command(self, told: dict[str, Any], request: ExecRequest) -> list[str]:
        view = self._views.get(told["id"])
        return view.command(request.command, told["env"]) if view else list(request.command)

    def _forget(self, key: str) -> None:
        self._views.pop(key, None)

    def _on_lost(self) -> None:
        super()._on_lost()
        _end_carriers(self._token)
        self._views.clear()


def _made_folder(cwd: str, root: Path) -> str:
    """A working folder that is neither the image's nor this machine's is made in the copy."""
    if os.path.isdir(cwd):
        return cwd
    made = str(root) + os.path.normpath(cwd)
    with contextlib.suppress(OSError):
        os.makedirs(made, exist_ok=True)
    return made


def _end_carriers(token: str) -> None:
    """Kill what an earlier launcher has left, itself gone."""
    for _ in range(100):
        left = carriers(RUNTIME_TOKEN, token)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
