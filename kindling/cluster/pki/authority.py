"""The cluster's own certificate authority, and the certificates it has signed.

Everything lies in one folder, files of mode 0600:

    ca.crt      ca.key        the authority, self-signed, ten years
    server.crt  server.key    what the API server shows, for all its names, one year
    admin.crt   admin.key     the owner's client certificate, one year
    issued.json               when each ends and for which names, so that a start with valid ones
                              needs no cryptography at all

Keys are EC P-256, which Go's and Python's TLS both take and which are made in no time.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from kindling.cluster.pki.files import private_folder, write_private
from kindling.cluster.pki.identity import ADMIN

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Authority"]

_DAY = 86_400.0
_CA_LIFE = 3650 * _DAY
_LEAF_LIFE = 365 * _DAY
_RENEW_BEFORE = 60 * _DAY
_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "127.0.0.1",
    "::1",
    "10.198.0.1",
    "10.199.0.1",
)


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Authority:
    """The authority in `folder`, made there on first use.

    `names` are further host names and addresses of the server (the node's name). Making an
    `Authority` writes what is missing, ends within 60 days, was made for other names or does not
    belong to the authority that is there; nothing else changes. A new authority takes new
    certificates with it. `now` is seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        *,
        names: Iterable[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._names = sorted({*_NAMES, *names})
        self._now = now
        self._ensure()

    @property
    def ca_certificate(self) -> Path:
        return self._folder / "ca.crt"

    @property
    def server_certificate(self) -> Path:
        return self._folder / "server.crt"

    @property
    def server_key(self) -> Path:
        return self._folder / "server.key"

    @property
    def admin_certificate(self) -> Path:
        return self._folder / "admin.crt"

    @property
    def admin_key(self) -> Path:
        return self._folder / "admin.key"

    def bundle(self) -> str:
        """The authority's certificate as PEM: `ca.crt` of the root CA config maps and of
        kubeconfigs."""
        return self.ca_certificate.read_text(encoding="ascii")

    def server_context(self) -> ssl.SSLContext:
        """TLS for the API server. A client may show a certificate, which must then be ours."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server_certificate, self.server_key)
        context.load_verify_locations(self.ca_certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.set_alpn_protocols(["http/1.1"])
        return context

    def client_context(self, *, certificate: bool = False) -> ssl.SSLContext:
        """TLS for a client of this cluster, with the owner's certificate if asked."""
        context = ssl.create_default_context(cafile=str(self.ca_certificate))
        if certificate:
            context.load_cert_chain(self.admin_certificate, self.admin_key)
        return context

    # making

    @property
    def _record(self) -> Path:
        return self._folder / "issued.json"

    def _ensure(self) -> None:
        private_folder(self._folder)
        ends = self._ends()
        limit = self._now() + _RENEW_BEFORE
        due = {name for name in ("ca", "server", "admin") if ends.get(name, 0.0) < limit}
        if not due:
            return
        signer = self._make_ca(ends) if "ca" in due else self._load_ca()
        if signer is None:
            signer = self._make_ca(ends)
            due = {"server", "admin"}
        if "ca" in due:
            due = {"server", "admin"}
        if "server" in due:
            self._make_leaf(signer, "server", "kubernetes", (), ends)
        if "admin" in due:
            groups = tuple(group for group in ADMIN.groups if group != "system:authenticated")
            self._make_leaf(signer, "admin", ADMIN.name, groups, ends)
        record = {"names": self._names, "ends": ends}
        write_private(self._record, json.dumps(record, indent=1).encode())

    def _ends(self) -> dict[str, float]:
        """When what is there ends, as recorded; without what cannot be used as it stands."""
        try:
            record = json.loads(self._record.read_bytes())
            names = record["names"]
            ends = {str(name): float(end) for name, end in record["ends"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
        if names != self._names:
            ends.pop("server", None)
        for name in list(ends):
            files = (self._folder / f"{name}.crt", self._folder / f"{name}.key")
            if not all(file.is_file() for file in files):
                del ends[name]
        return ends

    def _load_ca(self) -> _Signer | None:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            certificate = x509.load_pem_x509_certificate(self.ca_certificate.read_bytes())
            key = load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            return None
        return _Signer(certificate, key) if certificate.public_key() == key.public_key() else None

    def _make_ca(self, ends: dict[str, float]) -> _Signer:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"kindling-{self._folder.parent.name}-ca", ())
        builder = self._builder(subject, subject, key.public_key(), _CA_LIFE, ends, "ca")
        usage = _usage(signs_certificates=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        certificate = builder.add_extension(usage, True).sign(key, hashes.SHA256())
        self._write("ca", key, certificate)
        return _Signer(certificate, key)

    def _make_leaf(
        self,
        signer: _Signer,
        name: str,
        common_name: str,
        groups: tuple[str, ...],
        ends: dict[str, float],
    ) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(common_name, groups)
        issuer = signer.certificate.subject
        builder = self._builder(subject, issuer, key.public_key(), _LEAF_LIFE, ends, name)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        builder = builder.add_extension(_usage(signs_certificates=False), True)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
        builder = builder.add_extension(authority, False)
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH
        if name == "server":
            purpose = ExtendedKeyUsageOID.SERVER_AUTH
            alternatives = x509.SubjectAlternativeName([_general(text) for text in self._names])
            builder = builder.add_extension(alternatives, False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), False)
        self._write(name, key, builder.sign(signer.key, hashes.SHA256()))

    def _builder(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        public_key: ec.EllipticCurvePublicKey,
        life: float,
        ends: dict[str, float],
        name: str,
    ) -> x509.CertificateBuilder:
        from cryptography import x509

        # An hour back, for clients in machines whose clock is a little behind ours.
        start = datetime.fromtimestamp(self._now(), UTC) - timedelta(hours=1)
        end = start + timedelta(seconds=life)
        ends[name] = end.timestamp()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        )

    def _write(
        self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
    ) -> None:
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self._folder / f"{name}.key", pem)
        write_private(self._folder / f"{name}.crt", certificate.public_bytes(Encoding.PEM))


def _name(common_name: str, groups: tuple[str, ...]) -> x509.Name:
    """The API server takes the user from the common name and groups from the organisations."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general(text: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
