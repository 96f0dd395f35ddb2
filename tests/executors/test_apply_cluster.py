"""Applying, observing, undoing and following on a real cluster."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from kindling.engine.clock import SystemClock
from kindling.executors.apply import ApplyExecutor
from kindling.executors.portforward import PortForwardExecutor
from kindling.executors.processes import HostProcesses
from kindling.executors.protocol import Failed, Job, Outcome, Succeeded
from kindling.executors.rollout import RolloutExecutor
from kindling.executors.secret import SecretExecutor
from kindling.graph.node import Kind
from kindling.graph.outcome import Failure, FailureKind, Output
from kindling.graph.spec import (
    ApplySpec,
    CustomDeploySpec,
    ObjectRef,
    PortForwardSpec,
    Readiness,
    RolloutSpec,
    SecretSpec,
)
from kindling.kube.client import KubeCluster, connect
from kindling.kube.contexts import choose_target, read_kubeconfig
from kindling.kube.errors import InvalidError, NotFoundError
from kindling.objects.identity import object_spec
from kindling.testing.jobs import JobWorld

pytestmark = pytest.mark.cluster

BUSYBOX = "busybox:1.36"
"""On the node before the first test: see `tests/conftest.py`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace of the test's own, and the world that acts upon it."""

    world: JobWorld
    cluster: KubeCluster
    namespace: str

    def apply_job(self, *manifests: dict[str, Any], recreate: bool = False, **more: Any) -> Job:
        spec = ApplySpec(
            tuple(object_spec(m, self.namespace) for m in manifests), recreate=recreate
        )
        return self.world.job(Kind.APPLY, spec, name="it", **more)

    async def applied(self, *manifests: dict[str, Any], **more: Any) -> Output:
        outcome = await ApplyExecutor().run(self.apply_job(*manifests, **more))
        assert isinstance(outcome, Succeeded), outcome
        return outcome.output

    def rollout_job(
        self, manifest: dict[str, Any], applied: Output, *, readiness: Readiness = Readiness.WAIT
    ) -> Job:
        ref = object_spec(manifest, self.namespace).ref
        spec = RolloutSpec("apply:it", (ref,), readiness=readiness)
        return self.world.job(Kind.ROLLOUT, spec, inputs={"apply:it": applied}, once=True)

    async def rolled_out(
        self, manifest: dict[str, Any], *, readiness: Readiness = Readiness.WAIT
    ) -> tuple[Outcome, Job]:
        applied = await self.applied(manifest)
        job = self.rollout_job(manifest, applied, readiness=readiness)
        async with asyncio.timeout(90):
            outcome = await RolloutExecutor().run(job)
            if isinstance(outcome, Succeeded) and outcome.live is not None:
                while not any(stream.startswith("pod/") for stream, _ in self.world.lines.all):
                    await SystemClock().sleep(0.05)
        if outcome.live is not None:
            await outcome.live.close()
        return outcome, job


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    cluster = await connect(choose_target(read_kubeconfig()).context)
    namespace = f"kube-exec-{uuid.uuid4().hex[:8]}"
    runner = HostProcesses(tmp_path / ".kindling")
    world = JobWorld(tmp_path, runner, SystemClock(), api=cluster, project=namespace)
    world.environment = {**world.environment, "KUBECONFIG": os.environ["KUBECONFIG"]}
    world.state_dir.mkdir(exist_ok=True)
    namespaced = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    try:
        await cluster.apply(namespaced)
        yield Place(world, cluster, namespace)
    finally:
        await cluster.delete(ObjectRef("v1", "Namespace", namespace))
        await cluster.close()
        await runner.close()


