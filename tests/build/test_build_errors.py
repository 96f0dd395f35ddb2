"""What engines and registries say, and what users read."""

from __future__ import annotations

import pytest

from kindling.build.errors import engine_error, registry_error, registry_of
from kindling.build.streams import BuildStream
from kindling.errors import ContainerError, ExecutionError, HostError
from kindling.testing.jobs import Lines


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (FileNotFoundError(2, "No such file"), "no Docker engine answers at `unix:///sock`"),
        (ConnectionRefusedError(111, "refused"), "no Docker engine answers at `unix:///sock`"),
        (PermissionError(13, "denied"), "the Docker engine at `unix:///sock` may not be used"),
    ],
)
def test_an_engine_out_of_reach(error: OSError, means: str) -> None:
    """The SDK wraps the cause in exceptions of three libraries."""
    wrapped = Exception("Error while fetching server API version", Exception(("aborted", error)))
    found = engine_error(wrapped, "tag `a`", "unix:///sock")
    assert isinstance(found, ContainerError)
    assert means in found.message


def test_an_address_that_is_none_names_where_it_was_given() -> None:
    error = Exception("Invalid bind address format: port is required: garbage")
    assert engine_error(error, "reach Docker", "garbage").hint == "DOCKER_HOST is `garbage`."


def test_a_full_disk_is_a_matter_of_this_machine() -> None:
    found = engine_error(Exception("write /var/lib/docker: no space left on device"), "tag `a`")
    assert isinstance(found, HostError)
    assert found.message == "cannot tag `a`: the disk is full"


@pytest.mark.parametrize(
    ("said", "means", "transient"),
    [
        ("no basic auth credentials", "the registry wants a login", False),
        ("unauthorized: authentication required", "the registry wants a login", False),
        ("denied: requested access to the resource is denied", "the registry refuses", False),
        ("dial tcp 127.0.0.1:5001: connect: connection refused", "cannot be reached", True),
        ("dial tcp: lookup r.example: no such host", "cannot be reached", True),
        ('Get "https://r/v2/": EOF', "cannot be reached", True),
        ("x509: certificate signed by unknown authority", "TLS certificate", False),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP", False),
        ("received unexpected HTTP status: 500 Internal Server Error", "failed", True),
        ("toomanyrequests: rate exceeded", "asks to go slower", True),
        ("something new", "something new", False),
    ],
)
def test_what_a_registry_says(said: str, means: str, transient: bool) -> None:
    found = registry_error(said, "push `r/a:1`", "r")
    assert isinstance(found, ContainerError)
    assert found.message.startswith("cannot push `r/a:1`: ")
    assert means in found.message
    assert found.transient is transient


@pytest.mark.parametrize(
    ("ref", "registry"),
    [
        ("api", "docker.io"),
        ("acme/api:1", "docker.io"),
        ("ghcr.io/acme/api", "ghcr.io"),
        ("localhost/api", "localhost"),
        ("localhost:5000/api:1", "localhost:5000"),
    ],
)
def test_the_registry_of_a_reference(ref: str, registry: str) -> None:
    assert registry_of(ref) == registry


def failed(*messages: dict[str, str]) -> ExecutionError:
    stream = BuildStream(Lines())
    for message in messages:
        stream.feed(message)
    stream.end()
    with pytest.raises(ExecutionError) as caught:
        stream.result()
    return caught.value


def test_a_failing_step_comes_with_its_last_lines() -> None:
    error = failed(
        {"stream": "Step 1/2 : FROM scratch\n"},
        {"stream": "Step 2/2 : RUN make\n"},
        {"stream": "cc main.c\nmain.c:1: err"},
        {"stream": "or\n"},
        {"error": "The command '/bin/sh -c make' returned a non-zero code: 2"},
    )
    assert error.message == "the build failed at step 2 of 2: RUN make: exited with code 2"
    assert error.details[-1] == "main.c:1: error"


def test_a_base_image_that_nobody_has_is_named() -> None:
    said = "pull access denied for nosuch, repository does not exist or may require 'docker login'"
    error = failed({"stream": "Step 1/1 : FROM nosuch\n"}, {"error": said})
    assert "there is no image `nosuch`" in error.message


def test_a_registry_out_of_reach_stops_a_build_only_for_now() -> None:
    said = 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup: no such host'
    error = failed({"stream": "Step 1/1 : FROM nosuch\n"}, {"error": said})
    assert "the registry cannot be reached" in error.message
    assert error.transient


@pytest.mark.parametrize(
    ("step", "said", "registry"),
    [
        (
            "FROM ${BASE}",
            'failed to resolve reference "far.example/a:1": Head "https://far.example/v2/a/manifests/1"'
            ": dial tcp: lookup far.example: no such host",
            "far.example",
        ),
        (
            "FROM --platform=linux/amd64 near.example/b AS base",
            'Get "https://near.example/v2/": dial tcp: lookup: no such host',
            "near.example",
        ),
    ],
)
def test_the_registry_to_look_at_is_that_of_the_base_image(
    step: str, said: str, registry: str
) -> None:
    error = failed({"stream": f"Step 1/1 : {step}\n"}, {"error": said})
    assert f"`{registry}`" in error.hint


def test_progress_of_layers_is_left_out() -> None:
    lines = Lines()
    stream = BuildStream(lines)
    stream.feed({"status": "Downloading", "id": "abc"})
    stream.feed({"status": "Pull complete", "id": "abc"})
    assert lines.of("stdout") == ["abc: Pull complete"]
