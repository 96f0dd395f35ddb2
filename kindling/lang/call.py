"""One call of a builtin: where it stands, and its arguments made into values that can be trusted.

Every conversion takes the parameter's name and what the user gave for it, and either returns the
value or raises a ConfigError that says what was wanted. `None` always means that nothing was given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kindling.errors import ConfigError, nearest
from kindling.graph.node import IgnoreRule, Trigger, Where
from kindling.lang.blob import Blob
from kindling.lang.declared import Dependency, HealthCheck, Link, Remark

if TYPE_CHECKING:
    from kindling.lang.session import Session
    from kindling.lang.state import Collected

__all__ = ["Call", "show"]

T = TypeVar("T")

_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(h|ms|m|s|us|µs|ns)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
_NAMES: tuple[tuple[type, str], ...] = (
    (bool, "a bool"),
    (int, "a number"),
    (float, "a number"),
    (Blob, "a blob"),
    (str, "a text"),
    (list, "a list"),
    (dict, "a dict"),
)


def show(value: object) -> str:
    """What a user gave, short enough for a message: `3`, a number."""
    if value is None:
        return "None"
    for type_, name in _NAMES:
        if isinstance(value, type_):
            text = repr(str(value)) if isinstance(value, str) else repr(value)
            return f"{name}: {text if len(text) <= 60 else text[:57] + '...'}"
    return f"a `{_maker(value)}`"


def _maker(value: object) -> str:
    """The builtin whose result a value of ours is: `SyncStep` comes from `sync()`."""
    if isinstance(value, Dependency | HealthCheck):
        return "http_get()" if value.type == "http" else f"{value.type}()"
    return {
        "IngressRule": "ingress()",
        "SecretReference": "secret()",
        "SyncStep": "sync()",
        "RunStep": "run()",
        "FallBackOn": "fall_back_on()",
        "InitialSync": "initial_sync()",
        "RestartContainer": "restart_container()",
        "PortForward": "port_forward()",
        "Link": "link()",
        "Probe": "probe()",
    }.get(type(value).__name__, type(value).__name__)


class Call:
    """A call of the builtin `name` at `where`."""

    __slots__ = ("folder", "name", "session", "where")

    def __init__(self, session: Session, name: str, where: Where) -> None:
        self.session = session
        self.name = name
        self.where = where
        self.folder: Path = session.folder
        """The folder of the file that is being executed: what relative paths are relative to."""

    @property
    def state(self) -> Collected:
        """What the evaluation has gathered so far."""
        return self.session.state

    # Saying things -----------------------------------------------------------------------------

    def wants(self, argument: str, wanted: str, value: object) -> ConfigError:
        """The error for an argument of the wrong kind."""
        return ConfigError(f"`{self.name}({argument}=)` wants {wanted}, not {show(value)}")

    def warn(self, text: str) -> None:
        """Tell the user something that is no error."""
        self.state.remarks.append(Remark(text, where=self.where))

    def notice_once(self, key: str, text: str) -> None:
        """Tell the user something unimportant, once an evaluation."""
        if key not in self.state.said:
            self.state.said.add(key)
            self.state.remarks.append(Remark(text, warning=False, where=self.where))

    def claim(self, kind: str, name: str) -> None:
        """Take a name that only one declaration may have."""
        if (first := self.state.names.get((kind, name))) is not None:
            raise ConfigError(
                f"{kind} `{name}` is declared twice",
                details=[f"first at {first}"],
                hint="Give one of them another name.",
            )
        self.state.names[kind, name] = self.where

    # Arguments ---------------------------------------------------------------------------------

    def text(self, argument: str, value: object) -> str:
        """A text; nothing is the empty text."""
        if isinstance(value, str):
            return str(value)
        if value is None:
            return ""
        raise self.wants(argument, "a text", value)

    def required(self, argument: str, value: object) -> str:
        """A text that is not empty."""
        if not isinstance(value, str):
            raise self.wants(argument, "a text", value)
        if not value:
            raise ConfigError(f"`{self.name}({argument}=)` is empty")
        return str(value)

    def texts(self, argument: str, value: object) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        if not value:
            return ()
        if isinstance(value, str):
            return (str(value),)
        if isinstance(value, list):
            for item in value:
                if not isinstance(item, str):
                    raise self.wants(argument, "a list of texts", item)
            return tuple(map(str, value))
        raise self.wants(argument, "a text or a list of texts", value)

    def flag(self, argument: str, value: object) -> bool:
        """True or False; nothing is False."""
        if isinstance(value, bool):
            return value
        if value is None:
            return False
        raise self.wants(argument, "True or False", value)

    def maybe_flag(self, argument: str, value: object) -> bool | None:
        """True, False, or None when nothing was given."""
        return None if value is None else self.flag(argument, value)

    def number(self, argument: str, value: object) -> float:
        """A number that is not negative."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wants(argument, "a number", value)
        if value < 0:
            raise ConfigError(f"`{self.name}({argument}=)` must not be negative, and is {value}")
        return value

    def count(self, argument: str, value: object, least: int = 0) -> int:
        """A whole number of at least `least`."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise self.wants(argument, "a whole number", value)
        if value < least:
            raise ConfigError(
                f"`{self.name}({argument}=)` must be at least {least}, and is {value}"
            )
        return int(value)

    def duration(self, argument: str, value: object) -> float | None:
        """Seconds: a number, or a text such as `90s` or `1h30m`. None when nothing was given."""
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            return self.number(argument, value)
        if value == "0":
            return 0.0
        parts = _DURATION.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            raise self.wants(argument, "a duration such as `90s` or `1h30m`", value)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)

    def argv(self, argument: str, value: object) -> tuple[str, ...]:
        """A command: a text is for the shell, a list is the argument vector itself."""
        if not value:
            return ()
        if isinstance(value, str):
            return ("sh", "-c", str(value))
        return self.texts(argument, value)

    def choice(self, argument: str, value: object, known: Iterable[str]) -> str:
        """One of the known words; nothing is the empty text."""
        text = self.text(argument, value)
        known = list(known)
        if text and text not in known:
            raise ConfigError(
                f"`{self.name}({argument}=)` does not know `{text}`",
                details=[f"known: [{', '.join(known)}]"],
                hint=nearest(text, known),
            )
        return text

    def pairs(self, argument: str, value: object) -> tuple[tuple[str, str], ...]:
        """A dict of texts; numbers become texts."""
        if not value:
            return ()
        if not isinstance(value, dict):
            raise self.wants(argument, "a dict of texts", value)
        out = []
        for key, item in value.items():
            if isinstance(item, bool) or not isinstance(item, str | int | float):
                raise self.wants(argument, f"a text for `{key}`", item)
            out.append((str(key), str(item)))
        return tuple(out)

    def environment(self, argument: str, value: object) -> tuple[tuple[str, str], ...]:
        """Variables of a command that runs later: what the file has put into its environment so far
        (`os.putenv`, `os.environ[...] =`), then what the argument says."""
        before = self.session.inputs.environment
        put = {key: text for key, text in self.session.environ.items() if before.get(key) != text}
        return tuple({**put, **dict(self.pairs(argument, value))}.items())

    def trigger(self, argument: str, value: object) -> Trigger | None:
        """A trigger mode, None when nothing was given."""
        if value is None:
            return None
        if isinstance(value, str) and value in {mode.value for mode in Trigger}:
            return Trigger(value)
        raise self.wants(argument, "TRIGGER_MODE_AUTO or TRIGGER_MODE_MANUAL", value)

    def links(self, argument: str, value: object) -> tuple[Link, ...]:
        """Links: addresses or `link()`s, one or several."""
        items = value if isinstance(value, list) else [] if value is None else [value]
        out = []
        for item in items:
            if isinstance(item, Link):
                out.append(item)
            elif isinstance(item, str) and item:
                out.append(self.session.link(self, argument, item))
            elif item != "":
                raise self.wants(argument, "addresses or `link()`s", item)
        return tuple(out)

    def labels(self, value: object) -> tuple[str, ...]:
        """Labels: words that a Kubernetes label name could be."""
        labels = self.texts("labels", value)
        for label in labels:
            if not _LABEL.fullmatch(label) or len(label) > 63:
                raise ConfigError(
                    f"`{label}` is not a label",
                    hint="A label is up to 63 letters, digits, `-`, `_` and `.`, "
                    "with a letter or digit at both ends.",
                )
        return labels

    def instances(self, argument: str, value: object, type_: type[T], wanted: str) -> tuple[T, ...]:
        """Values made by another builtin, one or several."""
        items = value if isinstance(value, list) else [] if value is None else [value]
        out: list[T] = []
        for item in items:
            if not isinstance(item, type_):
                raise self.wants(argument, wanted, item)
            out.append(item)
        return tuple(out)

    # Paths -------------------------------------------------------------------------------------

    def path(self, argument: str, value: object) -> str:
        """A path relative to the root; nothing is the folder of the file that is being executed."""
        return self.session.paths.resolve(self.text(argument, value) or ".", self.folder)

    def paths(self, argument: str, value: object) -> tuple[str, ...]:
        """Paths relative to the root."""
        if not value:
            return ()
        resolve = self.session.paths.resolve
        return tuple(resolve(text, self.folder) for text in self.texts(argument, value))

    def on_disk(self, argument: str, value: object) -> Path:
        """An absolute path."""
        return Path(self.session.paths.absolute(self.required(argument, value), self.folder))

    def patterns(self, argument: str, value: object) -> tuple[str, ...]:
        """Patterns in `.dockerignore` syntax."""
        patterns = self.texts(argument, value)
        for pattern in patterns:
            if "\n" in pattern:
                raise ConfigError(
                    f"`{self.name}({argument}=)` holds a pattern with a line break: {pattern!r}",
                    hint="Give a list with one pattern each.",
                )
        return patterns

    def ignore(
        self, value: object, bases: Iterable[str], name: str = "ignore"
    ) -> tuple[IgnoreRule, ...]:
        """`ignore=` as rules, one for each folder that the patterns are relative to."""
        patterns = self.patterns(name, value)
        return tuple(IgnoreRule(base, patterns) for base in bases) if patterns else ()
