"""Liveness, readiness and startup, by every kind of probe."""

from __future__ import annotations

import socket

import pytest

from kindling.cluster.runtime.fake import FakeProcess
from tests.cluster.node.bed import Bed
from tests.cluster.node.servers import grpc_health, web

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SICK = "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"


class Health:
    """An exec probe's program that says what the test says."""

    def __init__(self) -> None:
        self.code = 0
        self.runs = 0

    async def __call__(self, process: FakeProcess) -> int:
        self.runs += 1
        process.write("not today" if self.code else "fine")
        return self.code


@pytest.fixture
def health(bed: Bed) -> Health:
    made = Health()
    bed.fake.programs["health"] = made
    return made


EXEC = {"exec": {"command": ["health"]}}


async def test_readiness_is_asked_at_once_and_turns_by_its_thresholds(
    bed: Bed, health: Health
) -> None:
    probe = {**EXEC, "periodSeconds": 5, "failureThreshold": 2, "successThreshold": 2}
    await bed.pod(containers=[{"readinessProbe": probe}])
    await bed.running()
    await bed.until(lambda: health.runs == 1)
    assert not bed.entry()["ready"]
    await bed.clock.advance(5)
    await bed.until(lambda: bed.entry()["ready"])
    assert bed.condition("Ready")["status"] == "True"
    health.code = 1
    await bed.clock.advance(5)
    assert bed.entry()["ready"]
    await bed.clock.advance(5)
    await bed.until(lambda: not bed.entry()["ready"])
    assert bed.condition("Ready")["message"] == "containers with unready status: [main]"
    assert bed.status()["phase"] == "Running"
    await bed.told("Unhealthy", "Readiness probe failed: not today")


async def test_liveness_restarts_after_its_threshold(bed: Bed, health: Health) -> None:
    probe = {**EXEC, "periodSeconds": 10, "failureThreshold": 3, "initialDelaySeconds": 15}
    await bed.pod(containers=[{"livenessProbe": probe}])
    await bed.running()
    health.code = 1
    await bed.clock.advance(14)
    assert health.runs == 0
    await bed.clock.advance(22)
    await bed.running(restarts=1)
    assert health.runs == 3
    await bed.told("Killing", "Container main failed liveness probe, will be restarted")
    assert bed.entry()["lastState"]["terminated"]["exitCode"] == 143


async def test_the_startup_probe_holds_the_others_back(bed: Bed, health: Health) -> None:
    health.code = 1
    startup = {**EXEC, "periodSeconds": 1, "failureThreshold": 10}
    await bed.pod(
        containers=[{"startupProbe": startup, "livenessProbe": {**EXEC, "periodSeconds": 1}}]
    )
    await bed.running()
    await bed.clock.advance(5)
    assert bed.entry()["started"] is False
    assert not bed.entry()["ready"]
    assert bed.entry()["restartCount"] == 0
    health.code = 0
    await bed.clock.advance(1)
    await bed.until(lambda: bed.entry()["started"])
    assert bed.entry()["ready"]


async def test_a_failed_startup_restarts(bed: Bed, health: Health) -> None:
    health.code = 1
    await bed.pod(
        containers=[{"startupProbe": {**EXEC, "periodSeconds": 1, "failureThreshold": 3}}]
    )
    await bed.running()
    await bed.clock.advance(3)
    await bed.running(restarts=1)
    await bed.told("Killing", "Container main failed startup probe, will be restarted")


async def test_the_probe_s_own_grace_is_used(bed: Bed, health: Health) -> None:
    health.code = 1
    probe: dict[str, object] = {**EXEC, "failureThreshold": 1, "initialDelaySeconds": 1}
    probe["terminationGracePeriodSeconds"] = 3
    await bed.pod(containers=[{"livenessProbe": probe}], terminationGracePeriodSeconds=600)
    await bed.running()
    bed.process(0).traps.add(15)
    await bed.clock.advance(3.5)
    assert bed.entry()["restartCount"] == 0
    await bed.clock.advance(1)
    await bed.until(lambda: bed.entry()["restartCount"] >= 1)


async def test_an_exec_probe_that_hangs_times_out(bed: Bed) -> None:
    await bed.pod(
        containers=[{"readinessProbe": {"exec": {"command": ["run", "on"]}, "timeoutSeconds": 2}}]
    )
    await bed.running()
    await bed.clock.advance(3)
    await bed.told("Unhealthy", 'Readiness probe failed: command "run on" timed out')


