"""Rows 20 to 23, 32 to 41 and 43 of the acceptance checklist, by number, on a real cluster."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from kindling.kube.errors import InvalidError
from kindling.kube.protocol import Cluster, Object
from kindling.operator.controller.definitions import install_definitions
from tests.operator.controller.place import (
    Place,
    app,
    build_listener,
    conditions,
    redis,
)

pytestmark = pytest.mark.cluster

CHILDREN = ("Deployment", "Service", "Secret", "Ingress", "PersistentVolumeClaim")


@pytest.fixture
async def bare(cluster: Cluster, ns: str) -> AsyncIterator[Place]:
    """A namespace that nobody looks after, of a cluster that knows our kinds."""
    await install_definitions(cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}})
    place = Place(cluster, ns)
    yield place
    await place.close()


@pytest.fixture
async def place(bare: Place) -> Place:
    """A namespace with an operator."""
    await bare.operate()
    return bare


@pytest.fixture(scope="module")
def _listener(tmp_path_factory: pytest.TempPathFactory) -> None:
    asyncio.run(build_listener(Path(tmp_path_factory.mktemp("listener"))))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service": {"port": 0}}, "spec.service.port"),
        ({"service": {"port": 65536}}, "spec.service.port"),
        ({"deployment": {"image": ""}}, "spec.deployment.image"),
        ({"deployment": {"replicas": 0}}, "spec.deployment.replicas"),
        ({"dependencies": [{"type": "oracle"}]}, "type"),
        ({"deployment": {"healthCheck": {"type": "smtp"}}}, "spec.deployment.healthCheck.type"),
        ({"service": {"port": 80, "type": "Magic"}}, "spec.service.type"),
        ({"ingress": {"pathType": "Regex"}}, "spec.ingress.pathType"),
    ],
)
async def test_row_20_bad_values_are_refused_at_the_door(
    bare: Place, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        await bare.write(app(**change))
    assert field in str(caught.value.details)


async def test_row_21_defaults_are_filled_in(bare: Place) -> None:
    deployment: Any = {"healthCheck": {}}
    live = await bare.write(app(deployment=deployment, ingress={}))
    spec = live["spec"]
    assert spec["deployment"]["replicas"] == 1
    health = {"type": "http", "path": "/healthz", "initialDelaySeconds": 5, "periodSeconds": 10}
    assert spec["deployment"]["healthCheck"] == health
    assert spec["service"]["type"] == "ClusterIP"
    assert spec["ingress"] == {"enabled": False, "path": "/", "pathType": "Prefix"}


async def test_rows_22_33_35_36_38_40_of_an_application(place: Place) -> None:
    """It is made, told of, changed in every child, and goes with all it has."""
    made = await place.write(app())
    live = await place.ready()
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
    uid = made["metadata"]["uid"]
    for kind in ("Deployment", "Service"):
        owner = (await place.get(kind))["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"]) == (uid, True)
    assert await place.names("Ingress") == set()
    await _told(place, "Normal", "Reconciled")

    command = ["httpd", "-f", "-p", "9090", "-h", "/tmp"]
    ingress = {"enabled": True, "host": "shop.localhost", "tls": {"secretName": "shop-tls"}}
    await place.write(
        app(
            deployment={"port": 9090, "command": command},
            service={"port": 8000},
            ingress=ingress | {"ingressClassName": "nobody"},
        )
    )
    live = await place.ready()
    assert (await place.get("Service"))["spec"]["ports"][0]["targetPort"] == 9090
    made_later = await place.get("Ingress")
    assert made_later["metadata"]["ownerReferences"][0]["uid"] == uid
    spec = made_later["spec"]
    backend = spec["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": "shop", "port": {"number": 8000}}
    assert spec["tls"] == [{"hosts": ["shop.localhost"], "secretName": "shop-tls"}]
    assert live["status"]["url"] == "https://shop.localhost/"
    assert conditions(live, "IngressReady")[1] == "NoController"

    await place.write(app())
    await place.gone("Ingress", "shop")
    assert "url" not in (await place.ready())["status"]

    await place.cluster.delete(place.ref("DevStagingEnvironment"))
    for kind in ("Deployment", "Service"):
        await place.gone(kind, "shop")
    assert {kind: await place.names(kind) for kind in CHILDREN} == {one: set() for one in CHILDREN}


@pytest.mark.usefixtures("_listener")
async def test_rows_23_32_34_39_of_dependencies(place: Place) -> None:
    """They stand beside the application, are left alone when nothing changes, and go alone."""
    both = [redis(storageSize="1Mi"), redis(name="cache")]
    await place.write(app(dependencies=both))
    await place.ready()
    for name in ("shop-redis", "shop-cache"):
        secret = await place.get("Secret", f"{name}-credentials")
        assert "CONNECTION_URL" in secret["data"]
        await place.get("Deployment", name)
        await place.get("Service", name)
    claim = await place.get("PersistentVolumeClaim", "shop-redis-data")
    assert claim["status"]["phase"] == "Bound"

    await place.at_rest()
    before = await _versions(place)
    looked = await place.look()
    assert (looked.writes, looked.problems, looked.again) == ((), (), None)
    assert await _versions(place) == before

    # Row 39: what is written outlives its pod.
    old = await _pod(place, "shop-redis")
    await _run(place, old, "sh", "-c", "echo kept >/data/file")
    await place.cluster.delete(place.ref("Pod", old["metadata"]["name"]), grace=0)
    await place.not_ready("ResourcesNotReady", about="Dependencies")
    await place.ready()
    assert await _run(place, await _pod(place, "shop-redis"), "cat", "/data/file") == "kept\n"

    # Row 34: also when its Deployment has gone before.
    await place.operators[0].stop()
    await place.cluster.delete(place.ref("Deployment", "shop-cache"))
    await place.write(app(dependencies=both[:1]))
    assert (await place.look()).problems == ()
    for kind, name in (("Service", "shop-cache"), ("Secret", "shop-cache-credentials")):
        await place.gone(kind, name)
    left = {kind: await place.names(kind) for kind in ("Deployment", "Service", "Secret")}
    assert left == {
        "Deployment": {"shop", "shop-redis"},
        "Service": {"shop", "shop-redis"},
        "Secret": {"shop-redis-credentials"},
    }

    # Its data stays with the credentials that it was made with.
    await place.write(app())
    assert (await place.look()).problems == ()
    await place.gone("Deployment", "shop-redis")
    assert await place.names("PersistentVolumeClaim") == {"shop-redis-data"}
    assert await place.names("Secret") == {"shop-redis-credentials"}
    again = (await place.look()).writes
    assert [one for one in again if not one.startswith("status ")] == []


async def test_rows_36_37_38_a_failure_is_told_and_recovers(place: Place) -> None:
    """First of a pod, then of a write; each time `Ready` says why, and turns back."""
    broken = {"command": ["sh", "-c", "echo no; exit 3"]}
    await place.write(app(deployment=broken))
    await place.not_ready("ResourcesNotReady", about="CrashLoopBackOff")
    await place.write(app())
    await place.ready()

    # A Service that somebody else has by its name; the message says whose it is.
    await place.write(app("other"))
    await place.ready("other")
    await place.write(app("x.y"))
    await place.ready("x.y")
    await place.write(app("x-y"))
    await place.not_ready("NameClash", "x-y", about="belongs to the DevStagingEnvironment `x.y`")
    await _told(place, "Warning", "NameClash")
    await place.cluster.delete(place.ref("DevStagingEnvironment", "x.y"))
    await place.ready("x-y")


async def test_row_36_a_refused_write_is_told_with_the_servers_words(place: Place) -> None:
    """A claim cannot become smaller; asked for less, the environment says so until it is not."""
    bigger, smaller = (
        app(dependencies=[{"type": "redis", "image": "busybox:1.36", "storageSize": size}])
        for size in ("2Mi", "1Mi")
    )
    await place.write(bigger)
    await place.until("PersistentVolumeClaim", "shop-redis-data", _is_there)
    await place.write(smaller)
    live = await place.not_ready("ReconcileFailed", about="PersistentVolumeClaim/shop-redis-data")
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"]
    await _told(place, "Warning", "ReconcileFailed")
    await place.write(bigger)
    await place.not_ready("ResourcesNotReady")


async def test_row_37_readiness_follows_the_children(place: Place) -> None:
    """Drift is put right, and pods that go and come turn `Ready`, without anybody asking."""
    await place.write(app())
    await place.ready()
    drift = {"spec": {"selector": {"app.kubernetes.io/name": "nobody"}}}
    await place.cluster.patch(place.ref("Service"), drift)
    await place.until(
        "Service",
        "shop",
        lambda live: live and live["spec"]["selector"]["app.kubernetes.io/name"] == "shop",
    )
    await place.cluster.delete(place.ref("Service"))
    await place.until("Service", "shop", _is_there)
    pod = await _pod(place, "shop")
    await place.cluster.delete(place.ref("Pod", pod["metadata"]["name"]), grace=0)
    await place.not_ready("ResourcesNotReady", about="Deployment")
    await place.ready()


async def test_rows_41_43_a_pool_waits_for_its_token_and_takes_its_rights_along(
    place: Place,
) -> None:
    kind = "GithubActionRunnerPool"
    spec = {
        "githubUsername": "Jeff",
        "repository": "jeff/orders",
        "tokenSecretRef": {"name": "token"},
        "runnerImage": "busybox:1.36",
    }
    pool = app() | {"kind": kind, "metadata": {"name": "jeff"}, "spec": spec}
    await place.write(pool)
    await place.until(kind, "jeff", lambda live: conditions(live or {})[1] == "SecretNotFound")
    head = {"name": "token", "namespace": place.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": head}
    await place.cluster.apply({**secret, "data": {"github-token": "eA=="}})
    await place.until(kind, "jeff", lambda live: conditions(live or {})[1] == "RunnerNotReady")
    parts = ("ServiceAccount", "Role", "RoleBinding", "Deployment")
    for part in parts:
        await place.get(part, "jeff-runner")
    await place.cluster.delete(place.ref(kind, "jeff"))
    for part in parts:
        await place.gone(part, "jeff-runner")


async def test_a_users_secret_that_comes_later_is_taken_up(place: Place) -> None:
    """What the URL needs is not there yet; it is said, and nobody needs to write again."""
    source = {"secretKeyRef": {"name": "mine", "key": "password"}}
    env = [{"name": "POSTGRES_PASSWORD", "valueFrom": source}]
    dependency = {"type": "postgres", "image": "busybox:1.36", "env": env}
    await place.write(app(dependencies=[dependency]))
    await place.not_ready("SecretNotFound", about="`mine`")
    assert await place.names("Deployment") == set()
    head = {"name": "mine", "namespace": place.namespace}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": head}
    await place.cluster.apply({**secret, "data": {"password": "cEBzcw=="}})
    await place.not_ready("ResourcesNotReady")
    made = await place.get("Secret", "shop-postgres-credentials")
    assert b":p%40ss@" in base64.b64decode(made["data"]["CONNECTION_URL"])


async def test_what_a_session_holds_is_left_alone_until_it_lets_go(place: Place) -> None:
    """Its change stands, the one that is due is told, and is written when the mark goes."""
    await place.write(app())
    await place.ready()
    mark = {"metadata": {"annotations": {"kindling.dev/session": "s1"}}, "spec": {"replicas": 2}}
    await place.cluster.patch(place.ref("Deployment"), mark)

    def held(live: Object | None) -> bool:
        return conditions(live or {}, "Held")[1] == "HeldBySession"

    await place.until("DevStagingEnvironment", "shop", held)
    assert (await place.get("Deployment"))["spec"]["replicas"] == 2
    gone = {"metadata": {"annotations": {"kindling.dev/session": None}}}
    await place.cluster.patch(place.ref("Deployment"), gone)
    await place.until("Deployment", "shop", lambda live: live and live["spec"]["replicas"] == 1)
    await place.until("DevStagingEnvironment", "shop", lambda live: not held(live))


async def test_a_variable_that_comes_later_stands_before_those_that_refer_to_it(
    place: Place,
) -> None:
    """Row 24, on a change: servers append to the lists that they keep."""
    own = [{"name": "DSN", "value": "$(REDIS_URL)/1"}]
    await place.write(app(deployment={"env": own}))
    await place.until("Deployment", "shop", _is_there)
    await place.write(app(deployment={"env": own}, dependencies=[redis(image="busybox:1.36")]))

    def in_order(live: Object | None) -> bool:
        env = (live or {})["spec"]["template"]["spec"]["containers"][0].get("env", ())
        return [one["name"] for one in env] == ["REDIS_URL", "DSN"]

    await place.until("Deployment", "shop", in_order)


def _is_there(live: Object | None) -> bool:
    return live is not None


async def _told(place: Place, sort: str, reason: str) -> None:
    """Wait for an event on an environment."""
    events = place.cluster.watch("v1", "Event", namespace=place.namespace)
    try:
        async with asyncio.timeout(60):
            async for event in events:
                for one in event.items or (event.object,):
                    involved = one.get("involvedObject", {}).get("kind")
                    told = involved, one.get("type"), one.get("reason")
                    if told == ("DevStagingEnvironment", sort, reason):
                        return
    finally:
        await events.aclose()


async def _versions(place: Place) -> dict[str, str]:
    """The versions of an environment and all its children."""
    found = {}
    for kind in (*CHILDREN, "DevStagingEnvironment"):
        version = place.ref(kind).api_version
        for one in (await place.cluster.list(version, kind, namespace=place.namespace)).items:
            head = one["metadata"]
            if head.get("ownerReferences") or kind == "DevStagingEnvironment":
                found[f"{kind}/{head['name']}"] = head["resourceVersion"]
    return found


async def _pod(place: Place, name: str) -> Object:
    """The pod of a Deployment that stays."""
    labels = (("app.kubernetes.io/name", name),)
    listing = await place.cluster.list("v1", "Pod", namespace=place.namespace, labels=labels)
    return next(one for one in listing.items if not one["metadata"].get("deletionTimestamp"))


async def _run(place: Place, pod: Object, *argv: str) -> str:
    container = pod["spec"]["containers"][0]["name"]
    done = await place.cluster.exec(
        place.namespace, pod["metadata"]["name"], container, argv, timeout=60.0
    )
    assert done.code == 0, done.stderr
    return done.stdout.decode()
