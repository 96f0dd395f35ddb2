"""Reading files and folders, structured text, other files of the language."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kindling.errors import ConfigError
from kindling.lang import structured
from kindling.lang.blob import Blob
from kindling.lang.call import Call
from kindling.lang.glance import look
from kindling.lang.session import Native

__all__ = ["NATIVES", "read_text"]


def read_text(call: Call, path: Path, default: object = None) -> str | None:
    """The text of a file, which is watched from now on, also when it does not exist yet.

    None when it is missing and `default` is given.

    Raises:
        ConfigError: It is missing without a default, a folder, or not text.
    """
    relative = call.session.paths.relative(path)
    call.state.read([relative])
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if default is not None:
            return None
        raise ConfigError(f"`{relative}` does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"`{relative}` is a folder, not a file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{relative}` is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"`{relative}` cannot be read: {error.strerror}") from None


def read_file(call: Call, file_path: object, default: object) -> Blob:
    text = read_text(call, call.on_disk("file_path", file_path), default)
    return Blob(call.text("default", default) if text is None else text)


def read_json(call: Call, path: object, default: object) -> object:
    file = call.on_disk("path", path)
    text = read_text(call, file, default)
    return (
        default if text is None else structured.parse_json(text, call.session.paths.relative(file))
    )


def read_yaml(call: Call, path: object, default: object) -> object:
    file = call.on_disk("path", path)
    text = read_text(call, file, default)
    return default if text is None else _one(text, call.session.paths.relative(file))


def read_yaml_stream(call: Call, path: object, default: object) -> object:
    file = call.on_disk("path", path)
    text = read_text(call, file, default)
    return default if text is None else _several(text, call.session.paths.relative(file))


def _one(text: str, source: str = "") -> Any:
    documents = structured.parse_yaml_stream(text, source)
    if len(documents) > 1:
        raise ConfigError(
            f"{source or 'The YAML'} holds {len(documents)} documents, and one is wanted",
            hint="Use `read_yaml_stream` or `decode_yaml_stream`.",
        )
    return documents[0] if documents else None


def _several(text: str, source: str = "") -> list[Any]:
    return [item for item in structured.parse_yaml_stream(text, source) if item is not None]


def decode_json(call: Call, json: object) -> object:
    return structured.parse_json(call.text("json", json))


def decode_yaml(call: Call, yaml: object) -> object:
    return _one(call.text("yaml", yaml))


def decode_yaml_stream(call: Call, yaml: object) -> object:
    return _several(call.text("yaml", yaml))


def _plain(call: Call, value: Any) -> Any:
    """Data that can be written: no value of ours, blobs as texts."""
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list):
        return [_plain(call, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(call, item) for key, item in value.items()}
    raise call.wants("obj", "texts, numbers, lists and dicts", value)


def encode_json(call: Call, obj: object) -> Blob:
    return Blob(structured.dump_json(_plain(call, obj)))


def encode_yaml(call: Call, obj: object) -> Blob:
    return Blob(structured.dump_yaml(_plain(call, obj)))


def encode_yaml_stream(call: Call, objs: object) -> Blob:
    if not isinstance(objs, list):
        raise call.wants("objs", "a list", objs)
    return Blob(structured.dump_yaml_stream(_plain(call, item) for item in objs))


def listdir(call: Call, directory: object, recursive: object) -> list[str]:
    """Absolute paths of the files in a folder, sorted; `recursive` also watches it, as in Tilt."""
    folder = call.on_disk("directory", directory)
    relative = call.session.paths.relative(folder)
    if call.flag("recursive", recursive):
        call.state.read([relative])
    else:
        call.state.glances[relative] = look(folder)
    if not folder.exists():
        return []  # it may be there later, as the folder for a user's own files often is
    if not folder.is_dir():
        raise ConfigError(f"`{relative}` is not a folder")
    if not recursive:
        return sorted(str(path) for path in folder.iterdir() if not path.is_dir())
    return sorted(
        os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names
    )


def watch_file(call: Call, file_path: object) -> None:
    call.required("file_path", file_path)
    call.state.read([call.path("file_path", file_path)])


def include(call: Call, path: object) -> None:
    call.session.include(call.required("path", path))


def load_dynamic(call: Call, path: object) -> dict[str, object]:
    return call.session.load_dynamic(call.required("path", path))


NATIVES: dict[str, Native] = {
    "read_file": read_file,
    "read_json": read_json,
    "read_yaml": read_yaml,
    "read_yaml_stream": read_yaml_stream,
    "decode_json": decode_json,
    "decode_yaml": decode_yaml,
    "decode_yaml_stream": decode_yaml_stream,
    "encode_json": encode_json,
    "encode_yaml": encode_yaml,
    "encode_yaml_stream": encode_yaml_stream,
    "listdir": listdir,
    "watch_file": watch_file,
    "include": include,
    "load_dynamic": load_dynamic,
}
