"""What a kubeconfig says plainly is read by us as `kubernetes` reads it; the rest is left to it."""

from __future__ import annotations

import base64
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kindling.cluster.pki.authority import Authority
from kindling.errors import ClusterError
from kindling.kube import credentials
from kindling.kube.access import Access, plain_access
from kindling.kube.contexts import KubeContext

SERVER = "https://127.0.0.1:6443/"
CONTEXT = KubeContext("there", "there", SERVER, user="me")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def data_of(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def filled(body: Mapping[str, Any], authority: Authority, folder: Path) -> dict[str, Any]:
    """The words of a kubeconfig, with the files and data that they stand for here."""
    (folder / "token").write_text("from-a-file\n")
    (folder / "empty").write_text("")
    files = {
        "<ca>": authority.ca_certificate,
        "<certificate>": authority.admin_certificate,
        "<key>": authority.admin_key,
        "<token>": folder / "token",
        "<empty>": folder / "empty",
        "<missing>": folder / "missing",
    }
    found = dict(body)
    for key, value in body.items():
        if isinstance(value, str) and value in files:
            found[key] = data_of(files[value]) if key.endswith("-data") else str(files[value])
    return found


@dataclass(frozen=True)
class Greeted:
    """What came of a handshake with the server of an authority."""

    problem: str = ""
    """Why the client did not trust it."""
    shown: str = ""
    """Whose certificate the client showed."""


def greeted(tls: ssl.SSLContext, name: str, authority: Authority) -> Greeted:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = authority.server_context().wrap_bio(to_server, to_client, server_side=True)
    client = tls.wrap_bio(to_client, to_server, server_hostname=name)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for one in (client, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return Greeted(error.verify_message)
            done.add(one)
    shown = server.getpeercert() or {}
    return Greeted("", str(shown.get("subject", "")))


PLAIN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "files": (
        {"certificate-authority": "<ca>"},
        {"client-certificate": "<certificate>", "client-key": "<key>"},
    ),
    "data": (
        {"certificate-authority-data": "<ca>"},
        {"client-certificate-data": "<certificate>", "client-key-data": "<key>"},
    ),
    "data beside files that are not there": (
        {"certificate-authority-data": "<ca>", "certificate-authority": "<missing>"},
        {
            "client-certificate-data": "<certificate>",
            "client-certificate": "<missing>",
            "client-key-data": "<key>",
            "client-key": "<missing>",
        },
    ),
    "a key without a certificate": ({"certificate-authority": "<ca>"}, {"client-key": "<key>"}),
    "the authorities of this machine": ({}, {"token": "a"}),
    "insecure": ({"insecure-skip-tls-verify": True}, {"token": "a"}),
    "not insecure": (
        {"insecure-skip-tls-verify": False, "certificate-authority": "<ca>"},
        {"token": "a"},
    ),
    "insecure with an authority": (
        {"insecure-skip-tls-verify": True, "certificate-authority": "<ca>"},
        {"client-certificate": "<certificate>", "client-key": "<key>"},
    ),
    "another name": (
        {"certificate-authority": "<ca>", "tls-server-name": "kubernetes"},
        {"token": "a"},
    ),
    "a wrong name": (
        {"certificate-authority": "<ca>", "tls-server-name": "elsewhere.example.com"},
        {"token": "a"},
    ),
    "a proxy": (
        {"certificate-authority": "<ca>", "proxy-url": "http://proxy:3128"},
        {"token": "a"},
    ),
    "without TLS": (
        {"server": "http://127.0.0.1:8001", "certificate-authority": "<missing>"},
        {"client-certificate": "<missing>", "token": "a"},
    ),
    "a token with white space": ({"certificate-authority": "<ca>"}, {"token": " a b \n"}),
    "a token file": ({"certificate-authority": "<ca>"}, {"tokenFile": "<token>"}),
    "a token beside a file": (
        {"certificate-authority": "<ca>"},
        {"token": "a", "tokenFile": "<missing>"},
    ),
    "an empty token file and a password": (
        {"certificate-authority": "<ca>"},
        {"tokenFile": "<empty>", "username": "me", "password": "päss:word"},
    ),
    "a password": (
        {"certificate-authority": "<ca>"},
        {"username": "me", "password": "secret"},
    ),
    "a token and a password": (
        {"certificate-authority": "<ca>"},
        {"token": "a", "username": "me", "password": "secret"},
    ),
    "a user without a password": ({"certificate-authority": "<ca>"}, {"username": "me"}),
    "nobody": ({"certificate-authority": "<ca>"}, {}),
    "a certificate and a token": (
        {"certificate-authority": "<ca>"},
        {"client-certificate": "<certificate>", "client-key": "<key>", "token": "a"},
    ),
}


@pytest.mark.parametrize("case", PLAIN)
async def test_what_is_said_plainly_comes_to_what_the_package_makes_of_it(
    case: str, authority: Authority, tmp_path: Path
) -> None:
    cluster, user = (filled(body, authority, tmp_path) for body in PLAIN[case])
    cluster = {"server": SERVER, **cluster}
    ours = plain_access(cluster, user)
    theirs = await credentials._unusual(cluster, user, CONTEXT)

    assert ours is not None
    assert said(ours) == said(theirs)
    assert ours.tls.get_ca_certs() == theirs.tls.get_ca_certs()
    name = ours.server_name or "127.0.0.1"
    assert greeted(ours.tls, name, authority) == greeted(theirs.tls, name, authority)


def said(access: Access) -> tuple[object, ...]:
    tls = access.tls
    return (
        access.authorization,
        access.server_name,
        access.proxy,
        tls.verify_mode,
        tls.verify_flags,
        tls.check_hostname,
        tls.options,
        tls.minimum_version,
    )


def test_a_certificate_of_ours_is_shown_and_a_stranger_is_not_trusted(
    authority: Authority, tmp_path: Path
) -> None:
    """What the comparison with the package rests on."""
    stranger = Authority(tmp_path / "stranger")
    cluster, user = (filled(body, authority, tmp_path) for body in PLAIN["data"])
    access = plain_access({"server": SERVER, **cluster}, user)
    assert access is not None
    assert "system:masters" in greeted(access.tls, "127.0.0.1", authority).shown
    assert greeted(access.tls, "127.0.0.1", stranger).problem
    assert greeted(access.tls, "elsewhere.example.com", authority).problem


NOT_PLAIN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no authority": ({"certificate-authority": "<missing>"}, {}, "does not exists"),
    "no certificate": ({}, {"client-certificate": "<missing>"}, "does not exists"),
    "an authority that is none": ({"certificate-authority": "<token>"}, {}, ""),
    "a certificate that is none": ({}, {"client-certificate": "<token>"}, ""),
    "a certificate without its key": ({}, {"client-certificate": "<certificate>"}, ""),
    "half of a code": ({"certificate-authority-data": "abcde"}, {}, "base64-encoded"),
    "no token file": ({}, {"tokenFile": "<missing>"}, "No such file"),
    "a token of nothing": ({}, {"token": None}, "Expected key token"),
    "a strange login": ({}, {"auth-provider": {"name": "oidc"}}, "oidc: missing configuration"),
}


