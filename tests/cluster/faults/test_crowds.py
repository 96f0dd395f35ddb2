"""Many objects, many watches, and watches that take nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp

from tests.cluster.faults.bed import MAPS, PODS, Bed, Client, config_map

MIB = 1 << 20


def waiting_pod(name: str) -> dict[str, Any]:
    """One that no node takes."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"crowd": "yes"}},
        "spec": {
            "nodeSelector": {"there-is": "none"},
            "containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "1"]}],
        },
    }


def test_a_thousand_pods_are_listed_watched_and_described_quickly(bed: Bed) -> None:
    def make(first: int) -> None:
        with bed.client() as client:
            for number in range(first, 1000, 4):
                client.json("POST", PODS, waiting_pod(f"p{number}"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))

    def timed(path: str, client: Client, accept: str = "application/json") -> tuple[float, Any]:
        began = time.monotonic()
        status, said = client.call("GET", path, None, {"Accept": accept})
        assert status == 200
        return time.monotonic() - began, json.loads(said)

    with bed.client() as client:
        took, found = timed(PODS, client)
        assert (len(found["items"]), took < 2.0) == (1000, True), took
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        took, found = timed(PODS, client, table)
        assert (len(found["rows"]), took < 2.0) == (1000, True), took
        took, found = timed(f"{PODS}?limit=100&labelSelector=crowd%3Dyes", client)
        assert (len(found["items"]), took < 1.0) == (100, True), took
        assert found["metadata"]["continue"]
        # As `kubectl describe` asks: the pod, and its events.
        took, found = timed(f"{PODS}/p500", client)
        assert took < 0.5, took
        event = "involvedObject.name%3Dp500"
        took, found = timed(f"/api/v1/namespaces/default/events?fieldSelector={event}", client)
        assert took < 1.0, took
        began = time.monotonic()
        events = client.lines(f"{PODS}?watch=1&resourceVersion=0")
        assert {next(events)["type"] for _ in range(1000)} == {"ADDED"}
        assert time.monotonic() - began < 3.0
    assert bed.memory() < 500 * MIB


def test_two_hundred_watches_hear_of_a_change_at_once(bed: Bed) -> None:
    async def crowd() -> float:
        connector = aiohttp.TCPConnector(limit=0, ssl=bed.tls())
        base = f"https://127.0.0.1:{bed.port}"
        async with aiohttp.ClientSession(connector=connector) as session:
            version = (await (await session.get(base + MAPS)).json())["metadata"]["resourceVersion"]
            path = f"{base}{MAPS}?watch=1&resourceVersion={version}"
            answers = [await session.get(path) for _ in range(200)]
            began = time.monotonic()
            async with session.post(base + MAPS, json=config_map("news")) as answer:
                assert answer.status == 201

            async def first(answer: aiohttp.ClientResponse) -> str:
                while True:
                    event = json.loads(await answer.content.readline())
                    if event["object"]["metadata"]["name"] == "news":
                        return str(event["type"])

            heard = await asyncio.gather(*map(first, answers))
            assert set(heard) == {"ADDED"}
            took = time.monotonic() - began
            for answer in answers:
                answer.close()
            return took

    before = bed.memory()
    assert asyncio.run(asyncio.wait_for(crowd(), 60)) < 3.0
    assert bed.memory() - before < 60 * MIB


def test_watches_that_take_nothing_hold_up_nobody_and_fill_no_memory(bed: Bed) -> None:
    """Twenty clients stop reading while large objects change again and again; one goes on."""
    stuck = []
    for _ in range(20):
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", bed.port))
        sock = bed.tls().wrap_socket(plain, server_hostname="127.0.0.1")
        sock.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        assert sock.recv(12).startswith(b"HTTP/1.1 200")
        stuck.append(sock)
    heard: list[str] = []

    def follow() -> None:
        with bed.client() as client:
            for event in client.lines(f"{MAPS}?watch=1"):
                heard.append(event["object"].get("data", {}).get("number", ""))
                if heard[-1] == "299":
                    return

    reader = threading.Thread(target=follow)
    reader.start()
    with bed.client() as client:
        client.json("POST", MAPS, config_map("much", x="", number="-"))
        before = bed.memory()
        for number in range(300):
            body = config_map("much", x="a" * 200_000, number=str(number))
            began = time.monotonic()
            client.json("PUT", f"{MAPS}/much", body)
            assert time.monotonic() - began < 2.0
    reader.join(20)
    assert heard[-1] == "299"
    # 60 MB of changes, which the history holds once and not for each of the watches.
    assert bed.memory() - before < 250 * MIB
    for sock in stuck:
        sock.close()
