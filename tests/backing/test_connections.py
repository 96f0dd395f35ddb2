"""Applications reach real backing services with the injected variable and nothing else.

Postgres and redis run wherever the kit's images are; the others where somebody made their images
from Debian's packages, see tests/backing/images.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from kindling.kube.protocol import Cluster
from tests.backing.stage import stand
from tests.images import need

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ODD = "a/b:c@d?e#f%20g&h=i j+k'l"
"""A password of characters that mean something in a URL."""


@dataclass(frozen=True, slots=True)
class Backing:
    """A service whose image can be had: what is said of it, and how it is changed."""

    type: str
    variable: str
    image: str
    said: dict[str, Any]
    env: dict[str, str] = field(default_factory=dict)
    """Credentials that need encoding."""
    keeps: bool = False
    """It has what was written also after its pod was replaced, given a volume."""


def _debian(sort: str) -> dict[str, Any]:
    return {"image": f"kindling-test-{sort}:debian"}


BACKINGS = (
    Backing(
        "postgres",
        "DATABASE_URL",
        "postgres:15",
        {"version": "15"},
        {"POSTGRES_USER": "dev@home", "POSTGRES_PASSWORD": ODD, "POSTGRES_DB": "my db/1"},
        keeps=True,
    ),
    Backing("redis", "REDIS_URL", "redis:7", {"version": "7"}, keeps=True),
    Backing(
        "mysql",
        "DATABASE_URL",
        "kindling-test-mysql:debian",
        _debian("mysql"),
        {"MYSQL_USER": "dev:home", "MYSQL_PASSWORD": ODD, "MYSQL_DATABASE": "my db"},
        keeps=True,
    ),
    Backing(
        "rabbitmq",
        "AMQP_URL",
        "kindling-test-rabbitmq:debian",
        _debian("rabbitmq"),
        {"RABBITMQ_DEFAULT_USER": "dev@home", "RABBITMQ_DEFAULT_PASS": ODD},
        keeps=True,
    ),
    Backing("nats", "NATS_URL", "kindling-test-nats:debian", _debian("nats")),
    Backing("memcached", "MEMCACHED_URL", "kindling-test-memcached:debian", _debian("memcached")),
)

each = pytest.mark.parametrize("backing", BACKINGS, ids=lambda one: one.type)


@each
async def test_what_is_written_is_read(cluster: Cluster, ns: str, backing: Backing) -> None:
    """With nothing told but the type: the port is the usual one, the credentials are drawn."""
    need(backing.image)
    stage = await stand(cluster, ns, {"type": backing.type, **backing.said})
    await stage.call("write", backing.type, backing.variable, "hello")
    if backing.type != "nats":
        assert await stage.call("read", backing.type, backing.variable) == "hello"


@each
async def test_with_another_port_and_credentials_data_outlive_the_pod(
    cluster: Cluster, ns: str, backing: Backing
) -> None:
    """Rows 27, 29 and 39."""
    need(backing.image)
    changed: dict[str, Any] = {"type": backing.type, **backing.said, "port": 7654}
    changed["env"] = [{"name": name, "value": value} for name, value in backing.env.items()]
    if backing.keeps:
        changed["storageSize"] = "64Mi"
    stage = await stand(cluster, ns, changed)
    url = (await stage.variables())[backing.variable]
    assert urlsplit(url if "://" in url else f"//{url}").port == 7654
    assert not any(value in url for value in backing.env.values())
    await stage.call("write", backing.type, backing.variable, "kept")
    if backing.keeps:
        await stage.renew(backing.type)
        assert await stage.call("read", backing.type, backing.variable) == "kept"
