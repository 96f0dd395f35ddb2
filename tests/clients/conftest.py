"""The cluster of KUBECONFIG as the packages of others see it, with a namespace for each module.

The suite runs on the embedded cluster and on a real one. What only ours can show (a real one would
need a newer version, or rights of its own) asks for `embedded`, and is skipped by name elsewhere.
"""

from __future__ import annotations

import gc
import os
import shlex
import subprocess
import uuid
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.clients.packages import client, config, watch
from tests.clients.pods import Pods


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The package leaves sockets to the collector: after an error, a stop, a forwarded port."""
    for item in items:
        if "clients" in item.path.parts:
            for warning in ("ResourceWarning", "pytest.PytestUnraisableExceptionWarning"):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{warning}"))


@pytest.fixture(scope="module", autouse=True)
def _left_sockets() -> Iterator[None]:
    """Collected here, where their warnings are ignored, and not in the midst of a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    """An API client for KUBECONFIG; also the default of classes that take none."""
    settings: Any = client.Configuration()
    config.load_kube_config(config_file=os.environ["KUBECONFIG"], client_configuration=settings)
    client.Configuration.set_default(settings)
    found: Any = client.ApiClient(settings)
    yield found
    found.rest_client.pool_manager.clear()
    client.Configuration.set_default(None)


@pytest.fixture(scope="module")
def core(api: Any) -> Any:
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def namespace(core: Any) -> Iterator[str]:
    """A namespace of its own, whose default service account is there."""
    name = f"clients-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    try:
        watcher = watch.Watch()
        for event in watcher.stream(core.list_namespaced_service_account, name, timeout_seconds=30):
            if event["object"].metadata.name == "default":
                watcher.stop()
        yield name
    finally:
        core.delete_namespace(name)


@pytest.fixture(scope="module")
def is_embedded(api: Any) -> bool:
    return "kindling" in client.VersionApi(api).get_code().git_version


@pytest.fixture
def embedded(is_embedded: bool) -> None:
    if not is_embedded:
        pytest.skip("only the embedded cluster shows this")


@pytest.fixture(scope="module")
def pods(core: Any, namespace: str) -> Pods:
    return Pods(core, namespace)


@pytest.fixture(scope="module")
def python_image(is_embedded: bool) -> str:
    """An image that has Python: ours needs none that someone must fetch."""
    if is_embedded:
        return "kindling.dev/host"
    image = "python:3.12-slim"
    command = shlex.split(os.environ.get("KINDLING_LOAD_COMMAND", ""))
    if command:
        subprocess.run([*command, image], check=True, stdout=subprocess.DEVNULL)
    return image


@pytest.fixture
def fresh() -> Callable[[str], str]:
    """Names that no other test of the module uses."""
    return lambda stem: f"{stem}-{uuid.uuid4().hex[:6]}"
