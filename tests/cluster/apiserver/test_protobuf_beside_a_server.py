"""What a real server sends as protobuf is, decoded by us, what it sends as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from kindling.cluster.apiserver.wire.protobuf import decode_protobuf

pytestmark = pytest.mark.cluster

PATHS = (
    "/api/v1/nodes",
    "/api/v1/pods",
    "/api/v1/services",
    "/api/v1/endpoints",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/events",
    "/api/v1/namespaces",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/controllerrevisions",
    "/apis/batch/v1/jobs",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
)


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    with config.new_client_from_config() as found:  # type: ignore[no-untyped-call]
        yield found


def get(api: client.ApiClient, path: str, accept: str) -> bytes:
    pool = api.rest_client.pool_manager
    answer = pool.request("GET", api.configuration.host + path, headers={"accept": accept})
    assert answer.status == 200, answer.data
    data = answer.data
    assert isinstance(data, bytes)
    return data


def without_nothing(value: Any) -> Any:
    """A value without what both forms may leave out: nulls, and what is empty or zero."""
    if isinstance(value, dict):
        kept = {key: without_nothing(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ({}, [], "", 0, False, None)}
    if isinstance(value, list):
        return [without_nothing(item) for item in value]
    return value


@pytest.mark.parametrize("path", PATHS)
def test_protobuf_and_json_say_the_same(api: client.ApiClient, path: str) -> None:
    items = json.loads(get(api, path, "application/json"))["items"]
    if not items:
        pytest.skip(f"the cluster has nothing at {path}")
    for item in items[:8]:
        meta = item["metadata"]
        head, _, plural = path.rpartition("/")
        place = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
        one = f"{head}{place}/{plural}/{meta['name']}"
        as_json: dict[str, Any] = {}
        decoded: dict[str, Any] = {}
        for _ in range(5):
            # Until both are of the same version: some of it changes all the time.
            as_json = json.loads(get(api, one, "application/json"))
            decoded = decode_protobuf(get(api, one, "application/vnd.kubernetes.protobuf"))
            versions = [side["metadata"]["resourceVersion"] for side in (as_json, decoded)]
            if versions[0] == versions[1]:
                break
        assert without_nothing(decoded) == without_nothing(as_json)
        # Quantities, replicas and the like stay what they are when they are zero.
        if "replicas" in as_json.get("spec", {}):
            assert decoded["spec"]["replicas"] == as_json["spec"]["replicas"]
