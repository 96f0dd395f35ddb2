"""What the Secret of a user's secret is called: `STRIPE_KEY` is `kindling-secret-stripe-key`.

`kindling secrets`, `secret("STRIPE_KEY")` in a Kindlingfile and whoever looks for what is missing
must agree on it, so it is said here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from kindling.errors import UsageError

__all__ = ["LONGEST_NAME", "PREFIX", "VALUE_KEY", "known_as", "secret_name"]

PREFIX = "kindling-secret-"

VALUE_KEY = "value"
"""The key under which every such Secret has its value, whatever the secret is called."""

_LONGEST_OBJECT = 253
LONGEST_NAME = _LONGEST_OBJECT - len(PREFIX)

_WORD = re.compile(r"[A-Za-z0-9._-]+")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def secret_name(name: str) -> str:
    """The name of the Secret that holds the secret `name`: lower case, `_` made `-`, prefixed.

    Raises UsageError, with what is wrong, for a name that cannot be the name of an object. A
    letter outside ASCII is refused before it is made small, since the Kelvin sign's small letter
    is a `k`.
    """
    if not name:
        raise UsageError("A secret needs a name.", hint="For example `STRIPE_KEY`.")
    shown = _shown(name)
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"The name `{shown}` has {len(name)} characters; a secret's has {LONGEST_NAME} at most."
        )
    strange = sorted({c for c in name if not _WORD.fullmatch(c)})
    if strange:
        raise UsageError(
            f"`{shown}` cannot be the name of a secret: it has {_named(strange)} in it.",
            hint="A name is made of letters and digits of ASCII, `_`, `-` and `.`: `STRIPE_KEY`.",
        )
    made = _made(name)
    if not _SUBDOMAIN.fullmatch(made):
        raise UsageError(
            f"`{shown}` cannot be the name of a secret: the cluster would not accept `{made}`.",
            hint="It ends with a letter or a digit, and so does every part before a `.`.",
        )
    return made


def known_as(object_name: str, keys: Iterable[str]) -> str:
    """What the secret in the Secret `object_name` is called by its user: the value is there a
    second time under that name. Without it, what the name of the Secret says."""
    for key in sorted(keys):
        # What is legal as a key is no hostile text; only the length of it could be refused.
        if key != VALUE_KEY and len(key) <= LONGEST_NAME and _made(key) == object_name:
            return key
    return object_name.removeprefix(PREFIX)


def _made(name: str) -> str:
    return PREFIX + name.lower().replace("_", "-")


def _shown(name: str) -> str:
    """The name as a message may show it: no control characters, no more than a line, and nothing
    after a `=`, since that is a value which somebody wrote there."""
    name, equals, _ = name.partition("=")
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)
    plain = plain if len(plain) <= 40 else f"{plain[:37]}..."
    return f"{plain}=..." if equals else plain


def _named(strange: list[str]) -> str:
    """`a "/" and a space`-like words, for three characters at most."""
    words = [
        "a space" if c == " " else f"`{c}`" if c.isprintable() else f"`{ascii(c)[1:-1]}`"
        for c in strange[:3]
    ]
    more = ["others"] if len(strange) > 3 else []
    *first, last = words + more
    return f"{', '.join(first)} and {last}" if first else last
