"""Watches of the `kubernetes` package: begun, taken up again, ended, too old."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.packages import ApiException, informer, watch

pytestmark = pytest.mark.cluster
Fresh = Callable[[str], str]


def make(core: Any, namespace: str, name: str, label: str = "") -> Any:
    labels = {"set": label} if label else {}
    return core.create_namespaced_config_map(
        namespace, {"metadata": {"name": name, "labels": labels}, "data": {"n": "0"}}
    )


def test_a_watch_without_a_version_begins_with_what_is_there(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    label = fresh("set")
    for number in range(3):
        make(core, namespace, f"{label}-{number}", label)
    watcher = watch.Watch()
    seen = [
        (event["type"], event["object"].metadata.name)
        for event in watcher.stream(
            core.list_namespaced_config_map,
            namespace,
            label_selector=f"set={label}",
            timeout_seconds=1,
        )
    ]
    assert sorted(seen) == [("ADDED", f"{label}-{number}") for number in range(3)]


def test_a_watch_goes_on_from_where_it_was(core: Any, namespace: str, fresh: Fresh) -> None:
    label = fresh("set")
    page = core.list_namespaced_config_map(namespace, label_selector=f"set={label}")
    watcher = watch.Watch()
    settings = {"label_selector": f"set={label}", "timeout_seconds": 20}
    make(core, namespace, label, label)
    for event in watcher.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=page.metadata.resource_version,
        **settings,
    ):
        assert event["type"] == "ADDED"
        watcher.stop()
    core.patch_namespaced_config_map(label, namespace, {"data": {"n": "1"}})
    core.patch_namespaced_config_map(label, namespace, {"metadata": {"labels": None}})
    seen = []
    for event in watcher.stream(
        core.list_namespaced_config_map,
        namespace,
        resource_version=watcher.resource_version,
        **settings,
    ):
        seen.append((event["type"], event["object"].data["n"]))
        if event["type"] == "DELETED":
            watcher.stop()
    # One that matches the selector no more has gone, as far as this watcher is concerned.
    assert seen == [("MODIFIED", "1"), ("DELETED", "1")]


def test_a_watch_ends_when_its_time_is_up(core: Any, namespace: str) -> None:
    began = time.monotonic()
    watcher = watch.Watch()
    for _event in watcher.stream(
        core.list_namespaced_config_map, namespace, timeout_seconds=2, label_selector="set=none"
    ):
        pytest.fail("there is nothing to tell")
    assert 1.5 < time.monotonic() - began < 6


def test_a_client_that_stops_waiting_can_watch_again(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    label = fresh("set")
    make(core, namespace, label, label)
    watcher = watch.Watch()
    for _ in range(5):
        for event in watcher.stream(
            core.list_namespaced_config_map, namespace, label_selector=f"set={label}"
        ):
            assert event["object"].metadata.name == label
            watcher.stop()


def first_event(core: Any, namespace: str, version: str) -> Any:
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=5
    ):
        watcher.stop()
        return event
    raise AssertionError("there was none")


def test_a_version_that_is_too_old_is_gone(core: Any, namespace: str) -> None:
    known: Any = None
    try:
        first_event(core, namespace, "1")
    except ApiException as error:
        known = error
    if known is None:
        pytest.skip("this cluster is so new that it knows its first change")
    assert known.status == 410
    assert "too old resource version" in str(known.reason)


def test_a_version_that_is_no_number_is_refused(core: Any, namespace: str) -> None:
    with pytest.raises(ApiException) as caught:
        first_event(core, namespace, "x")
    assert caught.value.status in (400, 500)  # 500 from servers that took it for their own fault
    assert 'parsing \\"x\\": invalid syntax' in str(caught.value.body)


def test_a_watch_of_one_object_by_field_sees_no_other(
    core: Any, namespace: str, fresh: Fresh
) -> None:
    name, other = fresh("one"), fresh("other")
    version = core.list_namespaced_config_map(namespace).metadata.resource_version
    make(core, namespace, other)
    make(core, namespace, name)
    core.delete_namespaced_config_map(name, namespace)
    watcher = watch.Watch()
    seen = []
    for event in watcher.stream(
        core.list_namespaced_config_map,
        namespace,
        field_selector=f"metadata.name={name}",
        resource_version=version,
        timeout_seconds=20,
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()
    assert seen == [("ADDED", name), ("DELETED", name)]


def test_an_informer_has_what_the_cluster_has(core: Any, namespace: str, fresh: Fresh) -> None:
    label = fresh("set")
    make(core, namespace, f"{label}-before", label)
    keeper = informer.SharedInformer(
        core.list_namespaced_config_map, namespace=namespace, label_selector=f"set={label}"
    )
    changed = threading.Event()
    told: list[tuple[str, str]] = []

    def tell(kind: str) -> Callable[[Any], None]:
        def add(item: Any) -> None:
            told.append((kind, item.metadata.name))
            changed.set()

        return add

    for kind in ("ADDED", "MODIFIED", "DELETED"):
        keeper.add_event_handler(kind, tell(kind))
    keeper.start()
    try:
        _await(changed, lambda: len(keeper.cache.list()) == 1)
        make(core, namespace, f"{label}-after", label)
        _await(changed, lambda: len(keeper.cache.list()) == 2)
        core.delete_namespaced_config_map(f"{label}-before", namespace)
        _await(changed, lambda: ("DELETED", f"{label}-before") in told)
        assert [item.metadata.name for item in keeper.cache.list()] == [f"{label}-after"]
    finally:
        keeper.stop()


def _await(changed: threading.Event, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert changed.wait(until - time.monotonic()), "nothing more was told"
        changed.clear()
