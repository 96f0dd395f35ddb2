"""Docker's engine API: our own engine client, the SDK and the `docker` program against it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kindling.build.docker_engine import DockerEngine, connect
from kindling.build.protocol import BuildContext, BuildRequest
from kindling.cluster.images.distribution import Distribution
from kindling.cluster.images.engine_api import EngineApi
from kindling.cluster.images.protocol import HOST_IMAGE
from kindling.cluster.images.store import ImageStore
from kindling.cluster.runtime.fake import FakeProcess, FakeRuntime
from kindling.errors import ExecutionError, HostError
from tests.cluster.images.archives import Node, docker_archive, make_tar
from tests.cluster.images.conftest import Serve

LAYER = make_tar([Node("bin/sh", b"#!", mode=0o755), Node("etc/x", b"1" * 1000)])


def _quiet(line: str, stream: str = "stdout") -> None:
    """Takes the lines of a build that nobody looks at."""


class NoPrograms:
    """A machine without a `docker` program."""

    async def run(self, *_: Any, **__: Any) -> Any:
        raise FileNotFoundError("docker")


@pytest.fixture
async def place(tmp_path: Path, store: ImageStore) -> Path:
    await store.load(docker_archive(tmp_path / "base.tar", ["base:1"], [LAYER], Env=["A=1"]))
    return tmp_path


@pytest.fixture
def runtime() -> FakeRuntime:
    made = FakeRuntime()

    async def shell(process: FakeProcess) -> int:
        (process.spec.folder / "upper").mkdir()
        process.write("said so\n")
        if process.argv[-1] == "hang":
            await asyncio.Event().wait()
        return 7 if process.argv[-1] == "fail" else 0

    made.programs["sh"] = shell
    return made


@pytest.fixture
async def socket(
    store: ImageStore, place: Path, runtime: FakeRuntime, serve: Serve
) -> AsyncIterator[str]:
    async with serve(EngineApi(store, runtime), place / "e.sock") as path:
        yield path


@asynccontextmanager
async def session(path: str) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.UnixConnector(path)
    async with aiohttp.ClientSession("http://docker", connector=connector) as opened:
        yield opened


def engine(path: str, place: Path) -> DockerEngine:
    environment = {"DOCKER_HOST": f"unix://{path}", "HOME": str(place), "PATH": ""}
    return DockerEngine(NoPrograms(), environment, place, f"unix://{path}")


def request(place: Path, dockerfile: str, **more: Any) -> BuildRequest:
    folder = place / "context"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text("print(1)")
    return BuildRequest(
        BuildContext(place, folder), dockerfile, place / "scratch", name="web", **more
    )


async def test_our_own_engine_client_builds_tags_and_removes(
    socket: str, place: Path, store: ImageStore
) -> None:
    client = engine(socket, place)
    said: list[str] = []

    def log(line: str, stream: str = "stdout") -> None:  # noqa: ARG001
        said.append(line)

    try:
        assert (await client.version()).api == "1.41"
        made = await client.build(
            request(
                place,
                "FROM base:1\nARG B=2\nCOPY app.py /\nRUN say\nENV C=$B",
                tags=("web:1", "localhost:5000/web:x"),
                build_args=(("B", "3"),),
            ),
            log,
        )
        assert set(made.tags) == {"web:1", "localhost:5000/web:x"}
        assert "said so" in said
        image = store.find("web:1")
        assert image is not None
        assert image.id == made.id
        assert dict(image.config.env) == {"A": "1", "C": "3"}
        await client.tag("web:1", "web:2")
        assert {tag for info in await client.tags("web") for tag in info.tags} == {
            "web:1",
            "web:2",
        }
        await client.save("web:2", place / "saved.tar")
        assert await client.remove("web:2")
        assert not await client.remove("web:2")
        assert await client.inspect("web:2") is None
        other = ImageStore(place / "other")
        [again] = await other.load(place / "saved.tar")
        other.close()
        assert again.id == made.id
    finally:
        await client.close()


async def test_our_own_engine_client_needs_no_docker_program_for_modern_dockerfiles(
    socket: str, place: Path
) -> None:
    environment = {
        "DOCKER_HOST": f"unix://{socket}",
        "HOME": str(place),
        "PATH": os.environ["PATH"],
    }
    client = await connect(NoPrograms(), environment, place)
    modern = (
        "# syntax=docker/dockerfile:1\nFROM base:1\nRUN --mount=type=cache,target=/c say\n"
        "COPY <<end /words\nword\nend\n"
    )
    try:
        made = await client.build(request(place, modern, tags=("modern:1",)), _quiet)
        assert made.tags == ("modern:1",)
        with pytest.raises(HostError, match="no build secrets"):
            await client.build(request(place, modern, secrets=("id=a",)), _quiet)
    finally:
        await client.close()


async def test_the_machines_image_is_as_old_as_the_engine(socket: str) -> None:
    began = time.time()
    async with session(socket) as http, http.get("/images/json") as answer:
        rows = await answer.json()
    [created] = [row["Created"] for row in rows if row["RepoTags"] == [f"{HOST_IMAGE}:latest"]]
    assert began - 3600 < created < began + 60


@pytest.mark.parametrize(
    ("dockerfile", "said"),
    [
        ("FROM base:1\nRUN fail", "step 2 of 2: RUN fail: exited with code 7"),
        ("FROM base:1\nCOPY ap.py /", "Did you mean `app.py`"),
        ("FROM base:1\nRUNN x", "unknown instruction: RUNN. Did you mean `RUN`"),
    ],
)
async def test_our_own_engine_client_understands_why_a_build_failed(
    socket: str, place: Path, dockerfile: str, said: str
) -> None:
    client = engine(socket, place)
    try:
        with pytest.raises(ExecutionError) as raised:
            await client.build(request(place, dockerfile), unheard)
        assert said in raised.value.render()
    finally:
        await client.close()


async def test_our_own_engine_client_pushes_to_our_own_registry(
    socket: str, place: Path, store: ImageStore, serve: Serve
) -> None:
    remote = ImageStore(place / "remote")
    client = engine(socket, place)
    try:
        async with serve(Distribution(remote)) as host:
            remote.serve_as((host,))
            await client.tag("base:1", f"{host}/base:1")
            digest = await client.push(f"{host}/base:1", unheard)
            found = remote.find(f"{host}/base:1")
            assert found is not None
            assert found.digests == (f"{host}/base@{digest}",)
            store.serve_as(("localhost:1",))
            await client.tag("base:1", "localhost:1/base:1")
            assert await client.push("localhost:1/base:1", unheard)
    finally:
        await client.close()
        remote.close()


def unheard(line: str, stream: str = "stdout") -> None:
    """A log that nobody reads."""


def tar_of(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


async def test_a_build_tells_its_steps_and_its_image(socket: str) -> None:
    body = tar_of({"D": "FROM base:1 AS a\nLABEL x=y\nFROM a AS b\nLABEL z=1"})
    params = {"dockerfile": "D", "target": "a", "t": "w:1", "labels": '{"l": "m"}'}
    async with session(socket) as api, api.post("/v1.41/build", params=params, data=body) as got:
        messages = [json.loads(line) for line in (await got.read()).splitlines()]
    said = "".join(message.get("stream", "") for message in messages)
    assert said.startswith("Step 1/2 : FROM base:1 AS a\n ---> ")
    [image] = [message["aux"]["ID"] for message in messages if "aux" in message]
    assert f"Successfully built {image[7:19]}\nSuccessfully tagged w:1\n" in said
    async with session(socket) as api, api.get("/images/w:1/json") as got:
        assert (await got.json())["Config"]["Labels"] == {"x": "y", "l": "m"}


async def test_a_client_that_goes_away_ends_its_build(
    socket: str, runtime: FakeRuntime, store: ImageStore
) -> None:
    body = tar_of({"Dockerfile": "FROM base:1\nRUN hang"})
    async with asyncio.timeout(20), session(socket) as api:
        got = await api.post("/build", data=body)
        async for line in got.content:
            if b"said so" in line:
                break
        [process] = runtime.running.values()
        got.close()
        await process.ended
    async with asyncio.timeout(20):
        while os.listdir(store.blobs.temporary):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


REFUSALS = [
    ("GET", "/images/nosuch/json", 404, "No such image: nosuch:latest"),
    ("GET", "/images/Bad/json", 400, "invalid reference format"),
    ("DELETE", "/images/nosuch:1", 404, "No such image: nosuch:1"),
    ("POST", "/images/nosuch/push?tag=1", 404, "An image does not exist locally with the tag"),
    ("POST", "/images/base:1/tag?repo=UP", 400, "invalid reference format"),
    ("POST", "/images/create?fromImage=localhost:1/x&tag=1", 500, "connection refused"),
    ("POST", "/images/create?fromSrc=-", 501, "use a Dockerfile"),
    ("POST", "/images/load", 500, "not an image archive"),
    ("POST", "/build", 500, "Cannot locate specified Dockerfile: Dockerfile"),
    ("POST", "/build?version=2", 500, "BuildKit is not offered"),
    ("GET", "/images/json?filters=%5B1%5D", 400, "invalid filter"),
    ("GET", "/images/json?filters=%7B%22no%22%3A%5B%22x%22%5D%7D", 400, "Invalid filter 'no'"),
    ("POST", "/v1.41/containers/create", 501, "pods"),
    ("GET", "/nosuch", 404, "page not found"),
    ("DELETE", "/images/kindling.dev/host", 409, "this machine itself"),
]


async def test_refusals_have_dockers_codes_and_words(socket: str) -> None:
    async with session(socket) as api:
        for method, path, status, said in REFUSALS:
            async with api.request(method, path) as got:
                assert (path, got.status) == (path, status)
                assert said in (await got.json())["message"]


async def test_a_hostile_context_is_refused(socket: str, place: Path) -> None:
    body = make_tar([Node("Dockerfile", b"FROM scratch"), Node("../evil", b"x")])
    async with session(socket) as api, api.post("/build", data=body) as got:
        assert got.status == 500
        assert "leads out of the root" in (await got.json())["message"]
    assert not [name for _, _, names in os.walk(place) for name in names if name == "evil"]


async def test_filters_choose_images(socket: str, store: ImageStore, place: Path) -> None:
    await store.load(
        docker_archive(place / "b.tar", ["a.io/x/web:1", "web:2"], [LAYER], Labels={"k": "v"})
    )
    async with session(socket) as api:

        async def names(**wanted: list[str]) -> set[str]:
            params = {"filters": json.dumps(wanted)}
            async with api.get("/images/json", params=params) as got:
                return {tag for row in await got.json() for tag in row["RepoTags"]}

        assert await names(reference=["web"]) == {"a.io/x/web:1", "web:2"}
        assert await names(reference=["base:*"]) == {"base:1"}
        assert await names(label=["k=v"]) == {"a.io/x/web:1", "web:2"}
        assert await names(label=["k=w"]) == set()
        assert await names(dangling=["true"]) == set()


async def test_the_sdk_works_against_it(socket: str) -> None:
    import docker

    def use() -> None:
        client = docker.DockerClient(base_url=f"unix://{socket}", version="auto")
        try:
            assert client.ping()
            context = io.BytesIO(tar_of({"Dockerfile": "FROM base:1\nLABEL a=b"}))
            built, _ = client.images.build(
                fileobj=context, custom_context=True, encoding="gzip", tag="sdk:1"
            )
            assert built.labels == {"a": "b"}
            assert client.images.get("sdk:1").id == built.id
            assert [row["CreatedBy"] for row in built.history()] == ["LABEL a=b"]
            data = b"".join(client.images.get("sdk:1").save(named=True))
            client.images.remove("sdk:1")
            [loaded] = client.images.load(data)
            assert loaded.tags == ["sdk:1"]
            client.images.prune()
        finally:
            client.close()

    await asyncio.to_thread(use)


@pytest.mark.docker
async def test_the_docker_program_works_against_it(socket: str, place: Path) -> None:
    program = shutil.which("docker")
    assert program is not None
    environment = {
        "DOCKER_HOST": f"unix://{socket}",
        "HOME": str(place),
        "DOCKER_BUILDKIT": "0",
        "PATH": os.environ["PATH"],
    }
    context = place / "cli"
    context.mkdir()
    (context / "Dockerfile").write_text('FROM base:1\nCOPY f /\nCMD ["x"]\n')
    (context / "f").write_text("1")

    async def run(*words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
        assert process.returncode == 0, out.decode()
        return out.decode()

    assert "Successfully tagged cli:1" in await run("build", "-t", "cli:1", str(context))
    assert "cli" in await run("images")
    assert (await run("inspect", "-f", "{{.Config.Cmd}}", "cli:1")).strip() == "[x]"
    await run("save", "-o", str(place / "cli.tar"), "cli:1")
    assert "Untagged: cli:1" in await run("rmi", "cli:1")
    assert "Loaded image: cli:1" in await run("load", "-i", str(place / "cli.tar"))
    await run("tag", "cli:1", "other:2")
    assert "COPY f /" in await run("history", "other:2")
