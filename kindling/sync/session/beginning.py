"""How a session begins: what runs in the containers, and what follows from it. Nothing is touched.

The first container that runs is looked at through a link that needs nothing of its pod. Where there
is no such link (no shell in the image), what the pod template and the image say has to do, and the
agent is mounted.
"""

from __future__ import annotations

import asyncio
import platform
import posixpath
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kindling.errors import ClusterError, UsageError
from kindling.graph.spec import ObjectRef
from kindling.graph.steps import RestartContainer
from kindling.kube.errors import ForbiddenError, NotFoundError
from kindling.kube.protocol import Cluster, Object, PodSource
from kindling.objects.identity import display_name
from kindling.objects.pods import Trouble
from kindling.sync.notices import Remark, Tell
from kindling.sync.protocol import CannotCarryError, Clock, Container, Link
from kindling.sync.runtimes.build import Machine
from kindling.sync.runtimes.detect import Detection
from kindling.sync.runtimes.frontend import configured_by, document_root, option_of
from kindling.sync.runtimes.plan import Strategy, files_only, plan, restarting
from kindling.sync.session.looking import Seen, find_program, look, seen_from
from kindling.sync.session.order import Order
from kindling.sync.session.sourced import source_of_plan
from kindling.sync.source.tree import SourceTree
from kindling.sync.template.patch import chosen, read_only
from kindling.sync.workload.argv import ImageConfig, find_argv
from kindling.sync.workload.choosing import Chosen, Wanted, choose

__all__ = ["Beginning", "Images", "begin", "beside", "destination_of", "landing_place", "present"]

Images = Callable[[str], Awaitable[ImageConfig | None]]
"""What an image says of its command, by its name or id, where someone here knows it."""

_LOOK_AGAIN = 0.5
_PATIENCE = 120.0
_SAY_AFTER = 3.0
_OFTEN = 5
"""After so many crashes a container is started so seldom that nobody waits for the next time."""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Beginning:
    """What was found, and what will be done."""

    source: SourceTree
    strategy: Strategy
    detection: Detection
    seen: Seen
    machine: Machine
    patch: bool
    """The pod template has to be changed: to supervise, for a folder that can be written, or since
    the agent comes into the container in no other way."""
    argv: tuple[str, ...] = ()
    """What is to be supervised; empty where nothing is, or it is not known."""
    writable: tuple[str, ...] = ()
    place: str | None = None
    """Where an artefact lands; None where there is none, or no way to look for it yet."""
    linked: tuple[Container, Link] | None = None
    """A link that can go on being used."""

    @property
    def replaces(self) -> bool:
        """Whether what is built is the one file that the container's command begins with, which can
        be run in its place from elsewhere."""
        build, to = self.strategy.build, self.strategy.place
        if build is None or build.folder or to is None or not self.argv:
            return False
        return to.path == self.argv[0]


async def begin(
    order: Order,
    cluster: Cluster,
    connect: Callable[[Container], Awaitable[Link]],
    clock: Clock,
    tell: Tell,
    images: Images | None = None,
) -> Beginning:
    """Look at everything and plan.

    Raises:
        UsageError: What was asked cannot be.
        ClusterError: The cluster does not answer, or no container runs.
    """
    # The source is read while the container is reached: with many files both take their time.
    reading = asyncio.ensure_future(
        SourceTree.open(order.context, order.steps, exclude=order.exclude)
    )
    reaching = asyncio.ensure_future(_reach(order, cluster, connect, clock, tell))
    try:
        source = await reading
        remotes = [sync.remote for sync in source.syncs if not sync.single]
        if order.mirror and "/" in remotes:
            raise UsageError(
                "A mirror of `/` would take the container's own programs away",
                hint="Sync to a folder of its own, such as `/app`.",
            )
        reached = await reaching
        template = reached.workload["spec"]["template"]
        ours = (reached.manifest, *(chosen(template, name) for name in order.also))
        closed = [place for one in ours for place in read_only(template, one, remotes)]
        writable = tuple(dict.fromkeys(closed))
        begun = await _planned(order, cluster, source, reached, images, writable)
        if begun.patch and reached.workload["spec"].get("paused"):
            raise _paused(order.workload, "the pods with the agent in them would not come")
        return begun
    except BaseException:
        reading.cancel()
        reaching.cancel()
        for end in await asyncio.gather(reading, reaching, return_exceptions=True):
            if isinstance(end, _Reached) and end.link is not None:
                await end.link.close()
        raise


@dataclass(frozen=True, slots=True)
class _Reached:
    """A workload, its container in the template, and one that runs; with a link to it where there
    is a way that needs nothing of its pod."""

    workload: Object
    manifest: Object
    container: Container
    link: Link | None