def config(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod_spec(script: str, image: str = BUSYBOX, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": image, "command": ["sh", "-c", script], **container}
    return {"terminationGracePeriodSeconds": 0, "containers": [main]}


def deployment(script: str, *, label: str = "web", **container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": label}},
            "template": {
                "metadata": {"labels": {"app": label}},
                "spec": pod_spec(script, **container),
            },
        },
    }


SERVE = "echo serving $0; mkdir /w; echo hello > /w/index.html; exec httpd -f -p 8080 -h /w"


async def failure_of(place: Place, manifest: dict[str, Any]) -> Failure:
    outcome, _ = await place.rolled_out(manifest)
    assert isinstance(outcome, Failed), outcome
    return outcome.failure


# Apply --------------------------------------------------------------------------------------------


async def test_what_was_applied_is_observed_until_somebody_changes_it(place: Place) -> None:
    job = place.apply_job(
        config(a="1"), deployment("sleep 600", resources={"requests": {"cpu": "1000m"}})
    )
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    seen = await ApplyExecutor().observe(job, outcome.output)
    assert seen.same, seen.difference
    ref = ObjectRef("v1", "ConfigMap", "settings", place.namespace)
    await place.cluster.patch(ref, {"data": {"unrelated": "x"}})
    assert (await ApplyExecutor().observe(job, outcome.output)).same
    await place.cluster.patch(ref, {"data": {"a": "2"}})
    seen = await ApplyExecutor().observe(job, outcome.output)
    assert not seen.same
    assert "data.a" in seen.difference
    again = await ApplyExecutor().run(job)
    assert isinstance(again, Succeeded)
    assert again.output.digest == outcome.output.digest
    assert (await place.cluster.get(ref))["data"] == {"a": "1", "unrelated": "x"}
    await place.cluster.delete(ref)
    assert "is gone" in (await ApplyExecutor().observe(job, outcome.output)).difference


async def test_a_plan_says_what_would_be_created_changed_and_deleted(place: Place) -> None:
    before = await place.applied(config("kept", a="1"), config("dropped"), config("same", a="1"))
    job = place.apply_job(config("kept", a="2"), config("new"), config("same", a="1"))
    lines = await ApplyExecutor().diff(replace(job, previous=before))
    ns = place.namespace
    assert sorted(lines) == [
        f"change ConfigMap/kept in {ns}: data.a",
        f"create ConfigMap/new in {ns}",
        f"delete ConfigMap/dropped in {ns}",
    ]
    with pytest.raises(NotFoundError):
        await place.cluster.get(ObjectRef("v1", "ConfigMap", "new", ns))


async def test_a_namespace_that_is_missing_is_made_once(place: Place) -> None:
    ref = ObjectRef("v1", "Namespace", f"{place.namespace}-more")
    manifests = [config(name) for name in "abc"]
    for manifest in manifests:
        manifest["metadata"]["namespace"] = ref.name
    try:
        await place.applied(*manifests)
        assert place.world.lines.text.count("created, since it was missing") == 1
        live = await place.cluster.get(ref)
        assert live["metadata"]["labels"]["kindling.dev/project"] == place.world.project
    finally:
        await place.cluster.delete(ref)


async def test_an_immutable_field_needs_consent_to_recreate(place: Place) -> None:
    first = await place.applied(deployment("sleep 600"))
    changed = deployment("sleep 600", label="other")
    with pytest.raises(InvalidError) as caught:
        await place.applied(changed)
    assert "spec.selector" in caught.value.message
    assert "recreate=True" in caught.value.hint
    second = await place.applied(changed, recreate=True)
    assert first.data["objects"][0]["uid"] != second.data["objects"][0]["uid"]


async def test_undo_keeps_namespaces_and_what_is_marked(place: Place) -> None:
    keep = config("marked")
    keep["metadata"]["annotations"] = {"tilt.dev/down-policy": "keep"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place.namespace}}
    job = place.apply_job(config("plain"), keep, space)
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    kept = await ApplyExecutor().undo(job, outcome.output)
    assert [line.split(" was kept")[0] for line in kept] == [
        f"ConfigMap/marked in {place.namespace}",
        f"Namespace/{place.namespace}",
    ]
    with pytest.raises(NotFoundError):
        await place.cluster.get(ObjectRef("v1", "ConfigMap", "plain", place.namespace))


async def test_another_projects_object_is_refused_by_name(place: Place) -> None:
    await place.applied(config(a="1"))
    place.world.project = "another"
    outcome = await ApplyExecutor().run(place.apply_job(config(a="2")))
    assert isinstance(outcome, Failed)
    assert outcome.failure.kind is FailureKind.REFUSED
    assert "ConfigMap/settings" in outcome.failure.summary
    assert place.namespace in outcome.failure.summary
    live = await place.cluster.get(ObjectRef("v1", "ConfigMap", "settings", place.namespace))
    assert live["data"] == {"a": "1"}


async def test_a_custom_kind_can_be_applied_with_its_definition(place: Place) -> None:
    group = f"{place.namespace}.example.org"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                }
            ],
        },
    }
    thing = {
        "apiVersion": f"{group}/v1",
        "kind": "Thing",
        "metadata": {"name": "one", "namespace": place.namespace},
        "spec": {"size": 1},
    }
    job = place.apply_job(thing, crd)
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    assert (await ApplyExecutor().observe(job, outcome.output)).same
    assert await ApplyExecutor().undo(job, outcome.output) == ()


