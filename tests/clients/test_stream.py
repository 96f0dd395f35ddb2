"""Commands in a pod, its ports and its log, by the `kubernetes` package."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.packages import ApiException, stream, watch
from tests.clients.pods import Pods

pytestmark = pytest.mark.cluster

SERVE = (
    "mkdir -p /tmp/www && echo hello > /tmp/www/index.html"
    " && seq 1 40000 > /tmp/www/many && echo one && echo two && exec httpd -f -p 8080 -h /tmp/www"
)


@pytest.fixture(scope="module")
def server(pods: Pods) -> Iterator[str]:
    """A pod of busybox that serves two pages on port 8080, and has logged two lines."""
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    pods.make("server", "busybox:1.36", ["sh", "-c", SERVE], readinessProbe=probe)
    pods.running("server")
    yield "server"
    pods.core.delete_namespaced_pod("server", pods.namespace, grace_period_seconds=0)


def run(core: Any, namespace: str, *command: str, **settings: Any) -> Any:
    """A command's stream, open until the caller closes it."""
    return stream.stream(
        core.connect_get_namespaced_pod_exec,
        "server",
        namespace,
        command=list(command),
        **{
            "stdin": False,
            "stdout": True,
            "stderr": True,
            "tty": False,
            "_preload_content": False,
            **settings,
        },
    )


@pytest.mark.usefixtures("server")
class TestCommands:
    def test_output_comes_back_at_once_as_text(self, core: Any, namespace: str) -> None:
        text = run(core, namespace, "echo", "a b", _preload_content=True)
        assert text == "a b\n"

    @pytest.mark.parametrize("code", [0, 1, 42, 137])
    def test_a_command_ends_with_its_code(self, core: Any, namespace: str, code: int) -> None:
        answer = run(core, namespace, "sh", "-c", f"echo out; echo err >&2; exit {code}")
        answer.run_forever(timeout=20)
        assert not answer.is_open()
        assert (answer.read_stdout(), answer.read_stderr()) == ("out\n", "err\n")
        assert answer.returncode == code
        answer.close()

    def test_what_is_typed_goes_to_the_command(self, core: Any, namespace: str) -> None:
        answer = run(
            core, namespace, "sh", "-c", 'read a; echo "got $a"; read b; exit $b', stdin=True
        )
        answer.write_stdin("word\n")
        assert answer.readline_stdout(timeout=20) == "got word"
        answer.write_stdin("3\n")
        answer.run_forever(timeout=20)
        assert answer.returncode == 3
        answer.close()

    def test_bytes_of_any_value_pass_both_ways(self, core: Any, namespace: str) -> None:
        data = bytes(range(256)) * 1024
        answer = run(core, namespace, "head", "-c", str(len(data)), stdin=True, binary=True)
        answer.write_stdin(data)
        answer.run_forever(timeout=30)
        assert answer.read_stdout() == data
        assert answer.returncode == 0
        answer.close()

    def test_a_commands_input_can_end_before_the_command_does(
        self, core: Any, namespace: str, embedded: None
    ) -> None:
        _ = embedded  # the fifth version of the protocol, which can say so, came in 1.29
        answer = run(core, namespace, "wc", "-c", stdin=True)
        assert answer.subprotocol == "v5.channel.k8s.io"
        answer.write_stdin("12345")
        answer.close_channel(0)
        answer.run_forever(timeout=20)
        assert (answer.read_stdout().strip(), answer.returncode) == ("5", 0)
        answer.close()

    def test_a_terminal_has_the_size_that_it_is_given(self, core: Any, namespace: str) -> None:
        answer = run(core, namespace, "sh", stdin=True, tty=True)
        answer.write_channel(4, '{"Width":123,"Height":45}')
        seen = ""
        until = time.monotonic() + 20
        while "45 123" not in seen and time.monotonic() < until:
            answer.write_stdin("stty size\n")
            answer.update(timeout=0.3)
            seen += answer.read_stdout(timeout=0)
        assert "45 123" in seen
        answer.write_stdin("exit 7\n")
        answer.run_forever(timeout=20)
        assert answer.returncode == 7
        answer.close()

    def test_a_program_that_is_not_there_is_an_error_and_not_a_code(
        self, core: Any, namespace: str
    ) -> None:
        answer = run(core, namespace, "no-such-program")
        answer.run_forever(timeout=20)
        assert "no-such-program" in answer.read_channel(3)
        answer.close()

    def test_a_pod_that_is_not_there_is_not_found(self, core: Any, namespace: str) -> None:
        with pytest.raises(ApiException) as caught:
            stream.stream(
                core.connect_get_namespaced_pod_exec,
                "absent",
                namespace,
                command=["true"],
                stdin=False,
                stdout=True,
                stderr=True,
                tty=False,
            )
        assert "404" in str(caught.value)

    def test_many_commands_at_once_do_not_mix(self, core: Any, namespace: str) -> None:
        answers = [run(core, namespace, "sh", "-c", f"seq 1 500; exit {n}") for n in range(8)]
        whole = "".join(f"{number}\n" for number in range(1, 501))
        for code, answer in enumerate(answers):
            answer.run_forever(timeout=30)
            assert answer.read_stdout() == whole
            assert answer.returncode == code
            answer.close()


class TestPorts:
    def test_a_page_is_read_through_a_forwarded_port(
        self, core: Any, namespace: str, server: str
    ) -> None:
        forward = stream.portforward(
            core.connect_get_namespaced_pod_portforward, server, namespace, ports="8080"
        )
        request = http.client.HTTPConnection("127.0.0.1", 8080)
        request.sock = forward.socket(8080)
        request.request("GET", "/many")
        answer = request.getresponse()
        assert answer.status == 200
        assert answer.read() == b"".join(b"%d\n" % number for number in range(1, 40001))
        request.close()
        forward.close()
        assert forward.error(8080) is None

    def test_a_port_that_nobody_serves_says_so(
        self, core: Any, namespace: str, server: str
    ) -> None:
        forward = stream.portforward(
            core.connect_get_namespaced_pod_portforward, server, namespace, ports="8081"
        )
        plug = forward.socket(8081)
        plug.settimeout(20)
        assert plug.recv(100) == b""
        plug.close()
        assert "8081" in str(forward.error(8081))


class TestLogs:
    def test_a_log_is_read_whole_by_its_end_and_with_times(
        self, core: Any, namespace: str, server: str
    ) -> None:
        assert core.read_namespaced_pod_log(server, namespace) == "one\ntwo\n"
        assert core.read_namespaced_pod_log(server, namespace, tail_lines=1) == "two\n"
        stamped = core.read_namespaced_pod_log(server, namespace, timestamps=True)
        times = [line.split()[0] for line in stamped.splitlines()]
        assert times == sorted(times)
        assert all(stamp.endswith("Z") for stamp in times)

    def test_a_log_is_followed_until_its_end(self, core: Any, pods: Pods) -> None:
        script = "for n in 1 2 3; do echo $n; sleep 0.2; done"
        pods.make("talker", "busybox:1.36", ["sh", "-c", script])
        pods.until("talker", lambda pod: pod.status.phase != "Pending")
        lines = watch.Watch().stream(
            core.read_namespaced_pod_log, "talker", pods.namespace, follow=True
        )
        seen: list[str] = []
        done = threading.Thread(target=lambda: seen.extend(_first(lines, 3)), daemon=True)
        done.start()
        done.join(20)
        assert seen == ["1", "2", "3"]


def _first(lines: Any, count: int) -> list[str]:
    return [next(lines) for _ in range(count)]
