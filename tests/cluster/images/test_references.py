"""What people write as an image, and what it means."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kindling.cluster.images.protocol import PullError
from kindling.cluster.images.reference import parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("me/app", "docker.io/me/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("[::1]:5000/a/b_c:x", "[::1]:5000/a/b_c:x"),
        ("gcr.io/distroless/static-debian12:nonroot", "gcr.io/distroless/static-debian12:nonroot"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"a.b/c:1@{DIGEST}", f"a.b/c:1@{DIGEST}"),
        ("Example/app", "Example/app:latest"),  # capitals make it a host, as in Docker
    ],
)
def test_a_reference_has_one_full_form(written: str, full: str) -> None:
    assert str(parse_reference(written)) == full


@pytest.mark.parametrize(
    "written",
    [
        "",
        ":",
        "a:",
        "/a",
        "a//b",
        "a b",
        "A",
        "a:-x",
        "a@sha256:12",
        "a..b/",
        "b" * 64,
        "x/" + "a" * 300,
        "host:port/a",
        "a:b:c",
        "../a",
        "a/../b",
        "a\n",
    ],
)
def test_a_bad_reference_is_an_invalid_image_name(written: str) -> None:
    with pytest.raises(PullError) as raised:
        parse_reference(written)
    assert raised.value.reason == "InvalidImageName"


def test_capitals_are_named_as_the_kubelet_names_them() -> None:
    with pytest.raises(PullError) as raised:
        parse_reference("Foo")
    assert str(raised.value) == (
        'Failed to apply default image tag "Foo": couldn\'t parse image name "Foo": invalid'
        " reference format: repository name (library/Foo) must be lowercase"
    )


_NAME = st.from_regex(r"[a-z0-9]{1,6}(?:(?:\.|_|__|-)[a-z0-9]{1,4}){0,2}", fullmatch=True)
_TAG = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
_HOST = st.sampled_from(["", "docker.io/", "index.docker.io/", "localhost:5000/", "a.example/"])


@given(_HOST, st.lists(_NAME, min_size=1, max_size=3), _TAG)
def test_the_full_form_means_the_same_as_what_was_written(
    host: str, path: list[str], tag: str
) -> None:
    assume(host or "." not in path[0])  # it would be a host
    parsed = parse_reference(f"{host}{'/'.join(path)}:{tag}")
    assert parse_reference(str(parsed)) == parsed
    assert parse_reference(f"{parsed.familiar}:{tag}") == parsed


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    with contextlib.suppress(PullError):
        assert ".." not in str(parse_reference(text)).split("/")
