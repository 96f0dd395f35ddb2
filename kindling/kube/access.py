"""TLS settings and a header from a kubeconfig that says them plainly: files, data, a token, a
password.

`kubernetes` can read these as well, and takes longer to be imported than most commands take for all
the rest. Whatever is unusual, incomplete or broken is left to it, which also says what is wrong.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Access", "plain_access"]

_WORDS = (
    "certificate-authority",
    "certificate-authority-data",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "password",
    "proxy-url",
    "server",
    "tls-server-name",
    "token",
    "tokenFile",
    "username",
)
_NOT_PLAIN = ("auth-provider", "exec")


@dataclass(frozen=True, slots=True)
class Access:
    """How to speak to an API server, and who we are to it.

    `authorization` is the value of the header, empty for none. `server_name` is the name that its
    certificate must have in place of its host's, `proxy` the way there; both may be empty.
    """

    tls: ssl.SSLContext = field(repr=False)
    authorization: str = field(default="", repr=False)
    server_name: str = ""
    proxy: str = ""


def plain_access(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Access | None:
    """What a kubeconfig's cluster and user come to; None where that is for `kubernetes` to find
    out, or to complain of. It reads files."""
    if not _plain(cluster) or not _plain(user) or any(key in user for key in _NOT_PLAIN):
        return None
    insecure = cluster.get("insecure-skip-tls-verify", False)
    if not isinstance(insecure, bool):
        return None
    try:
        return Access(
            _tls(cluster, user, insecure=insecure),
            _authorization(user),
            cluster.get("tls-server-name", ""),
            cluster.get("proxy-url", ""),
        )
    except (OSError, ValueError):
        return None


def _plain(body: Mapping[str, Any]) -> bool:
    """Is every word of it one that has something to say?"""
    return all(isinstance(body[key], str) and body[key] for key in _WORDS if key in body)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], *, insecure: bool) -> ssl.SSLContext:
    # Python reads private keys from files only: they stay on disk no longer than that takes.
    with tempfile.TemporaryDirectory(prefix="kindling-") as folder:
        authority = certificate = key = None
        if str(cluster["server"]).startswith("https"):
            authority = _file(cluster, "certificate-authority", folder)
            certificate = _file(user, "client-certificate", folder)
            key = _file(user, "client-key", folder)
        tls = ssl.create_default_context(cafile=authority)
        if certificate is not None:
            if key is not None and b"ENCRYPTED" in Path(key).read_bytes():
                raise ValueError("a passphrase would be asked for")
            tls.load_cert_chain(certificate, keyfile=key)
    if insecure:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    # Python 3.13 refuses authorities without key identifiers, such as many clusters make.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


def _file(body: Mapping[str, Any], key: str, folder: str) -> str | None:
    """The file of that name, or one in `folder` with the data that stand in its place."""
    if data := body.get(f"{key}-data"):
        handle, made = tempfile.mkstemp(dir=folder)
        with open(handle, "wb") as file:
            file.write(base64.standard_b64decode(data))
        return made
    if path := str(body.get(key, "")):
        if not os.path.isfile(path):
            raise FileNotFoundError(path)
        return os.path.normpath(path)
    return None


def _authorization(user: Mapping[str, Any]) -> str:
    token = user.get("token", "")
    if not token and (path := user.get("tokenFile")):
        with open(path) as file:  # in the encoding of this machine, as `kubernetes` reads it
            token = file.read()
    if token:
        return f"Bearer {token}".strip()
    if "username" in user and "password" in user:
        pair = f"{user['username']}:{user['password']}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return ""
