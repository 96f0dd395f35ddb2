"""What stands for an environment, field by field."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from kindling.operator.containers import WAIT_SECONDS
from kindling.operator.credentials import Known, references
from kindling.operator.desired import Desired, desired, foreign
from kindling.operator.model import Environment, read_environment
from tests.operator.manifests import Obj, environment

IMAGE = {"image": "shop:1", "port": 8080}


def make(obj: Obj, **known: Any) -> Desired:
    return desired(obj, Known(**known), lambda size: b"\x01" * size)


def children(obj: Obj, **known: Any) -> dict[str, Obj]:
    made = make(obj, **known)
    assert [str(one) for one in made.problems] == []
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made.objects}


def container(objects: dict[str, Obj], name: str = "shop") -> Obj:
    found: Obj = objects[f"Deployment/{name}"]["spec"]["template"]["spec"]["containers"][0]
    return found


def url(objects: dict[str, Obj], name: str) -> str:
    text = objects[f"Secret/{name}-credentials"]["data"]["CONNECTION_URL"]
    return base64.b64decode(text).decode()


def reasons(obj: Obj, **known: Any) -> list[str]:
    return [one.reason for one in make(obj, **known).problems]


def hashes(objects: dict[str, Obj]) -> dict[str, str]:
    return {
        name: one["metadata"]["annotations"]["apps.example.com/spec-hash"]
        for name, one in objects.items()
    }


def test_an_image_that_is_new_under_its_old_name_makes_new_pods() -> None:
    """`kindling.dev/image-digest.N` is written where a reference does not name its content."""
    obj = environment()
    before = children(obj)
    obj["metadata"]["annotations"] = {"kindling.dev/image-digest.0": "sha256:1", "other": "2"}
    after = children(obj)
    template = after["Deployment/shop"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"kindling.dev/image-digest.0": "sha256:1"}
    assert template["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert hashes(after)["Deployment/shop"] != hashes(before)["Deployment/shop"]
    assert hashes(after)["Service/shop"] == hashes(before)["Service/shop"]


def test_the_least_environment_is_a_service_and_a_deployment() -> None:
    """Row 22."""
    objects = children(environment())
    assert list(objects) == ["Service/shop", "Deployment/shop"]
    assert container(objects) == {
        "name": "shop",
        "image": "shop:1",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
    }


def test_dots_of_a_name_become_dashes() -> None:
    """In names; labels keep the environment's own."""
    objects = children(environment("jeff.shop"))
    assert list(objects) == ["Service/jeff-shop", "Deployment/jeff-shop"]
    label = objects["Service/jeff-shop"]["metadata"]["labels"]["app.kubernetes.io/name"]
    assert label == "jeff.shop"


def test_dependencies_come_before_what_waits_for_them() -> None:
    objects = list(children(environment(dependencies=[{"type": "redis", "storageSize": "1Gi"}])))
    assert objects == [
        "Secret/shop-redis-credentials",
        "PersistentVolumeClaim/shop-redis-data",
        "Service/shop-redis",
        "Deployment/shop-redis",
        "Service/shop",
        "Deployment/shop",
    ]


def test_variables_of_dependencies_precede_the_users() -> None:
    """Row 24: so that `$(DATABASE_URL)` means something."""
    env = [{"name": "DSN", "value": "$(DATABASE_URL)&x=1"}]
    obj = environment(deployment=IMAGE | {"env": env}, dependencies=[{"type": "postgres"}])
    assert [one["name"] for one in container(children(obj))["env"]] == ["DATABASE_URL", "DSN"]


def test_a_variable_of_the_users_own_wins() -> None:
    """It stands once, with his value; two dependencies that both set it do not clash then."""
    env = [{"name": "A", "value": "b"}, {"name": "DATABASE_URL", "value": "sqlite:$(A)"}]
    both = [{"type": "postgres"}, {"type": "mysql"}]
    obj = environment(deployment=IMAGE | {"env": env}, dependencies=both)
    assert container(children(obj))["env"] == env


def test_values_are_encoded_in_a_url() -> None:
    """Row 29: and reach the container as they are."""
    env = [
        {"name": "POSTGRES_USER", "value": "a@b"},
        {"name": "POSTGRES_PASSWORD", "value": "p/w:%? ä"},
        {"name": "POSTGRES_DB", "value": "x y"},
    ]
    objects = children(environment(dependencies=[{"type": "postgres", "env": env}]))
    parts = urlsplit(url(objects, "shop-postgres"))
    assert unquote(parts.username or "") == "a@b"
    assert unquote(parts.password or "") == "p/w:%? ä"
    assert parts.hostname == "shop-postgres"
    assert unquote(parts.path) == "/x y"
    data = objects["Secret/shop-postgres-credentials"]["data"]
    assert base64.b64decode(data["POSTGRES_PASSWORD"]).decode() == "p/w:%? ä"


