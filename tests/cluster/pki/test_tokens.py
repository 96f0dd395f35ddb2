"""Tokens say whose they are for as long as they are meant to, and nothing else does."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from kindling.cluster.pki.identity import ADMIN
from kindling.cluster.pki.tokens import AUDIENCE, Tokens


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> Tokens:
    return Tokens(tmp_path, now=clock)


def claims(token: str) -> dict[str, object]:
    body = token.split(".")[1]
    found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert isinstance(found, dict)
    return found


def test_a_service_accounts_token_says_what_bound_tokens_say(tokens: Tokens) -> None:
    token = tokens.issue("team", "web", uid="u-1", pod=("web-0", "p-1"), lifetime=600)
    found = claims(token)
    assert found["sub"] == "system:serviceaccount:team:web"
    assert found["aud"] == [AUDIENCE]
    assert found["exp"] == 1_800_000_600
    assert found["kubernetes.io"] == {
        "namespace": "team",
        "pod": {"name": "web-0", "uid": "p-1"},
        "serviceaccount": {"name": "web", "uid": "u-1"},
    }
    identity = tokens.verify(token)
    assert identity is not None
    assert identity.name == "system:serviceaccount:team:web"
    assert identity.groups == (
        "system:serviceaccounts",
        "system:serviceaccounts:team",
        "system:authenticated",
    )
    assert (identity.uid, identity.pod, identity.pod_uid) == ("u-1", "web-0", "p-1")


def test_a_token_ends(tokens: Tokens, clock: Clock) -> None:
    token = tokens.issue("default", "web", uid="u", lifetime=600)
    clock.now += 599
    assert tokens.verify(token) is not None
    clock.now += 1
    assert tokens.verify(token) is None


def test_a_token_is_for_its_audience_alone(tokens: Tokens) -> None:
    token = tokens.issue("default", "web", uid="u", audiences=["vault", "db"])
    assert tokens.verify(token) is None
    identity = tokens.verify(token, ["db", "other"])
    assert identity is not None
    assert identity.audiences == ("db",)


def test_tokens_outlive_a_restart(tmp_path: Path, clock: Clock) -> None:
    first = Tokens(tmp_path, now=clock)
    token = first.issue("default", "web", uid="u")
    second = Tokens(tmp_path, now=clock)
    assert second.admin == first.admin
    assert second.verify(token) is not None
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_tokens_of_another_cluster_are_nobodys(tmp_path: Path, clock: Clock) -> None:
    other = Tokens(tmp_path / "other", now=clock)
    ours = Tokens(tmp_path / "ours", now=clock)
    assert ours.verify(other.issue("default", "web", uid="u")) is None
    assert ours.verify(other.admin) is None


def test_the_owners_token_is_the_owners(tokens: Tokens) -> None:
    identity = tokens.verify(tokens.admin)
    assert identity is not None
    assert (identity.name, identity.groups) == (ADMIN.name, ADMIN.groups)


def test_another_algorithm_is_not_taken(tokens: Tokens) -> None:
    """`none` and an HMAC keyed with public data are the classic ways around a signature."""
    token = tokens.issue("default", "web", uid="u")
    body = token.split(".")[1]
    for algorithm in ("none", "HS256", "RS256"):
        head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm}).encode()).decode()
        for signature in ("", token.rpartition(".")[2]):
            assert tokens.verify(f"{head.rstrip('=')}.{body}.{signature}") is None


def test_the_key_set_checks_our_signatures(tokens: Tokens) -> None:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    (key,) = tokens.key_set()["keys"]

    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")

    public = ec.EllipticCurvePublicNumbers(
        number(key["x"]), number(key["y"]), ec.SECP256R1()
    ).public_key()
    signed, _, signature = tokens.issue("default", "web", uid="u").rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    whole = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(whole, signed.encode(), ec.ECDSA(hashes.SHA256()))


def test_a_token_with_any_change_is_nobodys(tmp_path_factory: pytest.TempPathFactory) -> None:
    tokens = Tokens(tmp_path_factory.mktemp("pki"))
    token = tokens.issue("default", "web", uid="u")

    @given(st.integers(0, len(token) - 1), st.characters(codec="ascii"))
    @settings(max_examples=150, deadline=None)
    def changed(at: int, sign: str) -> None:
        other = token[:at] + sign + token[at + 1 :]
        # The last sign of a group of base64 has bits that nothing depends on.
        if other != token and at not in (len(token) - 1, token.index(".") - 1):
            found = tokens.verify(other)
            assert found is None or found.name == "system:serviceaccount:default:web"
            if found is not None:
                assert at == token.rindex(".") - 1

    changed()


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_text_upsets_the_check(text: str) -> None:
    assert _SHARED.verify(text) is None
    assert _SHARED.verify(f"{text}.{text}.{text}") is None


def _shared() -> Tokens:
    import tempfile

    return Tokens(Path(tempfile.mkdtemp(prefix="kindling-tokens-")))


_SHARED = _shared()
