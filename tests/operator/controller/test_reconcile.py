"""A pass over an environment or a pool: what it writes, what it leaves, and what it tells."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from kindling.graph.spec import ObjectRef
from kindling.kube.errors import (
    Cause,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    ServerFaultError,
    UnreachableError,
)
from kindling.kube.protocol import Object
from kindling.operator.controller.preview import Change, preview
from kindling.testing.cluster import FakeCluster
from tests.operator.controller.bed import Bed, env_ref, ref_of
from tests.operator.manifests import POOLS, Obj, documents, environment

ORDER = [
    "Secret/shop-postgres-credentials",
    "PersistentVolumeClaim/shop-postgres-data",
    "Service/shop-postgres",
    "Deployment/shop-postgres",
    "Secret/shop-redis-credentials",
    "Service/shop-redis",
    "Deployment/shop-redis",
    "Service/shop",
    "Deployment/shop",
    "Ingress/shop",
]


class Refusing(FakeCluster):
    """A cluster that refuses to have objects of a name applied, with an error of the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals: dict[str, Exception] = {}

    async def apply(self, manifest: Object, **options: Any) -> Object:
        if error := self.refusals.get(f"{manifest['kind']}/{manifest['metadata']['name']}"):
            raise error
        return await super().apply(manifest, **options)

    async def create(self, manifest: Object, **options: Any) -> Object:
        if error := self.refusals.get(manifest["kind"]):
            raise error
        return await super().create(manifest, **options)


def _ref(kind: str, name: str = "shop") -> ObjectRef:
    version = {"Deployment": "apps/v1", "Ingress": "networking.k8s.io/v1"}.get(kind, "v1")
    return ObjectRef(version, kind, name, "default")


def _written(bed: Bed) -> list[str]:
    """What has been written since the last call, statuses and events left out."""
    found = [
        f"{ref.kind}/{ref.name}"
        for _, ref in bed.cluster.writes
        if ref.kind not in ("Event", "DevStagingEnvironment")
    ]
    bed.cluster.writes.clear()
    return found


async def _ready(bed: Bed) -> tuple[str, str]:
    live = await bed.cluster.get(env_ref())
    one = next(one for one in live["status"]["conditions"] if one["type"] == "Ready")
    return one["status"], one["reason"]


@pytest.fixture
def bed(shop: Obj) -> Bed:
    made = Bed(Refusing())
    made.put(shop)
    made.cluster.writes.clear()
    return made


def _refuse(bed: Bed, what: str, error: Exception | None) -> None:
    assert isinstance(bed.cluster, Refusing)
    if error is None:
        del bed.cluster.refusals[what]
    else:
        bed.cluster.refusals[what] = error


async def test_what_a_pod_refers_to_is_written_before_the_pod(bed: Bed) -> None:
    done = await bed.do()
    assert _written(bed) == ORDER
    assert done.writes[0] == "create Secret/shop-postgres-credentials in default"
    assert done.writes[-1] == "status DevStagingEnvironment/shop in default"
    for one in bed.cluster.objects("Deployment"):
        assert one["metadata"]["ownerReferences"][0]["name"] == "shop"


async def test_ready_is_told_once_and_in_one_event(bed: Bed) -> None:
    assert (await bed.settle()).writes
    assert await _ready(bed) == ("True", "AllResourcesReady")
    live = await bed.cluster.get(env_ref())
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
    assert bed.events() == [("Normal", "Reconciled", "everything is ready")]
    assert (await bed.do()).writes == ()
    assert len(bed.events()) == 1


async def test_only_what_a_change_reaches_is_written(bed: Bed, shop: Obj) -> None:
    await bed.settle()
    _written(bed)
    changed = copy.deepcopy(shop)
    changed["spec"]["service"]["port"] = 8000
    bed.put(changed)
    await bed.do()
    assert _written(bed) == ["Service/shop", "Ingress/shop"]


@pytest.mark.parametrize(
    ("ref", "patch"),
    [
        (_ref("Deployment"), {"spec": {"replicas": 5}}),
        (_ref("Service", "shop-redis"), {"metadata": {"labels": None}}),
        (_ref("Ingress"), {"metadata": {"ownerReferences": None}}),
        (_ref("Secret", "shop-redis-credentials"), {"data": {"CONNECTION_URL": None}}),
    ],
)
async def test_drift_is_put_right(bed: Bed, ref: ObjectRef, patch: Obj) -> None:
    await bed.settle()
    before = bed.state()
    await bed.cluster.patch(ref, patch, manager="somebody")
    _written(bed)
    await bed.do()
    assert _written(bed) == [f"{ref.kind}/{ref.name}"]
    assert bed.state() == before