async def test_http_probes_ask_as_the_kubelet_does(bed: Bed) -> None:
    healthy = True
    async with web(lambda _: OK if healthy else SICK) as (port, heads):
        action = {
            "host": "127.0.0.1",
            "port": "http",
            "path": "/healthz?full=1",
            "httpHeaders": [{"name": "X-Token", "value": "1"}, {"name": "Host", "value": "me"}],
        }
        await bed.pod(
            containers=[
                {
                    "ports": [{"name": "http", "containerPort": port}],
                    "readinessProbe": {"httpGet": action, "failureThreshold": 1},
                }
            ]
        )
        await bed.until(lambda: bed.entry().get("ready"))
        lines = heads[0].split("\r\n")
        assert lines[0] == "GET /healthz?full=1 HTTP/1.1"
        assert {"Host: me", "X-Token: 1", "User-Agent: kube-probe/1.32"} <= set(lines)
        healthy = False
        await bed.clock.advance(11)
        await bed.until(lambda: not bed.entry()["ready"])
        await bed.told(
            "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"
        )


async def test_redirects_are_followed_on_the_same_host_alone(bed: Bed) -> None:
    def answer(head: str) -> str:
        if head.startswith("GET /away "):
            return "HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\n\r\n"
        if head.startswith("GET /loop "):
            return "HTTP/1.1 302 Found\r\nLocation: /sick\r\n\r\n"
        return SICK

    async with web(answer) as (port, heads):
        for name, path in (("away", "/away"), ("loop", "/loop")):
            action = {"host": "127.0.0.1", "port": port, "path": path}
            await bed.pod(name, containers=[{"readinessProbe": {"httpGet": action}}])
        await bed.until(lambda: bed.entry(pod="away").get("ready"))
        await bed.told("ProbeWarning")
        await bed.told("Unhealthy", "statuscode: 503")
        assert any(head.startswith("GET /sick ") for head in heads)


async def test_a_refused_connection_is_told_in_known_words(bed: Bed) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = {"host": "127.0.0.1", "port": port}
    await bed.pod("a", containers=[{"readinessProbe": {"httpGet": where}}])
    await bed.pod("b", containers=[{"readinessProbe": {"tcpSocket": where}}])
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    await bed.told(
        "Unhealthy", f'Readiness probe failed: Get "http://127.0.0.1:{port}/": {refused}'
    )
    await bed.told("Unhealthy", f"Readiness probe failed: {refused}")


async def test_tcp_probes_connect(bed: Bed) -> None:
    async with web(lambda _: OK) as (port, _):
        where = {"host": "127.0.0.1", "port": port}
        await bed.pod(containers=[{"readinessProbe": {"tcpSocket": where}}])
        await bed.until(lambda: bed.entry().get("ready"))


@pytest.mark.parametrize(
    ("state", "status", "said"),
    [
        (1, "0", ""),
        (2, "0", 'service unhealthy (responded with "NOT_SERVING")'),
        (1, "12", "this server does not implement the grpc health protocol"),
        (1, "5", "error: health rpc probe failed: code = 5 desc = x y"),
    ],
)
async def test_grpc_probes_ask_the_health_service(
    bed: Bed, state: int, status: str, said: str
) -> None:
    bed.fake.node_address = "127.0.0.1"
    async with grpc_health(state, status) as (port, bodies):
        probe = {"grpc": {"port": port, "service": "shop"}}
        await bed.pod(containers=[{"readinessProbe": probe}], hostNetwork=True)
        await bed.until(lambda: bodies)
        assert bodies[0] == b"\0\0\0\0\6\x0a\x04shop"
        if said:
            await bed.told("Unhealthy", said)
            assert not bed.entry()["ready"]
        else:
            await bed.until(lambda: bed.entry().get("ready"))


async def test_readiness_gates_wait_for_their_conditions(bed: Bed) -> None:
    from kindling.cluster.model.resource import builtin

    await bed.pod(readinessGates=[{"conditionType": "example.org/in"}])
    await bed.running()
    await bed.clock.advance(0.5)
    await bed.until(lambda: bed.condition("ContainersReady").get("status") == "True")
    ready = bed.condition("Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ReadinessGatesNotReady")
    pod = bed.get()
    conditions = [*pod["status"]["conditions"], {"type": "example.org/in", "status": "True"}]
    pod = {**pod, "status": {**pod["status"], "conditions": conditions}}
    await bed.api.update(builtin("pods"), pod, "status")
    await bed.until(lambda: bed.condition("Ready")["status"] == "True")
    assert bed.condition("example.org/in")["status"] == "True"
