"""Parts that the built-in extensions are made of. Users do not call these."""

from __future__ import annotations

import base64

from kindling.errors import ConfigError
from kindling.lang.call import Call
from kindling.lang.native.files import read_text
from kindling.lang.session import Native

__all__ = ["NATIVES", "parse_dotenv"]

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def parse_dotenv(text: str) -> dict[str, str]:
    """The variables of a `.env` file.

    Lines are `KEY=value` or `export KEY=value`; `#` begins a comment after white space. A value in
    single quotes is taken as it is; in double quotes it may span lines and hold escapes.
    """
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        line = line.strip().removeprefix("export ").strip()
        key, equals, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key or key.startswith("#"):
            continue
        if value.startswith('"'):
            while not _closed(value) and (more := next(lines, None)) is not None:
                value += "\n" + more
            value = _unescape(value)
        elif value.startswith("'") and "'" in value[1:]:
            value = value[1 : value.index("'", 1)]
        else:
            value = value.partition(" #")[0].partition("\t#")[0].rstrip()
        found[key] = value
    return found


def _closed(value: str) -> bool:
    at = 1
    while at < len(value):
        if value[at] == "\\":
            at += 1
        elif value[at] == '"':
            return True
        at += 1
    return False


def _unescape(value: str) -> str:
    out, at = [], 1
    while at < len(value) and value[at] != '"':
        if value[at] == "\\" and at + 1 < len(value):
            at += 1
            out.append(_ESCAPES.get(value[at], "\\" + value[at]))
        else:
            out.append(value[at])
        at += 1
    return "".join(out)


def data(call: Call, from_file: object, from_env_file: object, encoded: object) -> dict[str, str]:
    """The data of a Secret or ConfigMap, as `kubectl create --from-file --from-env-file` reads
    it."""
    found: dict[str, str] = {}
    for item in call.texts("from_file", from_file):
        key, equals, name = item.partition("=")
        path = call.on_disk("from_file", name if equals else item)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        for file in files:
            if not file.is_dir():
                found[key if equals else file.name] = _content(call, file, bool(encoded))
        if path.is_dir():
            call.state.read([call.session.paths.relative(path)])
    for item in call.texts("from_env_file", from_env_file):
        text = read_text(call, call.on_disk("from_env_file", item)) or ""
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            key, equals, value = line.partition("=")
            if not equals:
                value = call.session.environ.get(key.strip(), "")
            found[key.strip()] = base64.b64encode(value.encode()).decode() if encoded else value
    if not found and not from_file and not from_env_file:
        raise ConfigError("Neither `from_file` nor `from_env_file` is given")
    return found


def _content(call: Call, file: object, encoded: bool) -> str:
    path = call.on_disk("from_file", str(file))
    if not encoded:
        return read_text(call, path) or ""
    call.state.read([call.session.paths.relative(path)])
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        relative = call.session.paths.relative(path)
        raise ConfigError(f"`{relative}` cannot be read: {error.strerror}") from None


def dotenv(call: Call, text: object) -> dict[str, str]:
    return parse_dotenv(call.text("text", text))


def encode_base64(call: Call, text: object) -> str:
    return base64.b64encode(call.text("text", text).encode()).decode()


def button_notice(call: Call, name: object) -> None:
    call.notice_once("uibutton", f"`{name}` is for Tilt's web page and is ignored")


NATIVES: dict[str, Native] = {
    "kf_data": data,
    "kf_dotenv": dotenv,
    "kf_base64": encode_base64,
    "kf_button_notice": button_notice,
}
