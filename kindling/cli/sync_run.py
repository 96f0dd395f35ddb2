"""`kindling sync` from its first word to its last: reach the workload, keep it equal, put it
back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.cli.invocation import Invocation
from kindling.cli.sync_face import Face
from kindling.cli.sync_leaving import Leaving, leaving
from kindling.cli.sync_options import Source, destination
from kindling.cli.sync_places import own_records
from kindling.cli.sync_watch import Keeper
from kindling.cli.there import tell, wanted_cluster
from kindling.errors import (
    ExecutionError,
    InterruptError,
    KindlingError,
    StoreError,
    WorldError,
)
from kindling.graph.steps import LEFT_OUT
from kindling.objects.identity import display_name
from kindling.sync.notices import Built, Found, Notice, Released, Remark
from kindling.sync.rules.failures import Action
from kindling.sync.trees.manifest import Reason

if TYPE_CHECKING:
    from kindling.build.protocol import ContainerEngine
    from kindling.engine.environments.reach import Reached
    from kindling.executors.protocol import Clock
    from kindling.graph.spec import ObjectRef
    from kindling.kube.protocol import Object
    from kindling.sync.session.order import Order, Outcome
    from kindling.sync.session.session import SyncSession
    from kindling.sync.workload.restoring import Decide

__all__ = ["DEFAULT_DESTINATION", "Asked", "run_sync"]

DEFAULT_DESTINATION = "/app"


_NOTHING = Released("Nothing was changed")
_GONE_AFTER = 5.0
"""For how many seconds a workload may be gone: who replaces one deletes it first."""
_LAST_BATCHES = 15.0
"""How long what is under way at the end may take before it is cut off."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says."""

    workload: str
    source: Source
    namespace: str = ""
    container: str = ""
    dest: str = ""
    restart: bool = False
    once: bool = False
    exclude: tuple[str, ...] = ()
    debounce: float | None = None
    language: str = ""
    build_cmd: str = ""
    build_output: str = ""
    logs: bool = False
    as_json: bool = False


def run_sync(invocation: Invocation, asked: Asked) -> int:
    """Sync until somebody wants it to end, or once; the exit code.

    Raises:
        KindlingError: It cannot begin, or went wrong in a way that trying again does not mend; what
            was changed is put back.
    """
    if invocation.verbose:
        from kindling.cli.verbose import log_to_stderr

        log_to_stderr()
    return asyncio.run(_sync(invocation, asked))


async def _sync(invocation: Invocation, asked: Asked) -> int:
    from kindling.engine.clock import SystemClock
    from kindling.kube.errors import ForbiddenError
    from kindling.sync.workload.agents import needs

    face = Face(invocation, SystemClock(), as_json=asked.as_json)
    made: list[_Run] = []

    def parting() -> str:
        return made[0].parting() if made else ""

    async with AsyncExitStack() as stack:
        with leaving(parting) as wish:
            face.heard_by(wish.ask)

            async def make() -> None:
                made.append(await _made(invocation, asked, face, stack))

            if not await _unless(wish, make()) or wish.asked:
                face.interrupted()
                face.remark("Interrupted before anything was touched")
                return InterruptError.exit_code
            run = made[0]
            try:
                return await run.to_its_end(wish)
            except ForbiddenError as error:
                # What a session needs is said wherever the first lack of it shows.
                raise needs(run.ref.namespace, error, kept=not run.over) from error


