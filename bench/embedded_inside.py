"""What the embedded cluster takes while it runs: processor time of 50 idle pods, memory, and the
way of a byte from pod to pod, by the pod's own address and by that of a Service."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from bench.embedded import IMAGE, Place
from bench.timing import Row, Table

__all__ = ["inside"]

_PODS, _IDLE_SECS, _TRIPS = 50, 10.0, 999

_SERVER = """
import socket, threading
def serve(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock:
        while data := sock.recv(1):
            sock.sendall(data)
with socket.create_server(("0.0.0.0", 9000)) as server:
    while True:
        threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
_CLIENT = """
import json, socket, sys, time
told = {}
for address in sys.argv[2:]:
    samples = []
    with socket.create_connection((address, 9000)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(int(sys.argv[1])):
            began = time.perf_counter()
            sock.sendall(b"x")
            sock.recv(1)
            samples.append(time.perf_counter() - began)
    told[address] = samples
print(json.dumps(told))
"""


def inside(table: Table, place: Place, pid: int, has_image: bool) -> None:
    """Add the sections; `pid` is the cluster's process."""
    place.kubectl("create", "namespace", place.namespace)
    try:
        _trips(table, place)
        if has_image:
            _idle(table, place, pid)
    finally:
        place.kubectl("delete", "namespace", place.namespace, "--wait=false")


def _trips(table: Table, place: Place) -> None:
    python = ("--image=kindling.dev/host", "--restart=Never", "--command", "--", "python3", "-c")
    place.kubectl("run", "echo", "--port=9000", "--expose", *python, _SERVER)
    place.kubectl("wait", "--for=condition=Ready", "pod/echo", "--timeout=30s")
    pod = place.kubectl("get", "pod", "echo", "-o", "jsonpath={.status.podIP}")
    service = place.kubectl("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")
    place.kubectl("run", "client", *python, _CLIENT, str(_TRIPS), pod, service)
    done = "--for=jsonpath={.status.phase}=Succeeded"
    place.kubectl("wait", done, "pod/client", "--timeout=60s")
    told = json.loads(place.kubectl("logs", "client"))
    rows = [Row("the pod's own address", tuple(told[pod]))]
    rows += [Row("its Service's address", tuple(told[service]))]
    table.section("one byte from pod to pod and back", rows)


def _idle(table: Table, place: Place, pid: int) -> None:
    place.kubectl("create", "deployment", "fifty", f"--image={IMAGE}", "--", "sleep", "1000")
    began = time.perf_counter()
    place.kubectl("scale", "deployment", "fifty", f"--replicas={_PODS}")
    place.kubectl("rollout", "status", "deployment", "fifty", "--timeout=120s")
    ready = time.perf_counter() - began
    time.sleep(5.0)
    before = _spent(pid)
    time.sleep(_IDLE_SECS)
    share = (_spent(pid) - before) / _IDLE_SECS
    resident = next(
        int(line.split()[1]) // 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    rows = [
        Row(f"kubectl scale to {_PODS} and all ready", (ready,)),
        Row("then", note=f"{share:.1%} of a processor, {resident} MB in memory"),
    ]
    table.section(f"{_PODS} pods that sleep, embedded", rows)


def _spent(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
