"""Images in the engine of a real cluster, and its pods, each test in a namespace of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import pytest

from kindling.engine.notices import NodeChanged, NodeStatus
from kindling.graph.outcome import Verdict
from kindling.graph.spec import ObjectRef
from kindling.kube.errors import NotFoundError
from kindling.kube.protocol import Cluster
from kindling.testing.workbench import Workbench
from tests.target import engine_environment

pytestmark = pytest.mark.cluster

HEAD = """
k8s_yaml(blob('''
apiVersion: v1
kind: Namespace
metadata: {{name: {ns}}}
'''))
"""

WEB = """
docker_build("web-{ns}", "app")
k8s_yaml(blob('''
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {ns}}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: web-{ns}
        readinessProbe: {{exec: {{command: [test, -e, /ready]}}, periodSeconds: 1}}
'''))
"""

JOB = """
k8s_yaml(blob('''
apiVersion: batch/v1
kind: Job
metadata: {{name: migrate, namespace: {ns}}}
spec:
  ttlSecondsAfterFinished: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {{name: main, image: "busybox:1.36", command: [echo, migrated]}}
'''))
"""

SERVES = 'FROM busybox:1.36\nCOPY . /app\nCMD ["sh", "-c", "touch /ready; exec sleep 1000"]\n'
NEVER_READY = 'FROM busybox:1.36\nCOPY . /app\nCMD ["sleep", "1000"]\n'
CRASHES = 'FROM busybox:1.36\nCOPY . /app\nCMD ["sh", "-c", "echo no database; exit 7"]\n'


@pytest.fixture(autouse=True)
async def _no_images_left(bench: Workbench, ns: str) -> AsyncIterator[None]:
    bench.environment["DOCKER_HOST"] = os.environ.get("DOCKER_HOST", "")
    yield
    images = await docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    if left := [image for image in images.splitlines() if f"web-{ns}:" in image]:
        await docker("rmi", *left)


@pytest.fixture
def web(bench: Workbench, ns: str) -> Workbench:
    bench.write("app/Dockerfile", SERVES)
    bench.write("app/content", "1")
    bench.write("Kindlingfile", (HEAD + WEB).format(ns=ns))
    return bench


async def generation(cluster: Cluster, ns: str) -> int:
    live = await cluster.get(ObjectRef("apps/v1", "Deployment", "web", ns))
    return int(live["metadata"]["generation"])


async def docker(*arguments: str) -> str:
    """What `docker` says of the engine that builds for the cluster; nothing where there is no such
    program."""
    if shutil.which("docker") is None:
        return ""
    program = await asyncio.create_subprocess_exec(
        "docker",
        *arguments,
        env=engine_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, _ = await program.communicate()
    return out.decode().strip()


async def test_an_image_that_was_pruned_is_built_again_and_equal_bits_roll_nothing(
    web: Workbench, ns: str, cluster: Cluster
) -> None:
    """Given an image that is gone from the engine, when `up` runs again, then it is built again and
    says why; the layers are cached, so that the bits and the tag are the same and no pod rolls
    (behaviours 27 and 28)."""
    first = await web.run("up")
    assert first.exit_code == 0, first.explain()
    before = await generation(cluster, ns)
    if shutil.which("docker") is None:
        pytest.skip("there is no `docker` program")
    tags = await docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"web-{ns}")
    assert tags
    pushed = await docker("images", "--format", "{{.Repository}}:{{.Tag}}")
    mine = [tag for tag in pushed.splitlines() if f"web-{ns}:" in tag]
    await docker("tag", tags.splitlines()[0], f"kept-{ns}:1")  # keeps the layers, not the name
    await docker("rmi", *mine)
    result = await web.run("up")
    assert result.exit_code == 0, result.explain()
    [reason] = result.views[f"image:web-{ns}"].reasons
    assert "not found in the engine" in reason
    assert result.verdicts("apply:web") == [Verdict.UNCHANGED]
    assert result.verdicts("rollout:web") == [Verdict.UNCHANGED]
    assert await generation(cluster, ns) == before
    await docker("rmi", f"kept-{ns}:1")


async def test_a_save_while_pods_roll_or_crash_is_built_and_deployed(web: Workbench) -> None:
    """Given pods that never get ready, when the mend is saved, then it is built and deployed though
    the rollout before was not over; the same for pods that crash in a loop (behaviour 38)."""
    web.write("app/Dockerfile", NEVER_READY)
    rollout = "rollout:web"
    async with web.up() as session:
        await session.until(
            lambda: (
                (view := session.result.views.get(rollout)) is not None and view.doing == "running"
            ),
            seconds=60,
        )
        web.write("app/Dockerfile", SERVES)
        await session.until(
            lambda: session.result.views[rollout].status is NodeStatus.DONE, seconds=60
        )
        mark = session.mark()
        web.write("app/Dockerfile", CRASHES)
        await session.until(
            lambda: session.result.views[rollout].status is NodeStatus.FAILED, seconds=60
        )
        session.since(mark).assert_failed(rollout, "web", "7", "no database")
        web.write("app/Dockerfile", SERVES)
        await session.until(
            lambda: session.result.views[rollout].status is NodeStatus.DONE, seconds=60
        )


async def test_a_job_that_removed_itself_counts_as_done(
    bench: Workbench, ns: str, cluster: Cluster
) -> None:
    """Given a Job that completes and is removed at once, when `ci` runs, and again, then both end
    with 0, and the second does not run it again (behaviour 55)."""
    bench.write("Kindlingfile", (HEAD + JOB).format(ns=ns))
    first = await bench.run("ci")
    assert first.exit_code == 0, first.explain()
    job = ObjectRef("batch/v1", "Job", "migrate", ns)
    await cluster.wait_deleted(job, timeout=30)
    again = await bench.run("ci")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran()
    with pytest.raises(NotFoundError):
        await cluster.get(job)


async def test_a_crash_within_the_grace_period_is_forgiven_when_it_heals(
    web: Workbench, ns: str
) -> None:
    """Given a pod that crashes a few times and then serves, when `ci` runs with a grace period,
    then the failure is told and does not end it, and it ends with 0 as soon as the pod serves
    (behaviour 56; without a grace period a crash loop ends `ci`)."""
    web.write(
        "app/Dockerfile",
        'FROM busybox:1.36\nCMD ["sh", "-c", "n=$(cat /state/n 2>/dev/null || echo 0);'
        " echo $((n + 1)) > /state/n; [ $n -ge 3 ] || { echo attempt $n; exit 7; };"
        ' touch /ready; exec sleep 1000"]\n',
    )
    text = (HEAD + WEB).format(ns=ns)
    for key, value in (
        ("      containers:", "      volumes: [{name: state}]\n"),
        ("        readinessProbe", "        volumeMounts: [{name: state, mountPath: /state}]\n"),
    ):
        text = text.replace(key, value + key)
    web.write("Kindlingfile", 'ci_settings(k8s_grace_period = "10m")\n' + text)
    result = await web.run("ci")
    assert result.exit_code == 0, result.explain()
    told = [n.view for n in result.notices if isinstance(n, NodeChanged)]
    assert any(v.id == "rollout:web" and v.status is NodeStatus.FAILED for v in told)
    assert result.views["rollout:web"].status is NodeStatus.DONE
    assert result.end.seconds < 150


async def test_a_rollout_that_is_not_ready_in_time_says_how_far_it_came(web: Workbench) -> None:
    """Given pods that never get ready and a limit for that, when `ci` runs, then it ends with 1
    soon after the limit and names the rollout (behaviour 57)."""
    web.write("app/Dockerfile", NEVER_READY)
    web.write("Kindlingfile", 'ci_settings(readiness_timeout = "5s")\n' + web.read("Kindlingfile"))
    result = await web.run("ci")
    assert result.exit_code == 1
    result.assert_failed("rollout:web", "5 s")
    assert result.end.seconds < 60
