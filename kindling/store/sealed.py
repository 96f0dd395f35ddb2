"""The backup of a project's secrets: what `kindling secrets restore` brings into a new cluster.

One file in `.kindling/` for all clusters and namespaces of the project. Names and times are plain,
so that they can be listed without the key; each value is sealed for its place (AES-256-GCM), so
that it cannot be opened as another's. The key is in the user's data folder, one for each backup:
who has the project's folder alone has no values. The key is called after its own digest, which the
backup names, so that a lost key and a wrong one are told apart before anything is tried.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kindling.errors import StoreError
from kindling.objects.secretnames import secret_name
from kindling.store.folder import guarded, prepare

__all__ = ["FILE", "Kept", "Place", "SealedSecrets"]

FILE = "secrets.yaml"
_LOCK = "secrets.lock"
_SCHEMA = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12

_HEAD = """\
# Secrets of this project, sealed, for `kindling secrets restore`. Not for version control.
# The key is not in this folder: {key}
"""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Place(NamedTuple):
    """Where a secret is: the kubeconfig context, the namespace, and its name as a user has it."""

    context: str
    namespace: str
    name: str

    @property
    def same(self) -> tuple[str, str, str]:
        """What two spellings of one secret have in common."""
        return (self.context, self.namespace, secret_name(self.name))


@dataclass(frozen=True, slots=True)
class Kept:
    """One secret in the backup; `at` is when it was kept, in seconds since the epoch."""

    place: Place
    at: float
    sealed: bytes = field(repr=False)


class SealedSecrets:
    """The backup of the project whose state is in `state_dir`. Blocking, and safe to use from
    several processes. Nothing is created before something is kept."""

    def __init__(self, state_dir: Path, data_folder: Path) -> None:
        """`data_folder` is this user's, where keys are."""
        self._state_dir = state_dir
        self._keys = data_folder / "keys"

    @property
    def path(self) -> Path:
        return self._state_dir / FILE

    def entries(self) -> tuple[Kept, ...]:
        """All that is kept, by place. Needs no key.

        Raises:
            StoreError: The file cannot be read, or is not what kindling wrote.
        """
        return self._read()[1]

    def value(self, kept: Kept) -> bytes:
        """The value of an entry.

        Raises:
            StoreError: The key is lost, is another one, or the entry was changed.
        """
        from cryptography.exceptions import InvalidTag

        key = self._key(self._read()[0])
        nonce, sealed = kept.sealed[:_NONCE_BYTES], kept.sealed[_NONCE_BYTES:]
        try:
            value: bytes = _cipher(key).decrypt(nonce, sealed, _bound(kept.place))
        except (InvalidTag, ValueError):
            raise self._damaged(f"the value of `{kept.place.name}` does not open") from None
        return value

    def check(self) -> None:
        """Return when values can be kept and opened.

        Raises:
            StoreError: They cannot; the message says what is missing.
        """
        name, entries = self._read()
        if entries:
            self._key(name)

    def keep(self, values: Iterable[tuple[Place, bytes]], at: float) -> None:
        """Add or replace values; the file is whole at every moment.

        Raises:
            StoreError: The key of what is there is lost or another one, or nothing can be written.
        """
        given = list(values)

        def change(entries: dict[tuple[str, str, str], Kept], key: bytes) -> None:
            cipher = _cipher(key)
            for place, value in given:
                nonce = secrets.token_bytes(_NONCE_BYTES)
                sealed = nonce + cipher.encrypt(nonce, value, _bound(place))
                entries[place.same] = Kept(place, at, sealed)

        if given:
            self._change(change)

    def forget(self, places: Iterable[Place]) -> int:
        """Take entries out, which needs no key; how many there were."""
        wanted = {place.same for place in places}
        with self._locked():
            name, entries = self._read()
            left = [one for one in entries if one.place.same not in wanted]
            if len(left) != len(entries):
                self._write(name, left)
            return len(entries) - len(left)

    def _change(self, change: Callable[[dict[tuple[str, str, str], Kept], bytes], None]) -> None:
        with self._locked():
            name, entries = self._read()
            # With nothing to open, an old key is of no use, and a lost one no loss.
            name, key = (name, self._key(name)) if entries else self._new_key()
            by_place = {one.place.same: one for one in entries}
            change(by_place, key)
            self._write(name, by_place.values())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time reads and writes anew; nobody holds this while waiting for a cluster."""
        path = prepare(self._state_dir) / _LOCK
        with guarded(path):
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with guarded(path):
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def _read(self) -> tuple[str, tuple[Kept, ...]]:
        """The name of the key, and the entries."""
        with guarded(self.path):
            try:
                text = self.path.read_bytes()
            except FileNotFoundError:
                return "", ()
        try:
            document = yaml.load(text, Loader=_Loader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise self._damaged("it is not valid YAML") from error
        if not isinstance(document, dict) or "schema" not in document:
            raise self._damaged("it is not what kindling writes")
        if document["schema"] != _SCHEMA:
            raise StoreError(
                f"`{self.path}` was written by another kindling (schema {document['schema']!r})",
                hint="Use that one, or a newer one.",
            )
        try:
            entries = [_entry(one) for one in document["secrets"]]
            name = str(document["key"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged("an entry is not whole") from error
        return name, tuple(sorted(entries, key=lambda one: one.place))

    def _write(self, key: str, entries: Iterable[Kept]) -> None:
        form = {
            "schema": _SCHEMA,
            "key": key,
            "secrets": [_form(one) for one in sorted(entries, key=lambda one: one.place)],
        }
        text = _HEAD.format(key=self._key_path(key))
        text += yaml.dump(form, Dumper=_Dumper, sort_keys=False, width=1_000_000)
        _replace(self.path, text.encode())

    def _key_path(self, name: str) -> Path:
        return self._keys / f"{name}.key"

    def _new_key(self) -> tuple[str, bytes]:
        key = secrets.token_bytes(_KEY_BYTES)
        name = _digest(key)
        path = self._key_path(name)
        with guarded(path):
            self._keys.mkdir(mode=0o700, parents=True, exist_ok=True)
        _replace(path, base64.b64encode(key) + b"\n")
        return name, key

    def _key(self, name: str) -> bytes:
        path = self._key_path(name)
        hint = (
            "Copy the key there from the machine and user that set the secrets. Without it their\n"
            f"values are lost: move `{self.path}` away and set them again."
        )
        with guarded(path):
            try:
                text = path.read_bytes()
            except FileNotFoundError:
                raise StoreError(
                    f"The backup of secrets is sealed, and its key `{path}` is not there", hint=hint
                ) from None
        try:
            key = base64.b64decode(text.strip(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != _KEY_BYTES or _digest(key) != name:
            raise StoreError(
                f"`{path}` is not the key that the backup of secrets is sealed with", hint=hint
            )
        return key

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"The backup `{self.path}` cannot be used: {what}",
            hint="Put back an older copy, or move it away and set the secrets again.",
        )


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _digest(key: bytes) -> str:
    return hashlib.sha256(b"kindling secrets\0" + key).hexdigest()[:16]


def _bound(place: Place) -> bytes:
    return "\0".join(place).encode()


def _form(kept: Kept) -> dict[str, str]:
    at = datetime.fromtimestamp(int(kept.at), UTC).isoformat().replace("+00:00", "Z")
    value = base64.b64encode(kept.sealed).decode()
    return {**kept.place._asdict(), "at": at, "sealed": value}


def _entry(form: Mapping[str, Any]) -> Kept:
    texts = {key: form[key] for key in (*Place._fields, "at", "sealed")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError("not texts")
    place = Place(*(texts[key] for key in Place._fields))
    at = datetime.fromisoformat(texts["at"]).timestamp()
    return Kept(place, at, base64.b64decode(texts["sealed"], validate=True))


def _replace(path: Path, content: bytes) -> None:
    """Write a private file whole, so that it outlives a power failure, or leave the old one."""
    with guarded(path):
        file, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made as 0600
        temporary = Path(name)
        try:
            with os.fdopen(file, "wb") as target:
                target.write(content)
                target.flush()
                os.fsync(target.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