def test_overrides_take_effect() -> None:
    """Row 26."""
    dependency = {
        "type": "postgres",
        "image": "postgis:3",
        "version": "9",
        "port": 5433,
        "envVarName": "PG_URL",
        "resources": {"cpuRequest": 1, "memoryLimit": "1Gi"},
        "env": [{"name": "POSTGRES_DB", "value": "geo"}, {"name": "TZ", "value": "UTC"}],
    }
    objects = children(environment(dependencies=[dependency]))
    made = container(objects, "shop-postgres")
    assert made["image"] == "postgis:3"
    assert made["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    assert [one["name"] for one in made["env"]] == [
        "POSTGRES_USER",
        "POSTGRES_PASSWORD",
        "POSTGRES_DB",
        "PGPORT",
        "TZ",
    ]
    assert url(objects, "shop-postgres").endswith("@shop-postgres:5433/geo?sslmode=disable")
    assert [one["name"] for one in container(objects)["env"]] == ["PG_URL"]


def test_what_was_drawn_is_kept() -> None:
    """Also what upstream's operator wrote before."""
    obj = environment(dependencies=[{"type": "postgres"}])
    kept = {"shop-postgres-credentials": {"POSTGRES_PASSWORD": "devpass"}}
    assert ":devpass@" in url(children(obj, secrets=kept), "shop-postgres")


def test_a_value_may_come_from_a_users_secret() -> None:
    """The URL has it, the container the user's own source; without the key all wait."""
    source = {"secretKeyRef": {"name": "mine", "key": "pw"}}
    env = [{"name": "POSTGRES_PASSWORD", "valueFrom": source}]
    obj = environment(dependencies=[{"type": "postgres", "env": env}])
    objects = children(obj, secrets={"mine": {"pw": "s3:cret"}})
    assert ":s3%3Acret@" in url(objects, "shop-postgres")
    made = container(objects, "shop-postgres")["env"]
    assert {"name": "POSTGRES_PASSWORD", "valueFrom": source} in made
    waiting = make(obj)
    assert waiting.blocked
    assert "key `pw` of the Secret `mine`, which is not there" in str(waiting.problems[0])
    read = read_environment(obj)
    assert isinstance(read, Environment)
    assert references(read) == (frozenset({"mine", "shop-postgres-credentials"}), frozenset())


def test_new_credentials_make_new_pods() -> None:
    """And the hash on them tells nothing of a short password."""

    def annotations(password: str) -> list[str]:
        env = [{"name": "POSTGRES_PASSWORD", "value": password}]
        objects = children(environment(dependencies=[{"type": "postgres", "env": env}]))
        heads = [
            objects[f"Deployment/{name}"]["spec"]["template"]["metadata"]
            for name in ("shop", "shop-postgres")
        ]
        return [head["annotations"]["apps.example.com/credentials-hash"] for head in heads]

    assert not set(annotations("a")) & set(annotations("b"))
    obj = environment(dependencies=[{"type": "postgres"}])
    kept = {"POSTGRES_PASSWORD": "same", ".salt": "x"}
    one = hashes(children(obj, secrets={"shop-postgres-credentials": kept}))
    kept = {"POSTGRES_PASSWORD": "same", ".salt": "y"}
    other = hashes(children(obj, secrets={"shop-postgres-credentials": kept}))
    assert one["Secret/shop-postgres-credentials"] != other["Secret/shop-postgres-credentials"]


@pytest.mark.parametrize(
    ("health", "handler"),
    [
        ({}, {"httpGet": {"path": "/healthz", "port": 8080}}),
        ({"type": "http", "path": "/up", "port": 9}, {"httpGet": {"path": "/up", "port": 9}}),
        ({"type": "grpc"}, {"grpc": {"port": 8080}}),
        ({"type": "tcp", "port": 9}, {"tcpSocket": {"port": 9}}),
    ],
)
def test_health_checks(health: Obj, handler: Obj) -> None:
    """Row 31."""
    made = container(children(environment(deployment=IMAGE | {"healthCheck": health})))
    expected = handler | {"initialDelaySeconds": 5, "periodSeconds": 10}
    assert made["livenessProbe"] == expected
    assert made["readinessProbe"] == expected