async def _reach(
    order: Order,
    cluster: Cluster,
    connect: Callable[[Container], Awaitable[Link]],
    clock: Clock,
    tell: Tell,
) -> _Reached:
    workload = await cluster.get(order.workload)
    manifest = chosen(workload["spec"]["template"], order.container)
    container = await _first(order, cluster, clock, tell)
    link: Link | None = None
    try:
        link = await connect(container)
    except CannotCarryError:
        if not order.overrides.restart:
            tell(Remark("The image has no shell: the agent is mounted, for which new pods come"))
    return _Reached(workload, manifest, container, link)


async def _planned(
    order: Order,
    cluster: Cluster,
    source: SourceTree,
    reached: _Reached,
    images: Images | None,
    writable: tuple[str, ...],
) -> Beginning:
    container, link = reached.container, reached.link
    image_id = await _image_id(cluster, container)
    problem: UsageError | None = None
    argv: tuple[str, ...] = ()
    try:
        found = await find_argv(reached.manifest, image_config=images, image_id=image_id, link=link)
        argv = found.words
    except UsageError as error:
        problem = error
    seen = seen_from(argv) if link is None else await look(link)
    machine = await machine_of(cluster, container, link)
    project = await source_of_plan(source)
    detection = seen.detected(project.files)
    strategy = plan(detection, order.overrides, source=project, machine=machine, here=here())
    if any(isinstance(step, RestartContainer) for step in order.steps):
        strategy = restarting(strategy)
    if order.also:
        strategy = files_only(strategy)
    if strategy.patches and problem is not None:
        raise problem
    if strategy.leaves:
        source = await SourceTree.open(
            order.context, order.steps, exclude=order.exclude, leaves=strategy.leaves
        )
    place: str | None = None
    if not strategy.carries_sources:
        if link is not None:
            place = await landing_place(detection, strategy, seen, destination_of(source), link)
        elif strategy.place is not None and strategy.place.path.startswith("/"):
            place = seen.absolute(strategy.place.path).strip("/")
    elif link is not None:
        await _check_folders(source, link)
    if place is not None and strategy.build is not None and not strategy.build.folder:
        # Nothing else is carried: a volume over another folder, or over the program, is of no use.
        writable = tuple(one for one in writable if f"/{place}".startswith(one.rstrip("/") + "/"))
    patch = strategy.patches or bool(writable) or link is None
    linked = None
    if link is not None:
        if patch:
            await link.close()
        else:
            linked = (container, link)
    return Beginning(
        source,
        strategy,
        detection,
        seen,
        machine,
        patch,
        argv if strategy.patches or strategy.fallback is not None else (),
        writable,
        place,
        linked,
    )


async def root_of(link: Link, detection: Detection, seen: Seen) -> str:
    """The document root of a web server, as its command and its configuration say."""
    server, argv = detection.runtime.key, detection.argv
    said: list[str] = []
    if server == "caddy":
        if "file-server" in argv[1:2]:
            return seen.absolute(option_of(argv, "--root", "-r"))
        named = option_of(argv, "--config", "-c")
        usual = ("Caddyfile", "/etc/caddy/Caddyfile", "/etc/Caddyfile")
        for path in (named,) if named else usual:
            text = await link.read(seen.absolute(path))
            if text:
                said.append(text.decode("utf-8", "replace"))
                break
    else:
        try:
            program = detection.argv[0].split(":")[0] or "nginx"
            await link.run([program, "-T", *configured_by(detection.argv)], log=said.append)
        except ClusterError:
            said.clear()
    return seen.absolute(document_root(server, "\n".join(said)))


async def landing_place(
    detection: Detection, strategy: Strategy, seen: Seen, destination: str, link: Link
) -> str:
    """The place that an artefact lands on."""
    if strategy.frontend is not None:
        return (await root_of(link, detection, seen)).strip("/")
    to = strategy.place
    if to is None or not to.path:
        build = strategy.build
        name = "" if build is None or build.folder else posixpath.basename(build.artefact)
        # A destination that ends in the file's own name is the file.
        same = posixpath.basename(destination) == name
        return destination if not name or same else posixpath.join(destination, name)
    if not to.search:
        return seen.absolute(to.path).strip("/")
    found = await find_program(link, seen, to.path)
    return (found or posixpath.join("/", destination, to.path)).strip("/")


def destination_of(source: SourceTree) -> str:
    """The place of the first destination."""
    return source.syncs[0].remote.strip("/") if source.syncs else ""


def beside(seen: Seen, remotes: Sequence[str]) -> str:
    """What to say when nothing of what is synced lands where the program runs; empty where it does,
    where it runs nowhere in particular, and where its command names a destination."""
    folder = posixpath.normpath(seen.folder)
    tops = [posixpath.normpath(remote) for remote in remotes]
    if folder == "/" or not tops:
        return ""
    for top in tops:
        near = (folder + "/").startswith(top.rstrip("/") + "/") or top.startswith(folder + "/")
        if near or any(word.startswith(top.rstrip("/") + "/") for word in seen.argv):
            return ""
    return f"The program runs in `{folder}`, and what is synced lands in `{tops[0]}`"