async def test_fields_of_others_are_left_alone(bed: Bed) -> None:
    await bed.settle()
    _written(bed)
    patch = {"metadata": {"annotations": {"team": "a"}}, "spec": {"paused": True}}
    await bed.cluster.patch(_ref("Deployment"), patch, manager="somebody")
    bed.cluster.writes.clear()
    assert (await bed.do()).writes == ()
    assert (await bed.cluster.get(_ref("Deployment")))["spec"]["paused"] is True


async def test_passwords_are_drawn_once_and_a_users_value_wins(bed: Bed) -> None:
    await bed.do()
    ref = _ref("Secret", "shop-postgres-credentials")
    drawn = (await bed.cluster.get(ref))["data"]["POSTGRES_PASSWORD"]
    own = base64.b64encode(b"mine").decode()
    await bed.cluster.patch(ref, {"data": {"POSTGRES_PASSWORD": own}}, manager="somebody")
    _written(bed)
    await bed.do()
    live = await bed.cluster.get(ref)
    assert live["data"]["POSTGRES_PASSWORD"] == own != drawn
    url = base64.b64decode(live["data"]["CONNECTION_URL"]).decode()
    assert ":mine@" in url
    # Both pods read it once, when they start.
    assert _written(bed) == [
        "Secret/shop-postgres-credentials",
        "Deployment/shop-postgres",
        "Deployment/shop",
    ]


async def test_a_secret_that_was_there_before_is_taken_up_with_its_values(bed: Bed) -> None:
    own = {"POSTGRES_PASSWORD": base64.b64encode(b"mine").decode(), "note": "aGk="}
    head = {"name": "shop-postgres-credentials", "namespace": "default"}
    bed.cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": head, "data": own})
    await bed.do()
    live = await bed.cluster.get(_ref("Secret", "shop-postgres-credentials"))
    assert own.items() <= live["data"].items()
    assert live["metadata"]["ownerReferences"][0]["name"] == "shop"
    assert (await bed.do()).writes == ()


async def test_what_is_no_longer_wanted_goes_but_for_data_and_its_credentials(
    bed: Bed, shop: Obj
) -> None:
    await bed.settle()
    _written(bed)
    changed = copy.deepcopy(shop)
    del changed["spec"]["ingress"], changed["spec"]["dependencies"]
    bed.put(changed)
    done = await bed.do()
    assert {line for line in done.writes if line.startswith("delete")} == {
        "delete Deployment/shop-postgres in default",
        "delete Deployment/shop-redis in default",
        "delete Service/shop-postgres in default",
        "delete Service/shop-redis in default",
        "delete Secret/shop-redis-credentials in default",
        "delete Ingress/shop in default",
    }
    bed.put(shop)
    _written(bed)
    await bed.do()
    kept = {"Secret/shop-postgres-credentials", "PersistentVolumeClaim/shop-postgres-data"}
    assert kept & set(_written(bed)) == set()


async def test_a_child_that_is_somebody_elses_is_left_and_told(bed: Bed) -> None:
    """Everything else stands; and when the name is free, so does that."""
    owner = {"kind": "Helm", "name": "x", "uid": "9", "controller": True, "apiVersion": "v1"}
    head = {"name": "shop-redis", "namespace": "default", "ownerReferences": [owner]}
    other = {"apiVersion": "v1", "kind": "Service", "metadata": head, "spec": {"ports": []}}
    bed.cluster.put(other)
    await bed.do()
    assert "Service/shop-redis" not in _written(bed)
    assert (await bed.cluster.get(_ref("Service", "shop-redis")))["spec"] == {"ports": []}
    assert await _ready(bed) == ("False", "NameClash")
    assert [event[:2] for event in bed.events()] == [("Warning", "NameClash")]
    bed.cluster.remove(_ref("Service", "shop-redis"))
    await bed.settle()
    assert await _ready(bed) == ("True", "AllResourcesReady")


