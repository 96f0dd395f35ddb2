"""Which variables of the application a dependency sets."""

from __future__ import annotations

from kindling.operator.backing.table import SERVICES
from kindling.operator.model import Dependency

__all__ = ["URL_KEY", "injected"]

URL_KEY = "CONNECTION_URL"
"""Under which key of a dependency's Secret its URL is."""


def injected(dependency: Dependency) -> dict[str, str]:
    """The application's variables, each with its key in the dependency's Secret.

    A dependency that bears a name of its own puts it before them (`sessions` of type redis sets
    `SESSIONS_REDIS_URL`), so that two of one type do not clash. `envVarName` is taken as it is.
    """
    service = SERVICES[dependency.type]
    named = dependency.name != dependency.type
    prefix = dependency.name.upper().replace("-", "_") + "_" if named else ""
    variables = {dependency.variable or prefix + service.variable: URL_KEY}
    return variables | {prefix + name: name for name, _ in service.exports}
