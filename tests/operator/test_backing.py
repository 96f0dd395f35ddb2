"""The fifteen backing services: what each one's objects are, and that its port really moves."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
import yaml
from syrupy.assertion import SnapshotAssertion

from kindling.operator.backing.exports import nearest_credential
from kindling.operator.backing.table import SERVICES
from kindling.operator.credentials import Known
from kindling.operator.definitions.environment import DEPENDENCY_TYPES
from kindling.operator.desired import desired
from tests.operator.manifests import Obj, environment, refusals

TABLE = {
    # type: (variable, URL with the host, further variables), as upstream's users know them.
    "postgres": ("DATABASE_URL", "postgres://devuser:P@H:5432/devdb?sslmode=disable", []),
    "redis": ("REDIS_URL", "redis://H:6379/0", []),
    "mysql": ("DATABASE_URL", "mysql://devuser:P@H:3306/devdb", []),
    "mongodb": ("MONGO_URL", "mongodb://devuser:P@H:27017", []),
    "rabbitmq": ("AMQP_URL", "amqp://devuser:P@H:5672/", []),
    "minio": ("S3_ENDPOINT", "http://H:9000", ["S3_ACCESS_KEY", "S3_SECRET_KEY"]),
    "elasticsearch": ("ELASTICSEARCH_URL", "http://H:9200", []),
    "kafka": ("KAFKA_BROKER_URL", "H:9092", []),
    "nats": ("NATS_URL", "nats://H:4222", []),
    "memcached": ("MEMCACHED_URL", "H:11211", []),
    "cassandra": ("CASSANDRA_URL", "H:9042", []),
    "consul": ("CONSUL_HTTP_ADDR", "http://H:8500", []),
    "vault": ("VAULT_ADDR", "http://H:8200", ["VAULT_TOKEN"]),
    "influxdb": (
        "INFLUXDB_URL",
        "http://devuser:P@H:8086",
        ["INFLUXDB_ORG", "INFLUXDB_BUCKET", "INFLUXDB_TOKEN"],
    ),
    "jaeger": ("JAEGER_ENDPOINT", "http://H:16686", ["OTEL_EXPORTER_OTLP_ENDPOINT"]),
}


def children(**dependency: Any) -> dict[str, Obj]:
    """The children of an environment with one dependency, by kind and name."""
    made = desired(environment(dependencies=[dependency]), Known(), lambda size: b"\x01" * size)
    assert [str(one) for one in made.problems] == []
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made.objects}


def secret(objects: dict[str, Obj], sort: str) -> dict[str, str]:
    data = objects[f"Secret/shop-{sort}-credentials"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def app_env(objects: dict[str, Obj]) -> dict[str, Any]:
    pod = objects["Deployment/shop"]["spec"]["template"]["spec"]
    return {one["name"]: one for one in pod["containers"][0].get("env", [])}


def test_the_table_has_the_types_of_the_definition() -> None:
    assert tuple(SERVICES) == DEPENDENCY_TYPES
    assert tuple(TABLE) == DEPENDENCY_TYPES


@pytest.mark.parametrize("sort", DEPENDENCY_TYPES)
def test_url_and_variables(sort: str) -> None:
    """Rows 23 to 25: the variables are upstream's, and lead to keys of the Secret."""
    variable, url, more = TABLE[sort]
    objects = children(type=sort)
    data = secret(objects, sort)
    password = next(
        (value for key, value in data.items() if "PASS" in key and "ROOT" not in key), ""
    )
    password = password or next((value for key, value in data.items() if "PASS" in key), "")
    assert data["CONNECTION_URL"] == url.replace("H", f"shop-{sort}", 1).replace(
        ":P@", f":{password}@"
    )
    env = app_env(objects)
    assert list(env) == [variable, *more]
    for name, one in env.items():
        ref = one["valueFrom"]["secretKeyRef"]
        assert ref["name"] == f"shop-{sort}-credentials"
        assert ref["key"] == ("CONNECTION_URL" if name == variable else name)
        assert data[ref["key"]]


@pytest.mark.parametrize("sort", DEPENDENCY_TYPES)
def test_a_port_that_is_changed_is_listened_on(sort: str) -> None:
    """Row 27: process, Service, probe, wait and URL all move, and the old port is nowhere."""
    objects = children(type=sort, port=7654)
    container = objects[f"Deployment/shop-{sort}"]["spec"]["template"]["spec"]["containers"][0]
    told = [*container.get("args", []), *(one.get("value", "") for one in container.get("env", []))]
    assert any("7654" in one for one in told), told
    assert not any(re.search(rf"\b{SERVICES[sort].port}\b", one) for one in told)
    assert container["ports"][0]["containerPort"] == 7654
    assert objects[f"Service/shop-{sort}"]["spec"]["ports"][0]["port"] == 7654
    probe = container["readinessProbe"]
    assert (probe.get("tcpSocket") or probe["httpGet"])["port"] == 7654
    waits = objects["Deployment/shop"]["spec"]["template"]["spec"]["initContainers"][0]["env"]
    assert {"name": "WAIT_PORT", "value": "7654"} in waits
    assert ":7654" in secret(objects, sort)["CONNECTION_URL"]


def test_further_ports_are_on_the_service() -> None:
    """Row 28: what the application is pointed at can be reached."""
    further = {
        "jaeger": [4317, 4318],
        "rabbitmq": [15672],
        "minio": [9001],
        "elasticsearch": [9300],
    }
    for sort, ports in further.items():
        told = children(type=sort)[f"Service/shop-{sort}"]["spec"]["ports"]
        assert [one["port"] for one in told][1:] == ports