def test_no_health_check() -> None:
    made = container(children(environment(deployment=IMAGE | {"healthCheck": {"type": "none"}})))
    assert "livenessProbe" not in made
    assert "readinessProbe" not in made


def test_a_wait_has_an_end_and_a_reason() -> None:
    """Row 30. Nothing in it is for Kubernetes to expand."""
    objects = children(environment(dependencies=[{"type": "redis"}, {"type": "nats"}]))
    pod = objects["Deployment/shop"]["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["wait-for-redis", "wait-for-nats"]
    first = pod["initContainers"][0]
    assert {"name": "WAIT_SECONDS", "value": str(WAIT_SECONDS)} in first["env"]
    assert "/dev/termination-log" in first["command"][2]
    assert "$(" not in first["command"][2]


def test_changes_reach_every_child_that_they_concern() -> None:
    """Row 33, and row 32: 16 digits, the same for the same."""
    first = {"host": "shop.localhost", "enabled": True}
    before = hashes(children(environment(ingress=first)))
    moved = environment(ingress=first, deployment=IMAGE | {"port": 9090})
    objects = children(moved)
    assert objects["Service/shop"]["spec"]["ports"][0]["targetPort"] == 9090
    assert before["Service/shop"] != hashes(objects)["Service/shop"]
    assert before["Ingress/shop"] == hashes(objects)["Ingress/shop"]
    objects = children(environment(ingress=first, service={"port": 81}))
    rule = objects["Ingress/shop"]["spec"]["rules"][0]
    assert rule["http"]["paths"][0]["backend"]["service"]["port"] == {"number": 81}
    assert before["Ingress/shop"] != hashes(objects)["Ingress/shop"]
    assert before["Deployment/shop"] == hashes(objects)["Deployment/shop"]


def test_ingress() -> None:
    """Row 40, as far as objects go."""
    told = {
        "enabled": True,
        "host": "shop.localhost",
        "ingressClassName": "traefik",
        "tls": {"secretName": "cert"},
        "annotations": {"a.example.com/b": "c"},
    }
    made = children(environment(ingress=told))["Ingress/shop"]
    assert made["spec"]["tls"] == [{"hosts": ["shop.localhost"], "secretName": "cert"}]
    assert made["spec"]["ingressClassName"] == "traefik"
    assert made["metadata"]["annotations"]["a.example.com/b"] == "c"
    assert "Ingress/shop" not in children(environment(ingress=told | {"enabled": False}))


def test_storage_is_claimed_and_mounted() -> None:
    """Row 39. Two pods never have the same data."""
    objects = children(environment(dependencies=[{"type": "postgres", "storageSize": "2Gi"}]))
    claim = objects["PersistentVolumeClaim/shop-postgres-data"]["spec"]
    assert claim["resources"] == {"requests": {"storage": "2Gi"}}
    spec = objects["Deployment/shop-postgres"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["spec"]["volumes"][0]["persistentVolumeClaim"] == {
        "claimName": "shop-postgres-data"
    }
    made = container(objects, "shop-postgres")
    mount = made["volumeMounts"][0]["mountPath"]
    folder = next(one["value"] for one in made["env"] if one["name"] == "PGDATA")
    assert folder.startswith(f"{mount}/")


def test_storage_that_nothing_uses_is_told_and_does_no_harm() -> None:
    made = make(environment(dependencies=[{"type": "memcached", "storageSize": "1Gi"}]))
    assert [one.reason for one in made.problems] == ["NothingToStore"]
    assert not made.blocked
    assert "PersistentVolumeClaim" not in {one["kind"] for one in made.objects}


def test_two_of_one_type_are_told_apart_by_name() -> None:
    """Row 29: and refused without one."""
    unnamed = make(environment(dependencies=[{"type": "redis"}, {"type": "redis"}]))
    assert [str(one) for one in unnamed.problems] == [
        "spec.dependencies[1]: is called `redis`, as spec.dependencies[0] is; give one of them a "
        "`name` of its own"
    ]
    named = environment(dependencies=[{"type": "minio"}, {"type": "minio", "name": "old-stuff"}])
    objects = children(named)
    assert [one["name"] for one in container(objects)["env"]] == [
        "S3_ENDPOINT",
        "S3_ACCESS_KEY",
        "S3_SECRET_KEY",
        "OLD_STUFF_S3_ENDPOINT",
        "OLD_STUFF_S3_ACCESS_KEY",
        "OLD_STUFF_S3_SECRET_KEY",
    ]
    assert "Deployment/shop-old-stuff" in objects


def test_one_variable_from_two_dependencies_is_a_clash() -> None:
    """Row 29: named, with the mend, and mended by what it says."""
    both = [{"type": "postgres"}, {"type": "mysql"}]
    made = make(environment(dependencies=both))
    assert made.objects == ()
    assert str(made.problems[0]).startswith(
        "spec.dependencies[1]: `mysql` sets the variable `DATABASE_URL`, as `postgres` "
        "(spec.dependencies[0]) does; give one of them an `envVarName`"
    )
    both[1]["envVarName"] = "MYSQL_URL"
    assert reasons(environment(dependencies=both)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dependencies": [{"type": "jaeger", "port": 4317}]}, "PortTaken"),
        ({"dependencies": [{"type": "kafka", "port": 9093}]}, "PortTaken"),
        ({"dependencies": [{"type": "redis", "version": "a b"}]}, "InvalidSpec"),
        ({"dependencies": [{"type": "redis", "storageSize": "0"}]}, "InvalidSpec"),
        ({"dependencies": [{"type": "elasticsearch", "name": "x" * 40}]}, "InvalidSpec"),
        (
            {"deployment": IMAGE | {"resources": {"cpuRequest": 2, "cpuLimit": "500m"}}},
            "InvalidSpec",
        ),
        ({"deployment": IMAGE | {"resources": {"memoryLimit": "-1Gi"}}}, "InvalidSpec"),
        ({"ingress": {"enabled": True, "path": "app"}}, "InvalidSpec"),
        ({"ingress": {"enabled": True, "host": "Shop"}}, "InvalidSpec"),
        ({"ingress": {"enabled": True, "ingressClassName": "a b"}}, "InvalidSpec"),
        ({"deployment": IMAGE | {"image": "shop: 1"}}, "InvalidSpec"),
        ({"service": {"port": 0}}, "InvalidSpec"),
    ],
)
def test_what_could_not_run_is_refused(change: Obj, told: str) -> None:
    made = make(environment("s" * 30, **change))
    assert [one.reason for one in made.problems] == [told]
    assert made.objects == ()


@pytest.mark.parametrize(
    "obj",
    [
        environment("1st"),
        environment("a" * 64),
        environment("a" * 50, dependencies=[{"type": "elasticsearch"}]),
        environment(
            deployment=IMAGE
            | {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]}
        ),
    ],
)
def test_the_rules_of_the_definition_are_ours_too(obj: Obj) -> None:
    """For servers that do not look at them."""
    assert reasons(obj) == ["InvalidSpec"]


