"""The smallest client of a real API server: one request, its status and its JSON."""

from __future__ import annotations

import json
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from kubernetes import client, config

from kindling.cluster.model.api import PatchType

_PLURALS = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Pod": "pods",
    "PodTemplate": "podtemplates",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "StatefulSet": "statefulsets",
}


class RealServer:
    """A namespace on the cluster of KUBECONFIG."""

    def __init__(self, api: client.ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.openapi: dict[str, Any] = self.request("GET", "/openapi/v2")[1]

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        pool = self.api.rest_client.pool_manager
        response = pool.request(
            method,
            self.api.configuration.host + path,
            body=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type, "Accept": "application/json"},
        )
        return response.status, json.loads(response.data)

    def versions(self, obj: dict[str, Any]) -> Generator[dict[str, Any]]:
        """Each version of an object from now on, for half a minute at most."""
        selector = f"fieldSelector=metadata.name%3D{obj['metadata']['name']}"
        response = self.api.rest_client.pool_manager.request(
            "GET",
            f"{self.api.configuration.host}{self.path(obj, name=False)}"
            f"?watch=true&timeoutSeconds=30&{selector}",
            headers={"Accept": "application/json"},
            preload_content=False,
        )
        try:
            rest = b""
            for chunk in response.stream(amt=None):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)["object"]
        finally:
            response.close()

    def path(self, obj: dict[str, Any], *, name: bool = True, subresource: str = "") -> str:
        version = obj["apiVersion"]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        path = f"{root}/namespaces/{self.namespace}/{_PLURALS[obj['kind']]}"
        if name:
            path += f"/{obj['metadata']['name']}"
        return f"{path}/{subresource}" if subresource else path

    def patch(
        self,
        obj: dict[str, Any],
        patch: Any,
        patch_type: PatchType,
        *,
        manager: str = "tester",
        subresource: str = "",
        force: bool = False,
    ) -> tuple[int, Any]:
        path = f"{self.path(obj, subresource=subresource)}?fieldManager={manager}"
        if force:
            path += "&force=true"
        return self.request("PATCH", path, patch, patch_type)

    def create(self, obj: dict[str, Any], manager: str = "creator") -> dict[str, Any]:
        status, made = self.request(
            "POST", f"{self.path(obj, name=False)}?fieldManager={manager}", obj
        )
        assert status == 201, made
        result: dict[str, Any] = made
        return result

    def let_go(self) -> None:
        """Take the finalizers off what is left, or the namespace stays for ever."""
        for path in (
            f"/apis/apps/v1/namespaces/{self.namespace}/deployments",
            f"/api/v1/namespaces/{self.namespace}/configmaps",
        ):
            for obj in self.request("GET", path)[1].get("items", ()):
                if obj["metadata"].get("finalizers"):
                    self.request(
                        "PATCH",
                        f"{path}/{obj['metadata']['name']}",
                        {"metadata": {"finalizers": None}},
                        PatchType.MERGE,
                    )

    def get(self, obj: dict[str, Any]) -> dict[str, Any]:
        status, found = self.request("GET", self.path(obj))
        assert status == 200, found
        result: dict[str, Any] = found
        return result


@contextmanager
def real_server() -> Iterator[RealServer]:
    """A namespace of its own, gone afterwards."""
    api = config.new_client_from_config()  # type: ignore[no-untyped-call]
    namespace = f"patch-{uuid.uuid4().hex[:8]}"
    server = RealServer(api, namespace)
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    assert server.request("POST", "/api/v1/namespaces", body)[0] == 201
    try:
        yield server
    finally:
        server.request("DELETE", f"/api/v1/namespaces/{namespace}")
        server.let_go()
        api.close()
