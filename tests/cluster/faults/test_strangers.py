"""Requests that mean harm, over the real socket with its TLS: refused, or dropped, and nobody else
is the worse for it. Who shows no credentials learns nothing."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import socket
import ssl
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from kindling.cluster import daemon
from tests.cluster.faults.bed import MAPS, PODS, Bed, config_map, eventually

JSON = {"Content-Type": "application/json"}
MIB = 1 << 20


@contextmanager
def unharmed(bed: Bed, memory: int = 150 * MIB) -> Iterator[None]:
    """It answers as before, and has grown by `memory` bytes at most."""
    before = bed.memory()
    yield
    with bed.client(timeout=5) as client:
        assert client.call("GET", "/readyz")[0] == 200
        assert client.call("GET", MAPS)[0] == 200
    assert bed.memory() - before < memory


def raw(bed: Bed, data: bytes, *, certificate: bool = True, wait: float = 0.3) -> bytes:
    """What is answered within a while to bytes as they are."""
    said = b""
    with (
        socket.create_connection(("127.0.0.1", bed.port), timeout=5) as plain,
        bed.tls(certificate=certificate).wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        try:
            sock.sendall(data)
            sock.settimeout(wait)
            while piece := sock.recv(65536):
                said += piece
        except OSError:
            pass
    return said


def every_path(bed: Bed) -> list[str]:
    paths = ["/", "/api", "/apis", "/version", "/healthz", "/livez", "/readyz", "/metrics"]
    paths += ["/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/.well-known/openid-configuration"]
    paths += ["/nothing", "/api/v1/nothing", "/..%2f..%2fetc/passwd", "/api/v1/namespaces/%00"]
    lists = [bed.get("/api/v1")]
    for group in bed.get("/apis")["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        paths.append(f"/apis/{version}")
        lists.append(bed.get(f"/apis/{version}"))
    for found in lists:
        version = found["groupVersion"]
        base = "/api/v1" if version == "v1" else f"/apis/{version}"
        for resource in found["resources"]:
            plural, _, subresource = resource["name"].partition("/")
            inside = "/namespaces/default" if resource["namespaced"] else ""
            end = f"/x/{subresource}" if subresource else ""
            paths.append(f"{base}{inside}/{plural}{end}")
    return paths


def test_without_credentials_everything_is_401(shared: Bed) -> None:
    paths = every_path(shared)
    assert len(paths) > 100
    with shared.client(certificate=False) as client:
        for path in paths:
            for method in ("GET", "POST", "DELETE") if path.count("/") > 3 else ("GET",):
                status, said = client.call(method, path, b"{}" if method == "POST" else None, JSON)
                assert (status, json.loads(said)["reason"]) == (401, "Unauthorized"), path
        for token in ("", "x", "a.b.c", "Bearer", "\xff" * 9, "e30.e30.e30"):
            headers = {"Authorization": f"Bearer {token}"}
            assert client.call("GET", "/version", None, headers)[0] == 401


@pytest.mark.parametrize("what", ["exec?command=sh", "attach?stdout=1", "portforward?ports=80"])
def test_a_websocket_without_credentials_is_refused(shared: Bed, what: str) -> None:
    head = (
        f"GET {PODS}/x/{what} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n"
        "connection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: "
        f"{base64.b64encode(bytes(16)).decode()}\r\n"
        "sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n"
    )
    assert raw(shared, head.encode(), certificate=False).startswith(b"HTTP/1.1 401")


def test_another_authoritys_certificate_is_no_credential(shared: Bed, tmp_path: object) -> None:
    from pathlib import Path

    from kindling.cluster.pki.authority import Authority

    other = Authority(Path(str(tmp_path)) / "pki", names=["x"])
    context = ssl.create_default_context(cafile=str(shared.home.pki / "ca.crt"))
    context.load_cert_chain(str(other.admin_certificate), str(other.admin_key))
    said = b"HTTP/1.1 401, or the connection ends"
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", shared.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n")
        said = sock.recv(65536) or said
    assert said.startswith(b"HTTP/1.1 401")


def test_the_doors_listen_on_this_machine_alone_and_files_are_the_owners(shared: Bed) -> None:
    listening = set()
    inodes = {
        os.readlink(f"/proc/{shared.pid}/fd/{name}")
        for name in os.listdir(f"/proc/{shared.pid}/fd")
        if os.path.lexists(f"/proc/{shared.pid}/fd/{name}")
    }
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{shared.pid}/net/{table}") as file:
            for line in list(file)[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    listening.add(fields[1].partition(":")[0])
    assert listening == {"0100007F"}
    engine = shared.home.engine_socket
    assert stat.S_IMODE(engine.stat().st_mode) == 0o600
    assert stat.S_IMODE(engine.parent.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(shared.home.folder.stat().st_mode) == 0o700
    for path in [*shared.home.pki.iterdir(), shared.home.kubeconfig]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_half_open_and_slow_connections_harm_nobody(shared: Bed) -> None:
    with unharmed(shared), ExitStack() as stack:
        for number in range(300):
            sock = socket.create_connection(("127.0.0.1", shared.port), timeout=5)
            stack.callback(sock.close)
            if number % 3 == 1:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a greeting
            elif number % 3 == 2:
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")  # no TLS at all
        for _ in range(30):
            plain = socket.create_connection(("127.0.0.1", shared.port), timeout=5)
            slow = shared.tls().wrap_socket(plain, server_hostname="127.0.0.1")
            stack.callback(slow.close)
            slow.sendall(b"POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: ")
        began = time.monotonic()
        shared.get(MAPS)
        assert time.monotonic() - began < 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets us set a process's limits")
def test_more_connections_than_it_may_have_files_are_outlived(shared: Bed) -> None:
    import resource

    files = len(os.listdir(f"/proc/{shared.pid}/fd"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    was = resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, (files + 50, hard))
    try:
        with ExitStack() as stack:
            for _ in range(200):
                sock = socket.create_connection(("127.0.0.1", shared.port), timeout=5)
                stack.callback(sock.close)
            eventually(lambda: len(os.listdir(f"/proc/{shared.pid}/fd")) >= files + 50)
        with unharmed(shared), shared.client() as client:
            client.json("POST", MAPS, config_map("after-the-flood"))
    finally:
        resource.prlimit(shared.pid, resource.RLIMIT_NOFILE, was)


BODIES = {
    "nothing": b"",
    "cut": b'{"apiVersion":"v1","kind":"Conf',
    "no utf-8": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"\xff\xfe"}}',
    "a lone surrogate": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"\\ud800"}}',
    "a zero": b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a\\u0000b"}}',
    "deep": b'{"data":' * 200_000,
    "closed deep": b'{"data":' * 200_000 + b"1" + b"}" * 200_000,
    "a long number": b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"generation":1e99999}}',
    "many digits": b'{"metadata":{"generation":' + b"9" * 500_000 + b"}}",
    "too large": b'{"data":{"x":"' + b"a" * (4 * MIB) + b'"}}',
    "a million keys": b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bodies_that_mean_harm_are_refused(shared: Bed, body: bytes) -> None:
    with unharmed(shared), shared.client() as client:
        for kind in ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf"):
            try:
                status, said = client.call("POST", MAPS, body, {"Content-Type": kind})
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                break  # not read to the end, as it was too large
            assert 400 <= status < 500, said
            assert status != 401


def test_a_compressed_bomb_is_not_unpacked(shared: Bed) -> None:
    bomb = gzip.compress(b'{"data":{"x":"' + bytes(400 * MIB) + b'"}}', 9)
    with unharmed(shared), shared.client() as client:
        status, _ = client.call("POST", MAPS, bomb, {**JSON, "Content-Encoding": "gzip"})
        assert status in (400, 415)


def test_an_object_of_the_largest_size_is_kept_and_a_larger_one_is_not(shared: Bed) -> None:
    with unharmed(shared), shared.client() as client:
        client.json("POST", MAPS, config_map("large", x="a" * (1000 << 10)))
        status, _ = client.call(
            "POST", MAPS, json.dumps(config_map("larger", x="a" * (1100 << 10))).encode(), JSON
        )
        assert status in (413, 422)
        client.json("DELETE", f"{MAPS}/large")


def test_random_requests_are_answered_as_the_clients_fault(shared: Bed) -> None:
    dice = random.Random(20261121)
    parts = ["api", "apis", "v1", "apps", "namespaces", "default", "pods", "configmaps", "log"]
    parts += ["..", "%2e%2e", "%00", "%ff", "a" * 300, "", "*", "status", "scale", "exec", "proxy"]
    keys = ["watch", "limit", "continue", "labelSelector", "fieldSelector", "resourceVersion"]
    keys += ["dryRun", "fieldManager", "force", "timeoutSeconds", "command", "follow"]
    values = ["", "1", "-1", "9" * 30, "a in (", "!", "%00", "%ff", "true", "metadata.name=x", ",="]
    kinds = ["application/json-patch+json", "application/merge-patch+json", "text/plain", "x"]
    kinds += ["application/strategic-merge-patch+json", "application/apply-patch+yaml", *JSON]
    bodies = [b"", b"{}", b"[]", b"null", b'"x"', b'[{"op":"add","path":"/x"}]', b"\x00", b": - :"]
    with unharmed(shared), shared.client() as client:
        for _ in range(500):
            path = "/" + "/".join(dice.choices(parts, k=dice.randint(1, 7)))
            query = "&".join(
                f"{dice.choice(keys)}={dice.choice(values)}" for _ in range(dice.randint(0, 3))
            )
            status, said = client.call(
                dice.choice(["GET", "POST", "PUT", "PATCH", "OPTIONS", "HEAD"]),
                f"{path}?{query}&timeoutSeconds=1&watch=0".replace(" ", "%20"),
                dice.choice(bodies),
                {"Content-Type": dice.choice(kinds)},
            )
            assert status < 500 or b"NotImplemented" in said, (path, query, status, said)


def test_bytes_that_are_no_requests_are_dropped(shared: Bed) -> None:
    dice = random.Random(7)
    with unharmed(shared):
        for _ in range(30):
            said = raw(shared, dice.randbytes(dice.randint(1, 5000)) + b"\r\n\r\n", wait=0.05)
            assert not said or said.startswith(b"HTTP/1.1 4")


@pytest.mark.parametrize("door", ["registry", "ingress", "engine"])
def test_the_other_doors_outlive_bytes_that_are_no_requests(shared: Bed, door: str) -> None:
    settings = daemon.status(shared.home).settings
    dice = random.Random(11)
    with unharmed(shared):
        for number in range(30):
            with socket.socket(socket.AF_UNIX if door == "engine" else socket.AF_INET) as sock:
                sock.settimeout(0.05)
                if door == "engine":
                    sock.connect(str(shared.home.engine_socket))
                else:
                    port = getattr(settings, f"{door}_port")
                    sock.connect(("127.0.0.1", port))
                data = dice.randbytes(2000) if number % 2 else b"POST /build HTTP/1.1\r\n" * 9
                try:
                    sock.sendall(data + b"\r\n\r\n")
                    while sock.recv(65536):
                        pass
                except OSError:
                    continue
