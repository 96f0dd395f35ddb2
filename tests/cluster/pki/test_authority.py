"""The authority signs what TLS then trusts, once, and keeps it private."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from kindling.cluster.pki.authority import Authority

DAY = 86_400.0
START = 1_800_000_000.0


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object]:
    """A TLS handshake in memory; what the server knows of the client."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(10):
        done = 0
        for side in (theirs, ours):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            return dict(ours.getpeercert() or {})
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "127.0.0.1",
        "::1",
        "10.198.0.1",
        "kubernetes",
        "kubernetes.default.svc.cluster.local",
        "kindling-dev",
    ],
)
def test_the_server_is_trusted_under_each_of_its_names(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path, names=["kindling-dev"])
    peer = handshake(authority.server_context(), authority.client_context(), name)
    assert peer == {}, "a client may come without a certificate"


def test_the_server_is_not_trusted_under_another_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority.server_context(), authority.client_context(), "example.com")


def test_the_owners_certificate_names_a_user_and_a_group(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client_context(certificate=True)
    subject = handshake(authority.server_context(), client, "localhost")["subject"]
    assert subject == (
        (("organizationName", "system:masters"),),
        (("commonName", "kubernetes-admin"),),
    )


def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    client = ours.client_context()
    client.load_cert_chain(other.admin_certificate, other.admin_key)
    # Whose side sees it first is a matter of the TLS version.
    with pytest.raises((ssl.SSLError, AssertionError)):
        handshake(ours.server_context(), client, "localhost")


def test_everything_is_private_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    Authority(folder)
    before = contents(folder)
    Authority(folder)
    assert contents(folder) == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_leaves_are_renewed_before_they_end_and_the_authority_stays(tmp_path: Path) -> None:
    Authority(tmp_path, now=lambda: START)
    before = contents(tmp_path)
    Authority(tmp_path, now=lambda: START + 300 * DAY)
    assert contents(tmp_path) == before
    later = Authority(tmp_path, now=lambda: START + 306 * DAY)
    after = contents(tmp_path)
    assert after["ca.crt"] == before["ca.crt"]
    assert {name for name in after if after[name] != before[name]} == {
        "server.crt",
        "server.key",
        "admin.crt",
        "admin.key",
        "issued.json",
    }
    assert certificate(later.server_certificate).not_valid_after_utc.timestamp() > START + 600 * DAY


def test_a_new_name_gets_a_new_server_certificate_alone(tmp_path: Path) -> None:
    Authority(tmp_path)
    before = contents(tmp_path)
    Authority(tmp_path, names=["kindling-other"])
    changed = {name for name, text in contents(tmp_path).items() if text != before[name]}
    assert changed == {"server.crt", "server.key", "issued.json"}


@pytest.mark.parametrize("lost", ["ca.key", "server.crt", "admin.key", "issued.json"])
def test_what_was_lost_is_made_again_and_all_fits_together(tmp_path: Path, lost: str) -> None:
    Authority(tmp_path)
    (tmp_path / lost).unlink()
    authority = Authority(tmp_path)
    client = authority.client_context(certificate=True)
    assert handshake(authority.server_context(), client, "localhost")["subject"]
    issuer = certificate(authority.server_certificate).issuer
    assert issuer == certificate(authority.ca_certificate).subject


def test_the_authority_says_whose_it_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "dev" / "pki")
    subject = certificate(authority.ca_certificate).subject
    (name,) = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "kindling-dev-ca"
    assert authority.bundle().startswith("-----BEGIN CERTIFICATE-----")
