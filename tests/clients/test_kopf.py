"""An operator made with kopf, run in this process: what such programs ask of an API server."""

from __future__ import annotations

import asyncio
import json
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import kopf
import pytest

from tests.clients.packages import ApiException, client, watch

pytestmark = pytest.mark.cluster
FINALIZER = "tests.kindling.dev/finalizer"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """The kind `Plant` under a group of this run's own, in one namespace."""

    api: Any
    group: str
    namespace: str

    @property
    def objects(self) -> Any:
        return client.CustomObjectsApi(self.api)

    @property
    def where(self) -> tuple[str, str, str, str]:
        return (self.group, "v1", self.namespace, "plants")

    def make(self, name: str, **spec: Any) -> Any:
        body = {
            "apiVersion": f"{self.group}/v1",
            "kind": "Plant",
            "metadata": {"name": name},
            "spec": spec,
        }
        return self.objects.create_namespaced_custom_object(*self.where, body)

    def change(self, name: str, **spec: Any) -> Any:
        return self.objects.patch_namespaced_custom_object(
            *self.where, name, {"spec": spec}, _content_type=MERGE
        )

    def delete(self, name: str) -> None:
        self.objects.delete_namespaced_custom_object(*self.where, name)

    def read(self, name: str) -> Any:
        return self.objects.get_namespaced_custom_object(*self.where, name)

    def names(self) -> set[str]:
        listed = self.objects.list_namespaced_custom_object(*self.where)
        return {item["metadata"]["name"] for item in listed["items"]}

    def until(self, holds: Callable[[dict[str, Any]], bool], seconds: int = 45) -> dict[str, Any]:
        """All objects by name, as soon as `holds` is true of them."""
        listed = self.objects.list_namespaced_custom_object(*self.where)
        found = {item["metadata"]["name"]: item for item in listed["items"]}
        if holds(found):
            return found
        watcher = watch.Watch()
        for event in watcher.stream(
            self.objects.list_namespaced_custom_object,
            *self.where,
            resource_version=listed["metadata"]["resourceVersion"],
            timeout_seconds=seconds,
        ):
            item = event["object"]
            name = item["metadata"]["name"]
            if event["type"] == "DELETED":
                found.pop(name, None)
            else:
                found[name] = item
            if holds(found):
                watcher.stop()
                return found
        raise AssertionError(f"the plants stayed as they were: {found}")


