"""From a Kindlingfile to declarations.

`evaluate` blocks and belongs into a thread: a file may run commands. `attempt` is the same and
never raises what a user can act on; it also says which files were read, so that a failed evaluation
can be tried again when one of them changes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.errors import ConfigError, KindlingError
from kindling.graph.node import FileSet
from kindling.lang.declared import (
    Declarations,
    EnvironmentRead,
    Glance,
    WatchIgnore,
    WorkloadId,
)
from kindling.lang.inputs import EvaluationInputs

if TYPE_CHECKING:
    from kindling.lang.session import Session

__all__ = ["Evaluation", "attempt", "evaluate"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How an evaluation ended: with declarations, or with an error.

    `root` is the folder that the paths of `reads` are relative to. `reads` and `watch_ignores` hold
    for failures too: a session that ignored less after a failure would wake itself up.
    """

    root: str
    reads: FileSet
    declarations: Declarations | None = None
    error: KindlingError | None = None
    watch_ignores: tuple[WatchIgnore, ...] = ()


def evaluate(file: Path, inputs: EvaluationInputs) -> Declarations:
    """Run `file` and give what it declares.

    Raises:
        ConfigError: The file says something wrong; the message begins with the place.
        ContextNotAllowedError: It runs commands, and the current cluster is not an allowed one.
        HostError: A program it needs is not there.
        InterruptError: `inputs.cancelled` became true.
    """
    result = attempt(file, inputs)
    if result.error is not None:
        raise result.error
    assert result.declarations is not None
    return result.declarations


def attempt(file: Path, inputs: EvaluationInputs) -> Evaluation:
    """Run `file`. What a user can act on is in the result; anything else is a bug and is raised."""
    # Imported here: `starlark` must not be paid for by commands that evaluate nothing.
    from kindling.lang.native.table import NATIVES
    from kindling.lang.session import Session

    main = Path(os.path.abspath(file))
    root = str(main.parent)
    if not main.is_file():
        missing = ConfigError(
            f"There is no {main.name} in {main.parent}"
            if not main.is_dir()
            else f"{main} is a folder, not a file",
            hint="Name the file with `-f`, or write one: Kindlingfile.example shows how.",
        )
        return Evaluation(root, FileSet((main.name,)), error=missing)
    session = Session(main, inputs, NATIVES)
    _read_ignore_files(session)
    try:
        session.run_main()
        declarations = _finish(session)
    except KindlingError as error:
        return Evaluation(
            root,
            FileSet(tuple(session.state.reads)),
            error=error,
            watch_ignores=session.state.settings.watch_ignores,
        )
    return Evaluation(
        root,
        declarations.reads,
        declarations,
        watch_ignores=declarations.settings.watch_ignores,
    )


def _read_ignore_files(session: Session) -> None:
    """Take `.kindlingignore` and `.tiltignore` beside the main file as
    `watch_settings(ignore=)`."""
    state = session.state
    for name in (".kindlingignore", ".tiltignore"):
        state.read([name])
        try:
            text = (session.main.parent / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # most projects have none; one that appears is read then
        lines = [line.strip() for line in text.splitlines()]
        patterns = tuple(line for line in lines if line and not line.startswith("#"))
        if patterns:
            ignores = (*state.settings.watch_ignores, WatchIgnore(".", patterns))
            state.settings = replace(state.settings, watch_ignores=ignores)


def _finish(session: Session) -> Declarations:
    from kindling.lang.native.arguments import finish_arguments
    from kindling.lang.native.live_update import check_live_updates
    from kindling.lang.native.registering import check_environments

    state = session.state
    selected = finish_arguments(session)
    if not session.stopped:
        check_live_updates(session)
    check_environments(session)

    def name_workload(workload: WorkloadId) -> str:
        fields = {
            "name": workload.name,
            "kind": workload.kind,
            "namespace": workload.namespace,
            "group": workload.group,
        }
        answer = session.call_hook(fields)
        if answer is None:
            return workload.name
        if not isinstance(answer, str) or not answer:
            raise ConfigError(
                f"{session.main.name}: `workload_to_resource_function` gave no name for "
                f"{workload.kind} `{workload.name}`",
                hint="The function must return a text.",
            )
        return str(answer)

    return Declarations(
        root=str(session.main.parent),
        file=session.main.name,
        images=tuple(state.images),
        objects=tuple(state.objects),
        environments=tuple(state.environments),
        resources=tuple(state.resources),
        custom_deploys=tuple(state.custom_deploys),
        kinds=tuple(state.kinds),
        locals=tuple(state.locals),
        tests=tuple(state.tests),
        secrets=tuple(state.secrets),
        registry=state.registry,
        cluster=state.cluster,
        settings=state.settings,
        profiles=tuple(state.profiles.values()),
        enabled=state.enabled,
        selected=selected,
        name_workload=name_workload if session.has_hook else None,
        reads=FileSet(tuple(state.reads)),
        environment=tuple(
            EnvironmentRead(name, value) for name, value in state.environment.items()
        ),
        glances=tuple(Glance(path, digest) for path, digest in state.glances.items()),
        repeatable=state.repeatable,
        remarks=tuple(state.remarks),
        stopped_early=session.stopped,
    )
