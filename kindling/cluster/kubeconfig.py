"""The kubeconfig entry of a cluster: made, added beside others, and taken away again.

Written the way `kind` does it: context, cluster and user are all called `kindling-NAME`, the
current context stays what it was unless there was none, and what others wrote stays as it is. Like
kubectl, a writer holds `FILE.lock` and replaces the file by renaming.
"""

from __future__ import annotations

import base64
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kindling.errors import ClusterError

__all__ = ["add_entry", "document_for", "remove_entry", "write_private"]

_LOCK_SECS = 5.0
_SECTIONS = ("clusters", "users", "contexts")


def document_for(
    name: str, server: str, authority: bytes, certificate: bytes, key: bytes
) -> dict[str, Any]:
    """A kubeconfig that knows one cluster and is its administrator. The certificates are PEM."""

    def text(data: bytes) -> str:
        return base64.b64encode(data).decode("ascii")

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": text(authority)},
            }
        ],
        "users": [
            {
                "name": name,
                "user": {
                    "client-certificate-data": text(certificate),
                    "client-key-data": text(key),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def add_entry(path: Path, entry: dict[str, Any]) -> bool:
    """Put the cluster of `entry` (made by `document_for`) into the file; False when it is there
    just so. A new file gets mode 0600 and the cluster as its current context.

    Raises:
        ClusterError: The file is no kubeconfig, or cannot be written.
    """
    with _locked(path):
        document = _read(path)
        before = yaml.safe_dump(document)
        for section in _SECTIONS:
            _put(document, section, entry[section][0])
        if not document.get("current-context"):
            document["current-context"] = entry["current-context"]
        if yaml.safe_dump(document) == before:
            return False
        _write(path, document)
        return True


def remove_entry(path: Path, name: str) -> bool:
    """Take the cluster `name` out of the file; False when it was not there.

    Raises:
        ClusterError: As for `add_entry`.
    """
    if not path.is_file():
        return False
    with _locked(path):
        document = _read(path)
        found = False
        for section in _SECTIONS:
            kept = [one for one in document.get(section) or [] if _name(one) != name]
            found = found or len(kept) != len(document.get(section) or [])
            document[section] = kept
        if not found:
            return False
        if document.get("current-context") == name:
            document["current-context"] = ""
        _write(path, document)
        return True


def _put(document: dict[str, Any], section: str, item: dict[str, Any]) -> None:
    items = document.get(section) or []
    places = [place for place, one in enumerate(items) if _name(one) == item["name"]]
    if places:
        mine = items[places[0]]
        body = section.removesuffix("s")
        # A namespace that the user set for our context is the user's.
        kept = mine.get(body) if section == "contexts" else None
        merged = {**kept, **item[body]} if isinstance(kept, dict) else item[body]
        items[places[0]] = {**item, body: merged}
    else:
        items.append(item)
    document[section] = items


def _name(item: object) -> object:
    return item.get("name") if isinstance(item, dict) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"Cannot read the kubeconfig `{path}`: {error}") from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterError(
            f"The kubeconfig `{path}` is not valid YAML, and is left alone"
        ) from error
    if document is None:
        return {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    whole = isinstance(document, dict) and all(
        isinstance(document.get(section) or [], list) for section in _SECTIONS
    )
    if not whole:
        raise ClusterError(f"`{path}` is no kubeconfig, and is left alone")
    return dict(document)


def _write(path: Path, document: dict[str, Any]) -> None:
    text = yaml.safe_dump(document, sort_keys=False, default_flow_style=False)
    # Through links: dotfiles are often linked from elsewhere.
    write_private(Path(os.path.realpath(path)), text.encode())


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner alone; an existing one keeps its
    mode.

    Raises:
        ClusterError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            mode = path.stat().st_mode & 0o777
        except FileNotFoundError:
            mode = 0o600
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise ClusterError(f"Cannot write `{path}`: {error.strerror}") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold `FILE.lock`, as kubectl and kind do while they write."""
    lock = path.with_name(path.name + ".lock")
    limit = time.monotonic() + _LOCK_SECS
    try:
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                break
            except FileExistsError:
                if time.monotonic() > limit:
                    raise ClusterError(
                        f"The kubeconfig `{path}` is locked by another program",
                        hint=f"If none is running, remove `{lock}`.",
                    ) from None
                time.sleep(0.05)
    except OSError as error:
        raise ClusterError(f"Cannot write beside `{path}`: {error.strerror}") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