@dataclass(slots=True)
class Told:
    """What an operator was told of each object."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)


@pytest.fixture(scope="module")
def plants(api: Any, namespace: str) -> Iterator[Kind]:
    group = f"k{uuid.uuid4().hex[:8]}.example.com"
    definitions = client.ApiextensionsV1Api(api)
    name = f"plants.{group}"
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "height": {"type": "integer", "minimum": 0},
                    "colour": {"type": "string", "default": "green"},
                },
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    definitions.create_custom_resource_definition(
        {
            "metadata": {"name": name},
            "spec": {
                "group": group,
                "scope": "Namespaced",
                "names": {"plural": "plants", "singular": "plant", "kind": "Plant"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "subresources": {"status": {}},
                        "schema": {"openAPIV3Schema": schema},
                        "additionalPrinterColumns": [
                            {"name": "Height", "type": "integer", "jsonPath": ".spec.height"},
                            {"name": "Grown", "type": "integer", "jsonPath": ".status.grown"},
                        ],
                    }
                ],
            },
        }
    )
    watcher = watch.Watch()
    for event in watcher.stream(
        definitions.list_custom_resource_definition,
        field_selector=f"metadata.name={name}",
        timeout_seconds=30,
    ):
        conditions = getattr(event["object"].status, "conditions", None) or []
        if any(item.type == "Established" and item.status == "True" for item in conditions):
            watcher.stop()
    yield Kind(api, group, namespace)
    definitions.delete_custom_resource_definition(name)


def make_registry(plants: Kind, told: Told) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    where: Any = (plants.group, "v1", "plants")

    def login(**settings: Any) -> Any:
        return kopf.login_with_kubeconfig(**settings)

    def grow(name: str, spec: Any, patch: Any, body: Any, reason: Any, **_: Any) -> None:
        told.calls[str(reason), name] += 1
        patch.status["grown"] = spec.get("height", 0)
        patch.status["colour"] = spec["colour"]
        kopf.info(body, reason="Grown", message=f"{name} has grown")

    def resume(name: str, **_: Any) -> None:
        told.calls["resume", name] += 1

    def wither(name: str, **_: Any) -> None:
        told.calls["delete", name] += 1

    def tick(name: str, patch: Any, status: Any, **_: Any) -> None:
        told.calls["tick", name] += 1
        if status.get("ticks", 0) < 2:
            patch.status["ticks"] = status.get("ticks", 0) + 1

    kopf.on.login(registry=registry)(login)
    kopf.on.create(*where, registry=registry)(grow)
    kopf.on.update(*where, field="spec", registry=registry)(grow)
    kopf.on.resume(*where, registry=registry)(resume)
    kopf.on.delete(*where, registry=registry)(wither)
    kopf.timer(*where, interval=0.5, labels={"ticks": "yes"}, registry=registry)(tick)
    return registry


@contextmanager
def operating(plants: Kind, told: Told) -> Iterator[None]:
    """The operator in a thread and an event loop of its own."""
    ready, stop = threading.Event(), threading.Event()
    failed: list[BaseException] = []
    settings = kopf.OperatorSettings()
    settings.persistence.finalizer = FINALIZER
    settings.posting.enabled = True
    settings.watching.server_timeout = 30
    settings.scanning.disabled = True

    def run() -> None:
        try:
            asyncio.run(
                kopf.operator(
                    registry=make_registry(plants, told),
                    settings=settings,
                    namespaces=[plants.namespace],
                    standalone=True,
                    ready_flag=ready,
                    stop_flag=stop,
                )
            )
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, name="operator")
    thread.start()
    try:
        assert ready.wait(20)
        assert not failed
        yield
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert not failed


def has_grown(item: Any) -> bool:
    grown = item.get("status", {}).get("grown")
    return grown is not None and grown == item["spec"].get("height", 0)


def columns(plants: Kind, name: str) -> dict[str, Any]:
    """The cells that `kubectl get` prints of one object."""
    path = f"/apis/{plants.group}/v1/namespaces/{plants.namespace}/plants/{name}"
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = raw(plants.api, path, accept)
    (row,) = table["rows"]
    titles = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(titles, row["cells"], strict=True))


def raw(api: Any, path: str, accept: str) -> Any:
    settings = api.configuration
    headers = {"Accept": accept}
    token = settings.get_api_key_with_prefix("authorization")
    if token:
        headers["Authorization"] = token
    answer = api.rest_client.pool_manager.request("GET", settings.host + path, headers=headers)
    assert answer.status == 200
    return json.loads(answer.data)


def test_an_operator_tends_its_objects_from_birth_to_death(plants: Kind, core: Any) -> None:
    told = Told()
    with operating(plants, told):
        plants.make("rose", height=3)
        rose = plants.until(lambda all_: has_grown(all_.get("rose", {"spec": {}})))["rose"]
        assert rose["metadata"]["finalizers"] == [FINALIZER]
        assert rose["spec"] == {"height": 3, "colour": "green"}
        assert (rose["status"]["grown"], rose["status"]["colour"]) == (3, "green")
        assert rose["metadata"]["generation"] == 1  # neither status nor finalizer is a change
        assert columns(plants, "rose") == {"Name": "rose", "Height": 3, "Grown": 3}
        plants.change("rose", height=5)
        plants.until(lambda all_: all_["rose"]["status"].get("grown") == 5)
        plants.delete("rose")
        plants.until(lambda all_: "rose" not in all_)
        _event(core, plants.namespace, "rose has grown")
    assert told.calls["create", "rose"] == 1
    assert told.calls["update", "rose"] == 1
    assert told.calls["delete", "rose"] == 1


def test_an_operator_that_comes_back_resumes_and_finishes(plants: Kind) -> None:
    told = Told()
    with operating(plants, told):
        for name in ("oak", "elm"):
            plants.make(name, height=1)
        plants.until(lambda all_: all(has_grown(all_[name]) for name in ("oak", "elm")))
    # Nobody is there: a deletion waits for the finalizer, a change for whoever reads it.
    plants.delete("oak")
    assert plants.read("oak")["metadata"]["deletionTimestamp"]
    plants.change("elm", height=9)
    assert plants.read("elm")["status"]["grown"] == 1
    again = Told()
    with operating(plants, again):
        plants.until(lambda all_: "oak" not in all_ and all_["elm"]["status"]["grown"] == 9)
        plants.delete("elm")
        plants.until(lambda all_: "elm" not in all_)
    assert again.calls["delete", "oak"] == 1
    assert again.calls["resume", "elm"] == 1
    assert again.calls["update", "elm"] == 1
    assert again.calls["create", "elm"] == 0


def test_a_timer_writes_status_again_and_again(plants: Kind) -> None:
    told = Told()
    with operating(plants, told):
        body = {
            "apiVersion": f"{plants.group}/v1",
            "kind": "Plant",
            "metadata": {"name": "clock", "labels": {"ticks": "yes"}},
            "spec": {},
        }
        plants.objects.create_namespaced_custom_object(*plants.where, body)
        plants.until(lambda all_: all_.get("clock", {}).get("status", {}).get("ticks") == 2)
        plants.delete("clock")
        plants.until(lambda all_: "clock" not in all_)
    assert told.calls["tick", "clock"] >= 2


def test_a_storm_of_twenty_objects_ends_in_the_right_state(plants: Kind) -> None:
    told = Told()
    names = [f"storm-{number:02}" for number in range(20)]
    with operating(plants, told):
        for name in names:
            plants.make(name, height=1)
        for height in range(2, 6):
            for name in names:
                plants.change(name, height=height)
        for name in names[::2]:
            plants.delete(name)
        kept = set(names[1::2])
        left = plants.until(
            lambda all_: (
                set(all_) == kept
                and all(item.get("status", {}).get("grown") == 5 for item in all_.values())
            )
        )
        assert {item["metadata"]["generation"] for item in left.values()} == {5}
        for name in kept:
            plants.delete(name)
        plants.until(lambda all_: not all_)
    for name in kept:
        assert told.calls["delete", name] == 1


def test_the_schema_guards_what_the_operator_reads(plants: Kind) -> None:
    with pytest.raises(ApiException) as caught:
        plants.make("bad", height=-1)
    assert caught.value.status == 422
    made = plants.make("pruned", height=1, unknown={"a": 1})
    assert made["spec"] == {"height": 1, "colour": "green"}
    plants.delete("pruned")
    assert "pruned" not in plants.names()


def _event(core: Any, namespace: str, message: str) -> None:
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_event, namespace, timeout_seconds=20):
        if event["object"].message == message:
            watcher.stop()
            assert event["object"].reason == "Grown"
            assert event["object"].involved_object.kind == "Plant"
            return
    raise AssertionError("the event was not posted")
