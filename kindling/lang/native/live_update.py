"""The steps of a live update: declared, checked for order and paths, and checked for being used.

The rules are Tilt's (its live update reference): `initial_sync` at most once and first, then
`fall_back_on`, then `sync`, then `run`, then `restart_container`; synced files lie in what the
image is made of; a step that nothing uses is a mistake. Unlike there, `restart_container` is for
Kubernetes too: kindling's supervisor restarts the program of any container.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from kindling.errors import ConfigError, KindlingError, nearest
from kindling.lang.call import Call
from kindling.lang.declared import (
    CustomBuild,
    CustomDeploy,
    DockerBuild,
    Environment,
    FallBackOn,
    InitialSync,
    LiveUpdateStep,
    Remark,
    RestartContainer,
    RunStep,
    SyncStep,
)
from kindling.lang.diagnose import placed
from kindling.lang.session import Native, Session

__all__ = ["NATIVES", "check_live_updates", "inside", "live_update_steps", "sync_steps"]

_RANK: tuple[tuple[type, str], ...] = (
    (InitialSync, "initial_sync"),
    (FallBackOn, "fall_back_on"),
    (SyncStep, "sync"),
    (RunStep, "run"),
    (RestartContainer, "restart_container"),
)


def _keep(call: Call, step: LiveUpdateStep) -> LiveUpdateStep:
    call.state.steps.append(step)
    return step


def initial_sync(call: Call) -> LiveUpdateStep:
    return _keep(call, InitialSync(call.where))


def fall_back_on(call: Call, files: object) -> LiveUpdateStep:
    paths = call.paths("files", files)
    if not paths:
        raise ConfigError("`fall_back_on` names no files")
    return _keep(call, FallBackOn(paths, call.where))


def sync(call: Call, local_path: object, remote_path: object, ignore: object) -> LiveUpdateStep:
    local = call.required("local_path", local_path)
    remote = call.required("remote_path", remote_path)
    if not remote.startswith("/"):
        raise ConfigError(
            f"`sync(remote_path=)` must be an absolute path in the container, and is `{remote}`",
            hint=f"Did you mean `/{remote.removeprefix('./')}`?",
        )
    return _keep(
        call,
        SyncStep(
            call.path("local_path", local), remote, call.patterns("ignore", ignore), call.where
        ),
    )


def run(call: Call, cmd: object, trigger: object, echo_off: object) -> LiveUpdateStep:
    argv = call.argv("cmd", cmd)
    if not argv:
        raise ConfigError("`run` has no command")
    return _keep(
        call,
        RunStep(argv, call.paths("trigger", trigger), call.flag("echo_off", echo_off), call.where),
    )


def restart_container(call: Call) -> LiveUpdateStep:
    return _keep(call, RestartContainer(call.where))


def live_update_steps(
    call: Call, value: object, argument: str = "live_update"
) -> tuple[LiveUpdateStep, ...]:
    """The `live_update=` (or `sync=`) of a declaration, in an order that makes sense, and taken as
    used."""
    steps: tuple[LiveUpdateStep, ...] = call.instances(
        argument,
        value,
        LiveUpdateStep,  # type: ignore[arg-type]
        "steps such as `sync()` and `run()`",
    )
    if not steps:
        return ()
    call.state.used_steps.update(map(id, steps))
    last, last_name = -1, ""
    for step in steps:
        rank, name = next(
            (at, name) for at, (type_, name) in enumerate(_RANK) if isinstance(step, type_)
        )
        if rank < last:
            raise ConfigError(
                f"In `{argument}`, `{name}` comes after `{last_name}`",
                details=[f"`{name}` is at {step.where}"],
                hint="The order is: initial_sync, fall_back_on, sync, run, restart_container.",
            )
        if rank == last and isinstance(step, InitialSync | RestartContainer):
            raise ConfigError(f"In `{argument}`, `{name}` stands twice")
        last, last_name = rank, name
    return steps


def sync_steps(call: Call, value: object) -> tuple[LiveUpdateStep, ...]:
    """The `sync=` of a `service` or `dse`. What it copies should be there: nothing else would tell
    a name that was mistyped."""
    steps = live_update_steps(call, value, "sync")
    if steps and not any(isinstance(step, SyncStep) for step in steps):
        raise ConfigError(
            f"`sync` of {call.name} copies nothing",
            details=[f"`{_name(step)}` is at {step.where}" for step in steps],
            hint='Say what goes where: `sync("./src", "/app")`.',
        )
    for step in steps:
        if isinstance(step, SyncStep):
            path = call.session.paths.on_disk(step.local)
            if not path.exists():
                above = path.parent
                names = [one.name for one in above.iterdir()] if above.is_dir() else []
                hint = nearest(path.name, names)
                text = f"`sync` copies `{step.local}`, which is not there yet"
                call.state.remarks.append(
                    Remark(f"{text}. {hint}" if hint else text, where=step.where)
                )
    return steps


def inside(path: str, folder: str) -> bool:
    """Whether a path relative to the root is `folder` or lies in it."""
    if folder == ".":
        return not path.startswith("../") and path != ".."
    relative = posixpath.relpath(
        posixpath.join("/r/r/r/r/r/r/r/r", path), "/r/r/r/r/r/r/r/r/" + folder
    )
    return relative == "." or (not relative.startswith("../") and relative != "..")


def check_live_updates(session: Session) -> None:
    """What can only be known at the end: paths against every image's files, and unused steps.

    Raises:
        ConfigError: At the first step that is wrong.
    """
    state = session.state
    contexts: dict[str, tuple[str, ...]] = {}
    for image in state.images:
        own = (image.context,) if isinstance(image, DockerBuild) else image.files.paths
        contexts[image.ref] = own
    for image in state.images:
        if image.live_update:
            _check_paths(session, f"image `{image.ref}`", image, _roots(image, session, contexts))
    for deploy in state.custom_deploys:
        if deploy.live_update:
            roots = set(deploy.files.paths)
            for ref in deploy.image_deps:
                roots.update(contexts.get(ref, ()))
            _check_paths(session, f"k8s_custom_deploy `{deploy.name}`", deploy, roots)
    for environment in state.environments:
        _check_triggers(session, environment)
    unused = [step for step in state.steps if id(step) not in state.used_steps]
    if unused:
        first, *others = unused
        raise _at(
            session,
            first,
            ConfigError(
                f"This `{_name(first)}` step is part of no `live_update` and no `sync`",
                details=[f"{step.where}: nor is this `{_name(step)}`" for step in others],
                hint="Pass it in `live_update=[...]` of an image or `sync=[...]` of a service, or "
                "remove it.",
            ),
        )


def _name(step: LiveUpdateStep) -> str:
    return next(name for type_, name in _RANK if isinstance(step, type_))


def _at(session: Session, step: LiveUpdateStep, error: ConfigError) -> KindlingError:
    return placed(error, step.where, session.source(step.where.file), width=len(_name(step)))


def _roots(
    image: DockerBuild | CustomBuild, session: Session, contexts: dict[str, tuple[str, ...]]
) -> set[str]:
    """The folders of an image and of every image of this file that it is built upon."""
    by_ref = {other.ref: other for other in session.state.images}
    roots: set[str] = set()
    todo, seen = [image], {image.ref}
    while todo:
        current = todo.pop()
        roots.update(contexts[current.ref])
        if isinstance(current, CustomBuild):
            bases: Iterable[str] = current.image_deps
        else:
            words = set(current.dockerfile_text.replace("=", " ").split())
            words |= {word.rpartition(":")[0] for word in words}
            words |= {value for _, value in current.build_args}
            bases = [ref for ref in by_ref if ref in words]
        for ref in bases:
            if ref in by_ref and ref not in seen:
                seen.add(ref)
                todo.append(by_ref[ref])
    return roots


def _check_triggers(session: Session, environment: Environment) -> None:
    """A command can only be triggered by what some step copies: the rest is not looked at."""
    copied = [step.local for step in environment.sync if isinstance(step, SyncStep)]
    for step in environment.sync:
        for path in step.triggers if isinstance(step, RunStep) else ():
            if not any(inside(path, folder) or inside(folder, path) for folder in copied):
                raise _at(
                    session,
                    step,
                    ConfigError(
                        f"`{path}` of `run` is in no `sync` step of `{environment.name}`",
                        details=[f"copied: [{', '.join(copied)}]"],
                        hint="Only files that are copied can start a command.",
                    ),
                )


def _check_paths(
    session: Session,
    owner: str,
    declared: DockerBuild | CustomBuild | CustomDeploy,
    roots: Iterable[str],
) -> None:
    roots = sorted(roots)
    for step in declared.live_update:
        paths: tuple[str, ...] = ()
        if isinstance(step, SyncStep):
            paths = (step.local,)
        elif isinstance(step, FallBackOn):
            paths = step.paths
        for path in paths:
            if not any(inside(path, root) for root in roots):
                raise _at(
                    session,
                    step,
                    ConfigError(
                        f"`{path}` is not among the files of {owner}",
                        details=[f"its files: [{', '.join(roots)}]"],
                        hint="A live update can only change files that the image is made of.",
                    ),
                )


NATIVES: dict[str, Native] = {
    "initial_sync": initial_sync,
    "fall_back_on": fall_back_on,
    "sync": sync,
    "run": run,
    "restart_container": restart_container,
}
