"""Beginning, ending and undoing: `down`, Ctrl-C, a pod that is replaced, `ci` after `up`."""

from __future__ import annotations

from pathlib import Path

from kindling.engine.down import run_down
from kindling.engine.notices import SessionEnded
from kindling.graph.outcome import Verdict
from kindling.graph.spec import ObjectRef
from kindling.testing.outside import Outside
from kindling.testing.workbench import Collected, Result, Workbench

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {a: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, namespace: shop, annotations: {tilt.dev/down-policy: keep}}
data: {a: b}
"""

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s, namespace: shop}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: main, image: busybox}]}
"""


async def down(bench: Workbench) -> tuple[int, SessionEnded | object]:
    collected = Collected()
    code = await run_down(
        bench.options("down"), collected, bench.environment, connections=bench.connections
    )
    return code, collected.notices[-1]


async def test_down_goes_backwards_and_keeps_what_is_to_stay(
    bench: Workbench, outside: Outside
) -> None:
    """Given services one of which depends on the other, an object marked to be kept, a namespace, a
    write-once secret and a deploy by commands, when `down` runs, then dependents go first, the
    delete command ran, and namespace, kept object and secret are still there and named
    (behaviour 58)."""
    bench.write("objects.yaml", OBJECTS)
    for name in ("web", "base"):
        bench.write(f"{name}.yaml", WORKLOAD % (name, name, name))
    bench.write(
        "Kindlingfile",
        'k8s_yaml(["objects.yaml", "web.yaml", "base.yaml"])\n'
        'k8s_resource("base", pod_readiness = "ignore")\n'
        'k8s_resource("web", pod_readiness = "ignore", resource_deps = ["base"])\n'
        'secret_if_absent("creds", namespace = "shop", literals = {"token": "placeholder"})\n'
        'k8s_custom_deploy("own", apply_cmd = "true", delete_cmd = "touch deleted", deps = [])\n',
    )
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    code, last = await down(bench)
    assert isinstance(last, SessionEnded)
    assert code == 0, last
    gone = [line for line in outside.writes() if line.startswith("delete")]
    assert gone.index("delete Deployment/web") < gone.index("delete Deployment/base")
    assert "delete ConfigMap/settings" in gone
    assert (bench.root / "deleted").exists()
    names = {(o["kind"], o["metadata"]["name"]) for o in outside.cluster.objects()}
    stays = {("Namespace", "shop"), ("ConfigMap", "kept"), ("Secret", "creds")}
    assert stays <= names
    for _kind, name in stays:
        assert any(name in line for line in last.kept), last.kept


async def test_a_deploy_by_commands_that_makes_no_pods_is_done(
    bench: Workbench, outside: Outside
) -> None:
    """Given a deploy by a command that prints nothing, or an object without pods, when `up` runs,
    then nobody waits for pods, and the next run has nothing to do."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n"
    outside.cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}})
    bench.write("own.yaml", text)
    bench.write(
        "Kindlingfile",
        'k8s_custom_deploy("none", apply_cmd = "true", delete_cmd = "true", deps = [])\n'
        'k8s_custom_deploy("own", apply_cmd = "cat own.yaml", delete_cmd = "true", deps = [])\n',
    )
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    again = await bench.run("ci")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran()


async def test_what_cannot_be_undone_keeps_nothing_else_from_it(
    bench: Workbench, outside: Outside
) -> None:
    """Given two deploys by commands whose delete commands fail and an object, when `down` runs,
    then the object goes, both failures are named, and the exit code is 1 (behaviour 58)."""
    bench.write("objects.yaml", OBJECTS)
    own = 'k8s_custom_deploy("%s", apply_cmd = "true", delete_cmd = "exit 9", deps = [])\n'
    bench.write("Kindlingfile", 'k8s_yaml("objects.yaml")\n' + own % "one" + own % "two")
    assert (await bench.run("up")).exit_code == 0
    code, last = await down(bench)
    assert isinstance(last, SessionEnded)
    assert code == 1
    assert {str(view.id) for view in last.failed} == {"apply:one", "apply:two"}
    assert "delete ConfigMap/settings" in outside.writes()


async def test_ctrl_c_ends_servers_with_their_children_and_leaves_the_cluster(
    bench: Workbench, outside: Outside
) -> None:
    """Given an `up` at rest with a server that has a child of its own, when it is interrupted, then
    the exit code is 0, both are dead and nothing was written to the cluster (behaviour 59)."""
    bench.write("objects.yaml", OBJECTS)
    bench.write(
        "Kindlingfile",
        'k8s_yaml("objects.yaml")\n'
        'local_resource("s", serve_cmd = "echo $$ > pids; sleep 1000 & echo $! >> pids; wait")\n',
    )
    async with bench.up() as session:
        await session.settled("serve:s", "apply:uncategorized")
        pids = await session.until(lambda: _pids(bench.root / "pids"))
        written = outside.writes()
        assert (await session.stop()).exit_code == 0
    assert not [pid for pid in pids if _works(pid)]
    assert outside.writes() == written


def _pids(path: Path) -> list[int]:
    """The two process ids in a file, once they are there."""
    lines = path.read_text().split() if path.exists() else []
    return [int(line) for line in lines] if len(lines) == 2 else []


def _works(pid: int) -> bool:
    """Whether a process is there and is no mere entry that waits to be collected."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


async def test_ci_after_up_on_the_same_inputs_runs_nothing(
    bench: Workbench, outside: Outside
) -> None:
    """Given an `up` that brought up image, push, apply, rollout, a command and a test, when `ci`
    runs on the same inputs, then nothing is executed and nothing written (behaviour 61)."""
    bench.write("web/Dockerfile", "FROM scratch\n")
    bench.write("ns.yaml", OBJECTS.split("---")[0])
    bench.write("web.yaml", (WORKLOAD % (("web",) * 3)).replace("busybox", "web"))
    bench.write(
        "Kindlingfile",
        'docker_build("web", "web")\nk8s_yaml(["ns.yaml", "web.yaml"])\n'
        'k8s_resource("web", pod_readiness = "ignore")\n'
        'local_resource("gen", cmd = "echo 1 > out", outputs = ["out"])\n'
        'test("smoke", cmd = "true", resource_deps = ["web"])\n',
    )
    first = await bench.run("up")
    assert first.exit_code == 0, first.explain()
    written = outside.writes()
    again = await bench.run("ci")
    assert again.exit_code == 0, again.explain()
    assert set(_verdicts(again)) == {Verdict.UNCHANGED}
    assert outside.writes() == written


def _verdicts(result: Result) -> list[Verdict]:
    return [verdict for id_ in result.views for verdict in result.verdicts(id_)]


async def test_a_patched_key_of_a_write_once_secret_survives(
    bench: Workbench, outside: Outside
) -> None:
    """Given a write-once secret that a user patched, when the file changes around it and `up` runs
    again, even with other literals, then the user's value is still there (behaviour 63)."""
    text = 'secret_if_absent("creds", literals = {"token": "%s"})\nk8s_yaml("map.yaml")\n'
    bench.write("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n")
    bench.write("Kindlingfile", text % "placeholder")
    assert (await bench.run("up")).exit_code == 0
    ref = ObjectRef("v1", "Secret", "creds", "default")
    await outside.cluster.patch(ref, {"data": {"token": "dGhlLXJlYWwtb25l"}})
    for value in ("placeholder", "another placeholder"):
        bench.write("Kindlingfile", text % value)
        result = await bench.run("up")
        assert result.exit_code == 0, result.explain()
        live = await outside.cluster.get(ref)
        assert live["data"]["token"] == "dGhlLXJlYWwtb25l"
