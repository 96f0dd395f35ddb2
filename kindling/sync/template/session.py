"""Who has a workload: the session, its annotation, and the refusal of a second one.

The annotation `kindling.dev/session` stands twice: on the workload it is the session's name, which
the operator and `kindling status` read; on the pod template it says in JSON who, when and what, so
that whoever finds such a pod knows whom to ask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kindling.errors import UsageError
from kindling.objects.identity import Manifest

__all__ = [
    "SESSION_ANNOTATION",
    "Held",
    "SecondSessionError",
    "Session",
    "held",
    "note",
    "refuse_second",
]

SESSION_ANNOTATION = "kindling.dev/session"


@dataclass(frozen=True, slots=True)
class Session:
    """What a session needs of a pod template.

    `when` is a time as RFC 3339 writes it, `what` a folder or resource as the user knows it.
    `agent` is the ConfigMap that holds the agent. `argv` is the container's own command
    (`original_argv`), to be supervised; empty for files alone, where the command stays as it is.
    `writable` are destinations that the container cannot write (`read_only`): each gets an
    `emptyDir`, into which the image's own files are copied first. `architecture`, as Kubernetes
    calls it (`amd64`), keeps the pods on nodes of that kind, where the cluster has several: the
    agent is there for one. `also` are the other containers that the session carries files into:
    they run the same image, and their commands stay as they are.
    """

    name: str
    who: str
    when: str
    what: str
    container: str
    agent: str
    argv: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    relax_probes: bool = True
    architecture: str = ""
    also: tuple[str, ...] = ()

    @property
    def containers(self) -> tuple[str, ...]:
        """The names of all its containers."""
        return (self.container, *self.also)


@dataclass(frozen=True, slots=True)
class Held:
    """What the annotation of a template says of the session that has it."""

    name: str
    who: str = ""
    when: str = ""
    what: str = ""

    def __str__(self) -> str:
        words = f"session `{self.name}`"
        if self.who:
            words += f" of {self.who}"
        if self.when:
            words += f" since {self.when}"
        return f"{words} ({self.what})" if self.what else words


class SecondSessionError(UsageError):
    """A workload that another session has."""


def note(session: Session) -> str:
    """The annotation of the template."""
    said = {
        "name": session.name,
        "who": session.who,
        "when": session.when,
        "what": session.what,
        "container": session.container,
    }
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def held(thing: Manifest) -> Held | None:
    """The session that has a template, or a workload (whose template says more); None: none has.

    An annotation that nobody of us wrote counts as one: somebody means something by it.
    """
    if isinstance(thing.get("spec"), Mapping) and "template" in thing["spec"]:
        found = held(thing["spec"]["template"] or {})
        if found is not None:
            return found
    text = ((thing.get("metadata") or {}).get("annotations") or {}).get(SESSION_ANNOTATION)
    if not text:
        return None
    try:
        said: Any = json.loads(text)
    except ValueError:
        return Held(text)
    if not isinstance(said, Mapping):
        return Held(str(text))
    return Held(*(str(said.get(key, "")) for key in ("name", "who", "when", "what")))


def refuse_second(thing: Manifest, session: Session, called: str) -> None:
    """Refuses a template or workload (`called` so) that is another session's.

    Raises:
        SecondSessionError: It names that session.
    """
    other = held(thing)
    if other is not None and other.name != session.name:
        raise SecondSessionError(
            f"{called} is held by {other}",
            hint="Stop that session first. If it is gone without a trace, "
            "`kindling sync --restore` puts back what it left.",
        )
