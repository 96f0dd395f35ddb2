"""`ci`: what counts as success, what ends it, and what it says then. Commands and a cluster in
memory; `test_images_and_rollouts.py` has the rules that need pods."""

from __future__ import annotations

import pytest

from kindling.engine.notices import NodeStatus
from kindling.testing.outside import Outside
from kindling.testing.workbench import Workbench

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: busybox}]}
"""


async def test_ci_succeeds_when_all_is_done_and_servers_are_ready(bench: Workbench) -> None:
    """Given a command, a server with a probe and resources that start only when asked, when `ci`
    runs, then it ends with 0 once the server is ready, and what nobody asked for is no obstacle
    (behaviour 55)."""
    bench.write(
        "Kindlingfile",
        'local_resource("make", cmd = "true")\n'
        'local_resource("s", serve_cmd = "touch up; exec sleep 1000",\n'
        "  readiness_probe = probe(period_secs = 1,"
        ' exec = exec_action(["test", "-e", "up"])))\n'
        'local_resource("later", cmd = "exit 1", auto_init = False)\n'
        'local_resource("asked", cmd = "exit 1", auto_init = False,\n'
        "  trigger_mode = TRIGGER_MODE_MANUAL)\n",
    )
    result = await bench.run("ci")
    assert result.exit_code == 0, result.explain()
    result.assert_ran("local:make", "serve:s")
    assert result.views["serve:s"].status is NodeStatus.DONE


async def test_ci_fails_when_a_server_exits(bench: Workbench) -> None:
    """Given a server that exits, even by 0, before all is done, when `ci` runs, then it fails and
    names it (behaviour 56, for processes)."""
    bench.write(
        "Kindlingfile",
        'local_resource("s", serve_cmd = "echo no port left; exit 0",\n'
        '  readiness_probe = probe(exec = exec_action(["false"]), period_secs = 1))\n',
    )
    result = await bench.run("ci")
    assert result.exit_code == 1
    result.assert_failed("serve:s")
    assert "serve:s" in result.end.error


async def test_the_time_limit_of_ci_lists_what_is_not_done(bench: Workbench) -> None:
    """Given one command that runs, one that waits for it and a server that is not ready, when the
    time limit of the file or of the command line is over, then `ci` ends with 1 and lists all three
    (behaviour 57)."""
    text = (
        'local_resource("slow", cmd = "sleep 1000", outputs = ["x"], allow_parallel = True)\n'
        'local_resource("after", cmd = "true", deps = ["x"], allow_parallel = True)\n'
        'local_resource("s", serve_cmd = "exec sleep 1000", allow_parallel = True,\n'
        '  readiness_probe = probe(exec = exec_action(["false"]), period_secs = 1))\n'
    )
    for head, timeout in (('ci_settings(timeout = "500ms")\n', None), ("", 0.5)):
        bench.write("Kindlingfile", head + text)
        result = await bench.run("ci", timeout=timeout)
        assert result.exit_code == 1
        for id_ in ("local:slow", "local:after", "serve:s"):
            assert id_ in result.end.error, result.end.error


async def test_a_time_limit_of_one_node_names_that_node(bench: Workbench) -> None:
    """Given a test with a time limit of its own, when it takes longer, then just it fails, with the
    limit in its failure, and `ci` says so (behaviour 57)."""
    bench.write("Kindlingfile", 'test("slow", cmd = "sleep 1000", timeout = "300ms")\n')
    result = await bench.run("ci")
    assert result.exit_code == 1
    result.assert_failed("test:slow", "0.3")
    assert "test:slow" in result.end.error


async def test_a_server_that_is_not_ready_in_time_is_named(bench: Workbench) -> None:
    """Given a readiness limit in the file, when a server is not ready by then, then `ci` fails and
    names it (behaviour 57)."""
    bench.write(
        "Kindlingfile",
        'ci_settings(readiness_timeout = "400ms")\n'
        'local_resource("s", serve_cmd = "exec sleep 1000",\n'
        '  readiness_probe = probe(exec = exec_action(["false"]), period_secs = 1))\n',
    )
    result = await bench.run("ci")
    assert result.exit_code == 1
    result.assert_failed("serve:s", "0.4")


async def test_a_rollout_that_is_not_ready_in_time_is_named(
    bench: Workbench, outside: Outside
) -> None:
    """Given a readiness limit in the file, when no pod of a workload comes by then, then `ci` fails
    and names its rollout (behaviour 57)."""
    bench.write("web.yaml", DEPLOYMENT)
    bench.write("Kindlingfile", 'ci_settings(readiness_timeout = "1s")\nk8s_yaml("web.yaml")\n')
    result = await bench.run("ci")
    assert result.exit_code == 1
    result.assert_failed("rollout:web")
    assert "rollout:web" in result.end.error
    assert outside.writes() == ["apply Deployment/web"]


@pytest.mark.parametrize("text", ["local_resource(\n", 'local_resource("a", cmd = nothing)\n'])
async def test_a_wrong_file_ends_ci_with_2(bench: Workbench, text: str) -> None:
    """Given a file that is wrong, when `ci` runs, then it ends at once by exit code 2 and says
    where."""
    bench.write("Kindlingfile", text)
    result = await bench.run("ci")
    assert result.exit_code == 2
    assert "Kindlingfile:1:" in result.messages[-1]


async def test_a_cluster_that_does_not_answer_fails_ci(bench: Workbench, outside: Outside) -> None:
    """Given objects and a cluster that does not answer, when `ci` runs, then after a few tries it
    fails and names the cluster, having applied nothing (behaviour 39, for `ci`)."""
    bench.write("web.yaml", DEPLOYMENT)
    bench.write("Kindlingfile", 'k8s_yaml("web.yaml")\n')
    outside.cluster.go_away()
    result = await bench.run("ci")
    assert result.exit_code == 1
    result.assert_failed("cluster:kind-fake")
    assert not outside.writes()


async def test_a_grace_period_keeps_no_healthy_rollout_waiting(
    bench: Workbench, outside: Outside
) -> None:
    """Given a long grace period and a workload that is fine, when `ci` runs, then it ends at once:
    the time is for what fails (behaviour 56)."""
    bench.write("web.yaml", DEPLOYMENT)
    bench.write(
        "Kindlingfile",
        'ci_settings(k8s_grace_period = "1h")\nk8s_yaml("web.yaml")\n'
        'k8s_resource("web", pod_readiness = "ignore")\n',
    )
    result = await bench.run("ci")
    assert result.exit_code == 0, result.explain()
    assert outside.writes() == ["apply Deployment/web"]
