"""Which way each change of files goes: into running containers, or through a build.

A file that an image with sync steps is made of is not by itself a reason to build: where every
container that runs the image can be given the file as it is, and is there or on its way, the change
is carried and the image node hears nothing of it. Its key then differs from that of its last build,
so that the next start builds it anew; that is right, since containers are forgotten and images are
not.

Pure but for a look at whether a path is a file, a folder or gone, and for `since_build`.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from kindling.engine.following import Changes
from kindling.engine.inputs import InputReader
from kindling.executors.protocol import FilesSaved
from kindling.files.tree import ABSENT
from kindling.graph.dag import Graph
from kindling.graph.node import NodeId, Trigger
from kindling.graph.spec import SyncSpec
from kindling.store.database import Store
from kindling.sync.rules.decision import Carry, Decision, Rebuild, decide
from kindling.sync.rules.landing import Context
from kindling.sync.trees.quiet import is_temporary

__all__ = ["Place", "Routed", "Routing", "joined"]

_MOST_SHOWN = 5


class Place(Enum):
    """Where a sync session stands when a file is saved."""

    LIVE = "live"
    """It is there and takes changes."""
    COMING = "coming"
    """What it waits for is under way; it will bring all that differs."""
    GONE = "gone"
    """There is none, and none is on its way: only a build helps."""


@dataclass(slots=True)
class Routed:
    """What a batch of changes comes to: `nodes` are to look at their files, `carry` is for live
    sessions, and `because` says why a node runs that a session spared otherwise."""

    nodes: dict[NodeId, None] = field(default_factory=dict)
    carry: dict[NodeId, FilesSaved] = field(default_factory=dict)
    because: dict[NodeId, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Sync:
    id: NodeId
    spec: SyncSpec
    context: Context
    manual: bool
    ancestors: frozenset[NodeId]


class Routing:
    """Sorts the changes of one session. One owner calls it, on the loop."""

    def __init__(self, root: Path, store: Store, inputs: InputReader) -> None:
        self._root = root
        self._store = store
        self._inputs = inputs
        self._syncs: dict[NodeId, _Sync] = {}
        self._stopped: set[NodeId] = set()
        self._kept_back: dict[NodeId, dict[NodeId, tuple[str, ...]]] = {}
        self._paused: dict[NodeId, FilesSaved] = {}

    def load(self, graph: Graph, selected: Collection[NodeId]) -> None:
        """Sort by the sync nodes of this graph that take part."""
        found: dict[NodeId, _Sync] = {}
        for id_, node in graph.nodes.items():
            if not isinstance(node.spec, SyncSpec) or id_ not in selected:
                continue
            before = self._syncs.get(id_)
            same = before is not None and before.spec == node.spec
            context = (
                before.context
                if before is not None and same
                else Context(node.spec.image or node.name, self._root, node.spec.files)
            )
            found[id_] = _Sync(
                id_,
                node.spec,
                context,
                node.trigger is Trigger.MANUAL,
                graph.ancestors((id_,)) - {id_},
            )
        self._syncs = found
        self._stopped &= found.keys()
        for table in (self._kept_back, self._paused):
            for gone in table.keys() - found.keys():
                del table[gone]

    def sort(self, changes: Changes, place: Callable[[NodeId], Place]) -> Routed:
        """Where each of the changes goes. `place` tells how a session stands."""
        routed = Routed(nodes={id_: None for id_ in changes.nodes if id_ not in self._syncs})
        concerned = [self._syncs[id_] for id_ in changes.nodes if id_ in self._syncs]
        spared: dict[NodeId, list[tuple[_Sync, Decision, Place]]] = {}
        entries = _Disk(self._root)
        for sync in concerned:
            stands = Place.GONE if sync.id in self._stopped else place(sync.id)
            decision = self._decide(sync, changes, entries)
            for id_ in (*sync.spec.covers, sync.spec.image):
                if id_:
                    spared.setdefault(NodeId(id_), []).append((sync, decision, stands))
            self._session(routed, sync, decision, stands, changes)
        for id_, answers in spared.items():
            self._image(routed, id_, answers, changes)
        return routed

    def _decide(self, sync: _Sync, changes: Changes, entries: Mapping[str, str]) -> Decision:
        """What a change means to one session.

        What changed unseen is looked at by content (`rebuild_since`). A temporary name that is gone
        already was a step of some editor's save; whether it was more, the session knows.
        """
        if changes.rescan:
            return Carry(())
        passing = {
            path for path in changes.every if is_temporary(path) and entries.get(path) == ABSENT
        }
        lasting = [path for path in changes.every if path not in passing]
        if passing and not lasting:
            return Carry(())
        return decide(lasting, sync.spec.steps, sync.context, entries)

    def _session(
        self, routed: Routed, sync: _Sync, decision: Decision, stands: Place, changes: Changes
    ) -> None:
        """What a session is told of a change."""
        if not isinstance(decision, Carry) or sync.id in self._stopped:
            return
        saved = FilesSaved(changes.every, changes.rescan, changes.since)
        if stands is Place.LIVE and not sync.manual:
            routed.carry[sync.id] = saved
        elif stands is Place.LIVE:
            paused = self._paused.get(sync.id)
            self._paused[sync.id] = joined(paused, saved) if paused else saved
            routed.nodes[sync.id] = None
        elif stands is Place.GONE:
            routed.nodes[sync.id] = None

    def _image(
        self,
        routed: Routed,
        id_: NodeId,
        answers: list[tuple[_Sync, Decision, Place]],
        changes: Changes,
    ) -> None:
        """Whether a node that sessions may spare runs all the same."""
        why = [
            decision.why
            for sync, decision, _ in answers
            if isinstance(decision, Rebuild) and (id_ in changes.nodes or id_ == sync.spec.image)
        ]
        if why:
            routed.nodes[id_] = None
            routed.because[id_] = tuple(dict.fromkeys(why))
            for sync, _, _ in answers:
                routed.carry.pop(sync.id, None)
            return
        if id_ not in changes.nodes:
            return
        sparing = [
            (sync, stands)
            for sync, decision, stands in answers
            if id_ in sync.spec.covers and not isinstance(decision, Rebuild)
        ]
        gone = any(
            stands is Place.GONE
            for sync, decision, stands in answers
            if isinstance(decision, Carry)
        )
        if not sparing or gone:
            return  # it runs, as it would without any session
        routed.nodes.pop(id_, None)
        for sync, stands in sparing:
            if stands is Place.COMING:
                kept = self._kept_back.setdefault(sync.id, {})
                kept[id_] = tuple(f"`{path}` changed" for path in changes.every[:_MOST_SHOWN])

    def before(self, id_: NodeId) -> frozenset[NodeId]:
        """All that a session comes after."""
        sync = self._syncs.get(id_)
        return sync.ancestors if sync is not None else frozenset()

    def begun(self, id_: NodeId) -> None:
        """A session is live: what was kept back for it came with it."""
        self._stopped.discard(id_)
        self._kept_back.pop(id_, None)

    def stopped(self, id_: NodeId) -> None:
        """A user ended a session: from now on files go through builds, until it is triggered."""
        self._stopped.add(id_)
        self._paused.pop(id_, None)

    def given_back(self, id_: NodeId) -> dict[NodeId, tuple[str, ...]]:
        """A node failed: the nodes that were spared for sessions which do not come now, and why
        they are to run."""
        found: dict[NodeId, tuple[str, ...]] = {}
        for sync in self._syncs.values():
            if id_ in sync.ancestors or id_ == sync.id:
                found.update(self._kept_back.pop(sync.id, {}))
        return found

    def paused(self, ids: Collection[NodeId]) -> tuple[NodeId, ...]:
        """Those among these sessions that have changes and wait to be asked for."""
        return tuple(id_ for id_ in ids if id_ in self._paused)

    def take_paused(self, id_: NodeId) -> FilesSaved:
        """The changes that waited."""
        return self._paused.pop(id_, FilesSaved())

    def fallback(self, id_: NodeId) -> NodeId | None:
        """The node that builds what a session cannot carry."""
        sync = self._syncs.get(id_)
        return NodeId(sync.spec.image) if sync is not None and sync.spec.image else None

    async def since_build(self, id_: NodeId) -> tuple[str, ...]:
        """Every file that differs from those its image was built of; none for a prebuilt one."""
        sync = self._syncs.get(id_)
        if sync is None or not sync.spec.built:
            return ()
        return await asyncio.to_thread(self._differing, sync)

    def _differing(self, sync: _Sync) -> tuple[str, ...]:
        then: dict[str, str] = {}
        for id_ in sync.spec.built:
            if (record := self._store.record(NodeId(id_))) is not None:
                then |= {
                    label.removeprefix("file:"): digest
                    for label, digest in record.manifest.lines.items()
                    if label.startswith("file:")
                }
        now: dict[str, str] = {}
        for files in sync.spec.files:
            now |= self._inputs.entries(files)
        return tuple(
            sorted(path for path in then.keys() | now.keys() if then.get(path) != now.get(path))
        )

    async def rebuild_since(self, id_: NodeId) -> tuple[NodeId, tuple[str, ...]] | None:
        """After events were lost: the node that has to build, and why, where something differs
        that no session can carry."""
        sync, again = self._syncs.get(id_), self.fallback(id_)
        if sync is None or again is None:
            return None
        differing = await self.since_build(id_)
        decision = decide(differing, sync.spec.steps, sync.context, _Disk(self._root))
        return (again, (decision.why,)) if isinstance(decision, Rebuild) else None


def joined(first: FilesSaved, second: FilesSaved) -> FilesSaved:
    """Two batches as one."""
    return FilesSaved(
        tuple(dict.fromkeys((*first.paths, *second.paths))),
        first.rescan or second.rescan,
        min(first.since or second.since, second.since or first.since),
    )


class _Disk(Mapping[str, str]):
    """What paths are just now, as far as `decide` asks: a folder, something else, or gone."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __getitem__(self, path: str) -> str:
        try:
            mode = os.lstat(os.path.join(self._root, path)).st_mode
        except OSError:
            return ABSENT
        return "dir:" if stat.S_ISDIR(mode) else "file:"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