async def test_a_custom_deploy_acts_on_the_target_and_tells_what_it_made(place: Place) -> None:
    """Its kubeconfig knows one context, and goes with the command."""
    await place.cluster.apply(
        {**config("made"), "metadata": {"name": "made", "namespace": place.namespace}}
    )
    script = (
        'grep -c current-context: "$KUBECONFIG" >&2; stat -c %a "$KUBECONFIG" >&2; '
        f"printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: made, namespace: "
        f"{place.namespace}}}\\n'"
    )
    job = place.world.job(
        Kind.APPLY, CustomDeploySpec(("sh", "-c", script), delete_argv=("sh", "-c", "echo bye"))
    )
    outcome = await ApplyExecutor().run(job)
    assert isinstance(outcome, Succeeded)
    assert [o["name"] for o in outcome.output.data["objects"]] == ["made"]
    assert place.world.lines.of("stderr") == ["1", "600"]
    assert (await ApplyExecutor().observe(job, outcome.output)).same
    await ApplyExecutor().undo(job, outcome.output)
    assert place.world.lines.of("stdout")[-1] == "bye"
    assert not list(place.world.state_dir.glob("kubeconfig-*"))


async def test_a_users_patched_key_survives_every_later_apply(place: Place) -> None:
    """The hazard that a placeholder in a manifest wipes real credentials."""
    spec = SecretSpec("creds", place.namespace, (("TOKEN", "placeholder"),))
    job = place.world.job(Kind.SECRET, spec)
    first = await SecretExecutor().run(job)
    assert isinstance(first, Succeeded)
    assert first.output.data["keys"] == ["TOKEN"]
    ref = ObjectRef("v1", "Secret", "creds", place.namespace)
    await place.cluster.patch(ref, {"data": {"TOKEN": "cmVhbA=="}})
    assert (await SecretExecutor().observe(job, first.output)).same
    again = await SecretExecutor().run(job)
    assert isinstance(again, Succeeded)
    assert (await place.cluster.get(ref))["data"] == {"TOKEN": "cmVhbA=="}
    assert "was kept" in (await SecretExecutor().undo(job, again.output))[0]
    assert "placeholder" not in repr(first) + place.world.lines.text


# Rollout ------------------------------------------------------------------------------------------


async def test_a_rollout_is_ready_when_the_new_revision_serves(place: Place) -> None:
    outcome, job = await place.rolled_out(deployment(SERVE))
    assert isinstance(outcome, Succeeded), outcome
    pods = outcome.output.data["pods"]
    assert len(pods) == 1
    assert f"pod/{pods[0]}/main" in {stream for stream, _ in place.world.lines.all}
    assert (await RolloutExecutor().observe(job, outcome.output)).same
    changed, _ = await place.rolled_out(deployment("echo two; " + SERVE))
    assert isinstance(changed, Succeeded)
    assert changed.output.digest != outcome.output.digest
    assert set(changed.output.data["pods"]).isdisjoint(pods)
    assert not (await RolloutExecutor().observe(job, outcome.output)).same


async def test_a_restarted_pod_is_the_same_revision(place: Place) -> None:
    outcome, job = await place.rolled_out(deployment(SERVE))
    assert isinstance(outcome, Succeeded)
    (name,) = outcome.output.data["pods"]
    await place.cluster.delete(ObjectRef("v1", "Pod", name, place.namespace), grace=0)
    again = await RolloutExecutor().run(job)
    assert isinstance(again, Succeeded)
    assert again.live is not None
    await again.live.close()
    assert again.output.digest == outcome.output.digest
    assert again.output.data["pods"] != [name]


async def test_a_crash_loop_is_named_with_its_last_lines(place: Place) -> None:
    started = time.monotonic()
    failure = await failure_of(
        place, deployment("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; exit 7")
    )
    assert "CrashLoopBackOff" in failure.summary
    assert "exit code 7" in failure.summary
    assert "container main" in failure.summary
    assert sum("line" in line for line in failure.details) >= 10
    assert failure.kind is FailureKind.ROLLOUT
    assert time.monotonic() - started < 60


async def test_a_missing_image_is_named(place: Place) -> None:
    started = time.monotonic()
    failure = await failure_of(
        place, deployment("true", image="localhost:5000/no-such-image-at-all:1")
    )
    assert "ImagePull" in failure.summary
    assert any("no-such-image-at-all" in line for line in failure.details)
    assert time.monotonic() - started < 30


