"""Which variables of the application a dependency sets."""

from __future__ import annotations

from difflib import get_close_matches
from os.path import commonprefix

from kindling.operator.backing.table import SERVICES
from kindling.operator.model import Dependency

__all__ = ["URL_KEY", "injected", "nearest_credential"]

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


def nearest_credential(type_: str, name: str) -> str:
    """The user, password or the like of a service that `name` is probably meant to be; empty when
    it is one of them, or something else that the image may know."""
    known = [setting.name for setting in SERVICES[type_].settings if setting.kept]
    start = commonprefix(known)  # noqa: RUF071  # characters are what is meant
    tails = {one.removeprefix(start): one for one in known}
    tail = name.removeprefix(start)
    if name in known:
        return ""
    if tail == name:  # a slip at the beginning, unless it is about something else
        return next(iter(get_close_matches(name, known, n=1, cutoff=0.9)), "")
    if any(tail.startswith(f"{one}_") or tail.endswith(f"_{one}") for one in tails):
        return ""  # `POSTGRES_PASSWORD_FILE`, `MYSQL_RANDOM_ROOT_PASSWORD`
    return next((tails[one] for one in get_close_matches(tail, tails, n=1)), "")
