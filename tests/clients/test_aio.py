"""The asyncio clients, `kubernetes.aio` and `kubernetes_asyncio`: verbs, watches, commands."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.clients.pods import Pods

pytestmark = pytest.mark.cluster
Fresh = Callable[[str], str]


class Package:
    """One of the packages; they have the same parts."""

    def __init__(self, name: str) -> None:
        self.client: Any = importlib.import_module(f"{name}.client")
        self.config: Any = importlib.import_module(f"{name}.config")
        self.stream: Any = importlib.import_module(f"{name}.stream")
        self.watch: Any = importlib.import_module(f"{name}.watch")
        self.dynamic: Any = importlib.import_module(f"{name}.dynamic")
        self.settings: Any = None


@pytest.fixture(params=["kubernetes.aio", "kubernetes_asyncio"])
async def package(request: pytest.FixtureRequest) -> Package:
    found = Package(request.param)
    found.settings = found.client.Configuration()
    await found.config.load_kube_config(
        config_file=os.environ["KUBECONFIG"], client_configuration=found.settings
    )
    return found


@pytest.fixture
async def connected(package: Package) -> AsyncIterator[Any]:
    async with package.client.ApiClient(package.settings) as found:
        yield package.client.CoreV1Api(found)


@pytest.fixture(scope="module")
def shell(pods: Pods) -> str:
    pods.make("shell", "busybox:1.36", ["sleep", "600"])
    pods.running("shell")
    return "shell"


async def test_objects_live_and_are_watched(
    package: Package, connected: Any, namespace: str, fresh: Fresh
) -> None:
    name = fresh("map")
    listed = await connected.list_namespaced_config_map(namespace)
    seen: list[tuple[str, str]] = []

    async def see() -> None:
        watcher = package.watch.Watch()
        async for event in watcher.stream(
            connected.list_namespaced_config_map,
            namespace,
            resource_version=listed.metadata.resource_version,
            field_selector=f"metadata.name={name}",
        ):
            seen.append((event["type"], (event["object"].data or {}).get("n", "")))
            if event["type"] == "DELETED":
                break
        await watcher.close()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(see(), name="watch")
        await connected.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
        patched = await connected.patch_namespaced_config_map(name, namespace, {"data": {"n": "1"}})
        assert patched.data == {"n": "1"}
        await connected.delete_namespaced_config_map(name, namespace)
    assert seen == [("ADDED", ""), ("MODIFIED", "1"), ("DELETED", "1")]


async def test_a_watch_ends_when_its_time_is_up(
    package: Package, connected: Any, namespace: str
) -> None:
    watcher = package.watch.Watch()
    async with asyncio.timeout(10):
        seen = [
            event
            async for event in watcher.stream(
                connected.list_namespaced_config_map,
                namespace,
                label_selector="set=none",
                timeout_seconds=1,
            )
        ]
    assert seen == []
    await watcher.close()


async def test_fifty_requests_at_once_are_all_answered(connected: Any, namespace: str) -> None:
    names = [f"storm-{number:02}" for number in range(50)]
    async with asyncio.timeout(30):
        await asyncio.gather(
            *(
                connected.create_namespaced_config_map(namespace, {"metadata": {"name": name}})
                for name in names
            )
        )
        listed = await connected.list_namespaced_config_map(namespace, limit=500)
        assert set(names) <= {item.metadata.name for item in listed.items}
        await asyncio.gather(
            *(connected.delete_namespaced_config_map(name, namespace) for name in names)
        )


async def test_a_commands_output_comes_back_as_text(
    package: Package, namespace: str, shell: str
) -> None:
    async with package.stream.WsApiClient(package.settings) as api:
        text = await package.client.CoreV1Api(api).connect_get_namespaced_pod_exec(
            shell,
            namespace,
            command=["sh", "-c", "echo out; echo err >&2"],
            stdin=False,
            stdout=True,
            stderr=True,
            tty=False,
        )
    assert sorted(str(text).split()) == ["err", "out"]


async def test_a_commands_streams_and_its_code(
    package: Package, namespace: str, shell: str
) -> None:
    async with package.stream.WsApiClient(package.settings) as api:
        core = package.client.CoreV1Api(api)
        name = "connect_get_namespaced_pod_exec"
        settings: dict[str, Any] = {"stdin": True, "stdout": True, "stderr": True, "tty": False}
        unread = getattr(core, f"{name}_without_preload_content", None)
        if unread is None:
            unread = getattr(core, name)
            settings["_preload_content"] = False
        script = 'read a; echo "got $a"; exit 3'
        opened = await unread(shell, namespace, command=["sh", "-c", script], **settings)
        channels: dict[int, bytes] = {}
        async with asyncio.timeout(20), opened as socket:
            await socket.send_bytes(b"\x00word\n")
            async for message in socket:
                channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    assert channels[1] == b"got word\n"
    assert package.stream.WsApiClient.parse_error_data(channels[3]) == 3
    assert json.loads(channels[3])["reason"] == "NonZeroExitCode"


async def test_the_dynamic_client_finds_kinds(
    package: Package, namespace: str, fresh: Fresh
) -> None:
    async with package.client.ApiClient(package.settings) as api:
        kinds = await package.dynamic.DynamicClient(api)
        maps = await kinds.resources.get(api_version="v1", kind="ConfigMap")
        name = fresh("map")
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        made = await maps.create(body=body, namespace=namespace)
        assert made.metadata.name == name
        await maps.delete(name=name, namespace=namespace)
