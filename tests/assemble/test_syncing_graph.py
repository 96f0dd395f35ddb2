"""Sync sessions in the graph: who is synced, what comes before, what a carried change spares."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.errors import ConfigError
from kindling.graph.node import FileSet, IgnoreRule, Node, NodeId, Trigger
from kindling.graph.spec import ObjectRef, RollbackSpec, SyncSpec
from kindling.graph.steps import LEFT_OUT, FallBackOn, InitialSync, SyncStep
from kindling.lang.assemble.assembly import Assembly, assemble
from kindling.lang.assemble.reader import DiskReader
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.testing.project import Project

TARGET = TargetFacts("dev", registry=AnnouncedRegistry("localhost:5000"))

WORKLOAD = """
apiVersion: apps/v1
kind: %s
metadata: {name: %s}
spec:
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [%s]}
---
"""


def workload(name: str, *images: str, kind: str = "Deployment") -> str:
    containers = ", ".join(f"{{name: c{at}, image: {i}}}" for at, i in enumerate(images))
    return WORKLOAD % (kind, name, name, name, containers)


def image(name: str, steps: str = "", recipe: str = "FROM busybox") -> str:
    return (
        f"docker_build('{name}', '{name}', dockerfile_contents='{recipe}', live_update=[{steps}])\n"
    )


def build(project: Project, text: str) -> Assembly:
    return assemble(project.evaluate(text), TARGET, DiskReader(project.root))


def spec(assembly: Assembly, name: str) -> SyncSpec:
    found = node(assembly, f"sync:{name}").spec
    assert isinstance(found, SyncSpec)
    return found


def node(assembly: Assembly, id_: str) -> Node:
    return assembly.graph[NodeId(id_)]


def edges(assembly: Assembly, *ids: str) -> set[str]:
    return {
        f"{e.before} -{e.kind.value}-> {e.after}"
        for e in assembly.graph.edges
        if e.before in ids or e.after in ids
    }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("src/app.py", "")
    for name in ("web", "base", "other"):
        project.write(f"{name}/Dockerfile", "FROM busybox\n")
    return project


def test_a_service_with_a_prebuilt_image_is_synced_after_its_rollout(project: Project) -> None:
    """The way back comes before what writes the workload, the session after its pods."""
    made = build(project, "service('shop', 'shop:1', 80, sync=[sync('src', '/app', ['*.md'])])")
    deployment = ObjectRef("apps/v1", "Deployment", "shop", "default")
    assert spec(made, "shop") == SyncSpec(
        rollout="rollout:shop",
        workload=deployment,
        steps=(SyncStep("src", "/app", (*LEFT_OUT, "*.md")),),
        files=(FileSet(("src",), (IgnoreRule("src", (*LEFT_OUT, "*.md")),)),),
        container="shop",
        acts=True,
    )
    assert node(made, "rollback:shop").spec == RollbackSpec("sync:shop", deployment)
    assert edges(made, "sync:shop", "rollback:shop") == {
        "cluster:dev -ready-> sync:shop",
        "cluster:dev -ready-> rollback:shop",
        "rollout:shop -content-> sync:shop",
        "rollback:shop -order-> operator:shop",
    }
    assert made.resources["shop"][-2:] == ("sync:shop", "rollback:shop")
    assert not node(made, "sync:shop").files, "they are not part of its key"
    assert node(made, "sync:shop").watched == spec(made, "shop").files


def test_a_workload_is_synced_by_the_steps_of_its_image(project: Project) -> None:
    project.write("web.yaml", workload("web", "busybox", "web"))
    made = build(project, image("web", "sync('web', '/app')") + "k8s_yaml('web.yaml')")
    found = spec(made, "web")
    assert found.workload == ObjectRef("apps/v1", "Deployment", "web", "default")
    assert (found.container, found.image, found.covers) == ("c1", "image:web", ("image:web",))
    assert not found.acts, "live_update does what its steps say and no more"
    assert "rollback:web -order-> apply:web" in edges(made, "rollback:web")


def test_a_change_of_a_dockerfile_is_never_carried(project: Project) -> None:
    """It may lie in the very folder that is copied."""
    project.write("web.yaml", workload("web", "web"))
    made = build(
        project,
        "docker_build('web', 'web', live_update=[initial_sync(), sync('web', '/app')])\n"
        "k8s_yaml('web.yaml')",
    )
    assert spec(made, "web").steps == (
        InitialSync(),
        FallBackOn(("web/Dockerfile",)),
        SyncStep("web", "/app"),
    )


def test_a_base_image_is_spared_when_all_that_is_built_upon_it_is_synced(
    project: Project,
) -> None:
    project.write("web.yaml", workload("web", "web") + workload("other", "other"))
    text = image("base") + image("web", "sync('base', '/lib')", "FROM base") + "%s"
    text += "k8s_yaml('web.yaml')"
    both = build(project, text % image("other", "sync('base', '/lib')", "FROM base"))
    assert set(spec(both, "web").covers) == {"image:web", "image:base"}
    assert FileSet(("base",)) in spec(both, "web").files
    one = build(project, text % image("other", "", "FROM base"))
    assert spec(one, "web").covers == ("image:web",)


def test_an_image_is_not_spared_when_something_else_runs_it(project: Project) -> None:
    """A Job, or a second container whose program is to start anew, gets new files by a new image
    alone."""
    steps = image("web", "sync('web', '/app'), restart_container()") + "k8s_yaml('web.yaml')"
    project.write("web.yaml", workload("web", "web") + workload("job", "web", kind="DaemonSet"))
    assert spec(build(project, steps), "web").covers == ()
    project.write("web.yaml", workload("web", "web", "web"))
    made = build(project, steps)
    assert spec(made, "web").covers == ()
    assert any("`c1` of Deployment/web" in str(one) for one in made.warnings)


def test_all_containers_of_a_pod_that_run_one_image_are_synced_together(project: Project) -> None:
    steps = image("web", "sync('web', '/app')") + image("other", "sync('other', '/app')")
    steps += "k8s_yaml('web.yaml')"
    project.write("web.yaml", workload("web", "busybox", "web", "other", "web", "web"))
    made = build(project, steps)
    found = spec(made, "web")
    assert (found.container, found.also) == ("c1", ("c3", "c4"))
    assert found.covers == ("image:web",)
    (warning,) = (str(one) for one in made.warnings)
    assert "container `c2` of Deployment/web" in warning
    assert "is not synced, since `c1` of the same pods is" in warning
    project.write("web.yaml", workload("web", "web", "other", "other"))
    assert spec(build(project, steps), "web").also == ()
    assert spec(build(project, steps), "web").covers == ("image:web",)


def test_what_is_read_of_an_output_does_not_build_a_spared_image_by_itself(
    project: Project,
) -> None:
    """The changed files are looked at one by one; the image still waits for what writes them."""
    project.write("web.yaml", workload("web", "web"))
    made = build(
        project,
        "local_resource('make', 'make', outputs=['web/out'])\n"
        + image("web", "sync('web', '/app')")
        + "k8s_yaml('web.yaml')",
    )
    assert "local:make -ready-> image:web" in edges(made, "local:make")


def test_a_custom_deploy_is_run_again_for_what_cannot_be_carried(project: Project) -> None:
    made = build(
        project,
        "k8s_custom_deploy('x', 'up', 'down', ['src'], live_update=[sync('src', '/a')],"
        " container_selector='c')",
    )
    found = spec(made, "x")
    assert (found.workload, found.container) == (None, "c")
    assert (found.image, found.covers, found.files) == (
        "apply:x",
        ("apply:x",),
        (FileSet(("src",)),),
    )


def test_a_test_runs_again_when_what_it_tests_was_synced(project: Project) -> None:
    made = build(
        project,
        "service('shop', 'shop:1', 80, sync=[sync('src', '/app')])\n"
        "test('smoke', 'true', resource_deps=['shop'])\n"
        "service('next', 'next:1', 80, resource_deps=['shop'])",
    )
    assert "sync:shop -content-> test:smoke" in edges(made, "sync:shop")
    assert not any("operator:next" in edge for edge in edges(made, "sync:shop"))


def test_two_synced_workloads_of_a_resource_have_names_of_their_own(project: Project) -> None:
    project.write("web.yaml", workload("web", "web") + workload("more", "web"))
    made = build(
        project,
        image("web", "sync('web', '/app')")
        + "k8s_yaml('web.yaml')\nk8s_resource('web', objects=['more:deployment'])",
    )
    names = [id_ for id_ in made.graph.nodes if id_.startswith(("sync:", "rollback:"))]
    assert names == ["sync:web/web", "rollback:web/web", "sync:web/more", "rollback:web/more"]
    assert spec(made, "web/more").covers == ("image:web",)


def test_a_manual_resource_is_synced_by_hand(project: Project) -> None:
    made = build(
        project,
        "service('shop', 'shop:1', 80, sync=[sync('src', '/app')],"
        " trigger_mode=TRIGGER_MODE_MANUAL)",
    )
    assert node(made, "sync:shop").trigger is Trigger.MANUAL


def test_steps_in_two_places_are_refused(project: Project) -> None:
    text = (
        image("web", "sync('web', '/app')")
        + "service('shop', 'web', 80, sync=[sync('web', '/app')])"
    )
    with pytest.raises(ConfigError, match="its image `web` has `live_update`") as caught:
        build(project, text)
    assert caught.value.message.startswith("Kindlingfile:2:")


def test_nothing_can_be_built_where_the_image_is_not_ours(project: Project) -> None:
    text = "service('s', 's:1', 80, sync=[fall_back_on('src/x'), sync('src', '/app')])"
    with pytest.raises(ConfigError, match="cannot fall back on building its image") as caught:
        build(project, text)
    assert caught.value.message.startswith("Kindlingfile:1:")
