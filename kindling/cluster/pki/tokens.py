"""Bearer tokens: the owner's, which is random, and those of service accounts, which are signed.

A service account token is a JWT (ES256) with the claims that Kubernetes gives to its bound tokens,
so that programs which read their own token find what they know. Whether its service account and pod
are still there is for the API server to ask; here is only what the token itself can tell.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kindling.cluster.pki.files import private_folder, write_private
from kindling.cluster.pki.identity import ADMIN, Identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["AUDIENCE", "ISSUER", "Tokens"]

ISSUER = "https://kubernetes.default.svc.cluster.local"
AUDIENCE = ISSUER
"""The audience that a token gets which names none, and that the API server itself takes."""
_LONGEST = 16_384
"""Bytes; a token of ours is under 2,000."""


class Tokens:
    """The tokens whose keys lie in `folder` (`admin.token`, `service-accounts.key`).

    `now` is seconds since the epoch. The keys are made when first needed.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._now = now
        self._key: ec.EllipticCurvePrivateKey | None = None
        self._key_id = ""
        self._verified: dict[str, Identity] = {}
        private_folder(folder)
        self._admin = self._read_admin()

    @property
    def admin(self) -> str:
        """The bearer token of the cluster's owner; the same for the cluster's whole life."""
        return self._admin

    def issue(
        self,
        namespace: str,
        service_account: str,
        *,
        uid: str,
        audiences: Sequence[str] = (),
        lifetime: float = 3600.0,
        pod: tuple[str, str] | None = None,
        node: tuple[str, str] | None = None,
        secret: tuple[str, str] | None = None,
    ) -> str:
        """A token for a service account, `lifetime` in seconds; `pod`, `node` and `secret` are name
        and UID of what it is bound to."""
        now = int(self._now())
        bound: dict[str, Any] = {"namespace": namespace}
        for kind, reference in (("node", node), ("pod", pod), ("secret", secret)):
            if reference is not None:
                bound[kind] = {"name": reference[0], "uid": reference[1]}
        bound["serviceaccount"] = {"name": service_account, "uid": uid}
        claims = {
            "aud": list(audiences) or [AUDIENCE],
            "exp": now + int(lifetime),
            "iat": now,
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": bound,
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
        }
        key = self._signing_key()
        head = _encode(_compact({"alg": "ES256", "kid": self._key_id}))
        signed = f"{head}.{_encode(_compact(claims))}"
        return f"{signed}.{_encode(_sign(key, signed.encode()))}"

    def verify(self, token: str, audiences: Sequence[str] = (AUDIENCE,)) -> Identity | None:
        """Whose token it is; None for one that is not ours, is over, or is for others.

        A token is good if one of its audiences is among `audiences`; the owner's is good for all.
        `Identity.audiences` are those that both know.
        """
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._admin.encode()):
            return replace(ADMIN, audiences=tuple(audiences))
        if len(token) > _LONGEST or token.count(".") != 2:
            return None
        identity = self._verified.get(token)
        if identity is None:
            identity = self._verify_signed(token)
            if identity is None:
                return None
            if len(self._verified) >= 512:
                self._verified.clear()
            self._verified[token] = identity
        if identity.expires_at <= self._now():
            return None
        common = tuple(name for name in identity.audiences if name in audiences)
        return replace(identity, audiences=common) if common else None

    def key_set(self) -> dict[str, Any]:
        """The public key as a JSON Web Key Set, for programs that check tokens themselves."""
        numbers = self._signing_key().public_key().public_numbers()
        x, y = (_encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        key = {"use": "sig", "kty": "EC", "kid": self._key_id, "crv": "P-256", "alg": "ES256"}
        return {"keys": [key | {"x": x, "y": y}]}

    def _read_admin(self) -> str:
        path = self._folder / "admin.token"
        try:
            token = path.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            token = ""
        if len(token) < 32:
            token = secrets.token_hex(32)
            write_private(path, token.encode())
        return token

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        if self._key is not None:
            return self._key
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
            load_pem_private_key,
        )

        path = self._folder / "service-accounts.key"
        try:
            key = load_pem_private_key(path.read_bytes(), None)
        except (FileNotFoundError, ValueError):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_private(path, pem)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_id = _encode(hashlib.sha256(public).digest())
        self._key = key
        return key

    def _verify_signed(self, token: str) -> Identity | None:
        signed, _, signature = token.rpartition(".")
        head, _, body = signed.partition(".")
        try:
            header, claims = json.loads(_decode(head)), json.loads(_decode(body))
            raw = _decode(signature)
            if not isinstance(header, dict) or header.get("alg") != "ES256":
                return None
            if not _signed_by(self._signing_key(), raw, signed.encode()):
                return None
            if claims["iss"] != ISSUER or float(claims["nbf"]) > self._now() + 60:
                return None
            return _identity(claims)
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


def _identity(claims: Mapping[str, Any]) -> Identity:
    bound = claims["kubernetes.io"]
    namespace, account = bound["namespace"], bound["serviceaccount"]
    pod, secret = bound.get("pod", {}), bound.get("secret", {})
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
    for kind in ("node", "pod"):
        if reference := bound.get(kind):
            extra[f"authentication.kubernetes.io/{kind}-name"] = (reference["name"],)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (reference["uid"],)
    return Identity(
        name=claims["sub"],
        groups=(
            "system:serviceaccounts",
            f"system:serviceaccounts:{namespace}",
            "system:authenticated",
        ),
        uid=account["uid"],
        extra=extra,
        namespace=namespace,
        service_account=account["name"],
        pod=pod.get("name", ""),
        pod_uid=pod.get("uid", ""),
        audiences=tuple(claims["aud"]),
        expires_at=float(claims["exp"]),
        secret=secret.get("name", ""),
        secret_uid=secret.get("uid", ""),
    )


def _compact(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _signed_by(key: ec.EllipticCurvePrivateKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.public_key().verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