async def _check_folders(source: SourceTree, link: Link) -> None:
    """A folder that lands on a file would take it away, such as `/etc/passwd` by mistake.

    Raises:
        UsageError: There is such a file.
    """
    for sync in source.syncs:
        path = posixpath.normpath(sync.remote)
        if not sync.single and await link.read(path, 1) is not None:
            raise UsageError(
                f"`{path}` is a file in the container: no folder can be carried to there",
                hint="Name a folder, or sync the one file that is to be there.",
            )


def here() -> Machine:
    """This machine, in Go's words."""
    name = platform.machine().lower()
    arch = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    system = "darwin" if sys.platform == "darwin" else "linux"
    return Machine(system, arch.get(name, name))


async def machine_of(cluster: Cluster, container: Container, link: Link | None) -> Machine:
    """What the container runs on: the agent knows, or the node says."""
    if link is not None and link.machine:
        return Machine("linux", _MACHINES.get(link.machine, link.machine))
    if container.node:
        try:
            node = await cluster.get(ObjectRef("v1", "Node", container.node))
        except (NotFoundError, ForbiddenError):
            return here()
        info = (node.get("status") or {}).get("nodeInfo") or {}
        if info.get("architecture"):
            return Machine(str(info.get("operatingSystem", "linux")), str(info["architecture"]))
    return replace(here(), os="linux")


async def present(order: Order, cluster: Cluster, now: float) -> Chosen:
    """The chosen container of every pod that runs just now, whoever has the workload, and why
    others do not.

    Raises:
        ClusterError: The workload is scaled to zero: there is nothing to wait for.
    """
    workload = await cluster.get(order.workload)
    if workload["spec"].get("replicas") == 0:
        called = f"{order.workload.kind.lower()}/{order.workload.name}"
        raise ClusterError(
            f"{display_name(order.workload)} has no pods: it is scaled to zero",
            hint=f"`kubectl scale {called} -n {order.workload.namespace} --replicas=1` gives it "
            "one.",
        )
    name = str(chosen(workload["spec"]["template"], order.container)["name"])
    uid = workload["metadata"].get("uid")
    sets: Sequence[Object] = ()
    if order.workload.kind == "Deployment":
        listing = await cluster.list("apps/v1", "ReplicaSet", namespace=order.workload.namespace)
        sets = [
            one
            for one in listing.items
            if any(o.get("uid") == uid for o in one["metadata"].get("ownerReferences") or ())
        ]
    pods = await cluster.pods_of(PodSource((order.workload,)))
    if workload["spec"].get("paused") and not pods:
        raise _paused(order.workload, "no pod of it comes")
    return choose(workload, sets, pods, Wanted("", name), datetime.fromtimestamp(now, UTC))


def _paused(ref: ObjectRef, so: str) -> ClusterError:
    return ClusterError(
        f"{display_name(ref)} is paused, so that {so}",
        hint=f"`kubectl rollout resume {ref.kind.lower()}/{ref.name} -n {ref.namespace}` lets its "
        "roll-outs go on.",
    )


async def _first(order: Order, cluster: Cluster, clock: Clock, tell: Tell) -> Container:
    """A container that runs; waited for, for a while, unless waiting cannot help. One that crashes
    is waited for, as long as it is soon started again: what is synced may be its mend."""
    began = clock.monotonic()
    said: tuple[str, ...] | None = None
    called = display_name(order.workload)
    while True:
        found = await present(order, cluster, clock.time())
        if found.containers:
            return found.containers[0]
        waited = clock.monotonic() - began
        crashed = [one for one in found.troubles if one.crashed]
        logs = _logs_of(crashed[0], order.workload.namespace) if crashed else ""
        if waited > _SAY_AFTER and found.waiting != said:
            said = found.waiting
            hint = f"{logs} may say why it does not." if logs else ""
            tell(Remark(f"Waiting for a container of {called} to run", details=said, hint=hint))
        hopeless = [one for one in found.troubles if one.hopeless and not one.crashed]
        seldom = [one for one in crashed if one.restarts >= _OFTEN]
        lost = hopeless or (seldom and len(seldom) == len(found.troubles))
        if waited > _PATIENCE or (lost and said is not None):
            told = [one.message for one in hopeless if one.message]
            raise ClusterError(
                f"No container of {called} runs",
                details=tuple(dict.fromkeys((*found.waiting, *told))),
                hint="A session needs one that does: mend its pods first."
                + (f" {logs} may say why." if logs else ""),
            )
        await clock.sleep(_LOOK_AGAIN)


def _logs_of(crashed: Trouble, namespace: str) -> str:
    """The command that shows the last words of a container."""
    inner = f" -c {crashed.container}" if crashed.container else ""
    return f"`kubectl logs {crashed.pod}{inner} -n {namespace} --previous`"


async def _image_id(cluster: Cluster, container: Container) -> str:
    try:
        pod = await cluster.get(ObjectRef("v1", "Pod", container.pod, container.namespace))
    except NotFoundError:
        return ""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status.get("name") == container.name:
            return str(status.get("imageID") or "")
    return ""
