"""`kindling sync` as its user runs it: a process of its own, in a folder of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.children import ends_with_us

__all__ = ["Syncing", "environment", "kindling"]

KINDLING = str(Path(sys.executable).parent / "kindling")
_BIN = Path(__file__).parent / "bin"


def environment(**more: str) -> Mapping[str, str]:
    """That of this test, with a `go` for machines that have none."""
    return {**os.environ, "PATH": f"{os.environ['PATH']}{os.pathsep}{_BIN}", **more}


def kindling(folder: Path, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run it to its end: exit code, and all that it said."""
    done = subprocess.run(
        [KINDLING, *words],
        cwd=folder,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=150,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


class Syncing:
    """A session of `kindling sync` in the background. `folder` is the project it belongs to, where
    its records lie."""

    def __init__(
        self, folder: Path, words: Sequence[str], env: Mapping[str, str] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Kindlingfile").touch()
        self._said = folder / f"said-{len(list(folder.glob('said-*')))}.txt"
        self.words = [KINDLING, "sync", *words]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                self.words,
                cwd=folder,
                env=dict(env or environment()),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=ends_with_us(),
            )

    @property
    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def assert_runs(self) -> None:
        assert self.process.poll() is None, f"{' '.join(self.words)} ended:\n{self.said}"

    async def says(self, text: str, seconds: float = 120.0) -> None:
        """Wait until it has said this."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.said:
                    self.assert_runs()
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"`{text}` was not said:\n{self.said}") from None

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def stop(self, number: int = signal.SIGINT, seconds: float = 120.0) -> str:
        """Ctrl-C, and wait until it is gone. What it said."""
        self.send(number)
        await self.ended(seconds)
        assert self.process.returncode in (0, 130), self.said
        return self.said

    async def ended(self, seconds: float = 120.0) -> int:
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end:\n{self.said}") from None

    async def close(self) -> None:
        """Whatever became of the test: no process stays."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        await asyncio.to_thread(self.process.wait)
