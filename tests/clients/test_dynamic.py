"""The dynamic client: kinds by name, custom ones too, found when they are asked for."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.packages import dynamic

pytestmark = pytest.mark.cluster
Fresh = Callable[[str], str]
refusals = dynamic.exceptions


@pytest.fixture(scope="module")
def kinds(api: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    cache = tmp_path_factory.mktemp("discovery") / "cache.json"
    return dynamic.DynamicClient(api, cache_file=str(cache))


@pytest.fixture(scope="module")
def lamps(kinds: Any) -> Iterator[Any]:
    """A kind of this module's own, with defaults, a rule, status and scale."""
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    definitions = kinds.resources.get(
        api_version="apiextensions.k8s.io/v1", kind="CustomResourceDefinition"
    )
    spec = {
        "type": "object",
        "required": ["place"],
        "properties": {
            "place": {"type": "string", "minLength": 1},
            "watts": {"type": "integer", "default": 40, "minimum": 1},
            "replicas": {"type": "integer"},
        },
    }
    status = {"type": "object", "properties": {"lit": {"type": "boolean"}}}
    name = f"lamps.{group}"
    definitions.create(
        body={
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "lamps", "singular": "lamp", "kind": "Lamp"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "properties": {"spec": spec, "status": status},
                            }
                        },
                    }
                ],
            },
        }
    )
    try:
        for event in definitions.watch(timeout=30, field_selector=f"metadata.name={name}"):
            # Until its first condition a real server says `conditions: null`.
            conditions = (event["object"].to_dict().get("status") or {}).get("conditions") or []
            if any(i["type"] == "Established" and i["status"] == "True" for i in conditions):
                break
        kinds.resources.invalidate_cache()
        yield kinds.resources.get(api_version=f"{group}/v1", kind="Lamp")
    finally:
        definitions.delete(name=name)


def lamp(lamps: Any, name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": lamps.group_version,
        "kind": "Lamp",
        "metadata": {"name": name},
        "spec": {"place": "hall", **spec},
    }


def test_kinds_are_found_by_any_of_their_names(kinds: Any) -> None:
    for names in ({"kind": "Pod"}, {"name": "pods"}, {"singular_name": "pod"}):
        found = kinds.resources.search(api_version="v1", **names)
        assert "pods" in {item.name for item in found}
    assert kinds.resources.get(api_version="apps/v1", kind="Deployment").namespaced
    with pytest.raises(refusals.ResourceNotFoundError):
        kinds.resources.get(api_version="v1", kind="Nothing")


def test_what_was_discovered_is_read_from_a_file(api: Any, kinds: Any, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    dynamic.DynamicClient(api, cache_file=str(cache))
    again = dynamic.DynamicClient(api, cache_file=str(cache))
    found = again.resources.get(api_version="v1", kind="ConfigMap")
    assert found.path("a", "b") == kinds.resources.get(api_version="v1", kind="ConfigMap").path(
        "a", "b"
    )


def test_a_custom_object_lives_as_others_do(lamps: Any, namespace: str, fresh: Fresh) -> None:
    name = fresh("lamp")
    made = lamps.create(body=lamp(lamps, name), namespace=namespace)
    assert made.spec.to_dict() == {"place": "hall", "watts": 40}
    with pytest.raises(refusals.ConflictError):
        lamps.create(body=lamp(lamps, name), namespace=namespace)
    patched = lamps.patch(
        name=name,
        namespace=namespace,
        body={"spec": {"watts": 60}},
        content_type="application/merge-patch+json",
    )
    assert (patched.spec.watts, patched.metadata.generation) == (60, 2)
    lamps.status.patch(
        name=name,
        namespace=namespace,
        body={"status": {"lit": True}, "spec": {"watts": 1}},
        content_type="application/merge-patch+json",
    )
    read = lamps.get(name=name, namespace=namespace)
    assert (read.spec.watts, read.status.lit, read.metadata.generation) == (60, True, 2)
    lamps.delete(name=name, namespace=namespace)
    with pytest.raises(refusals.NotFoundError):
        lamps.get(name=name, namespace=namespace)


def test_a_schema_refuses_what_it_does_not_allow(lamps: Any, namespace: str, fresh: Fresh) -> None:
    body = lamp(lamps, fresh("lamp"), watts=0)
    del body["spec"]["place"]
    with pytest.raises(refusals.UnprocessibleEntityError) as caught:
        lamps.create(body=body, namespace=namespace)
    assert "spec.place: Required value" in caught.value.summary()
    assert "spec.watts" in caught.value.summary()


def test_a_list_that_is_missing_a_word_is_found_by_watch(
    lamps: Any, namespace: str, fresh: Fresh
) -> None:
    label = fresh("set")
    for number in range(3):
        body = lamp(lamps, f"{label}-{number}")
        body["metadata"]["labels"] = {"set": label}
        lamps.create(body=body, namespace=namespace)
    listed = lamps.get(namespace=namespace, label_selector=f"set={label}")
    assert (listed.kind, len(listed.items)) == ("LampList", 3)
    lamps.delete(namespace=namespace, label_selector=f"set={label}")
    seen = [
        event["type"]
        for event in lamps.watch(
            namespace=namespace,
            label_selector=f"set={label}",
            resource_version=listed.metadata.resourceVersion,
            timeout=1,
        )
    ]
    assert seen == ["DELETED"] * 3


def test_server_side_apply_takes_what_was_applied_before(
    kinds: Any, lamps: Any, namespace: str, fresh: Fresh
) -> None:
    name = fresh("lamp")
    settings = {"field_manager": "tests", "namespace": namespace}
    first = kinds.server_side_apply(lamps, body=lamp(lamps, name, watts=7), **settings)
    assert first.spec.watts == 7
    left = kinds.server_side_apply(lamps, body=lamp(lamps, name), **settings)
    assert left.spec.watts == 40  # the default, since nobody says otherwise any more