async def _made(invocation: Invocation, asked: Asked, face: Face, stack: AsyncExitStack) -> _Run:
    """A session that is about to begin; what it needs is closed with `stack`."""
    from kindling.build.imageconfig import ImageConfigs
    from kindling.engine.clock import SystemClock
    from kindling.engine.environments.reach import find_target, reach
    from kindling.executors.processes import HostProcesses
    from kindling.kube.errors import ForbiddenError
    from kindling.sync.session.session import SyncSession
    from kindling.sync.workload.agents import needs
    from kindling.sync.workload.finding import find
    from kindling.sync.workload.records import Records
    from kindling.sync.workload.scratch import remove_scratch

    environment = dict(os.environ)
    clock = SystemClock()
    target = await find_target(wanted_cluster(invocation), environment)
    tell(f"Cluster `{target.context.name}`: {target.reason}")
    reached = await stack.enter_async_context(reach(target, environment, start=False))
    place = asked.namespace or reached.namespace
    try:
        ref = await find(reached.cluster, asked.workload, place)
        order = order_of(asked, ref, await reached.cluster.get(ref))
    except ForbiddenError as error:
        raise needs(place, error) from error
    programs = HostProcesses()
    stack.push_async_callback(programs.close)

    async def engine() -> ContainerEngine | None:
        return await _engine(reached, programs, environment)

    announced = (await reached.cluster.facts()).registry
    images = ImageConfigs(engine, hosts=announced.from_here if announced else str)
    stack.push_async_callback(images.close)
    records = own_records(invocation, environment)
    folder = await asyncio.to_thread(scratch_for, records, ref)
    stack.push_async_callback(asyncio.to_thread, remove_scratch, folder)
    run = _Run(asked, ref, reached, face, clock)
    run.session = SyncSession(
        order,
        cluster=reached.cluster,
        records=Records(records),
        processes=programs,
        clock=clock,
        tell=run.tell,
        folder=folder,
        images=images,
    )
    return run


def scratch_for(records: Path, ref: ObjectRef) -> Path:
    """Where a session builds: beside its record, so that the next one removes what one left there
    that was killed.

    Raises:
        StoreError: The disk refuses; nothing was touched.
    """
    from kindling.sync.workload.scratch import make_scratch

    try:
        return make_scratch(records / "scratch", ref.name)
    except OSError as error:
        raise StoreError(
            f"A sync session cannot write to {records}: {error.strerror}",
            hint="Make the folder writable, or free space on its disk. Nothing was changed.",
        ) from error


def order_of(asked: Asked, ref: ObjectRef, live: Object) -> Order:
    """What is asked of the session.

    Raises:
        UsageError: The workload has no such container.
    """
    from kindling.lang.declared import SyncStep
    from kindling.sync.rules.landing import Context
    from kindling.sync.runtimes.plan import Overrides
    from kindling.sync.session.order import Order
    from kindling.sync.template.patch import chosen

    container = chosen(live["spec"]["template"], asked.container)
    source = asked.source
    dest = asked.dest
    if not dest:
        folder = str(container.get("workingDir") or "")
        dest = folder if folder.startswith("/") and folder.strip("/") else DEFAULT_DESTINATION
    dest = destination(dest, source)
    patterns = asked.exclude if source.single else (*LEFT_OUT, *asked.exclude)
    shown = source.root / source.local if source.single else source.root
    return Order(
        workload=ref,
        container=str(container["name"]),
        steps=(SyncStep(source.local, dest),),
        context=Context(root=source.root),
        exclude=patterns,
        overrides=Overrides(
            restart=asked.restart,
            language=asked.language,
            build_cmd=asked.build_cmd,
            build_output=asked.build_output,
        ),
        gone_after=_GONE_AFTER,
        what=str(shown),
        source=str(shown),
        destination=dest.rstrip("/") + "/" + source.local if dest.endswith("/") else dest,
    )


async def _engine(
    reached: Reached, programs: object, environment: Mapping[str, str]
) -> ContainerEngine | None:
    """Who has the images of this cluster's node, or may have them."""
    from kindling.build.docker_engine import connect
    from kindling.engine.embedded import home_of, node_images
    from kindling.executors.processes import HostProcesses

    assert isinstance(programs, HostProcesses)
    home = home_of(reached.context, environment)
    if home is not None:
        return await node_images(home, programs, environment, Path.cwd())
    return await connect(programs, environment, Path.cwd())


