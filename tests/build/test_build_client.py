"""Which `docker` program builds, among several on PATH that differ."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kindling.build.buildkit import BuildClient, ClientKind, build_with_client, find_client
from kindling.build.docker_engine import DockerEngine
from kindling.build.protocol import BuildContext, BuildRequest
from kindling.errors import ExecutionError, HostError
from kindling.executors.processes import HostProcesses
from kindling.testing.jobs import Lines

BARE = 'case "$1" in --version) echo "Docker version 28.2.2, build x";; *) exit 1;; esac'
OLD = 'case "$1" in --version) echo "Docker version 20.10.24, build x";; *) exit 1;; esac'
BUILDX = 'case "$1" in buildx) echo "github.com/docker/buildx v0.12";; *) exit 1;; esac'


def program(folder: Path, text: str) -> str:
    folder.mkdir(parents=True)
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


async def find(tmp_path: Path, *texts: str) -> tuple[BuildClient | None, tuple[str, ...]]:
    folders = [tmp_path / str(n) for n in range(len(texts))]
    for folder, text in zip(folders, texts, strict=True):
        program(folder, text)
    host = HostProcesses()
    environment = {"PATH": ":".join(map(str, [*folders, "/nowhere"]))}
    try:
        return await find_client(host, environment, tmp_path)
    finally:
        await host.close()


async def test_a_client_without_buildkit_is_passed_over(tmp_path: Path) -> None:
    """Version 23 and later without the plugin; the next on PATH has it built in."""
    client, refused = await find(tmp_path, BARE, OLD)
    assert client == BuildClient(str(tmp_path / "1/docker"), ClientKind.BUILT_IN)
    assert refused == (f"`{tmp_path}/0/docker` is version 28.2 without the plugin buildx",)


async def test_a_client_with_buildx_is_taken(tmp_path: Path) -> None:
    client, refused = await find(tmp_path, BUILDX, OLD)
    assert client == BuildClient(str(tmp_path / "0/docker"), ClientKind.BUILDX)
    assert refused == ()


async def test_without_any_there_is_none(tmp_path: Path) -> None:
    client, refused = await find(tmp_path, BARE, "exit 1")
    assert client is None
    assert refused[1] == f"`{tmp_path}/1/docker` does not answer"


async def test_a_build_that_needs_buildkit_says_who_lacks_it(tmp_path: Path) -> None:
    program(tmp_path / "bin", BARE)
    host = HostProcesses()
    engine = DockerEngine(host, {"PATH": str(tmp_path / "bin")}, tmp_path)
    dockerfile = "FROM scratch\nRUN --mount=type=cache,target=/c x\n"
    request = BuildRequest(BuildContext(tmp_path, tmp_path), dockerfile, tmp_path / "scratch")
    with pytest.raises(
        HostError, match="needs BuildKit, and no `docker` program here has it"
    ) as caught:
        await engine.build(request, Lines())
    assert "without the plugin buildx" in caught.value.details[0]
    await engine.close()
    await host.close()


STAND_IN = r"""
echo "$@" > "$HOME/argv"; echo "$DOCKER_BUILDKIT $BUILDX_NO_DEFAULT_ATTESTATIONS" > "$HOME/env"
while [ $# -gt 1 ]; do
  case "$1" in --iidfile) iid=$2;; -f) file=$2;; esac
  shift
done
grep -q fail "$file" && {
  echo '#5 [2/3] RUN make' >&2
  echo '#5 0.123 main.c:1: error' >&2
  echo '#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 2' >&2
  exit 1
}
printf 'sha256:made' > "$iid"
"""


async def build(tmp_path: Path, dockerfile: str, kind: ClientKind) -> tuple[str, str]:
    path = program(tmp_path / "bin", STAND_IN)
    context = tmp_path / "context"
    context.mkdir()
    request = BuildRequest(
        BuildContext(tmp_path, context),
        dockerfile,
        tmp_path / "scratch",
        build_args=(("A", "1 2"),),
        target="final",
        secrets=("id=key,src=key",),
    )
    host = HostProcesses()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    try:
        image = await build_with_client(
            BuildClient(path, kind),
            request,
            context,
            programs=host,
            environment=environment,
            log=Lines(),
        )
    finally:
        await host.close()
    assert not list((tmp_path / "scratch").iterdir()), "nothing is left behind"
    return image, (tmp_path / "argv").read_text()


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        (ClientKind.BUILT_IN, "build --progress=plain --iidfile"),
        (ClientKind.BUILDX, "buildx build --load --progress=plain --iidfile"),
    ],
)
async def test_a_build_is_told_what_it_needs(tmp_path: Path, kind: ClientKind, begins: str) -> None:
    image, argv = await build(tmp_path, "FROM scratch\n", kind)
    assert image == "sha256:made"
    assert argv.startswith(begins)
    assert "--build-arg A=1 2 --target final --secret id=key,src=key" in argv
    assert (tmp_path / "env").read_text() == "1 1\n"


async def test_a_step_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError) as caught:
        await build(tmp_path, "FROM scratch\nRUN fail\n", ClientKind.BUILT_IN)
    assert caught.value.message.startswith("the build failed at [2/3] RUN make: process")
    assert caught.value.details == ("main.c:1: error",)
