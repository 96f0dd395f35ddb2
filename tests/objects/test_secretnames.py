"""The name of a secret's Secret, and the names that cannot be one (rows 86 and 87)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import UsageError
from kindling.objects.secretnames import LONGEST_NAME, PREFIX, known_as, secret_name

_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("STRIPE_KEY", "kindling-secret-stripe-key"),
        ("stripe-key", "kindling-secret-stripe-key"),
        ("Api2Token", "kindling-secret-api2token"),
        ("my.key", "kindling-secret-my.key"),
        ("_LEADING", "kindling-secret--leading"),
        ("A", "kindling-secret-a"),
        ("a" * LONGEST_NAME, PREFIX + "a" * LONGEST_NAME),
    ],
)
def test_row_86_a_name_becomes_lower_kebab_with_a_prefix(name: str, made: str) -> None:
    assert secret_name(name) == made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "needs a name"),
        ("a/b", "it has `/` in it"),
        ("..", "would not accept"),
        ("../../etc/passwd", "it has `/` in it"),
        ("a..b", "would not accept"),
        (".a", "would not accept"),
        ("KEY_", "would not accept"),
        ("KEY-", "would not accept"),
        ("my.key!", "it has `!` in it"),
        ("A B", "it has a space in it"),
        ("STRIPE_KEY=abc", "it has `=` in it"),
        ("KEY\n", r"it has `\n` in it"),
        ("KEY\x00", r"it has `\x00` in it"),
        ("straße", "it has `ß` in it"),
        ("\u212aEY", "it has `\u212a` in it"),
        ("$(a;b)", "it has `$`, `(`, `)` and others in it"),
        ("n" * 300, "has 300 characters; a secret's has 237 at most"),
    ],
)
def test_row_87_a_name_that_cannot_be_an_object_s_is_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        secret_name(name)
    assert said in refused.value.message
    assert len(refused.value.message) < 200


@given(st.text())
def test_row_87_what_is_accepted_is_a_name_that_every_cluster_accepts(name: str) -> None:
    made, message = _tried(name)
    assert _DNS_SUBDOMAIN.fullmatch(made) or message
    assert len(made) <= 253
    assert message.isprintable()


def _tried(name: str) -> tuple[str, str]:
    try:
        return secret_name(name), ""
    except UsageError as error:
        return "", error.message


def test_what_stands_after_an_equals_sign_is_a_value_and_never_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        secret_name("STRIPE_KEY=sk-live-1")
    assert "`STRIPE_KEY=...`" in refused.value.message
    assert "sk-live" not in refused.value.render()


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,60}[A-Za-z0-9]", fullmatch=True))
def test_row_87_what_can_be_a_variable_can_be_a_secret(name: str) -> None:
    assert secret_name(name) == PREFIX + name.lower().replace("_", "-")


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["value", "STRIPE_KEY"], "STRIPE_KEY"),
        (["value"], "stripe-key"),
        (["Stripe-Key", "other"], "Stripe-Key"),
        ([], "stripe-key"),
        (["other", "N" * 253], "stripe-key"),
    ],
)
def test_a_secret_is_listed_under_the_name_it_was_given(keys: list[str], name: str) -> None:
    assert known_as("kindling-secret-stripe-key", keys) == name
