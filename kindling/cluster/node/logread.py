"""Reading a container's log as `kubectl logs` asks for it, without reading more than it must.

The last lines are found from the end of the file, a point in time by halving; only the present file
of a rotated log is read, as by the kubelet.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO

from kindling.cluster.model.streams import LogRequest
from kindling.cluster.node.logfile import LogFile, log_stamp

__all__ = ["last_text", "read_log"]

_BLOCK = 256 * 1024


async def read_log(
    path: Path, request: LogRequest, live: Callable[[], LogFile | None] = lambda: None
) -> AsyncIterator[bytes]:
    """The text of the log at `path`, in chunks. With `follow` it goes on as long as `live` gives
    an open log, and follows it through rotations."""
    since = log_stamp(request.since).encode() if request.since > 0 else b""
    left = request.limit_bytes
    if left is not None and left <= 0:
        return
    whole = True
    file = path.open("rb")
    try:
        start = 0
        if request.tail is not None:
            start = _tail_start(file, request.tail)
        if since:
            start = max(start, _since_start(file, since))
        file.seek(start)
        rest = b""
        while True:
            log = live() if request.follow else None
            tick = log.tick if log is not None else None
            ended = log is None or log.closed
            while block := file.read(_BLOCK):
                *lines, rest = (rest + block).split(b"\n")
                chunk, whole = _convert(lines, request.timestamps, since, whole)
                if left is not None:
                    chunk = chunk[:left]
                    left -= len(chunk)
                if chunk:
                    yield chunk
                if left == 0:
                    return
            if _moved(file, path):
                file.close()
                file = path.open("rb")
                rest = b""
                continue
            if ended or tick is None:
                return
            await tick.wait()
    finally:
        file.close()


def last_text(path: Path, lines: int, size: int) -> str:
    """The end of a log: at most so many lines and bytes (`FallbackToLogsOnError`)."""
    try:
        with path.open("rb") as file:
            file.seek(_tail_start(file, lines))
            text, _ = _convert(file.read().split(b"\n"), False, b"", True)
    except OSError:
        return ""
    return text[-size:].decode(errors="replace")


def _convert(lines: list[bytes], timestamps: bool, since: bytes, whole: bool) -> tuple[bytes, bool]:
    """Records as text, and whether the last of them ended its line. Only the first part of a line
    gets the time in front."""
    out: list[bytes] = []
    for record in lines:
        parts = record.split(b" ", 3)
        if len(parts) != 4 or (since and parts[0] < since):
            continue
        if timestamps and whole:
            out += (parts[0], b" ")
        out.append(parts[3])
        whole = parts[2] != b"P"
        if whole:
            out.append(b"\n")
    return b"".join(out), whole


def _tail_start(file: BinaryIO, count: int) -> int:
    """Where the last `count` records begin."""
    end = file.seek(0, os.SEEK_END)
    if count <= 0:
        return end
    position, found = end, 0
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        at = len(block)
        if position + size == end and block.endswith(b"\n"):
            at -= 1
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == count:
                return position + at + 1
    return 0


def _since_start(file: BinaryIO, since: bytes) -> int:
    """Where the first record at or after a time begins: records are in the order of time, but for
    jumps of the clock, so readers still look at each."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _BLOCK:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        begin = file.tell()
        stamp = file.readline().split(b" ", 1)[0]
        if begin >= high or not stamp or stamp >= since:
            high = middle
        else:
            low = begin
    return low


def _moved(file: BinaryIO, path: Path) -> bool:
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file.fileno())
    return (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev)
