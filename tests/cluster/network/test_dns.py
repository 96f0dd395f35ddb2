"""The cluster's names mean what the Kubernetes DNS specification says."""

from __future__ import annotations

import asyncio

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.cluster.network.dns import DnsServer
from tests.cluster.network.conftest import Town


@pytest.fixture
async def server(town: Town) -> DnsServer:
    await town.service("web", clusterIP="10.198.3.4", ports=[{"name": "http", "port": 80}])
    await town.service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432}])
    await town.behind("db", "db-0/10.199.0.5", "db-1/10.199.0.6", sql=5432)
    await town.service("empty", clusterIP="None", ports=[{"port": 1}])
    await town.service("far", type="ExternalName", externalName="web.default.svc.cluster.local")
    await town.service("away", type="ExternalName", externalName="example.com")
    return DnsServer(town.api, town.runtime, "10.198.0.10", upstream=())


async def ask(server: DnsServer, name: str, kind: str = "A") -> dns.message.Message:
    data = await server.answer(dns.message.make_query(name, kind).to_wire(), 1232)
    assert data is not None
    return dns.message.from_wire(data)


def values(message: dns.message.Message) -> list[str]:
    return sorted(item.to_text() for rrset in message.answer for item in rrset)


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("web.default.svc.cluster.local", "A", ["10.198.3.4"]),
        ("WEB.Default.svc.Cluster.LOCAL.", "A", ["10.198.3.4"]),
        ("web.default.svc.cluster.local", "AAAA", []),
        ("db.default.svc.cluster.local", "A", ["10.199.0.5", "10.199.0.6"]),
        ("db-1.db.default.svc.cluster.local", "A", ["10.199.0.6"]),
        (
            "_http._tcp.web.default.svc.cluster.local",
            "SRV",
            ["0 100 80 web.default.svc.cluster.local."],
        ),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            "SRV",
            [
                "0 50 5432 db-0.db.default.svc.cluster.local.",
                "0 50 5432 db-1.db.default.svc.cluster.local.",
            ],
        ),
        ("far.default.svc.cluster.local", "A", ["10.198.3.4", "web.default.svc.cluster.local."]),
        ("away.default.svc.cluster.local", "A", ["example.com."]),
        ("10-199-0-7.default.pod.cluster.local", "A", ["10.199.0.7"]),
        ("5.0.199.10.in-addr.arpa", "PTR", ["db-0.db.default.svc.cluster.local."]),
        ("4.3.198.10.in-addr.arpa", "PTR", ["web.default.svc.cluster.local."]),
        ("default.svc.cluster.local", "A", []),
    ],
)
async def test_names_that_exist(server: DnsServer, name: str, kind: str, found: list[str]) -> None:
    answer = await ask(server, name, kind)
    assert (answer.rcode(), values(answer)) == (dns.rcode.NOERROR, found)


@pytest.mark.parametrize(
    "name",
    [
        "nothing.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "x.web.default.svc.cluster.local",
        "db-7.db.default.svc.cluster.local",
        "empty.default.svc.cluster.local",
        "_ftp._tcp.web.default.svc.cluster.local",
        "300-1-1-1.default.pod.cluster.local",
        "web.default.cluster.local",
        "example.com",  # no resolver is known here
    ],
)
async def test_names_that_do_not_exist(server: DnsServer, name: str) -> None:
    answer = await ask(server, name)
    assert (answer.rcode(), values(answer)) == (dns.rcode.NXDOMAIN, [])


async def test_a_long_answer_says_that_it_was_cut(town: Town) -> None:
    await town.service("many", clusterIP="None", ports=[{"port": 1}])
    await town.behind("many", *[f"10.199.{n // 250}.{n % 250}" for n in range(400)], unnamed=1)
    server = DnsServer(town.api, town.runtime, "10.198.0.10", upstream=())
    query = dns.message.make_query("many.default.svc.cluster.local", "A")
    short = await server.answer(query.to_wire(), 512)
    assert short is not None
    assert len(short) <= 512
    assert dns.message.from_wire(short).flags & dns.flags.TC
    long = await server.answer(query.to_wire(), 65535)
    assert long is not None
    assert len(values(dns.message.from_wire(long))) == 400


@given(st.binary(max_size=200))
def test_no_bytes_bring_the_server_down(data: bytes) -> None:
    class Nothing:
        """An API without objects."""

        def get(self, *_: object) -> None:
            return None

        def select(self, *_: object) -> list[object]:
            return []

    server = DnsServer(Nothing(), None, "10.198.0.10", upstream=())  # type: ignore[arg-type]
    answer = asyncio.run(server.answer(data, 1232))
    assert answer is None or len(answer) >= 12
