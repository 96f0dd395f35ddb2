"""Lists: in order, in pages of one moment, by selection."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.cluster.model.api import Obj, Selection
from kindling.cluster.model.resource import builtin
from kindling.cluster.model.status import ApiError
from kindling.cluster.registry.history import History
from tests.cluster.registry.bench import CONFIG_MAPS, PODS, Bench


def names(items: tuple[Obj, ...] | list[Obj]) -> list[str]:
    return [f"{obj['metadata']['namespace']}/{obj['metadata']['name']}" for obj in items]


async def test_objects_come_in_the_order_of_namespace_and_name(bench: Bench) -> None:
    for namespace, name in [("b", "a"), ("a", "b"), ("a-b", "x"), ("a", "a")]:
        await bench.create(CONFIG_MAPS, name, namespace)
    assert names(bench.api.select(CONFIG_MAPS)) == ["a/a", "a/b", "a-b/x", "b/a"]
    assert names(bench.api.select(CONFIG_MAPS, Selection("a"))) == ["a/a", "a/b"]
    listing = bench.api.list(CONFIG_MAPS)
    assert names(listing.items) == ["a/a", "a/b", "a-b/x", "b/a"]
    assert (listing.resource_version, listing.proceed) == ("4", "")


async def test_pages_show_one_moment_whatever_happens_meanwhile(bench: Bench) -> None:
    for name in "abcdef":
        await bench.create(CONFIG_MAPS, name, data={"v": "1"})
    page = bench.api.list(CONFIG_MAPS, limit=2)
    assert (names(page.items), page.remaining) == (["default/a", "default/b"], 4)
    await bench.delete(CONFIG_MAPS, "c")
    await bench.create(CONFIG_MAPS, "c2")
    await bench.put(CONFIG_MAPS, bench.the(CONFIG_MAPS, "d"), data={"v": "2"})
    rest = bench.api.list(CONFIG_MAPS, proceed=page.proceed)
    assert names(rest.items) == [f"default/{name}" for name in "cdef"]
    assert rest.items[1]["data"] == {"v": "1"}
    assert rest.resource_version == page.resource_version
    assert rest.proceed == ""


async def test_pages_still_fit_after_a_restart(bench: Bench) -> None:
    for name in "abc":
        await bench.create(CONFIG_MAPS, name)
    page = bench.api.list(CONFIG_MAPS, limit=1)
    await bench.delete(CONFIG_MAPS, "b")
    await bench.reopen()
    rest = bench.api.list(CONFIG_MAPS, proceed=page.proceed)
    assert names(rest.items) == ["default/b", "default/c"]


async def test_a_token_that_is_too_old_says_start_again(bench: Bench) -> None:
    for name in "abc":
        await bench.create(CONFIG_MAPS, name)
    page = bench.api.list(CONFIG_MAPS, limit=1)
    memory = bench.api._memory
    memory.history = History(memory.revision + 1)
    await bench.create(CONFIG_MAPS, "d")
    with pytest.raises(ApiError) as caught:
        bench.api.list(CONFIG_MAPS, proceed=page.proceed)
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert caught.value.message.startswith("The provided continue parameter is too old")


async def test_an_exact_version_is_that_moment(bench: Bench) -> None:
    made = await bench.create(CONFIG_MAPS, "a")
    await bench.create(CONFIG_MAPS, "b")
    version = made["metadata"]["resourceVersion"]
    then = bench.api.list(CONFIG_MAPS, resource_version=version, match="Exact")
    assert (names(then.items), then.resource_version) == (["default/a"], version)
    now = bench.api.list(CONFIG_MAPS, resource_version=version, match="NotOlderThan")
    assert len(now.items) == 2
    assert len(bench.api.list(CONFIG_MAPS, resource_version="0").items) == 2


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        ({"match": "Exact"}, 422, "resourceVersionMatch is forbidden unless resourceVersion is"),
        ({"match": "X", "resource_version": "1"}, 422, 'Unsupported value: "X"'),
        ({"match": "Exact", "resource_version": "0"}, 422, 'forbidden for resourceVersion "0"'),
        ({"resource_version": "99"}, 504, "Too large resource version: 99, current: 0"),
        ({"resource_version": "x"}, 400, "invalid syntax"),
        ({"proceed": "nonsense"}, 400, "continue key is not valid"),
        ({"proceed": "e30"}, 400, "continue key is not valid"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    bench: Bench, asked: dict[str, Any], code: int, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        bench.api.list(CONFIG_MAPS, **asked)
    assert caught.value.code == code
    assert message in caught.value.message


async def test_labels_and_fields_choose(bench: Bench) -> None:
    await bench.create(PODS, "a", spec={"nodeName": "n1"}, meta={"labels": {"app": "x"}})
    await bench.create(PODS, "b", spec={"nodeName": "n2"}, meta={"labels": {"app": "y"}})
    await bench.create(PODS, "c", spec={}, meta={"labels": {"app": "y"}})

    def chosen(labels: str = "", fields: str = "") -> str:
        found = bench.api.list(PODS, Selection(labels=labels, fields=fields))
        return "".join(obj["metadata"]["name"] for obj in found.items)

    assert chosen("app in (x,y)") == "abc"
    assert chosen("app!=x") == "bc"
    assert chosen(fields="spec.nodeName=") == "c"
    assert chosen(fields="spec.nodeName!=n1,status.phase=Pending") == "bc"
    assert chosen(fields="metadata.name=b") == "b"
    assert chosen("app=y", "metadata.name!=b") == "c"


async def test_a_page_of_a_selection_does_not_say_how_many_are_left(bench: Bench) -> None:
    for name in "abc":
        await bench.create(CONFIG_MAPS, name, meta={"labels": {"x": "1"}})
    page = bench.api.list(CONFIG_MAPS, Selection(labels="x"), limit=2)
    assert (len(page.items), page.remaining, bool(page.proceed)) == (2, None, True)


async def test_fields_that_a_kind_does_not_offer_are_refused(bench: Bench) -> None:
    with pytest.raises(ApiError, match=r"^field label not supported: spec\.x$"):
        bench.api.list(PODS, Selection(fields="spec.x=1"))
    with pytest.raises(ApiError) as caught:
        bench.api.list(CONFIG_MAPS, Selection(fields="status.phase=1"))
    assert caught.value.message == (
        '"status.phase" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )


async def test_events_are_chosen_by_what_they_are_about(bench: Bench) -> None:
    events = builtin("events")
    about = {"kind": "Pod", "name": "web", "uid": "u1"}
    await bench.create(events, "a", involvedObject=about, reason="Started", type="Normal")
    await bench.create(events, "b", involvedObject=about | {"name": "db"}, reason="Failed")
    fields = "involvedObject.name=web,involvedObject.kind=Pod,reason=Started,type=Normal"
    found = bench.api.list(events, Selection(fields=fields))
    assert names(found.items) == ["default/a"]
    newer = builtin("events", "events.k8s.io")
    assert len(bench.api.list(newer, Selection(fields="regarding.name=db")).items) == 1