async def test_a_refused_write_is_told_and_the_rest_is_written(bed: Bed) -> None:
    """Its condition names the object and has the server's words; it turns back by itself."""
    error = InvalidError(
        "Cannot apply it: the cluster refuses it", [Cause("spec", "no")], details=["`spec`: no"]
    )
    _refuse(bed, "Service/shop-redis", error)
    done = await bed.do()
    assert done.again is not None
    assert set(ORDER) - set(_written(bed)) == {"Service/shop-redis"}
    live = await bed.cluster.get(env_ref())
    told = live["status"]["conditions"][0]
    assert (told["status"], told["reason"]) == ("False", "ReconcileFailed")
    assert "Service/shop-redis in default: " in told["message"]
    assert "`spec`: no" in told["message"]
    count = len(bed.events())
    assert (await bed.do()).writes == ()
    assert len(bed.events()) == count == 1
    _refuse(bed, "Service/shop-redis", None)
    assert (await bed.settle()).again is None
    assert await _ready(bed) == ("True", "AllResourcesReady")


@pytest.mark.parametrize("error", [UnreachableError("gone"), ServerFaultError("a webhook is down")])
async def test_what_keeps_the_whole_cluster_away_is_no_condition(
    bed: Bed, error: UnreachableError | ServerFaultError
) -> None:
    _refuse(bed, "Deployment/shop", error)
    if isinstance(error, UnreachableError):
        with pytest.raises(UnreachableError):
            await bed.do()
        assert "status" not in await bed.cluster.get(env_ref())
    else:
        await bed.do()
        assert await _ready(bed) == ("False", "ReconcileFailed")


async def test_a_child_whose_selector_must_change_is_made_anew(bed: Bed) -> None:
    """Another type under the same name; only what is the environment's own is treated so."""
    cache = {"name": "cache"}
    bed.put(environment(dependencies=[{"type": "redis"} | cache]))
    await bed.settle()
    old = await bed.cluster.get(_ref("Deployment", "shop-cache"))
    bed.put(environment(dependencies=[{"type": "memcached"} | cache]))
    assert (await bed.do()).problems == ()
    new = await bed.cluster.get(_ref("Deployment", "shop-cache"))
    assert new["metadata"]["uid"] != old["metadata"]["uid"]

    head = {"name": "mine", "namespace": "default"}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {}}}
    bed.cluster.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec})
    bed.put(environment("mine"))
    await bed.do("mine")
    live = await bed.cluster.get(_ref("Deployment", "mine"))
    assert live["spec"]["selector"] == {"matchLabels": {"a": "b"}}
    status = (await bed.cluster.get(env_ref("mine")))["status"]["conditions"][0]
    assert status["reason"] == "ReconcileFailed"


async def test_a_held_child_waits_for_its_session(bed: Bed) -> None:
    await bed.settle()
    mark = {"metadata": {"annotations": {"kindling.dev/session": "s"}}, "spec": {"replicas": 3}}
    await bed.cluster.patch(_ref("Deployment"), mark, manager="somebody")
    _written(bed)
    await bed.do()
    assert _written(bed) == []
    held = (await bed.cluster.get(env_ref()))["status"]["conditions"][-1]
    assert (held["type"], held["reason"]) == ("Held", "HeldBySession")
    assert "Deployment/shop" in held["message"]
    gone = {"metadata": {"annotations": {"kindling.dev/session": None}}}
    await bed.cluster.patch(_ref("Deployment"), gone, manager="somebody")
    _written(bed)
    await bed.do()
    assert _written(bed) == ["Deployment/shop"]
    assert all(
        one["type"] != "Held" for one in (await bed.cluster.get(env_ref()))["status"]["conditions"]
    )


async def test_a_blocked_environment_stands_still(bed: Bed, shop: Obj) -> None:
    """Nothing is written and nothing taken away, and the reason is told once."""
    await bed.settle()
    _written(bed)
    twice = [{"type": "redis"}, {"type": "redis"}]
    bed.put(environment(dependencies=twice))
    await bed.do()
    assert _written(bed) == []
    assert (await _ready(bed))[0] == "False"
    bed.put(shop)
    await bed.do()
    assert await _ready(bed) == ("True", "AllResourcesReady")
    assert [event[0] for event in bed.events()].count("Warning") == 1