async def test_running_out_of_memory_is_named(place: Place) -> None:
    failure = await failure_of(
        place,
        deployment(
            "echo filling; tail /dev/zero",
            resources={"limits": {"memory": "16Mi"}, "requests": {"memory": "8Mi"}},
        ),
    )
    assert "OOMKilled" in failure.summary
    assert "exit code 137" in failure.summary
    assert "memory" in failure.hint


async def test_a_failing_job_is_named(place: Place) -> None:
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "doomed"},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {**pod_spec("echo cannot go on; exit 4"), "restartPolicy": "Never"}
            },
        },
    }
    failure = await failure_of(place, job)
    text = "\n".join((failure.summary, *failure.details))
    assert "BackoffLimitExceeded" in text
    assert "exit code 4" in text
    assert "cannot go on" in text


async def test_a_job_that_completes_is_done_and_may_go(place: Place) -> None:
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate"},
        "spec": {
            "ttlSecondsAfterFinished": 0,
            "template": {"spec": {**pod_spec("echo migrated"), "restartPolicy": "Never"}},
        },
    }
    applied = await place.applied(manifest)
    job = place.rollout_job(manifest, applied, readiness=Readiness.SUCCEEDED)
    async with asyncio.timeout(60):
        outcome = await RolloutExecutor().run(job)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.live is None
    ref = ObjectRef("batch/v1", "Job", "migrate", place.namespace)
    await place.cluster.wait_deleted(ref, timeout=30)
    assert (await ApplyExecutor().observe(place.apply_job(manifest), applied)).same
    assert (await RolloutExecutor().observe(job, outcome.output)).same


async def test_a_failed_rollout_that_recovers_becomes_ready(place: Place) -> None:
    script = "test -e /config/go || { echo not yet; exit 1; }; exec sleep 600"
    manifest = deployment(script, volumeMounts=[{"name": "config", "mountPath": "/config"}])
    volume = {"name": "config", "configMap": {"name": "flag", "optional": True}}
    manifest["spec"]["template"]["spec"]["volumes"] = [volume]
    applied = await place.applied(manifest)
    async with asyncio.timeout(120):
        outcome = await RolloutExecutor().run(place.rollout_job(manifest, applied))
        assert isinstance(outcome, Failed)
        assert outcome.live is not None
        recovered = asyncio.Event()
        following = asyncio.create_task(
            outcome.live.follow(lambda report: recovered.set() if report.ready else None)
        )
        await place.applied(config("flag", go="1"))
        pods = await place.cluster.list("v1", "Pod", namespace=place.namespace)
        for pod in pods.items:  # the next start would come too, some ten seconds later
            ref = ObjectRef("v1", "Pod", pod["metadata"]["name"], place.namespace)
            await place.cluster.delete(ref, grace=0)
        await recovered.wait()
        following.cancel()
        await asyncio.wait([following])
        await outcome.live.close()


# Port-forward -------------------------------------------------------------------------------------


async def test_a_port_forward_heals_when_its_pod_is_replaced(place: Place) -> None:
    outcome, _ = await place.rolled_out(
        deployment(
            SERVE,
            ports=[{"containerPort": 8080}],
            readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        )
    )
    assert isinstance(outcome, Succeeded), outcome
    spec = PortForwardSpec("rollout:it", 0, 0)
    forward_job = place.world.job(Kind.PORTFORWARD, spec, inputs={"rollout:it": outcome.output})
    forwarded = await PortForwardExecutor().run(forward_job)
    assert isinstance(forwarded, Succeeded), forwarded
    port = forwarded.output.data["local_port"]
    assert await fetch(port) == "hello"
    live = forwarded.live
    assert live is not None
    reports: list[bool] = []
    following = asyncio.create_task(live.follow(lambda report: reports.append(report.ready)))
    (name,) = outcome.output.data["pods"]
    await place.cluster.delete(ObjectRef("v1", "Pod", name, place.namespace), grace=0)
    async with asyncio.timeout(60):
        while True:
            try:
                if await fetch(port) == "hello" and name not in place.world.lines.all[-1][1]:
                    break
            except (OSError, asyncio.IncompleteReadError):
                pass
            await asyncio.sleep(0.2)
    following.cancel()
    await asyncio.wait([following])
    await live.close()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await fetch(port)


async def fetch(port: int) -> str:
    reader, writer = await asyncio.open_connection("localhost", port)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await writer.drain()
        answer = (await reader.read()).decode()
    finally:
        writer.close()
    if not answer:
        raise OSError("no answer")
    return answer.rpartition("\r\n\r\n")[2].strip()
