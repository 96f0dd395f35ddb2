"""What comes after `--`: profiles, and the settings of `config.define_*` and `config.parse`.

Tilt's rules: flags are `--name value` or `--name=value`, a bool is `--name` or `--name=false`; at
most one setting takes the words that are no flags; `tilt_config.json` (or `kindling_config.json`)
beside the file is read first and the command line wins; what was set nowhere is absent from the
result. A word that names a profile is the profile's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from kindling.errors import ConfigError, nearest
from kindling.lang import structured
from kindling.lang.call import Call, show
from kindling.lang.declared import Enabled, EnabledMode, Profile
from kindling.lang.native.files import read_text
from kindling.lang.session import Native, Session

__all__ = ["NATIVES", "finish_arguments"]

_CONFIG_FILES = ("kindling_config.json", "tilt_config.json")
_PROFILE = re.compile(r"""\bprofile\(\s*(?:name\s*=\s*)?["']([^"']+)["']""")


class SettingType(Enum):
    STRING = "string"
    LIST = "list of strings"
    BOOL = "bool"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    type: SettingType
    positional: bool
    usage: str


def profile(call: Call, name: object, help: object) -> bool:
    text = call.required("name", name)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", text):
        raise ConfigError(
            f"`{text}` is not the name of a profile",
            hint="A name is letters, digits, `-`, `_` and `.`, as one word of a command line.",
        )
    if text in call.session.inputs.names:
        raise ConfigError(
            f"`{text}` is a profile and stands before `--`, where words select resources",
            hint=f"Say `-- {text}`.",
        )
    known = call.state.profiles.get(text)
    meaning = call.text("help", help) or (known.help if known else "")
    active = text in call.session.inputs.args
    call.state.profiles[text] = Profile(text, meaning, active, known.where if known else call.where)
    return active


def _define(call: Call, type_: SettingType, name: object, args: object, usage: object) -> None:
    text = call.required("name", name)
    settings = _settings(call.session)
    if call.session.parsed_in is not None:
        raise ConfigError(f"`{text}` is defined after `config.parse()` was called")
    if text in settings:
        raise ConfigError(f"The setting `{text}` is defined twice")
    positional = call.flag("args", args)
    if positional:
        for other in settings.values():
            if other.positional:
                raise ConfigError(
                    f"Both `{other.name}` and `{text}` take the words that are no flags",
                    hint="Only one setting may have `args=True`.",
                )
    call.session.settings[text] = _Setting(text, type_, positional, call.text("usage", usage))


def _settings(session: Session) -> dict[str, _Setting]:
    return {
        name: setting for name, setting in session.settings.items() if isinstance(setting, _Setting)
    }


def define_string(call: Call, name: object, args: object, usage: object) -> None:
    _define(call, SettingType.STRING, name, args, usage)


def define_string_list(call: Call, name: object, args: object, usage: object) -> None:
    _define(call, SettingType.LIST, name, args, usage)


def define_bool(call: Call, name: object, args: object, usage: object) -> None:
    _define(call, SettingType.BOOL, name, args, usage)


def define_object(call: Call, name: object, args: object, usage: object) -> None:
    _define(call, SettingType.OBJECT, name, args, usage)


def parse(call: Call) -> dict[str, object]:
    session = call.session
    if session.parsed_in not in (None, call.folder):
        assert session.parsed_in is not None
        raise ConfigError(
            "`config.parse` is called from two folders",
            details=[f"first in {session.paths.relative(session.parsed_in)}"],
        )
    session.parsed_in = call.folder
    settings = _settings(session)
    return {**_from_file(call, settings), **_from_words(call, settings)}


def _from_file(call: Call, settings: dict[str, _Setting]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in _CONFIG_FILES:
        path = Path(call.folder) / name
        text = read_text(call, path, default="")
        if text is None:
            continue
        relative = call.session.paths.relative(path)
        data = structured.parse_json(text, relative)
        if not isinstance(data, dict):
            raise ConfigError(f"`{relative}` must hold an object, and holds {show(data)}")
        for key, value in data.items():
            setting = settings.get(key)
            if setting is None:
                raise ConfigError(
                    f"`{relative}` sets `{key}`, which is not defined",
                    details=[f"known: [{', '.join(settings)}]"],
                    hint=nearest(key, settings),
                )
            found.setdefault(key, _checked(setting, value, relative))
    return found


def _checked(setting: _Setting, value: object, source: str) -> object:
    right = {
        SettingType.STRING: isinstance(value, str),
        SettingType.BOOL: isinstance(value, bool),
        SettingType.LIST: isinstance(value, list) and all(isinstance(item, str) for item in value),
        SettingType.OBJECT: True,
    }[setting.type]
    if not right:
        raise ConfigError(
            f"`{source}`: `{setting.name}` must be a {setting.type.value}, not {show(value)}"
        )
    return value


def _from_words(call: Call, settings: dict[str, _Setting]) -> dict[str, object]:
    session = call.session
    found: dict[str, object] = {}
    positional = next((s for s in settings.values() if s.positional), None)
    profiles = _profiles(session)
    words = list(session.inputs.args)
    flags_end = False
    plain: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--" and not flags_end:
            flags_end = True
        elif word.startswith("-") and len(word) > 1 and not flags_end:
            session.consumed.add(word)
            _take_flag(session, settings, word, words, found)
        elif word not in profiles:
            plain.append(word)
    if plain and positional is None:
        if not profiles:
            raise ConfigError(
                f"Words are given after `--` and the file takes none: [{', '.join(plain)}]",
                hint="Define a setting with `args=True`, or a `profile()`.",
            )
        return found
    if positional is not None and plain:
        session.consumed.update(plain)
        if positional.type is SettingType.LIST:
            found[positional.name] = plain
        elif len(plain) > 1:
            raise ConfigError(f"`{positional.name}` takes one word, not [{', '.join(plain)}]")
        else:
            found[positional.name] = _value(positional, plain[0], settings)
    return found


def _profiles(session: Session) -> set[str]:
    """The profiles that are known, or that the main file will ask for further down."""
    source = session.source(session.paths.relative(session.main))
    later = _PROFILE.findall(source.text) if source else []
    return {*session.state.profiles, *later}


def _take_flag(
    session: Session,
    settings: dict[str, _Setting],
    word: str,
    words: list[str],
    found: dict[str, object],
) -> None:
    name, equals, value = word.lstrip("-").partition("=")
    setting = settings.get(name)
    if setting is None:
        raise ConfigError(
            f"`{word}` is not a setting of this file",
            details=_usage(settings),
            hint=nearest(name, settings),
        )
    if setting.type is SettingType.BOOL:
        text = value if equals else "true"
    elif equals:
        text = value
    elif words:
        text = words.pop(0)
        session.consumed.add(text)
    else:
        raise ConfigError(f"`{word}` needs a value", details=_usage(settings))
    if setting.type is SettingType.LIST:
        before = found.get(name)
        found[name] = [*(before if isinstance(before, list) else []), text]
    else:
        found[name] = _value(setting, text, settings)


def _value(setting: _Setting, text: str, settings: dict[str, _Setting]) -> object:
    if setting.type is SettingType.BOOL:
        words = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
        if text.lower() not in words:
            raise ConfigError(
                f"`--{setting.name}` must be true or false, not `{text}`", details=_usage(settings)
            )
        return words[text.lower()]
    if setting.type is SettingType.OBJECT:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"`--{setting.name}` is not JSON: {error.msg}") from None
    return text


def _usage(settings: dict[str, _Setting]) -> list[str]:
    lines = ["Settings of this file:"]
    for setting in settings.values():
        sign = "" if setting.type is SettingType.BOOL else f" <{setting.type.value}>"
        words = " (or words without a flag)" if setting.positional else ""
        lines.append(f"  --{setting.name}{sign}{words}  {setting.usage}".rstrip())
    return lines if settings else ["This file has no settings."]


def set_enabled_resources(call: Call, resources: object) -> None:
    names = call.texts("resources", resources)
    mode = EnabledMode.ONLY if names else EnabledMode.ALL
    call.state.enabled = Enabled(mode, names, call.where)


def clear_enabled_resources(call: Call) -> None:
    call.state.enabled = Enabled(EnabledMode.NONE, (), call.where)


def finish_arguments(session: Session) -> tuple[str, ...]:
    """After the evaluation: the words that select resources, because the file takes none itself.

    Raises:
        ConfigError: A word after `--` means nothing to the file.
    """
    profiles = session.state.profiles
    words = [word for word in session.inputs.args if word != "--"]
    if not profiles and session.parsed_in is None:
        for word in words:
            if word.startswith("-"):
                raise ConfigError(
                    f"{session.main.name}: `{word}` is given after `--`, "
                    "and the file has no settings",
                    hint="Define one with `config.define_bool`, and call `config.parse`.",
                )
        return tuple(words)
    for word in words:
        if word not in profiles and word not in session.consumed:
            known = ", ".join(profiles)
            raise ConfigError(
                f"{session.main.name}: `{word}` is not a profile of this file",
                details=[f"known: [{known}]"],
                hint=nearest(word, profiles),
            )
    return ()


NATIVES: dict[str, Native] = {
    "profile": profile,
    "config.define_string": define_string,
    "config.define_string_list": define_string_list,
    "config.define_bool": define_bool,
    "config.define_object": define_object,
    "config.parse": parse,
    "config.set_enabled_resources": set_enabled_resources,
    "config.clear_enabled_resources": clear_enabled_resources,
}
