"""Events: what `kubectl describe` and `kubectl get events` tell people of a cluster's doings.

Recording never waits and never fails: what is recorded goes to a queue that `EventSink.run` writes
out. Repetitions become a count on one event, floods of similar ones are combined, and one object
cannot bring about more than a burst of them: numbers and wordings as in client-go's
`tools/record`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from kindling.cluster.model.api import Api, Obj, WriteOptions
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError

__all__ = ["EventRecorder", "EventSink"]

_EVENTS = builtin("events")
_SIMILAR = 10  # as many events that differ in their text alone stay apart,
_SIMILAR_WITHIN = 600.0  # seconds, within so long
_BURST = 25.0  # events of one object and source at once,
_REFILL = 1 / 300  # a second, afterwards
_REMEMBERED = 4096
_log = logging.getLogger(__name__)
_V = TypeVar("_V")


@dataclass(slots=True)
class _Pending:
    about: Obj
    type: str
    reason: str
    message: str
    component: str
    host: str
    at: float


@dataclass(slots=True)
class _Seen:
    namespace: str
    name: str
    count: int
    first: str


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    last: float = 0.0


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class EventSink:
    """Writes events into the API. One may serve many recorders; `time` gives seconds since the
    epoch."""

    def __init__(self, api: Api, time: Callable[[], float]) -> None:
        self._api = api
        self._time = time
        self._queue: asyncio.Queue[_Pending] = asyncio.Queue(maxsize=_REMEMBERED)
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()
        self._similar: OrderedDict[tuple[str, ...], _Similar] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        self._last_name = 0
        self._busy = False

    def recorder(self, component: str, host: str = "") -> EventRecorder:
        """A recorder whose events come from `component` (`kubelet`, `job-controller`)."""
        return EventRecorder(self, component, host)

    def put(
        self, about: Obj, type_: str, reason: str, message: str, component: str, host: str
    ) -> None:
        """Take an event up for writing; dropped when thousands already wait."""
        pending = _Pending(about, type_, reason, message, component, host, self._time())
        try:
            self._queue.put_nowait(pending)
        except asyncio.QueueFull:
            _log.warning("event dropped, too many wait: %s %s", reason, message)

    @property
    def idle(self) -> bool:
        """Whether everything that was recorded has been written or dropped."""
        return self._queue.empty() and not self._busy

    async def run(self) -> None:
        """Write what is recorded, until cancelled."""
        while True:
            pending = await self._queue.get()
            self._busy = True
            try:
                await self._write(pending)
            except ApiError as error:
                # As with a real recorder: the namespace may be going, and nobody waits for this.
                _log.debug("event not written: %s", error)
            except Exception:
                _log.exception("an event could not be written")
            finally:
                self._busy = False

    async def _write(self, pending: _Pending) -> None:
        reference = _reference(pending.about)
        source = (pending.component, pending.host)
        identity = (*source, *(reference.get(key, "") for key in ("kind", "namespace", "name")))
        identity = (*identity, reference.get("uid", ""), reference.get("fieldPath", ""))
        if not self._allowed(identity, pending.at):
            return
        similar_key = (*identity, pending.type, pending.reason)
        message = pending.message
        same_key: tuple[str, ...] = (*similar_key, message)
        if self._too_similar(similar_key, message, pending.at):
            message = f"(combined from similar events): {message}"
            same_key = similar_key
        if (seen := self._seen.get(same_key)) and await self._repeat(seen, message, pending.at):
            self._seen.move_to_end(same_key)
            return
        namespace = reference.get("namespace") or "default"
        now = _stamp(pending.at)
        # Two events of one moment still need two names.
        self._last_name = max(int(pending.at * 1e9), self._last_name + 1)
        name = f"{reference.get('name', '')}.{self._last_name:x}"
        event: Obj = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": reference,
            "reason": pending.reason,
            "message": message,
            "source": {"component": pending.component}
            | ({"host": pending.host} if pending.host else {}),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": pending.type,
            "eventTime": None,
            "reportingComponent": pending.component,
            "reportingInstance": pending.host,
        }
        options = WriteOptions(field_manager=pending.component)
        await self._api.create(_EVENTS, event, namespace, options)
        _remember(self._seen, same_key, _Seen(namespace, name, 1, now))

    async def _repeat(self, seen: _Seen, message: str, at: float) -> bool:
        """Count a repetition; False when the first event is no longer there."""
        change = {"count": seen.count + 1, "lastTimestamp": _stamp(at), "message": message}
        try:
            await self._api.patch(_EVENTS, seen.name, change, seen.namespace)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        seen.count += 1
        return True

    def _too_similar(self, key: tuple[str, ...], message: str, at: float) -> bool:
        similar = self._similar.get(key)
        if similar is None or at - similar.last > _SIMILAR_WITHIN:
            similar = _remember(self._similar, key, _Similar())
        similar.last = at
        similar.messages.add(message)
        return len(similar.messages) >= _SIMILAR

    def _allowed(self, key: tuple[str, ...], at: float) -> bool:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _remember(self._buckets, key, _Bucket(_BURST, at))
        bucket.tokens = min(_BURST, bucket.tokens + max(0.0, at - bucket.at) * _REFILL)
        bucket.at = at
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class EventRecorder:
    """Says what one component does, about the objects it does it to."""

    def __init__(self, sink: EventSink, component: str, host: str = "") -> None:
        self._sink = sink
        self._component = component
        self._host = host

    def normal(self, about: Obj, reason: str, message: str) -> None:
        """`about` is a whole object, or a reference to one (`kind`, `name`, `fieldPath` ...)."""
        self._sink.put(about, "Normal", reason, message, self._component, self._host)

    def warning(self, about: Obj, reason: str, message: str) -> None:
        """As `normal`, for what went wrong."""
        self._sink.put(about, "Warning", reason, message, self._component, self._host)


def _reference(about: Obj) -> Obj:
    meta = about.get("metadata")
    if meta is None:
        return about
    reference: Obj = {key: about[key] for key in ("apiVersion", "kind") if key in about}
    for key in ("name", "namespace", "resourceVersion", "uid"):
        if meta.get(key):
            reference[key] = meta[key]
    return reference


def _remember(table: OrderedDict[tuple[str, ...], _V], key: tuple[str, ...], value: _V) -> _V:
    table[key] = value
    while len(table) > _REMEMBERED:
        table.popitem(last=False)
    return value


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
