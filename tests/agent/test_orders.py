"""What stands in `.dest` and `.dockerfile` is a reference to push to, and a path in the context."""

from __future__ import annotations

import pytest

from kindling.agent.orders import RefusedError, read_dockerfile, read_reference, registry_of


@pytest.mark.parametrize(
    "reference",
    [
        "registry:5000/api:jeff-0123456789abcdef0123456789abcdef01234567",
        "registry:5000/team/api:Jeff.D-abc123",
        "localhost:5000/api",
        "ghcr.io/owner/name:v1.2.3",
        "api:dev",
    ],
)
def test_row_50_references_of_pipelines_are_taken_as_they_stand(reference: str) -> None:
    assert read_reference(f" {reference}\n") == reference


@pytest.mark.parametrize(
    "text",
    [
        *("", "  \n", "registry:5000/api:a b", "registry:5000/api:a --verbosity=debug"),
        *("--destination=x", "registry:5000/../x", "registry:5000/api:", "a:b:c"),
        *("http://registry:5000/api", "registry:5000/api\nregistry:5000/other", "api:$(id)"),
        "registry:5000/api@sha256:" + "0" * 64,
    ],
)
def test_what_is_no_reference_to_push_to_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"\.dest"):
        read_reference(text)


def test_a_reference_in_capitals_is_refused_with_the_right_one() -> None:
    with pytest.raises(RefusedError) as refused:
        read_reference("registry:5000/Api")
    assert "registry:5000/api" in refused.value.hint


def test_the_registry_of_a_reference_is_its_first_part_if_that_can_be_a_host() -> None:
    assert registry_of("registry:5000/api:x") == "registry:5000"
    assert registry_of("localhost/api") == "localhost"
    assert registry_of("owner/name") == registry_of("name:tag") == ""


def test_a_dockerfile_is_named_relative_to_the_context() -> None:
    assert read_dockerfile("docker/./Dockerfile.dev\n") == "docker/Dockerfile.dev"
    assert read_dockerfile("") == ""


@pytest.mark.parametrize("text", ["/etc/passwd", "../Dockerfile", "a/../../b", "..", ".", "a\nb"])
def test_a_dockerfile_outside_of_the_context_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"\.dockerfile"):
        read_dockerfile(text)