def test_kafka_sends_clients_to_its_service() -> None:
    """Row 28: with the namespace, so that clients in another one follow too."""
    objects = children(type="kafka", port=9192)
    env = objects["Deployment/shop-kafka"]["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {one["name"]: one["value"] for one in env}
    assert told["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://shop-kafka.default.svc:9192"
    assert told["KAFKA_LISTENERS"] == "PLAINTEXT://:9192,CONTROLLER://:9093"
    assert len(base64.urlsafe_b64decode(told["CLUSTER_ID"] + "==")) == 16


def container_of(sort: str, **dependency: Any) -> Obj:
    template = children(type=sort, **dependency)[f"Deployment/shop-{sort}"]["spec"]["template"]
    container: Obj = template["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("port", [{}, {"port": 7654}])
def test_redis_with_a_volume_writes_everything_down(port: dict[str, int]) -> None:
    """Without a volume it has nothing to write to, and the image's own command is run."""
    assert container_of("redis", storageSize="1Gi", **port)["args"][-2:] == ["--appendonly", "yes"]
    assert "--appendonly" not in container_of("redis", **port).get("args", [])


@pytest.mark.parametrize("sort", [one for one in DEPENDENCY_TYPES if SERVICES[one].storage])
def test_data_lie_in_a_folder_of_the_volume(sort: str) -> None:
    """The root of a new volume may hold `lost+found`, and MySQL begins in an empty folder only."""
    [mount] = container_of(sort, storageSize="1Gi")["volumeMounts"]
    assert mount["subPath"] == "data"


@pytest.mark.parametrize(
    ("sort", "name", "meant"),
    [
        ("postgres", "POSTGRES_PASS", "POSTGRES_PASSWORD"),
        ("postgres", "POSTGRE_PASSWORD", "POSTGRES_PASSWORD"),
        ("rabbitmq", "RABBITMQ_DEFAULT_PASSWORD", "RABBITMQ_DEFAULT_PASS"),
        ("vault", "VAULT_DEV_ROOT_TOKEN", "VAULT_DEV_ROOT_TOKEN_ID"),
        ("postgres", "POSTGRES_PASSWORD", ""),
        ("postgres", "POSTGRES_PASSWORD_FILE", ""),
        ("postgres", "POSTGRES_INITDB_ARGS", ""),
        ("postgres", "PGPASSWORD", ""),
        ("mysql", "MYSQL_RANDOM_ROOT_PASSWORD", ""),
        ("mysql", "MYSQL_ROOT_HOST", ""),
        ("rabbitmq", "RABBITMQ_DEFAULT_VHOST", ""),
        ("rabbitmq", "RABBITMQ_DEFAULT_USER_TAGS", ""),
        ("mongodb", "MONGO_INITDB_DATABASE", ""),
        ("influxdb", "DOCKER_INFLUXDB_INIT_RETENTION", ""),
        ("redis", "REDIS_PASSWORD", ""),
    ],
)
def test_a_misspelt_credential_is_known_from_what_images_know_besides(
    sort: str, name: str, meant: str
) -> None:
    assert nearest_credential(sort, name) == meant


def test_the_console_of_minio_is_always_at_one_port() -> None:
    for port in ({}, {"port": 7654}):
        args = container_of("minio", **port)["args"]
        assert args[args.index("--console-address") + 1] == ":9001"


def test_cassandra_is_in_the_datacenter_that_it_is_told() -> None:
    """Clients must name it, and the image's own snitch calls it `datacenter1` whatever is said."""
    told = {one["name"]: one["value"] for one in container_of("cassandra")["env"]}
    assert told["CASSANDRA_DC"] == "dc1"
    assert told["CASSANDRA_ENDPOINT_SNITCH"] == "GossipingPropertyFileSnitch"


def test_jaeger_takes_traces_from_other_pods() -> None:
    told = {one["name"]: one["value"] for one in container_of("jaeger")["env"]}
    assert told["COLLECTOR_OTLP_GRPC_HOST_PORT"] == "0.0.0.0:4317"
    assert told["COLLECTOR_OTLP_HTTP_HOST_PORT"] == "0.0.0.0:4318"


@pytest.mark.parametrize("sort", DEPENDENCY_TYPES)
def test_images_have_tags(sort: str) -> None:
    assert SERVICES[sort].tag not in ("", "latest")
    image = children(type=sort, version="1.2")[f"Deployment/shop-{sort}"]["spec"]["template"]
    assert image["spec"]["containers"][0]["image"] == f"{SERVICES[sort].repository}:1.2"


@pytest.mark.parametrize("sort", DEPENDENCY_TYPES)
def test_the_objects_of_each_type(sort: str, snapshot: SnapshotAssertion) -> None:
    """Once as it comes, once with everything changed that a user can change."""
    full = {
        "port": 7654,
        "storageSize": "2Gi",
        "resources": {"cpuRequest": "50m", "memoryLimit": "1Gi"},
        "env": [{"name": "EXTRA", "value": "yes"}],
    }
    if SERVICES[sort].storage is None:
        del full["storageSize"]
    for extra in ({}, full):
        objects = children(type=sort, **extra)
        assert [line for one in objects.values() for line in refusals(one)] == []
        shown = [one for name, one in objects.items() if f"shop-{sort}" in name]
        assert yaml.dump_all(shown, sort_keys=False, Dumper=_Plain) == snapshot


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - a hook of the library's
        return True