@pytest.mark.parametrize("case", NOT_PLAIN)
async def test_what_is_wrong_is_said_in_the_words_of_the_package(
    case: str, authority: Authority, tmp_path: Path
) -> None:
    *bodies, word = NOT_PLAIN[case]
    cluster, user = (
        filled(body, authority, tmp_path) for body in bodies if not isinstance(body, str)
    )
    cluster = {"server": SERVER, **cluster}
    assert plain_access(cluster, user) is None
    raw = {
        "clusters": [{"name": "there", "cluster": cluster}],
        "users": [{"name": "me", "user": user}],
    }
    with pytest.raises(ClusterError, match=word or None) as caught:
        await credentials.load_credentials(raw, CONTEXT, {}, 0.0)
    assert caught.value.message.startswith("The kubeconfig's context `there` cannot be used")
    assert tuple(caught.value.details) == ("cluster `there`, user `me`",)


def test_a_key_with_a_passphrase_is_left_to_the_package(
    authority: Authority, tmp_path: Path
) -> None:
    """It would be asked for twice otherwise."""
    key = tmp_path / "key"
    key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    user = {"client-certificate": str(authority.admin_certificate), "client-key": str(key)}
    assert plain_access({"server": SERVER}, user) is None


def test_no_key_stays_on_disk(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    cluster, user = (filled(body, authority, tmp_path) for body in PLAIN["data"])
    assert plain_access({"server": SERVER, **cluster}, user) is not None
    broken = {**user, "client-key-data": data_of(authority.ca_certificate)}
    assert plain_access({"server": SERVER, **cluster}, broken) is None
    assert list(scratch.iterdir()) == []


def test_a_plain_kubeconfig_costs_no_import_of_the_package(authority: Authority) -> None:
    """It takes 400 ms, and every command that talks to a cluster paid for it."""
    code = f"""
import asyncio, sys
from kindling.kube.contexts import KubeContext
from kindling.kube.wire import Wire
cluster = {{"server": {SERVER!r}, "certificate-authority": {str(authority.ca_certificate)!r}}}
raw = {{
    "clusters": [{{"name": "there", "cluster": cluster}}],
    "users": [{{"name": "me", "user": {{"token": "a"}}}}],
}}
async def main():
    wire = Wire(KubeContext("there", "there", {SERVER!r}, user="me"), lambda: raw, {{}})
    await wire.lend()
    await wire.close()
asyncio.run(main())
sys.exit("kubernetes" in sys.modules or "requests" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
