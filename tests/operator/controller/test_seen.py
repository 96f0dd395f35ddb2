"""What watches have told stands in for asking, and is never older than what was written."""

from __future__ import annotations

from kindling.graph.spec import ObjectRef
from kindling.kube.protocol import Object
from kindling.operator.controller.queue import Key
from kindling.operator.controller.reading import CLASSES, PODS, SORTS
from kindling.operator.controller.seen import Seen, keys_of
from kindling.testing.cluster import FakeCluster

SERVICE = ("v1", "Service")
SECRET = ("v1", "Secret")
ENVIRONMENT = SORTS["DevStagingEnvironment"]
OWNER = {
    "apiVersion": "apps.example.com/v1alpha1",
    "kind": "DevStagingEnvironment",
    "name": "shop",
    "uid": "u",
    "controller": True,
}


def _object(
    kind: str = "Service", name: str = "a", version: int = 1, owned: bool = True, **more: object
) -> Object:
    head = {
        "name": name,
        "namespace": "default",
        "uid": f"{kind}-{name}",
        "resourceVersion": str(version),
        "managedFields": [{"manager": "x"}],
        **({"ownerReferences": [OWNER]} if owned else {}),
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": head, **more}


def _ref(kind: str = "Service", name: str = "a") -> ObjectRef:
    return ObjectRef("v1", kind, name, "default")


def _seen() -> Seen:
    return Seen(FakeCluster(), (SERVICE, SECRET, PODS, CLASSES))


async def test_an_older_word_than_what_was_written_is_no_news() -> None:
    seen = _seen()
    seen.wrote(_object(version=10, spec=1))
    assert not seen.tell(_object(version=9, spec=0))
    assert not seen.tell(_object(version=10, spec=1))
    found = await seen.find(_ref())
    assert found is not None
    assert found["spec"] == 1
    assert "managedFields" not in found["metadata"]
    assert seen.tell(_object(version=100, spec=2))


async def test_a_list_takes_away_what_it_has_not_but_for_what_came_later() -> None:
    seen = _seen()
    for name, version in (("gone", 3), ("stays", 4), ("later", 20)):
        seen.tell(_object(name=name, version=version))
    news = seen.listed(SERVICE, [_object(name="stays", version=4), _object(name="new")], "10")
    assert sorted(one["metadata"]["name"] for one in news) == ["gone", "new"]
    left = await seen.owned(ENVIRONMENT, "default", "u")
    assert sorted(one["metadata"]["name"] for one in left) == ["later", "new", "stays"]
    assert await seen.find(_ref(name="gone")) is None


async def test_a_namesake_that_was_made_since_is_not_taken_away() -> None:
    seen = _seen()
    seen.tell(_object(version=1))
    fresh = _object(version=5)
    seen.tell({**fresh, "metadata": {**fresh["metadata"], "uid": "another"}})
    seen.gone(_object(version=1))
    seen.deleted(_ref(), "Service-a")
    assert await seen.find(_ref()) is not None
    seen.deleted(_ref(), "another")
    assert await seen.find(_ref()) is None


async def test_an_answer_that_comes_after_the_end_of_its_object_brings_nothing_back() -> None:
    seen = _seen()
    seen.gone(_object(version=7))
    seen.wrote(_object(version=6))
    assert await seen.find(_ref()) is None
    seen.tell(_object(name="b", version=7))
    seen.listed(SERVICE, [], "8")
    seen.wrote(_object(name="b", version=7))
    assert await seen.find(_ref(name="b")) is None


async def test_an_owner_is_lost_with_its_reference() -> None:
    seen = _seen()
    seen.tell(_object(version=1))
    seen.tell(_object(version=2, owned=False))
    assert await seen.owned(ENVIRONMENT, "default", "u") == ()
    assert await seen.find(_ref()) is not None


async def test_secrets_of_others_are_not_kept_but_asked_for() -> None:
    cluster = FakeCluster()
    seen = Seen(cluster, (SECRET,))
    live = cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "a", "namespace": "default"},
            "data": {"k": "dg=="},
        }
    )
    seen.tell(live)
    assert "dg==" not in repr(vars(seen)["_objects"])
    found = await seen.find(_ref("Secret"))
    assert found is not None
    assert found["data"] == {"k": "dg=="}
    cluster.remove(_ref("Secret"))
    assert await seen.find(_ref("Secret")) is None
    seen.tell(_object("Secret", "ours", data={"k": "dg=="}))
    found = await seen.find(_ref("Secret", "ours"))
    assert found is not None
    assert found["data"] == {"k": "dg=="}


async def test_pods_are_found_by_what_they_belong_to() -> None:
    seen = _seen()
    for name, labels in (
        ("app", {"app.kubernetes.io/instance": "shop"}),
        ("dep", {"app.kubernetes.io/part-of": "shop"}),
        ("other", {"app.kubernetes.io/instance": "x"}),
    ):
        pod = _object("Pod", name, owned=False)
        labels["app.kubernetes.io/managed-by"] = ENVIRONMENT.manager
        live = {**pod, "metadata": {**pod["metadata"], "labels": labels}}
        seen.tell(live)
    foreign = _object("Pod", "foreign", owned=False)
    assert keys_of(foreign) == ()
    seen.tell(foreign)
    found = await seen.pods(ENVIRONMENT, "default", "shop")
    assert [one["metadata"]["name"] for one in found] == ["app", "dep"]
    assert keys_of(found[1]) == (Key("DevStagingEnvironment", "default", "shop"),)
    seen.gone(found[0])
    assert len(await seen.pods(ENVIRONMENT, "default", "shop")) == 1


async def test_a_kind_that_nobody_watches_is_asked_for() -> None:
    cluster = FakeCluster()
    seen = Seen(cluster, ())
    assert await seen.find(_ref("ConfigMap")) is None
    cluster.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}}
    )
    assert await seen.find(_ref("ConfigMap")) is not None