async def test_one_that_is_being_deleted_is_left_alone(bed: Bed, shop: Obj) -> None:
    bed.cluster.put(
        shop | {"metadata": {"name": "old", "namespace": "default", "deletionTimestamp": "now"}}
    )
    assert (await bed.do("old")).manifest is None
    assert (await bed.do("never")).manifest is None
    assert _written(bed) == []


async def test_events_that_may_not_be_written_are_left_out(bed: Bed) -> None:
    """The conditions say the same."""
    _refuse(bed, "Event", ForbiddenError("Cannot create it: it is forbidden"))
    await bed.settle()
    assert await _ready(bed) == ("True", "AllResourcesReady")
    assert bed.events() == []


async def test_an_event_that_is_said_again_is_counted(bed: Bed) -> None:
    await bed.settle()
    for status in ({"observedGeneration": 99}, None):
        ref = _ref("Deployment")
        if status is not None:
            bed.cluster.set_status(ref, status)
            await bed.do()
            assert (await _ready(bed))[0] == "False"
    await bed.settle()
    assert [one["count"] for one in bed.cluster.objects("Event")] == [2]


async def test_a_pool_waits_for_its_token_and_leaves_nothing(bed: Bed) -> None:
    """Rows 41 and 43."""
    pool = documents(POOLS)[0]
    live = bed.put(pool | {"metadata": {"name": "jeff", "namespace": "default"}})
    kind = live["kind"]
    bed.cluster.writes.clear()
    done = await bed.reconciler.pool(kind, "default", "jeff")
    assert [one.reason for one in done.problems] == ["SecretNotFound"]
    assert [verb for verb, ref in bed.cluster.writes if ref.kind != "Event"] == ["patch"]
    head = {"name": "github-runner-token", "namespace": "default"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": head}
    bed.cluster.put(secret | {"data": {"github-token": "eA=="}})
    done = await bed.reconciler.pool(kind, "default", "jeff")
    assert [line.split()[1] for line in done.writes if line.startswith("create")] == [
        "ServiceAccount/jeff-runner",
        "Role/jeff-runner",
        "RoleBinding/jeff-runner",
        "Deployment/jeff-runner",
    ]
    assert (await bed.reconciler.pool(kind, "default", "jeff")).writes == ()
    bed.cluster.remove(ref_of(live))
    for kind in ("Deployment", "Role", "RoleBinding", "ServiceAccount"):
        assert bed.cluster.objects(kind) == ()


async def test_a_preview_is_what_the_pass_then_does(bed: Bed, shop: Obj) -> None:
    """Before anything is there, for a change, and for what goes; and it writes nothing."""
    cluster = bed.cluster
    fresh = environment("next", dependencies=[{"type": "redis"}])
    shown = await preview(cluster, fresh)
    assert [(one.verb, str(one.ref)) for one in shown] == [
        ("create", "Secret/next-redis-credentials in default"),
        ("create", "Service/next-redis in default"),
        ("create", "Deployment/next-redis in default"),
        ("create", "Service/next in default"),
        ("create", "Deployment/next in default"),
    ]
    await bed.settle()
    _written(bed)
    assert await preview(cluster, shop) == ()
    changed = copy.deepcopy(shop)
    changed["spec"]["service"]["port"] = 81
    changed["spec"]["ingress"]["enabled"] = False
    shown = await preview(cluster, changed)
    assert shown == (
        Change("change", _ref("Service"), ("spec.ports[port=81]",)),
        Change("delete", _ref("Ingress")),
    )
    assert _written(bed) == []
    bed.put(changed)
    done = await bed.do()
    assert [f"{one.verb} {one.ref}" for one in shown] == [
        line for line in done.writes if not line.startswith("status")
    ]


async def test_a_preview_works_where_the_kind_is_not_known_yet(shop: Obj) -> None:
    assert len(await preview(FakeCluster(), shop)) == len(ORDER)


async def test_an_environment_that_goes_while_it_is_looked_at_is_no_failure(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    patch = bed.cluster.patch

    async def gone(ref: ObjectRef, *args: Any, **options: Any) -> Object:
        if ref.kind == "DevStagingEnvironment":
            bed.cluster.remove(ref)
            raise NotFoundError("Cannot change it: there is no such object")
        return await patch(ref, *args, **options)

    monkeypatch.setattr(bed.cluster, "patch", gone)
    assert (await bed.do()).manifest is None
