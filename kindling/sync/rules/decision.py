"""What a change of files means: carry it, rebuild, or nothing.

    a file of `fall_back_on` changed            rebuild, whatever else changed or ignores it
    a file that is no part of the image         as if it had not changed
    a file of the image outside every sync      rebuild; the file is named
    a file that every sync over it ignores      as if it had not changed
    the rest                                    carried, all of the batch or none

Commands run after the files went over, in their order: those without triggers each time, others
when a carried file is one of their triggers or lies in one. A trigger alone updates nothing. A
command that failed is owed (`owed`): it runs again with the next batch, whatever that holds (Tilt
forgets it, so that a mended `package.json` is installed by luck).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kindling.lang.declared import (
    FallBackOn,
    InitialSync,
    LiveUpdateStep,
    RestartContainer,
    RunStep,
)
from kindling.sync.rules.landing import Context, Sync, landings, source_of, syncs_of
from kindling.sync.trees.manifest import shown

__all__ = ["Carry", "Decision", "Landed", "Nothing", "Rebuild", "decide", "starting"]


@dataclass(frozen=True, slots=True)
class Landed:
    """A container path and the source path it is to show; `source` None: it is to be gone."""

    path: str
    source: str | None


@dataclass(frozen=True, slots=True)
class Carry:
    """Bring `batch` over, run `commands` in each container, then restart it where so told."""

    batch: tuple[Landed, ...]
    commands: tuple[RunStep, ...] = ()
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Build the image anew. `why` names the first file, `files` are all of them."""

    why: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """The change means nothing to this container."""

    why: str


Decision = Carry | Rebuild | Nothing


def decide(
    changed: Collection[str],
    steps: Sequence[LiveUpdateStep],
    context: Context,
    entries: Mapping[str, str],
    owed: Collection[RunStep] = (),
) -> Decision:
    """What a change of `changed` means, where `entries` is the tree as it is now.

    Paths that changed and are not in `entries` are gone. A step list without a sync carries
    nothing: every change of the image rebuilds it.
    """
    paths = sorted(set(changed))
    for step in steps:
        if isinstance(step, FallBackOn):
            stops = [path for path in paths if any(context.inside(path, s) for s in step.paths)]
            if stops:
                return Rebuild(f"{_named(stops)} is in `fall_back_on`", tuple(stops))
    own = [path for path in paths if context.holds(path)]
    if not own:
        return Nothing(f"no file of image `{context.image}` changed")
    syncs = syncs_of(steps, context, entries)
    outside = [
        path
        for path in own
        if not any(sync.covers(path) for sync in syncs) and not _leads(path, syncs, entries)
    ]
    if outside:
        return Rebuild(f"{_named(outside)} is in no `sync` step", tuple(outside))
    carried = [path for path in own if landings(path, syncs)]
    if not carried:
        return Nothing(f"the `sync` steps ignore {_named(own)}")
    places = sorted({place for path in carried for place in landings(path, syncs)})
    batch = tuple(Landed(place, source_of(place, syncs, entries)) for place in places)
    return _carry(batch, carried, steps, context, owed)


def starting(
    steps: Sequence[LiveUpdateStep],
    context: Context,
    entries: Mapping[str, str],
    changed: Collection[str] = (),
) -> Decision:
    """What a container needs that has just started, or started again.

    With `initial_sync` all that the steps cover, without deletes; without it what `changed` since
    its image was built, so that a new pod catches up and nothing is rebuilt.
    """
    if not any(isinstance(step, InitialSync) for step in steps):
        return decide(changed, steps, context, entries)
    syncs = syncs_of(steps, context, entries)
    carried = [path for path in sorted(entries) if landings(path, syncs)]
    places = sorted({place for path in carried for place in landings(path, syncs)})
    batch = tuple(
        Landed(place, source)
        for place in places
        if (source := source_of(place, syncs, entries)) is not None
    )
    if not batch:
        return Nothing("the `sync` steps cover no file")
    return _carry(batch, carried, steps, context, ())


def _carry(
    batch: tuple[Landed, ...],
    carried: Collection[str],
    steps: Sequence[LiveUpdateStep],
    context: Context,
    owed: Collection[RunStep],
) -> Carry:
    commands = tuple(
        step
        for step in steps
        if isinstance(step, RunStep)
        and (
            not step.triggers
            or step in owed
            or any(context.inside(path, one) for path in carried for one in step.triggers)
        )
    )
    return Carry(batch, commands, any(isinstance(step, RestartContainer) for step in steps))


def _leads(path: str, syncs: Sequence[Sync], entries: Mapping[str, str]) -> bool:
    """Is it a folder on the way to what is synced? One that is made with what lies in it is no
    change of its own."""
    if not entries.get(path, "").startswith("dir:"):
        return False
    return any(sync.context.inside(sync.step.local, path) for sync in syncs)


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - 1
    return f"`{shown(paths[0])}`" + (f" (and {more} more)" if more else "")
