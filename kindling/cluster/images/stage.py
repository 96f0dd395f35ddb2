"""A stage of a build while it is built: its layers, its configuration, and what its ARGs are."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from kindling.cluster.images.dockerfile import Instruction, words
from kindling.cluster.images.expansion import ExpansionError, expand
from kindling.cluster.images.host_image import HOST_MARK
from kindling.cluster.images.manifest import Descriptor, encode, machine

__all__ = ["EPOCH", "PROXIES", "BuildStage", "platform_args"]

EPOCH = "1970-01-01T00:00:00Z"
"""The time that every image built here carries, so that the same inputs make the same image."""

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
PROXIES = frozenset(
    name
    for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)
"""Build arguments that every stage has without an ARG, and that no cache looks at."""


def platform_args() -> dict[str, str]:
    """The arguments that say what is built for what: always this machine."""
    system, architecture, variant = machine()
    whole = f"{system}/{architecture}" + (f"/{variant}" if variant else "")
    values = {"PLATFORM": whole, "OS": system, "ARCH": architecture, "VARIANT": variant}
    return {f"{side}{name}": it for side in ("TARGET", "BUILD") for name, it in values.items()}


class BuildStage:
    """See the module. `config` is the `config` of the image configuration, as JSON."""

    def __init__(
        self,
        base: Mapping[str, Any],
        layers: tuple[tuple[str, Descriptor], ...],
        escape: str,
    ) -> None:
        self.host = bool(base.get(HOST_MARK))
        self.config: dict[str, Any] = copy.deepcopy(dict(base.get("config") or {}))
        self.history: list[dict[str, Any]] = copy.deepcopy(list(base.get("history") or ()))
        self.layers = list(layers)
        """Each layer's diff id, and its blob."""
        self.args: dict[str, str] = {}
        self.escape = escape
        self._own_command = False
        self.triggers = tuple(self.config.pop("OnBuild", None) or ())
        for key in ("Image", "Hostname", "Domainname", "AttachStdin"):
            self.config.pop(key, None)

    # What it is ----------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        pairs = (item.partition("=") for item in self.config.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def cwd(self) -> str:
        return self.config.get("WorkingDir") or "/"

    @property
    def user(self) -> str:
        return self.config.get("User") or ""

    @property
    def shell(self) -> tuple[str, ...]:
        return tuple(self.config.get("Shell") or ("/bin/sh", "-c"))

    def image(self) -> bytes:
        """The whole image configuration."""
        system, architecture, variant = machine()
        value: dict[str, Any] = {
            "architecture": architecture,
            "os": system,
            "created": EPOCH,
            "config": {name: value for name, value in self.config.items() if value is not None},
            "rootfs": {"type": "layers", "diff_ids": [diff_id for diff_id, _ in self.layers]},
            "history": self.history,
        }
        if variant:
            value["variant"] = variant
        if self.host:
            value[HOST_MARK] = True
        return encode(value)

    def expand(self, text: str, instruction: Instruction) -> str:
        """A word with the stage's variables; ENV wins over ARG."""
        try:
            return expand(text, {**self.args, **self.env}, self.escape)
        except ExpansionError as error:
            raise instruction.error(f"failed to process {text!r}: {error}") from error

    def note(self, instruction: Instruction, *, empty: bool) -> None:
        """Add to the history."""
        row: dict[str, Any] = {"created": EPOCH, "created_by": instruction.text}
        if empty:
            row["empty_layer"] = True
        self.history.append(row)

    # What changes no files -----------------------------------------------------------------------

    def apply(self, instruction: Instruction) -> None:
        """Carry out an instruction that is about the configuration alone."""
        self._METHODS[instruction.word](self, instruction)

    def declare(
        self, instruction: Instruction, given: Mapping[str, str], known: Mapping[str, str]
    ) -> None:
        """ARG: `given` are the build's arguments, `known` those before the first FROM."""
        for word in words(instruction.rest, self.escape):
            name, equals, default = word.partition("=")
            name = self.expand(name, instruction)
            if not name:
                raise instruction.error("ARG names can not be blank")
            if name in given:
                self.args[name] = given[name]
            elif equals:
                self.args[name] = self.expand(default, instruction)
            elif name in known:
                self.args[name] = known[name]

    def pairs(self, instruction: Instruction) -> list[tuple[str, str]]:
        """The names and values of ENV and LABEL, in either of their two forms."""
        parts = words(instruction.rest, self.escape)
        if "=" not in parts[0]:
            name, rest = parts[0], instruction.rest[len(parts[0]) :].strip()
            if not rest:
                raise instruction.error(f"{instruction.word} must have two arguments")
            return [(self.expand(name, instruction), self.expand(rest, instruction))]
        found = []
        for part in parts:
            name, equals, value = part.partition("=")
            if not equals:
                raise instruction.error(
                    f"Syntax error - can't find = in {part!r}. Must be of the form: name=value"
                )
            name = self.expand(name, instruction)
            if not name:
                raise instruction.error(f"{instruction.word} names can not be blank")
            found.append((name, self.expand(value, instruction)))
        return found

    def _env(self, instruction: Instruction) -> None:
        merged = {**self.env, **dict(self.pairs(instruction))}
        self.config["Env"] = [f"{name}={value}" for name, value in merged.items()]

    def _label(self, instruction: Instruction) -> None:
        labels = self.config.get("Labels") or {}
        self.config["Labels"] = {**labels, **dict(self.pairs(instruction))}

    def _command(self, instruction: Instruction) -> None:
        said = instruction.exec
        if said is None:
            said = (*self.shell, instruction.rest) if instruction.rest else ()
        self.config["Cmd"] = list(said) or None
        self._own_command = True

    def _entrypoint(self, instruction: Instruction) -> None:
        said = instruction.exec
        if said is None:
            said = (*self.shell, instruction.rest) if instruction.rest else ()
        self.config["Entrypoint"] = list(said) or None
        if not self._own_command:
            self.config["Cmd"] = None  # the base's command was for the base's entrypoint

    def _user(self, instruction: Instruction) -> None:
        self.config["User"] = self.expand(instruction.rest, instruction)

    def _expose(self, instruction: Instruction) -> None:
        ports = dict(self.config.get("ExposedPorts") or {})
        for word in self.expand(instruction.rest, instruction).split():
            numbers, _, protocol = word.partition("/")
            first, dash, last = numbers.partition("-")
            if not (first.isdigit() and (last.isdigit() or not dash)) or protocol.lower() not in (
                "",
                "tcp",
                "udp",
                "sctp",
            ):
                raise instruction.error(f"invalid containerPort: {word}")
            for number in range(int(first), int(last or first) + 1):
                if number > 65535:
                    raise instruction.error(f"invalid containerPort: {word}")
                ports[f"{number}/{protocol.lower() or 'tcp'}"] = {}
        self.config["ExposedPorts"] = ports

    def _volume(self, instruction: Instruction) -> None:
        named = instruction.exec or tuple(words(instruction.rest, self.escape))
        found: dict[str, dict[str, str]] = {self.expand(name, instruction): {} for name in named}
        self.config["Volumes"] = {**(self.config.get("Volumes") or {}), **found}

    def _stop_signal(self, instruction: Instruction) -> None:
        self.config["StopSignal"] = self.expand(instruction.rest, instruction)

    def _shell(self, instruction: Instruction) -> None:
        if not instruction.exec:
            raise instruction.error("SHELL requires the arguments to be in JSON form")
        self.config["Shell"] = list(instruction.exec)

    def _healthcheck(self, instruction: Instruction) -> None:
        kind, _, rest = instruction.rest.partition(" ")
        if kind.upper() == "NONE":
            self.config["Healthcheck"] = {"Test": ["NONE"]}
            return
        if kind.upper() != "CMD" or not rest.strip():
            raise instruction.error(f"Unknown type {kind!r} in HEALTHCHECK (try CMD)")
        test = ["CMD-SHELL", rest.strip()]
        if rest.strip().startswith("["):
            with contextlib.suppress(ValueError):
                test = ["CMD", *json.loads(rest)]
        check: dict[str, Any] = {"Test": test}
        for flag, key in (
            ("interval", "Interval"),
            ("timeout", "Timeout"),
            ("start-period", "StartPeriod"),
            ("start-interval", "StartInterval"),
        ):
            if text := instruction.flag(flag):
                check[key] = _duration(text, instruction)
        if text := instruction.flag("retries"):
            if not text.isdigit():
                raise instruction.error(f"--retries is no number: {text}")
            check["Retries"] = int(text)
        self.config["Healthcheck"] = check

    def _maintainer(self, instruction: Instruction) -> None:
        labels = self.config.get("Labels") or {}
        self.config["Labels"] = {**labels, "maintainer": instruction.rest}

    _METHODS: Mapping[str, Callable[[Any, Instruction], None]] = {
        "CMD": _command,
        "ENTRYPOINT": _entrypoint,
        "ENV": _env,
        "EXPOSE": _expose,
        "HEALTHCHECK": _healthcheck,
        "LABEL": _label,
        "MAINTAINER": _maintainer,
        "SHELL": _shell,
        "STOPSIGNAL": _stop_signal,
        "USER": _user,
        "VOLUME": _volume,
    }


def _duration(text: str, instruction: Instruction) -> int:
    """Nanoseconds of Go's `1m30s`."""
    parts = _SECONDS.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise instruction.error(f"time: invalid duration {text!r}")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))
