"""Taking a workload again that was rolled out during the session, such as by our own apply."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kindling.errors import UsageError
from kindling.kube.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from kindling.kube.protocol import Object, PatchKind
from kindling.objects.identity import display_name
from kindling.sync.template.normal import template_bytes
from kindling.sync.template.owners import owners_given_back
from kindling.sync.template.patch import carries, chosen, original_argv
from kindling.sync.template.restore import begin, undone
from kindling.sync.template.session import held, refuse_second
from kindling.sync.workload.agents import MANAGER, config_map, needs, put_config_map

if TYPE_CHECKING:
    from kindling.sync.workload.hold import Hold

__all__ = ["renew"]

_TRIES = 6


async def renew(hold: Hold, argv: Sequence[str] = ()) -> bool:
    """Let the session have the workload as it is deployed now; whether anything was to be done.

    What was rolled out becomes what will be put back: the live template without the session's part
    is recorded before anything is sent. `argv` is the container's command, needed where the image
    and not the template says it and either has changed.

    Raises:
        SecondSessionError: Another session has it by now.
        UsageError: The session's container is gone, or its command is not known.
        NotFoundError: The workload is gone.
        ClusterError: The cluster refused or did not answer.
    """
    for left in reversed(range(_TRIES)):
        live = await hold.cluster.get(hold.ref)
        record = hold.record
        kept, session = record.recorded, record.recorded.session
        refuse_second(live, session, f"`{display_name(hold.ref)}`")
        template: Mapping[str, Any] = live["spec"]["template"]
        base = undone(template, kept.patched, kept.before) if record.patched else template
        same = live["metadata"].get("uid") == kept.uid
        if same and template_bytes(base) == template_bytes(kept.before) and _has(live, hold):
            return False
        if record.patched and session.argv:
            session = replace(session, argv=_argv(hold, base, tuple(argv)))
        owners = live["metadata"].get("managedFields") or ()
        bare = {**live, "spec": {**live["spec"], "template": base}}
        begun = begin(bare, session, patch=record.patched)
        record = replace(
            record,
            recorded=begun.record,
            owners=tuple(owners_given_back(owners, record.owners, MANAGER) or owners),
        )
        await asyncio.to_thread(hold.records.save, record)
        hold.record = record
        manifest = config_map(record, hold.agent, now=hold.clock.time(), project=hold.project)
        try:
            await put_config_map(hold.cluster, manifest)
        except ForbiddenError:
            if record.patched:
                raise
        try:
            answer = await hold.cluster.patch(
                hold.ref, begun.patch, PatchKind.JSON, manager=MANAGER
            )
        except ForbiddenError as error:
            raise needs(hold.ref.namespace, error, kept=True) from error
        except (ConflictError, InvalidError, NotFoundError):
            now = await hold.cluster.get(hold.ref)
            if not left or _version(now) == _version(live):
                raise
            continue
        made = answer["spec"]["template"]
        if record.patched and template_bytes(made) != template_bytes(record.recorded.patched):
            hold.record = replace(record, recorded=replace(record.recorded, patched=made))
            await asyncio.to_thread(hold.records.save, hold.record)
        return True
    raise AssertionError("the last try returns or raises")


def _has(live: Object, hold: Hold) -> bool:
    """Whether the session has the workload whole."""
    if hold.whole is not None:
        return carries(live["spec"]["template"], hold.whole)
    other = held(live)
    return other is not None and other.name == hold.record.session


def _argv(hold: Hold, base: Mapping[str, Any], argv: tuple[str, ...]) -> tuple[str, ...]:
    if argv:
        return argv
    session = hold.record.recorded.session
    now, before = (chosen(one, session.container) for one in (base, hold.record.recorded.before))
    # That the image is another alone (ours, after a rebuild) is taken to change no command.
    if all(now.get(name) == before.get(name) for name in ("command", "args")):
        return session.argv
    if now.get("command"):
        return original_argv(now)
    raise UsageError(
        f"The command of container `{session.container}` was changed during the session, and its "
        "image says the rest of it",
        hint="Start the session again.",
    )


def _version(live: Object) -> tuple[str, str]:
    metadata = live["metadata"]
    return str(metadata.get("uid")), str(metadata.get("resourceVersion"))
