"""What must stand for one environment: a pure function from its manifest to its children.

The controller writes them, `plan` shows them, tests compare with them. Called again with the
Secrets that it made, it gives the same objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kindling.operator.application import application_objects
from kindling.operator.credentials import Credentials, Draw, Known, credentials
from kindling.operator.dependency import dependency_objects
from kindling.operator.model import read_environment
from kindling.operator.rules import Problem, problems

__all__ = ["Desired", "desired", "foreign"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desired:
    """The children in the order in which they are written, and what is wrong.

    While it is `blocked` there are no objects, and that means: leave alone what stands.
    """

    objects: tuple[Object, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def blocked(self) -> bool:
        return any(one.blocking for one in self.problems)


def desired(manifest: Mapping[str, Any], known: Known, draw: Draw) -> Desired:
    """The children of a DevStagingEnvironment.

    `known` holds what `references` asks for; `draw` is called for values that it does not hold.
    """
    environment = read_environment(manifest)
    if isinstance(environment, tuple):
        return Desired((), tuple(Problem(f.field, "InvalidSpec", f.message) for f in environment))
    found = list(problems(environment))
    if any(one.blocking for one in found):
        return Desired((), tuple(found))
    values: dict[str, Credentials] = {}
    objects: list[Object] = []
    for dependency in environment.dependencies:
        own = credentials(environment, dependency, known, draw)
        values[dependency.name] = own
        found.extend(own.problems)
        objects.extend(dependency_objects(environment, dependency, own))
    objects.extend(application_objects(environment, values))
    result = Desired(tuple(objects), tuple(found))
    return Desired((), result.problems) if result.blocked else result


def foreign(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> Problem | None:
    """Why a live object with a child's name must not be written: it belongs to something else.

    Two environments can want one name (`a.b` and `a-b`, or `x-redis` and the redis of `x`); the
    first one has it.
    """
    uid = manifest.get("metadata", {}).get("uid")
    for owner in live.get("metadata", {}).get("ownerReferences", ()):
        if owner.get("controller") and owner.get("uid") != uid:
            name = live["metadata"]["name"]
            return Problem(
                "metadata.name",
                "NameClash",
                f"the {live['kind']} `{name}` belongs to the {owner.get('kind')} "
                f"`{owner.get('name')}`; give one of the two another name",
            )
    return None