def test_a_value_that_only_the_node_knows_cannot_be_part_of_a_url() -> None:
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    env = [{"name": "POSTGRES_USER", "valueFrom": source}]
    made = make(environment(dependencies=[{"type": "postgres", "env": env}]))
    assert "must be a value or come from a Secret" in str(made.problems[0])
    env = [{"name": "POD", "valueFrom": source}]
    objects = children(environment(dependencies=[{"type": "postgres", "env": env}]))
    assert container(objects, "shop-postgres")["env"][-1] == env[0]
    assert "POD" not in objects["Secret/shop-postgres-credentials"]["data"]


def test_a_childs_name_may_be_taken() -> None:
    """`a.b` and `a-b` want the same children; the first has them, the second is told."""
    obj = environment("a-b")
    head = {"name": "a-b", "ownerReferences": [{"uid": "u-1", "controller": True}]}
    assert foreign(obj, {"kind": "Service", "metadata": head}) is None
    assert foreign(obj, {"kind": "Service", "metadata": {"name": "a-b"}}) is None
    owner = {"kind": "DevStagingEnvironment", "name": "a.b", "uid": "u-2", "controller": True}
    told = foreign(
        obj, {"kind": "Service", "metadata": {"name": "a-b", "ownerReferences": [owner]}}
    )
    assert told is not None
    assert "the Service `a-b` belongs to the DevStagingEnvironment `a.b`" in told.message


def test_the_project_is_handed_down_but_not_selected_by() -> None:
    obj = environment(dependencies=[{"type": "redis"}])
    obj["metadata"]["labels"] = {"kindling.dev/project": "p", "other": "o"}
    for one in make(obj).objects:
        assert one["metadata"]["labels"]["kindling.dev/project"] == "p"
        assert "other" not in one["metadata"]["labels"]
        assert "kindling.dev/project" not in str(one.get("spec", {}))
