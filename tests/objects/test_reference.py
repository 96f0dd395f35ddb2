"""Image references: what they mean, which mean the same, and what they are called in a registry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.objects.reference import (
    Reference,
    check_registry_host,
    content_tag,
    local_reference,
    matches,
    normalize,
    parse_reference,
    registry_name,
)

ID = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx", "nginx"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/acme/api", "docker.io/acme/api", "acme/api"),
        ("acme/api:v1", "docker.io/acme/api:v1", "acme/api:v1"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/api", "localhost/api", "localhost/api"),
        ("localhost:5000/api", "localhost:5000/api", "localhost:5000/api"),
        ("localhost:5000/api:x", "localhost:5000/api:x", "localhost:5000/api:x"),
        ("ghcr.io/Acme/api".lower(), "ghcr.io/acme/api", "ghcr.io/acme/api"),
        ("[::1]:5000/api:x", "[::1]:5000/api:x", "[::1]:5000/api:x"),
        ("Host/api", "Host/api", "Host/api"),
        (f"a@{ID}", f"docker.io/library/a@{ID}", f"a@{ID}"),
        (f"r.io/a:t@{ID}", f"r.io/a:t@{ID}", f"r.io/a:t@{ID}"),
        ("a__b.c-d--e", "docker.io/library/a__b.c-d--e", "a__b.c-d--e"),
    ],
)
def test_short_forms_mean_docker_hub(text: str, full: str, familiar: str) -> None:
    assert normalize(text) == full
    assert parse_reference(text).familiar == familiar


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("a b", "white space"),
        ("API", "lower case"),
        ("ghcr.io/Acme/api", "lower case"),
        ("a:", "not a tag"),
        ("a:-x", "not a tag"),
        ("a:" + "x" * 129, "not a tag"),
        ("a@sha256:12", "not a digest"),
        ("a//b", "not an image name"),
        ("a_-b", "not an image name"),
        ("http://r.io/a", "without a scheme"),
        ("-x.io/a", "not the name of a registry"),
        ("0" * 64, "bare image id"),
        ("r.io/" + "a" * 260, "longer than 255"),
    ],
)
def test_what_is_no_reference_is_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_reference(text)


def test_a_name_in_capitals_is_offered_in_lower_case() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_reference("ghcr.io/Acme/api:V1")
    assert caught.value.hint == "Did you mean `ghcr.io/acme/api:V1`?"


COMPONENT = st.from_regex(r"[a-z0-9]{1,4}(?:(?:[._]|__|-{1,3})[a-z0-9]{1,4}){0,2}", fullmatch=True)
REFERENCES = st.builds(
    Reference,
    domain=st.sampled_from(["docker.io", "localhost", "localhost:5000", "ghcr.io", "[::1]:80"]),
    path=st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    tag=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
    digest=st.sampled_from(["", ID]),
)


@given(REFERENCES)
def test_every_spelling_of_a_reference_reads_back_as_itself(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar) == reference


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ConfigError:
        return
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("declared", "found", "same"),
    [
        ("api", "api", True),
        ("api", "api:v1", True),
        ("api", "docker.io/library/api:v1", True),
        ("api", f"api@{ID}", True),
        ("api", "acme/api", False),
        ("api", "ghcr.io/api", False),
        ("api:dev", "api:dev", True),
        ("api:dev", "api", False),
        ("api:dev", "api:other", False),
        ("api:latest", "api", True),
        ("api:dev", f"api:dev@{ID}", False),
        (f"api@{ID}", f"api@{ID}", True),
        (f"api@{ID}", "api", False),
    ],
)
def test_a_tag_counts_only_where_the_build_declares_one(
    declared: str, found: str, same: bool
) -> None:
    assert matches(parse_reference(declared), parse_reference(found)) is same


def test_content_names_the_tag() -> None:
    assert content_tag(ID) == "kindling-0123456789abcdef"
    assert local_reference("docker.io/library/api:dev", ID) == "api:kindling-0123456789abcdef"
    with pytest.raises(ValueError, match="not an image id"):
        content_tag("latest")


@pytest.mark.parametrize(
    ("ref", "arguments", "push", "pull"),
    [
        ("api", ("l:5000",), "l:5000/api:t", "l:5000/api:t"),
        ("gcr.io/a/b", ("l:5000", "r:5000"), "l:5000/gcr.io_a_b:t", "r:5000/gcr.io_a_b:t"),
        ("l:5000/api", ("l:5000",), "l:5000/api:t", "l:5000/api:t"),
        ("l:5000/api", ("l:5000", "r:5000"), "l:5000/api:t", "r:5000/api:t"),
        ("r:5000/x/api", ("l:5000", "r:5000"), "l:5000/x/api:t", "r:5000/x/api:t"),
        ("other:80/api:v1", ("r.io/acme",), "r.io/acme/other_80_api:t", "r.io/acme/other_80_api:t"),
        ("acme/api", ("ecr.aws", "", "all"), "ecr.aws/all:acme_api-t", "ecr.aws/all:acme_api-t"),
    ],
)  # fmt: skip
def test_names_in_a_registry(ref: str, arguments: tuple[str, ...], push: str, pull: str) -> None:
    name = registry_name(ref, *arguments)
    assert (name.pushed("t"), name.pulled("t")) == (push, pull)
    parse_reference(name.pushed("t"))


def test_a_tag_that_holds_a_name_stays_a_tag() -> None:
    ref = "r.io/" + "/".join(["very-long-component"] * 9)
    pushed = registry_name(ref, "h.io", "", "all").pushed(content_tag(ID))
    assert parse_reference(pushed).tag.endswith("-kindling-0123456789abcdef")


@pytest.mark.parametrize("host", ["localhost:5000", "ghcr.io/acme", "registry", "[::1]:5000"])
def test_hosts_of_registries(host: str) -> None:
    check_registry_host(host)


@pytest.mark.parametrize("host", ["", "a b", "ghcr.io/Acme", "x:port", "ghcr.io/"])
def test_what_is_no_registry_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is not a registry"):
        check_registry_host(host)


def test_a_registry_with_a_scheme_is_offered_without() -> None:
    with pytest.raises(ConfigError) as caught:
        check_registry_host("http://localhost:5000/")
    assert caught.value.hint == "Write `localhost:5000`."
