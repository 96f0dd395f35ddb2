"""Pulling from registries, and the registry of our own: each is the other's test."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kindling.build.registry import RegistryClient as OtherClient
from kindling.cluster.images import registry_client
from kindling.cluster.images.asgi import Receive, Request, Scope, Send
from kindling.cluster.images.credentials import docker_credentials
from kindling.cluster.images.distribution import Distribution
from kindling.cluster.images.manifest import INDEX, MANIFEST, machine
from kindling.cluster.images.protocol import Credentials, PullError
from kindling.cluster.images.push import push_image
from kindling.cluster.images.reference import parse_reference
from kindling.cluster.images.registry_client import RegistryError
from kindling.cluster.images.store import ImageStore
from tests.cluster.images.archives import Node, docker_archive, make_tar, sha
from tests.cluster.images.conftest import Serve

LAYERS = [make_tar([Node("a", b"1")]), make_tar([Node("b", b"2" * 3_000_000)])]


class Remote:
    """A registry somewhere else that holds `web:1`, with a door in front of it."""

    def __init__(self, store: ImageStore) -> None:
        self.inner = Distribution(store)
        self.seen: list[tuple[str, str]] = []
        self.fail: list[int] = []
        self.token = ""
        self.basic = ""
        self.corrupt = False
        self.host = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        self.seen.append((request.method, request.path))
        sent = request.headers.get("authorization", "")
        if request.path == "/token":
            basic = base64.b64encode(self.basic.encode()).decode()
            if self.basic and sent != f"Basic {basic}":
                await request.json(401, {})
                return
            assert request.one("scope").startswith("repository:web:pull")
            await request.json(200, {"token": self.token})
            return
        if self.token and sent != f"Bearer {self.token}":
            challenge = f'Bearer realm="http://{self.host}/token",service="s"'
            await request.json(401, {}, {"WWW-Authenticate": challenge})
            return
        if self.fail:
            await request.json(self.fail.pop(), {})
            return
        if self.corrupt and "/blobs/" in request.path and request.method == "GET":
            await request.answer(200, b"not what was asked for")
            return
        await self.inner(scope, receive, send)


@pytest.fixture
async def remote(tmp_path: Path) -> Any:
    there = ImageStore(tmp_path / "there", own_hosts=("remote.io",))
    await there.load(docker_archive(tmp_path / "r.tar", ["remote.io/web:1"], LAYERS))
    [image] = await there.load(docker_archive(tmp_path / "m.tar", ["remote.io/m:1"], LAYERS[1:]))
    system, architecture, _ = machine()
    child = there.catalogue.manifests[there.manifest_of(image.id)]
    both = [
        (sha(b"never pushed"), {"os": system, "architecture": "s390x"}),
        (child.digest, {"os": system, "architecture": architecture}),
    ]
    listed = [
        {"mediaType": MANIFEST, "digest": digest, "size": child.size, "platform": platform}
        for digest, platform in both
    ]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
    digest = there.blobs.put(json.dumps(index).encode())
    await there.adopt(digest, names=(("-/multi", "1"),))
    yield Remote(there)
    there.close()


async def test_an_image_is_pulled_whole_and_known_by_its_digest(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    told: list[str] = []
    async with serve(remote) as host:
        image = await store.pull_watched(
            f"{host}/web:1", (), lambda _, what, _done, _all: told.append(what)
        )
        assert image.names == (f"{host}/web:1",)
        assert (image.root.layers[0] / "a").read_bytes() == b"1"
        assert told.count("Pull complete") == 2
        before = len(remote.seen)
        again = await store.pull(image.digests[0])
        assert again.id == image.id
        assert {method for method, _ in remote.seen[before:]} == {"HEAD"}


async def test_two_pulls_of_one_reference_are_one(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    async with serve(remote) as host:
        first, second = await asyncio.gather(
            store.pull(f"{host}/web:1"), store.pull(f"{host}/web:1")
        )
    assert first == second
    assert sum("/manifests/" in path for method, path in remote.seen if method == "HEAD") == 1


async def test_one_that_no_longer_wants_a_pull_does_not_end_it_for_others(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    async with serve(remote) as host:
        first = asyncio.create_task(store.pull(f"{host}/web:1"))
        second = asyncio.create_task(store.pull(f"{host}/web:1"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).names
        assert first.cancelled()


async def test_a_registry_that_fails_for_a_moment_is_asked_again(
    store: ImageStore, remote: Remote, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_client, "BACK_OFF_SECS", (0.0, 0.0))
    remote.fail = [503, 500]
    async with serve(remote) as host:
        assert await store.pull(f"{host}/web:1")


async def test_bearer_tokens_are_got_without_a_login_and_with_one(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    remote.token = "t0ken"
    async with serve(remote) as host:
        remote.host = host
        assert await store.pull(f"{host}/web:1")
        remote.basic = "me:pass:word"
        store.remove(f"{host}/web:1")
        with pytest.raises(PullError, match="pull access denied, repository does not exist"):
            await store.pull(f"{host}/web:1")
        wrong, right = Credentials(host, "me", "no"), Credentials(host, "me", "pass:word")
        assert await store.pull(f"{host}/web:1", (wrong, right))


async def test_content_that_is_not_what_was_promised_is_refused(
    store: ImageStore, remote: Remote, serve: Serve, tmp_path: Path
) -> None:
    remote.corrupt = True
    async with serve(remote) as host:
        with pytest.raises(PullError, match=r"unexpected commit digest|more than the"):
            await store.pull(f"{host}/web:1")
    assert os.listdir(tmp_path / "images/layers") == []
    assert os.listdir(tmp_path / "images/tmp") == []


async def test_refusals_are_worded_as_containerd_words_them(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    async with serve(remote) as host:
        with pytest.raises(PullError) as raised:
            await store.pull(f"{host}/nosuch:1")
        assert str(raised.value) == (
            f'failed to pull and unpack image "{host}/nosuch:1": failed to resolve reference'
            f' "{host}/nosuch:1": {host}/nosuch:1: not found'
        )
        assert raised.value.reason == "ErrImagePull"
    with pytest.raises(PullError) as raised:
        await store.pull(f"{host}/web:1")
    assert str(raised.value).endswith(
        f'failed to do request: Head "http://{host}/v2/web/manifests/1": dial tcp'
        f" 127.0.0.1:{host.partition(':')[2]}: connect: connection refused"
    )


async def test_an_index_gives_the_image_of_this_machine(
    store: ImageStore, remote: Remote, serve: Serve
) -> None:
    async with serve(remote) as host:
        image = await store.pull(f"{host}/multi:1")
        assert image.size == 3_000_000
        top = image.digests[0].partition("@")[2]
        assert store.catalogue.manifests[top].media_type == INDEX
        assert await store.pull(image.digests[0]) == image
        pieces = [piece async for piece in store.save((f"{host}/multi:1",))]
        assert sum(map(len, pieces)) > 3_000_000
        assert store.remove(f"{host}/multi:1").deleted == (image.id,)
        assert list(store.blobs.all()) == []


async def test_an_old_image_is_pulled_however_many_have_no_name(
    store: ImageStore, remote: Remote, serve: Serve, tmp_path: Path
) -> None:
    for at in range(25):
        layer = make_tar([Node("n", str(at).encode())])
        await store.load(
            docker_archive(tmp_path / "a.tar", ["w:1"], [layer], created="2020-01-01T00:00:00Z")
        )
    async with serve(remote) as host:
        assert (await store.pull(f"{host}/multi:1")).names == (f"{host}/multi:1",)


async def test_what_is_pushed_to_us_runs_at_once_and_can_be_pulled_again(
    store: ImageStore, serve: Serve, tmp_path: Path
) -> None:
    maker = ImageStore(tmp_path / "maker", environment={"HOME": str(tmp_path)})
    async with serve(Distribution(store)) as host:
        store.serve_as((host, "registry.kube-system:5000"))
        [image] = await maker.load(docker_archive(tmp_path / "a.tar", [f"{host}/x/web:1"], LAYERS))
        told: list[str] = []
        digests: set[str] = set()
        reference = parse_reference(f"{host}/x/web:1")
        for _ in range(2):
            pushed = await push_image(
                maker, image, reference, (), lambda _, what: told.append(what)
            )
            digests.add(pushed[0])
        [digest] = digests
        assert told.count("Pushed") == 2
        assert told.count("Layer already exists") == 2
        found = store.find("registry.kube-system:5000/x/web:1")
        assert found is not None
        assert found.id == image.id
        assert found.digests == (f"{host}/x/web@{digest}",)
        assert (found.root.layers[0] / "a").read_bytes() == b"1"
        held = await OtherClient(host).manifest("x/web", "1")
        assert held is not None
        assert held.is_image(image.id)
        maker.remove(f"{host}/x/web:1")
        assert (await maker.pull(f"{host}/x/web:1")).id == image.id
    maker.close()


async def test_an_image_on_the_machine_itself_is_not_pushed(store: ImageStore) -> None:
    image = store.find("kindling.dev/host")
    assert image is not None
    with pytest.raises(RegistryError, match="this machine itself"):
        await push_image(store, image, parse_reference("localhost:1/x"))


# The registry's own manners ----------------------------------------------------------------------


class Client:
    """Raw requests to the registry."""

    def __init__(self, session: aiohttp.ClientSession, host: str) -> None:
        self._session = session
        self._base = f"http://{host}"

    async def __call__(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = path if path.startswith("http") else self._base + path
        async with self._session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()


@pytest.fixture
async def client(store: ImageStore, serve: Serve) -> Any:
    app = Distribution(store)
    async with serve(app) as host, aiohttp.ClientSession() as session:
        yield Client(session, host)
    app.close()


def code_of(body: bytes) -> str:
    [error] = json.loads(body)["errors"]
    return str(error["code"])


async def test_a_blob_comes_in_pieces_and_goes_out_in_pieces(client: Client) -> None:
    data = b"0123456789" * 50
    status, headers, _ = await client("POST", "/v2/a/b/blobs/uploads/")
    assert status == 202
    place = headers["Location"]
    status, headers, _ = await client("PATCH", place, data[:200], {"Content-Range": "0-199"})
    assert (status, headers["Range"]) == (202, "0-199")
    status, headers, body = await client("PATCH", place, b"x", {"Content-Range": "7-7"})
    assert (status, code_of(body), headers["Range"]) == (416, "RANGE_INVALID", "0-199")
    status, headers, _ = await client("GET", place)
    assert (status, headers["Range"]) == (204, "0-199")
    status, _, _ = await client("PUT", f"{place}?digest={sha(data)}", data[200:])
    assert status == 201
    status, headers, body = await client("GET", f"/v2/a/b/blobs/{sha(data)}")
    assert (status, body) == (200, data)
    status, headers, body = await client(
        "GET", f"/v2/a/b/blobs/{sha(data)}", headers={"Range": "bytes=10-19"}
    )
    assert (status, body, headers["Content-Range"]) == (206, b"0123456789", "bytes 10-19/500")
    status, headers, body = await client("HEAD", f"/v2/a/b/blobs/{sha(data)}")
    assert (status, headers["Content-Length"], body) == (200, "500", b"")
    mounted = await client("POST", f"/v2/c/blobs/uploads/?mount={sha(data)}&from=a/b")
    assert mounted[0] == 201


async def test_a_blob_comes_whole_in_one_request(client: Client) -> None:
    status, headers, _ = await client("POST", f"/v2/a/blobs/uploads/?digest={sha(b'x')}", b"x")
    assert status == 201
    assert headers["Docker-Content-Digest"] == sha(b"x")


async def test_a_wrong_digest_is_refused_and_leaves_nothing(
    client: Client, store: ImageStore
) -> None:
    _, headers, _ = await client("POST", "/v2/a/blobs/uploads/")
    status, _, body = await client("PUT", f"{headers['Location']}?digest={sha(b'y')}", b"x")
    assert (status, code_of(body)) == (400, "DIGEST_INVALID")
    assert list(store.blobs.all()) == []
    assert os.listdir(store.blobs.temporary) == []
    status, _, body = await client("PATCH", headers["Location"], b"x")
    assert (status, code_of(body)) == (404, "BLOB_UPLOAD_UNKNOWN")


REFUSALS = [
    ("GET", "/v2/a/manifests/1", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/a/blobs/{sha(b'no')}", 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/blobs/..%2f..%2fimages.db", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/tags/list", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/A/tags/list", 400, "NAME_INVALID"),
    ("PUT", "/v2/a/manifests/1", 400, "MANIFEST_INVALID"),
    ("GET", "/v2/a/manifests/-", 400, "TAG_INVALID"),
    ("POST", "/v2/a/manifests/1", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v3/", 404, "NAME_UNKNOWN"),
]


async def test_errors_have_the_form_of_the_specification(client: Client) -> None:
    for method, path, status, code in REFUSALS:
        got, _, body = await client(method, path, b"{}" if method == "PUT" else None)
        assert (method, path, got, code_of(body)) == (method, path, status, code)


async def test_a_manifest_without_its_blobs_is_refused(client: Client) -> None:
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"digest": sha(b"c"), "size": 1, "mediaType": "x"},
        "layers": [],
    }
    status, _, body = await client("PUT", "/v2/a/manifests/1", json.dumps(manifest).encode())
    assert (status, code_of(body)) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_what_is_no_image_is_kept_too(client: Client, store: ImageStore) -> None:
    for data in (b"{}", b"chart"):
        await client("POST", f"/v2/charts/a/blobs/uploads/?digest={sha(data)}", data)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": sha(b"{}"), "size": 2, "mediaType": "application/vnd.cncf.helm"},
            "layers": [{"digest": sha(b"chart"), "size": 5, "mediaType": "application/x-chart"}],
        }
    ).encode()
    assert (await client("PUT", "/v2/charts/a/manifests/1", manifest))[0] == 201
    status, headers, body = await client("GET", "/v2/charts/a/manifests/1")
    assert (status, body, headers["Docker-Content-Digest"]) == (200, manifest, sha(manifest))
    assert len(store.all()) == 1
    store.collect(grace=0.0)
    assert store.blobs.has(sha(b"chart"))


async def test_lists_come_in_pages(client: Client, store: ImageStore, tmp_path: Path) -> None:
    store.serve_as(("me.io",))
    tags = [f"me.io/app:{tag}" for tag in "abc"]
    await store.load(docker_archive(tmp_path / "a.tar", [*tags, "me.io/zoo:1"], LAYERS[:1]))
    _, headers, body = await client("GET", "/v2/app/tags/list?n=2")
    assert json.loads(body) == {"name": "app", "tags": ["a", "b"]}
    more = headers["Link"].partition(">")[0].removeprefix("<")
    _, headers, body = await client("GET", more)
    assert json.loads(body)["tags"] == ["c"]
    assert "Link" not in headers
    _, _, body = await client("GET", "/v2/_catalog")
    assert json.loads(body) == {"repositories": ["app", "zoo"]}


async def test_deleting_takes_the_tag_or_all_of_a_manifest(
    client: Client, store: ImageStore, tmp_path: Path
) -> None:
    store.serve_as(("me.io",))
    [image] = await store.load(
        docker_archive(tmp_path / "a.tar", ["me.io/app:a", "me.io/app:b"], LAYERS[:1])
    )
    assert (await client("DELETE", "/v2/app/manifests/a"))[0] == 202
    assert (await client("GET", "/v2/app/manifests/a"))[0] == 404
    assert store.find("me.io/app:b") is not None
    digest = store.manifest_of(image.id)
    assert (await client("DELETE", f"/v2/app/manifests/{digest}"))[0] == 202
    assert store.find("me.io/app:b") is None
    assert list(store.blobs.all()) == []


async def test_pages_in_browsers_are_refused(client: Client) -> None:
    for headers in (
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example"},
    ):
        status, _, body = await client("POST", "/v2/a/blobs/uploads/", headers=headers)
        assert (status, code_of(body)) == (403, "DENIED")


# Logins ------------------------------------------------------------------------------------------


async def test_logins_come_from_dockers_configuration_and_its_helpers(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text(
        '#!/bin/sh\nread host\n[ "$host" = gcr.io ] || exit 1\n'
        'echo \'{"Username": "u", "Secret": "s"}\'\n'
    )
    helper.chmod(0o755)
    auth = base64.b64encode(b"me:pw:x").decode()
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "auths": {
                    "https://index.docker.io/v1/": {"auth": auth},
                    "a.io": {"identitytoken": "tok"},
                },
                "credHelpers": {"gcr.io": "mine", "b.io": "mine", "c.io": "../../bin/sh"},
            }
        )
    )
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    os.environ["PATH"], before = env["PATH"], os.environ["PATH"]
    try:
        assert await docker_credentials("docker.io", env) == Credentials("docker.io", "me", "pw:x")
        assert await docker_credentials("a.io", env) == Credentials("a.io", "<token>", "tok")
        assert await docker_credentials("gcr.io", env) == Credentials("gcr.io", "u", "s")
        for host in ("b.io", "c.io", "d.io"):
            assert await docker_credentials(host, env) is None
    finally:
        os.environ["PATH"] = before
