"""What the engine's API says while it builds and pushes, as lines for people and a result."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from kindling.build.errors import engine_error, registry_error, registry_of
from kindling.build.protocol import LineSink
from kindling.errors import ExecutionError, KindlingError

__all__ = ["BuildStream", "PushStream"]

_LAST_LINES = 20
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_CODE = re.compile(r"returned a non-zero code: (\d+)")
_PULL = re.compile(r"pull access denied for ([^,\s]+)|manifest for (\S+) not found")
_REFERENCE = re.compile(r'reference "([^"\s]+)"')
_NOISE = frozenset(
    {"Preparing", "Waiting", "Pushing", "Downloading", "Extracting", "Verifying Checksum"}
    | {"Pulling fs layer", "Download complete"}
)
"""States of a layer that come by the hundred and matter to nobody afterwards."""


class BuildStream:
    """Follows a build of the classic builder."""

    def __init__(self, log: LineSink) -> None:
        self._log = log
        self._rest = ""
        self._step = ""
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._image = ""
        self._error = ""

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take one message."""
        if text := message.get("stream"):
            *lines, self._rest = (self._rest + str(text)).split("\n")
            for line in lines:
                self._line(line)
        elif status := message.get("status"):
            self._status(message, str(status))
        if isinstance(aux := message.get("aux"), dict) and aux.get("ID"):
            self._image = str(aux["ID"])
        if message.get("error"):
            self._error = str(message["error"])

    def end(self) -> None:
        """Nothing more will come."""
        if self._rest:
            self._line(self._rest)
            self._rest = ""

    def result(self) -> str:
        """The id of the image.

        Raises:
            ExecutionError: A step failed; the message names it.
            KindlingError: The engine could not go on for a reason of its own (a full disk).
        """
        if self._error:
            raise self._failure()
        if not self._image:
            raise ExecutionError("the build ended without an image", details=tuple(self._last))
        return self._image

    def _failure(self) -> KindlingError:
        said = " ".join(self._error.split())
        if "no space left on device" in said.lower():
            return engine_error(OSError(said), "build")
        details = tuple(self._last)
        if missing := _PULL.search(said):
            name = missing[1] or missing[2]
            return ExecutionError(
                f"the build failed at {self._step}: there is no image `{name}`",
                details=[said],
                hint="Neither this graph nor the registry has it, or it needs `docker login`.",
            )
        if self._step.upper().split(": ", 1)[-1].startswith("FROM "):
            # What the engine asked for is surer than the step, which may have an ARG in its place.
            words = self._step.split(": ", 1)[-1].split()[1:]
            named = next((word for word in words if not word.startswith("-")), "")
            asked = _REFERENCE.search(said)
            error = registry_error(said, "pull", registry_of(asked[1] if asked else named))
            return ExecutionError(
                f"the build failed at {self._step}: {error.message.removeprefix('cannot pull: ')}",
                details=error.details,
                hint=error.hint,
                transient=getattr(error, "transient", False),
            )
        code = _CODE.search(said)
        what = f"exited with code {code[1]}" if code else said
        place = f" at {self._step}" if self._step else ""
        return ExecutionError(f"the build failed{place}: {what}", details=details)

    def _line(self, line: str) -> None:
        line = line.rstrip("\r")
        if step := _STEP.match(line):
            self._step = f"step {step[1]} of {step[2]}: {' '.join(step[3].split())[:200]}"
        if not line.strip():
            return
        self._last.append(line)
        self._log(line)

    def _status(self, message: Mapping[str, Any], status: str) -> None:
        if status in _NOISE or message.get("progressDetail"):
            return
        self._log(f"{message['id']}: {status}" if message.get("id") else status)


class PushStream:
    """Follows a push. `digest` is the manifest's once it is over, `error` what the engine said."""

    def __init__(self, log: LineSink) -> None:
        self._log = log
        self.digest = ""
        self.error = ""

    def feed(self, message: Mapping[str, Any]) -> None:
        """Take one message."""
        if message.get("error"):
            self.error = str(message["error"])
        if isinstance(aux := message.get("aux"), dict) and aux.get("Digest"):
            self.digest = str(aux["Digest"])
        status = str(message.get("status", ""))
        if not status or status in _NOISE or message.get("progressDetail"):
            return
        self._log(f"{message['id']}: {status}" if message.get("id") else status)
