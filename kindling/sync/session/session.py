"""One workload kept equal to one source tree, for as long as a session lasts.

    start     look at what runs, plan, build where that is needed, take the workload, bring all
    changed   look at the source, bring what changed to every container, then act
    follow    containers come, restart and get lost: they are caught up, without a rebuild
    stop      end the links, give the workload back

`changed` may be called while another call is under way: files go over at once, and the restarts
and builds of all that came meanwhile become one.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import posixpath
import socket
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from kindling.errors import ExecutionError
from kindling.files.watching import WatchRoot
from kindling.kube.protocol import Cluster
from kindling.lang.declared import RunStep
from kindling.sync.agent.binaries import agent
from kindling.sync.notices import Found, Released, Remark, Tell
from kindling.sync.protocol import Clock, Container, Link, ProcessRunner
from kindling.sync.rules.decision import Carry, Nothing, Rebuild, decide
from kindling.sync.rules.failures import Action
from kindling.sync.rules.landing import landings
from kindling.sync.runtimes.plan import Strategy, lines
from kindling.sync.session.beginning import Beginning, Images, begin, beside
from kindling.sync.session.building import Builder, Job
from kindling.sync.session.crew import Crew
from kindling.sync.session.fleet import Fleet
from kindling.sync.session.keeping import Keeping
from kindling.sync.session.latest import Latest
from kindling.sync.session.order import Order, Outcome, Report
from kindling.sync.session.replica import Connect
from kindling.sync.session.retrying import patiently_begun
from kindling.sync.session.serving import Service
from kindling.sync.session.sourced import Sourced
from kindling.sync.session.task import Task
from kindling.sync.session.workshop import Workshop
from kindling.sync.template.session import Session
from kindling.sync.transport.connecting import connect
from kindling.sync.trees.manifest import Refused
from kindling.sync.workload.hold import Hold
from kindling.sync.workload.liveness import is_here
from kindling.sync.workload.records import Records
from kindling.sync.workload.restoring import Choice, Decide, restore
from kindling.sync.workload.taking import session_name, take

__all__ = ["SyncSession"]


class SyncSession:
    """See the module. `folder` is a scratch folder of this session; `agents` gives the agent for a
    machine; `images` tells the command of an image where someone here knows it; `log` gets the
    lines of builds and commands.
    """

    def __init__(
        self,
        order: Order,
        *,
        cluster: Cluster,
        records: Records,
        processes: ProcessRunner,
        clock: Clock,
        tell: Tell,
        folder: Path,
        agents: Callable[[str], bytes] | None = None,
        images: Images | None = None,
        log: Callable[[str], None] | None = None,
        project: str = "",
        connect: Connect | None = None,
    ) -> None:
        self.order = order
        self.name = order.name or session_name(order.workload)
        self._cluster = cluster
        self._records = records
        self._processes = processes
        self._clock = clock
        self._tell = tell
        self._folder = folder
        self._agents = agents or agent
        self._images = images
        self._log = log
        self._project = project
        self._connect = connect or self._linked
        self._source: Sourced | None = None
        self._crew: Crew | None = None
        self._builds: Latest[Outcome] = Latest()
        self._wishes = Task()
        self._stopping = asyncio.Event()
        self._followed = asyncio.Lock()
        self._released: Released | None = None

    # What others ask ------------------------------------------------------------------------------

    @property
    def strategy(self) -> Strategy:
        """What is done with new files; known once the session has started."""
        return self._at_work().strategy

    @property
    def containers(self) -> tuple[Container, ...]:
        """Those there are now."""
        return () if self._crew is None else tuple(one.container for one in self._crew.fleet)

    @property
    def entries(self) -> Mapping[str, str]:
        """What of the source is synced: path to entry, as `kindling.files.tree` writes them."""
        return {} if self._source is None else self._source.source.entries

    @property
    def refused(self) -> tuple[Refused, ...]:
        """What of the source cannot be carried, by places."""
        return () if self._source is None else self._source.source.refused

    @property
    def settled(self) -> bool:
        """Was everything brought to every container, so that a second look would find nothing?"""
        return self._crew is not None and self._crew.settled

    def roots(self) -> tuple[WatchRoot, ...]:
        """What is to be watched; it may be another thing after a change of an ignore file."""
        return () if self._source is None else self._source.source.roots()

    def known(self, path: str) -> bool:
        """Is the path (relative to the root of the order's context) part of what is synced?"""
        return self._source is not None and path in self._source.source.entries

    # The session ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin: when it returns, every container that there is holds what it should, unless a
        build failed, which was told; the next change tries again. A cluster that is away is waited
        for, for some seconds.

        Raises:
            KindlingError: It cannot begin. `stop` puts back what was touched by then.
        """
        order = self.order
        began = await patiently_begun(self._begin, self._clock, self._tell)
        strategy = began.strategy
        source = self._source = Sourced(began.source, mirror=order.mirror)
        crew = self._crew = self._gather(began, source)
        remotes = order.destination or ", ".join(_remotes(began))
        if not strategy.carries_sources and began.place is not None:
            # What was built goes to where the program is, or a web server takes its files from,
            # whatever was asked for.
            remotes = f"/{began.place}"
        told = lines(strategy, source=order.source, destination=remotes)
        runtime, how, watching = told
        self._tell(Found(runtime, how, watching, strategy.tips, strategy.warnings))
        if strategy.carries_sources and (text := beside(began.seen, _remotes(began))):
            self._tell(Remark(text, warning=True, hint="Is that where it reads its files?"))
        entries = began.source.entries.values()
        if strategy.carries_sources and all(one.startswith("dir") for one in entries):
            text = f"There is no file to carry in `{order.source or order.context.root}`"
            self._tell(Remark(text, hint="Files are carried as they come; is it the right folder?"))
        for refused in began.source.refused:
            self._tell(Remark(str(refused), warning=True))
        if crew.builds:
            await self._build(Task())
        else:
            await crew.engage()

    async def _begin(self) -> Beginning:
        return await begin(
            self.order, self._cluster, self._connect, self._clock, self._tell, self._images
        )

    async def changed(
        self, paths: Collection[str], *, rescan: bool = False, since: float = 0.0
    ) -> Outcome:
        """Bring what changed to every container, and act. `paths` are relative to the root of the
        order's context, or absolute; `rescan`: look at everything, over there, too. `since` is when
        the first of it was seen, by the monotonic clock.
        """
        source, crew = self._sourced(), self._at_work()
        since = since or self._clock.monotonic()
        root = self.order.context.root.as_posix()
        named = None if rescan else [posixpath.normpath(posixpath.join(root, p)) for p in paths]
        looked = await source.source.look(named)
        source.note(looked)
        for refused in looked.refused:
            self._tell(Remark(str(refused), warning=True))
        for folder in looked.gone:
            text = f"the source folder `{self._shown(folder)}` is gone"
            stays = "what the containers have stays, and it is waited for"
            self._tell(Remark(f"{text}; {stays}", warning=True))
        for folder in looked.back:
            self._tell(Remark(f"the source folder `{self._shown(folder)}` is back"))
        # Containers that came meanwhile have nothing of it.
        rescan = rescan or bool(looked.back)
        changed, places = set(looked.changed), {*looked.places, *source.owed()}
        if not self.order.everything:
            # What changed before the session began is known to the caller alone.
            changed.update(paths)
            syncs = source.source.syncs
            landed = (place for path in paths for place in landings(path, syncs))
            places.update(place.strip("/") for place in landed)
        if not changed and not places and not rescan:
            return Outcome(Action.DONE, "nothing changed")
        commands: tuple[RunStep, ...] = ()
        if changed:
            tree = source.source
            found = decide(changed, self.order.steps, tree.context, tree.entries, crew.owed)
            if isinstance(found, Rebuild):
                return Outcome(Action.REBUILD, found.why)
            if isinstance(found, Nothing) and not places and not rescan:
                return Outcome(Action.DONE, found.why)
            commands = found.commands if isinstance(found, Carry) else ()
        if crew.builds and not rescan and _only_folders(changed, source.source.entries):
            # Such as the one that the build itself makes for what it builds.
            return Outcome(Action.DONE, "only folders came")
        crew.touched.update(places)
        task = Task(tuple(sorted(places)), tuple(sorted(changed)), commands, since, rescan)
        return await (self._build(task) if crew.builds else crew.bring(task))

    async def _build(self, task: Task) -> Outcome:
        """Build for this change, and for all that come until the build begins."""
        crew = self._at_work()
        self._wishes = self._wishes.joined(task)

        async def build() -> Outcome:
            wishes, self._wishes = self._wishes, Task()
            return await crew.build_and_bring(wishes)

        return await self._builds.run(build)

    async def follow(self, report: Report | None = None) -> None:
        """Keep the containers equal as they come and go, until `stop`. It runs beside `changed`."""
        async with self._followed:
            await self._follow(Keeping(self._at_work(), self._clock, self._tell, report))

    async def _follow(self, keeping: Keeping) -> None:
        following = asyncio.ensure_future(keeping.run())
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                following.result()
        finally:
            for one in (following, stopping):
                one.cancel()
            await asyncio.gather(following, stopping, return_exceptions=True)

    async def stop(
        self, *, restore: bool = True, fresh: bool = True, decide: Decide = Choice.KEEP
    ) -> Released:
        """End all links and give the workload back; done again, it says the same.

        `restore` False: all stays as it is, and the record says that it was meant to. `fresh`
        False: pods into which files were put stay. `decide`: what becomes of a template that
        someone changed meanwhile.
        """
        self._stopping.set()
        if self._released is not None:
            return self._released
        # Whoever follows reads the containers of the hold, which must be over before it ends.
        async with self._followed:
            hold: Hold | None = None
            if self._crew is not None:
                if not restore:
                    await self._crew.deaths.settled()
                await self._crew.close()
                hold = self._crew.last
        if hold is None:
            self._released = Released("Nothing was changed")
        elif not restore:
            await hold.leave()
            self._released = Released("The containers keep what was brought", exact=False)
        else:
            self._released = await hold.release(decide=decide, fresh=fresh)
        return self._released

    # ----------------------------------------------------------------------------------------------

    def _gather(self, began: Beginning, source: Sourced) -> Crew:
        """Those who do the work."""
        fleet = Fleet(self._connect, self._clock, self.order.mirror)
        if began.linked is not None:
            fleet.ready[began.linked[0]] = began.linked[1]
        workshop: Workshop | None = None
        made = began.strategy.build or began.strategy.frontend
        if made is not None:
            job = Job.of(made, began.machine, self._folder)
            local = began.source.syncs[0].step.local
            folder = self.order.context.root / local
            builder = Builder(job, folder, self._folder, self._processes, self._clock, self._log)
            workshop = Workshop(builder, began)
        service = Service(
            self._cluster, self._clock, self._tell, lambda: source, began.strategy, self._log
        )

        async def taken(strategy: Strategy) -> Hold:
            return await self._take(began, strategy)

        return Crew(
            self.order, began, source, service, fleet, taken, workshop, self._clock, self._tell
        )

    async def _take(self, began: Beginning, strategy: Strategy) -> Hold:
        order = self.order
        left = await asyncio.to_thread(self._records.get, self.name)
        if left is not None and is_here(left.holder):
            # What could not be undone when the workload was taken before is no way back.
            await restore(
                self._cluster, left, records=self._records, clock=self._clock, tell=self._tell
            )
        session = Session(
            name=self.name,
            who=order.who or _me(),
            when=datetime.fromtimestamp(self._clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            what=order.what or order.source,
            container=order.container,
            agent="",
            argv=began.argv if strategy.patches else (),
            writable=began.writable,
            also=order.also,
        )
        hold = await take(
            self._cluster,
            order.workload,
            session,
            self._records,
            patch=began.patch or strategy.patches,
            agents=self._agents,
            clock=self._clock,
            tell=self._tell,
            project=self._project,
        )
        hold.gone_after = order.gone_after
        return hold

    async def _linked(self, container: Container) -> Link:
        places = () if self._source is None else self._source.tops
        return await connect(self._cluster, container, self._agents, places=places)

    def _shown(self, folder: str) -> str:
        """A folder of a step as a user knows it."""
        return self.order.context.root.as_posix() if folder == "." else folder

    def _at_work(self) -> Crew:
        if self._crew is None:
            raise ExecutionError("The sync session has not started")
        return self._crew

    def _sourced(self) -> Sourced:
        if self._source is None:
            raise ExecutionError("The sync session has not started")
        return self._source


def _only_folders(changed: Collection[str], entries: Mapping[str, str]) -> bool:
    return all(entries.get(path, "").startswith("dir:") for path in changed)


def _me() -> str:
    """This user on this machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _remotes(began: Beginning) -> list[str]:
    return [sync.remote for sync in began.source.syncs]
