"""The fifteen backing services.

Images, ports, variables and URLs are upstream's (kindling-sh/kindling, its dependency table), with
its defects mended. Each image has a tag. How a port is moved is what each image documents:

    postgres       PGPORT is read by the server and by the image's entry point
    redis          `redis-server --port`
    mysql          MYSQL_TCP_PORT, which MariaDB reads too
    mongodb        `mongod --port`
    rabbitmq       RABBITMQ_NODE_PORT; the port between nodes would follow it, and is held
    minio          `minio server --address`
    elasticsearch  http.port
    kafka          its listener, which it also has to advertise
    nats           `nats-server -p`, over the file in the image
    memcached      `memcached -p`
    cassandra      the property cassandra.native_transport_port, by JVM_EXTRA_OPTS
    consul         `consul agent -http-port`
    vault          VAULT_DEV_LISTEN_ADDRESS
    influxdb       INFLUXD_HTTP_BIND_ADDRESS
    jaeger         `--query.http-server.host-port`

Readiness is asked over the network, so that a service which is still setting itself up behind a
local socket is not taken for ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kindling.operator.backing.service import (
    BackingService,
    Port,
    Probe,
    Random,
    Setting,
    Storage,
)

__all__ = ["SERVICES"]


def _kept(name: str, value: str | Random) -> Setting:
    return Setting(name, value, kept=True)


_KAFKA_CLUSTER = "a2luZGxpbmctZGV2LWthZg"
"""Sixteen bytes in base64, as Kafka wants the id of a cluster."""

_ROWS = (
    BackingService(
        type="postgres",
        repository="postgres",
        tag="16.4",
        port=5432,
        variable="DATABASE_URL",
        url="postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{host}:{port}/{POSTGRES_DB}"
        "?sslmode=disable",
        settings=(
            _kept("POSTGRES_USER", "devuser"),
            _kept("POSTGRES_PASSWORD", Random.PASSWORD),
            _kept("POSTGRES_DB", "devdb"),
        ),
        moved_settings=(Setting("PGPORT", "{port}"),),
        # A folder within the volume, since initdb wants an empty one; its parent is not the one
        # that images from 18 on refuse to find mounted.
        storage=Storage(
            "/var/lib/postgresql/kindling",
            (Setting("PGDATA", "/var/lib/postgresql/kindling/pgdata"),),
        ),
    ),
    BackingService(
        type="redis",
        repository="redis",
        tag="7.4.1",
        port=6379,
        variable="REDIS_URL",
        url="redis://{host}:{port}/0",
        moved_args=("redis-server", "--port", "{port}"),
        # Else it writes only now and then, and what came since is lost with the pod.
        storage=Storage("/data", args=("--appendonly", "yes")),
    ),
    BackingService(
        type="mysql",
        repository="mysql",
        tag="8.4.3",
        port=3306,
        variable="DATABASE_URL",
        url="mysql://{MYSQL_USER}:{MYSQL_PASSWORD}@{host}:{port}/{MYSQL_DATABASE}",
        settings=(
            _kept("MYSQL_ROOT_PASSWORD", Random.PASSWORD),
            _kept("MYSQL_DATABASE", "devdb"),
            _kept("MYSQL_USER", "devuser"),
            _kept("MYSQL_PASSWORD", Random.PASSWORD),
        ),
        moved_settings=(Setting("MYSQL_TCP_PORT", "{port}"),),
        reserved=frozenset({33060}),
        storage=Storage("/var/lib/mysql"),
    ),
    BackingService(
        type="mongodb",
        repository="mongo",
        tag="7.0.15",
        port=27017,
        variable="MONGO_URL",
        url="mongodb://{MONGO_INITDB_ROOT_USERNAME}:{MONGO_INITDB_ROOT_PASSWORD}@{host}:{port}",
        settings=(
            _kept("MONGO_INITDB_ROOT_USERNAME", "devuser"),
            _kept("MONGO_INITDB_ROOT_PASSWORD", Random.PASSWORD),
        ),
        moved_args=("mongod", "--port", "{port}"),
        storage=Storage("/data/db"),
    ),
    BackingService(
        type="rabbitmq",
        repository="rabbitmq",
        tag="3.13.7-management",
        port=5672,
        variable="AMQP_URL",
        url="amqp://{RABBITMQ_DEFAULT_USER}:{RABBITMQ_DEFAULT_PASS}@{host}:{port}/",
        settings=(
            _kept("RABBITMQ_DEFAULT_USER", "devuser"),
            _kept("RABBITMQ_DEFAULT_PASS", Random.PASSWORD),
        ),
        moved_settings=(
            Setting("RABBITMQ_NODE_PORT", "{port}"),
            Setting("RABBITMQ_DIST_PORT", "25672"),
        ),
        ports=(Port("management", 15672),),
        reserved=frozenset({4369, 15692, 25672}),
        # The data's folder is named after the node, and so after the host: held, or each pod
        # would begin anew.
        storage=Storage("/var/lib/rabbitmq", (Setting("RABBITMQ_NODENAME", "rabbit@localhost"),)),
    ),
    BackingService(
        type="minio",
        repository="minio/minio",
        tag="RELEASE.2024-10-13T13-34-11Z",
        port=9000,
        variable="S3_ENDPOINT",
        url="http://{host}:{port}",
        settings=(
            _kept("MINIO_ROOT_USER", "minioadmin"),
            _kept("MINIO_ROOT_PASSWORD", Random.PASSWORD),
        ),
        args=("server", "/data", "--console-address", ":9001"),
        moved_args=("server", "/data", "--console-address", ":9001", "--address", ":{port}"),
        exports=(
            ("S3_ACCESS_KEY", "{MINIO_ROOT_USER}"),
            ("S3_SECRET_KEY", "{MINIO_ROOT_PASSWORD}"),
        ),
        ports=(Port("console", 9001),),
        probe=Probe("/minio/health/ready"),
        storage=Storage("/data"),
    ),
    BackingService(
        type="elasticsearch",
        repository="docker.elastic.co/elasticsearch/elasticsearch",
        tag="8.12.0",
        port=9200,
        variable="ELASTICSEARCH_URL",
        url="http://{host}:{port}",
        settings=(
            Setting("discovery.type", "single-node"),
            Setting("xpack.security.enabled", "false"),
            Setting("ES_JAVA_OPTS", "-Xms256m -Xmx256m"),
            # Else it takes no writes while the node's disk is nearly full, whatever needs the room.
            Setting("cluster.routing.allocation.disk.threshold_enabled", "false"),
        ),
        moved_settings=(Setting("http.port", "{port}"), Setting("transport.port", "9300")),
        ports=(Port("transport", 9300),),
        probe=Probe("/_cluster/health?local=true"),
        storage=Storage("/usr/share/elasticsearch/data", group=1000),
    ),
    BackingService(
        type="kafka",
        repository="apache/kafka",
        tag="3.8.0",
        port=9092,
        variable="KAFKA_BROKER_URL",
        url="{host}:{port}",
        settings=(
            Setting("KAFKA_NODE_ID", "1"),
            Setting("KAFKA_PROCESS_ROLES", "broker,controller"),
            Setting("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
            Setting("KAFKA_LISTENERS", "PLAINTEXT://:{port},CONTROLLER://:9093"),
            # Without it clients are sent to the pod's own name, which nobody can resolve.
            Setting("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://{address}:{port}"),
            Setting(
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"
            ),
            Setting("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            # One broker cannot hold the three copies that are the default.
            Setting("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            Setting("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
            Setting("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
            # Of Kafka 4 on; earlier releases pass over them.
            Setting("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
            Setting("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
            Setting("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            Setting("CLUSTER_ID", _KAFKA_CLUSTER),
        ),
        reserved=frozenset({9093}),
        storage=Storage(
            "/var/lib/kafka/data",
            (Setting("KAFKA_LOG_DIRS", "/var/lib/kafka/data/logs"),),
            group=1000,
        ),
    ),
    BackingService(
        type="nats",
        repository="nats",
        tag="2.10.22",
        port=4222,
        variable="NATS_URL",
        url="nats://{host}:{port}",
        moved_args=("-p", "{port}"),
    ),
    BackingService(
        type="memcached",
        repository="memcached",
        tag="1.6.32",
        port=11211,
        variable="MEMCACHED_URL",
        url="{host}:{port}",
        moved_args=("memcached", "-p", "{port}"),
    ),
    BackingService(
        type="cassandra",
        repository="cassandra",
        tag="4.1.7",
        port=9042,
        variable="CASSANDRA_URL",
        url="{host}:{port}",
        settings=(
            Setting("CASSANDRA_CLUSTER_NAME", "DevCluster"),
            Setting("CASSANDRA_DC", "dc1"),
            # The one that reads CASSANDRA_DC; with the image's own it is always datacenter1.
            Setting("CASSANDRA_ENDPOINT_SNITCH", "GossipingPropertyFileSnitch"),
            Setting("MAX_HEAP_SIZE", "256M"),
            Setting("HEAP_NEWSIZE", "64M"),
        ),
        moved_settings=(Setting("JVM_EXTRA_OPTS", "-Dcassandra.native_transport_port={port}"),),
        reserved=frozenset({7000, 7001, 7199}),
        storage=Storage("/var/lib/cassandra"),
    ),
    BackingService(
        type="consul",
        repository="hashicorp/consul",
        tag="1.20.1",
        port=8500,
        variable="CONSUL_HTTP_ADDR",
        url="http://{host}:{port}",
        args=("agent", "-dev", "-client=0.0.0.0"),
        moved_args=("agent", "-dev", "-client=0.0.0.0", "-http-port={port}"),
        reserved=frozenset({8300, 8301, 8302, 8502, 8503, 8600}),
        # Without a leader it answers this with an error, other than /v1/status/leader.
        probe=Probe("/v1/catalog/nodes"),
    ),
    BackingService(
        type="vault",
        repository="hashicorp/vault",
        tag="1.18.1",
        port=8200,
        variable="VAULT_ADDR",
        url="http://{host}:{port}",
        settings=(
            _kept("VAULT_DEV_ROOT_TOKEN_ID", Random.TOKEN),
            Setting("VAULT_DEV_LISTEN_ADDRESS", "0.0.0.0:{port}"),
        ),
        args=("server", "-dev"),
        exports=(("VAULT_TOKEN", "{VAULT_DEV_ROOT_TOKEN_ID}"),),
        reserved=frozenset({8201}),
        probe=Probe("/v1/sys/health"),
    ),
    BackingService(
        type="influxdb",
        repository="influxdb",
        tag="2.7.10",
        port=8086,
        variable="INFLUXDB_URL",
        url="http://{DOCKER_INFLUXDB_INIT_USERNAME}:{DOCKER_INFLUXDB_INIT_PASSWORD}@{host}:{port}",
        settings=(
            Setting("DOCKER_INFLUXDB_INIT_MODE", "setup"),
            _kept("DOCKER_INFLUXDB_INIT_USERNAME", "devuser"),
            _kept("DOCKER_INFLUXDB_INIT_PASSWORD", Random.PASSWORD),
            _kept("DOCKER_INFLUXDB_INIT_ORG", "devorg"),
            _kept("DOCKER_INFLUXDB_INIT_BUCKET", "devbucket"),
            _kept("DOCKER_INFLUXDB_INIT_ADMIN_TOKEN", Random.TOKEN),
        ),
        moved_settings=(Setting("INFLUXD_HTTP_BIND_ADDRESS", ":{port}"),),
        exports=(
            ("INFLUXDB_ORG", "{DOCKER_INFLUXDB_INIT_ORG}"),
            ("INFLUXDB_BUCKET", "{DOCKER_INFLUXDB_INIT_BUCKET}"),
            ("INFLUXDB_TOKEN", "{DOCKER_INFLUXDB_INIT_ADMIN_TOKEN}"),
        ),
        # Where the image's entry point serves while it sets the server up.
        reserved=frozenset({9999}),
        probe=Probe("/health"),
        storage=Storage("/var/lib/influxdb2"),
    ),
    BackingService(
        type="jaeger",
        repository="jaegertracing/all-in-one",
        tag="1.62.0",
        port=16686,
        variable="JAEGER_ENDPOINT",
        url="http://{host}:{port}",
        settings=(
            Setting("COLLECTOR_OTLP_ENABLED", "true"),
            # Told, since receivers of OpenTelemetry listen on localhost alone by now.
            Setting("COLLECTOR_OTLP_GRPC_HOST_PORT", "0.0.0.0:4317"),
            Setting("COLLECTOR_OTLP_HTTP_HOST_PORT", "0.0.0.0:4318"),
        ),
        moved_args=("--query.http-server.host-port=:{port}",),
        exports=(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://{host}:4317"),),
        ports=(Port("otlp-grpc", 4317), Port("otlp-http", 4318)),
        reserved=frozenset({5778, 9411, 14250, 14268, 14269, 16685}),
        probe=Probe("/"),
    ),
)

SERVICES: Mapping[str, BackingService] = MappingProxyType({row.type: row for row in _ROWS})
"""By type."""