@dataclass(slots=True)
class _Run:
    """One session, from its start to its end."""

    asked: Asked
    ref: ObjectRef
    reached: Reached
    face: Face
    clock: Clock
    session: SyncSession = field(init=False)
    _batches: set[asyncio.Task[None]] = field(default_factory=set)
    _told: set[str] = field(default_factory=set)
    _unbuilt: bool = False
    """The last local build failed."""
    over: bool = False
    """Everything is put back, or nothing was touched."""

    def tell(self, notice: Notice) -> None:
        """What the session tells."""
        if isinstance(notice, Built):
            self._unbuilt = not notice.ok
        self.face.tell(notice)
        if isinstance(notice, Found) and self.session.strategy.patches:
            self.face.remark(f"Rolling {display_name(self.ref)} out once, with the agent in it")

    def parting(self) -> str:
        """What is to be said when it is left at once."""
        if self.over:
            return ""
        called = display_name(self.ref)
        return f"Left at once: `{self._restore}` puts {called} back, and so does the next session"

    @property
    def _restore(self) -> str:
        """The command that puts this workload back."""
        ref = self.ref
        return f"kindling sync --restore -d {ref.kind.lower()}/{ref.name} -n {ref.namespace}"

    async def to_its_end(self, wish: Leaving) -> int:
        """The whole session; its exit code."""
        try:
            begun = await _unless(wish, self.session.start())
            if begun and self.asked.once:
                return await self._once()
            whole = begun and await self._follow(wish)
        except BaseException:
            await self._stop_after_trouble()
            raise
        if not begun:
            self.face.interrupted()
            self.face.remark("Interrupted at its start; what was touched is put back")
            await self._stop()
            return InterruptError.exit_code
        if not self.face.deaf:
            self.face.interrupted()
            self.face.remark(f"Putting {display_name(self.ref)} back (Ctrl-C again leaves at once)")
        code = await self._stop()
        return code if whole else InterruptError.exit_code

    async def _once(self) -> int:
        """Everything was brought by the start, but for what could not be built or read."""
        whole = not self._unbuilt
        # A second look costs as much as the first: reading all files, here and there.
        if whole and self.session.strategy.carries_sources and not self.session.settled:
            outcome = await self.session.changed((), rescan=True)
            self._judge(outcome)
            if outcome.action is Action.RETRY:
                # Nobody follows the containers, who would say it.
                self.face.remark(outcome.why, warning=True)
            whole = outcome.ok
        refused = self.session.refused
        whole = whole and not any(one.reason is Reason.UNREADABLE for one in refused)
        self.face.settle()
        await self.session.stop(restore=False)
        self.over = True
        self.face.remark(f"What was brought stays; `{self._restore}` puts back what was")
        return 0 if whole else 1

    async def _follow(self, wish: Leaving) -> bool:
        """Keep the containers equal until somebody wants it to end; whether nothing was cut off.

        Raises:
            KindlingError: It cannot go on.
        """
        from kindling.files.watching import Watcher

        async with AsyncExitStack() as stack:
            watcher = await stack.enter_async_context(Watcher(self.clock))
            roots = self.session.roots()
            await watcher.watch(roots)
            for warning in watcher.warnings:
                self.face.remark(warning, warning=True)

            async def changed(
                paths: Collection[str], *, rescan: bool = False, since: float = 0.0
            ) -> None:
                batch = asyncio.create_task(self._batch(paths, rescan, since))
                self._batches.add(batch)
                batch.add_done_callback(self._batches.discard)

            keeper = Keeper(
                root=self.asked.source.root,
                batches=watcher.arrivals(),
                changed=changed,
                known=self.session.known,
                clock=self.clock,
                pause=self.asked.debounce,
            )
            # What was saved between the first look and the watch was seen by neither.
            await changed((".",))
            keeping = asyncio.create_task(keeper.run(), name="keep")
            work = {keeping, asyncio.create_task(self.session.follow(None), name="follow")}
            if self.asked.logs:
                work.add(asyncio.create_task(self._logs(), name="logs"))
            ending = asyncio.create_task(wish.wait(), name="end")
            try:
                while not wish.asked:
                    waiting = {ending, *work, *self._batches}
                    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                    for one in done - {ending}:
                        work.discard(one)
                        one.result()
                    if (now := self.session.roots()) != roots:
                        roots = now
                        await watcher.watch(roots)
                keeper.ending.set()
                return await self._finish({keeping})
            finally:
                rest = {ending, keeping, *work, *self._batches}
                for one in rest:
                    one.cancel()
                await asyncio.gather(*rest, return_exceptions=True)

    async def _finish(self, keeping: set[asyncio.Task[None]]) -> bool:
        """Let what is pending and under way come to its end; whether it did in time."""
        end = self.clock.monotonic() + _LAST_BATCHES
        while unfinished := {one for one in (*keeping, *self._batches) if not one.done()}:
            left = end - self.clock.monotonic()
            if left <= 0:
                return False
            done, _ = await asyncio.wait(
                unfinished, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                one.result()
        return True

    async def _batch(self, paths: Collection[str], rescan: bool, since: float) -> None:
        """One batch; what goes wrong with it is told, and the session goes on."""
        try:
            outcome = await self.session.changed(paths, rescan=rescan, since=since)
        except KindlingError as error:
            self.face.tell(Remark(error.message, True, error.details, error.hint))
        else:
            self._judge(outcome)
        self.face.settle()

    def _judge(self, outcome: Outcome) -> None:
        """Say what came of a change where that is not what was wanted."""
        match outcome.action:
            case Action.DONE:
                self._told.clear()
            case Action.REBUILD:
                self.face.remark(
                    f"This cannot be carried; the image has to be rebuilt: {outcome.why}",
                    warning=True,
                )
            case Action.REPORT:
                self.face.remark(outcome.why, warning=True)
            case Action.RETRY:
                # Who follows the containers tries again, and says why it is needed.
                return
            case Action.WAIT:
                if outcome.why not in self._told:
                    self._told.add(outcome.why)
                    self.face.remark(f"{outcome.why[:1].upper()}{outcome.why[1:]}")

    async def _logs(self) -> None:
        """What the pods say, of pods that come as well. That it cannot be read ends no session."""
        from kindling.engine.environments import podlines

        def show(line: podlines.Line) -> None:
            _, pod, container = line.stream.split("/", 2)
            self.face.log(pod, container, line.text)

        source = podlines.Source(self.ref.name, self.ref, self.asked.container)
        try:
            await podlines.follow(
                self.reached.cluster, (source,), show, self.clock, since=1.0, tail=0
            )
        except KindlingError as error:
            self.face.tell(Remark(error.message, True, error.details, error.hint))
        await asyncio.Event().wait()

    async def _stop(self) -> int:
        """Put everything back and say so."""
        self.face.settle()
        try:
            released = await self.session.stop(decide=self._decide())
        except WorldError as error:
            raise ExecutionError(
                f"{display_name(self.ref)} could not be put back: {error.message}",
                details=error.details,
                hint=f"`{self._restore}` does it, and so does the next session.",
            ) from error
        self.over = True
        if released != _NOTHING:
            self.face.tell(released)
        return 0 if released.exact else 1

    async def _stop_after_trouble(self) -> None:
        """What went wrong first is what the session ends with; what goes wrong now is told."""
        try:
            await self._stop()
        except KindlingError as error:
            self.face.tell(Remark(error.message, True, error.details, error.hint))

    def _decide(self) -> Decide:
        from kindling.cli.sync_restore import Wish, decide_by

        return decide_by(Wish.KEEP if self.face.deaf else Wish.ASK, self.face)


async def _unless(wish: Leaving, work: Awaitable[None]) -> bool:
    """Do it, unless somebody wants the session to end; whether it was done."""
    task = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(wish.wait())
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return True
        return False
    finally:
        for one in (task, ending):
            one.cancel()
        await asyncio.gather(task, ending, return_exceptions=True)
