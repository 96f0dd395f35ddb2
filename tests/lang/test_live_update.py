"""Live update steps: order, paths, and that each is used."""

from __future__ import annotations

import pytest

from kindling.lang.declared import (
    FallBackOn,
    InitialSync,
    RestartContainer,
    RunStep,
    SyncStep,
)
from kindling.testing.project import Project


def _image(steps: str) -> str:
    return f"docker_build('web', 'web', live_update=[{steps}])\n"


@pytest.fixture
def web(project: Project) -> Project:
    project.write("web/Dockerfile", "FROM base:1\nCOPY . /app\n")
    return project


def test_steps_keep_what_they_say(web: Project) -> None:
    declared = web.evaluate(
        _image(
            "initial_sync(), fall_back_on(['web/go.mod']), "
            "sync('web/src/', '/app/src', ignore=['*.md']), "
            "run('make', trigger='web/src/a.go'), restart_container()"
        )
    )
    assert not declared.remarks
    assert declared.images[0].live_update == (
        InitialSync(),
        FallBackOn(("web/go.mod",)),
        SyncStep("web/src", "/app/src", ("*.md",)),
        RunStep(("sh", "-c", "make"), ("web/src/a.go",)),
        RestartContainer(),
    )


def test_a_step_that_nothing_uses_is_located(web: Project) -> None:
    text = web.fails("x = 1\nsync('web', '/app')\nrun('make')\n")
    assert text.startswith(
        "Kindlingfile:2:1: This `sync` step is part of no `live_update` and no `sync`"
    )
    assert "Kindlingfile:3:1: nor is this `run`" in text


def test_a_path_outside_the_context_names_it_and_what_is_inside(web: Project) -> None:
    text = web.fails("steps = [\n  sync('other', '/app'),\n]\n" + _image("").replace("[]", "steps"))
    assert text.startswith("Kindlingfile:2:3: `other` is not among the files of image `web`")
    assert "its files: [web]" in text


def test_a_path_of_a_base_image_is_inside(web: Project) -> None:
    web.write("base/Dockerfile", "FROM scratch\n")
    web.evaluate("docker_build('base', 'base')\n" + _image("sync('base/lib', '/lib')"))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("run('a'), sync('web', '/app')", "`sync` comes after `run`"),
        ("sync('web', '/app'), fall_back_on('web/x')", "`fall_back_on` comes after `sync`"),
        ("sync('web', '/app'), initial_sync()", "`initial_sync` comes after `sync`"),
        ("initial_sync(), initial_sync()", "`initial_sync` stands twice"),
        ("sync('web', 'app')", "must be an absolute path in the container"),
        ("restart_container(), restart_container()", "`restart_container` stands twice"),
        ("restart_container(), run('a')", "`run` comes after `restart_container`"),
        ("'web'", "wants steps such as `sync()` and `run()`"),
    ],
)
def test_steps_that_cannot_be_are_refused(web: Project, steps: str, message: str) -> None:
    assert message in web.fails(_image(steps))


def test_steps_of_a_custom_build_lie_in_its_deps(web: Project) -> None:
    web.evaluate("custom_build('x', 'make', ['web'], live_update=[sync('web/a', '/a')])\n")
    assert "its files: [web]" in web.fails(
        "custom_build('x', 'make', ['web'], live_update=[sync('.', '/a')])\n"
    )


def test_a_custom_deploy_says_which_containers(web: Project) -> None:
    call = "k8s_custom_deploy('x', 'up', 'down', ['web'], live_update=[sync('web', '/a')]{})\n"
    assert "does not say for which containers" in web.fails(call.format(""))
    declared = web.evaluate(call.format(", container_selector='c'"))
    assert declared.custom_deploys[0].selector.container == "c"


def _service(steps: str) -> str:
    return f"service('shop', 'shop:1', 80, sync=[{steps}])\n"


def test_the_steps_of_a_service_are_those_of_a_live_update(web: Project) -> None:
    """A service takes the same steps, and a step that it took is used."""
    declared = web.evaluate(
        _service("sync('web', '/app', ignore=['*.md']), run('make', trigger='web/a.go')")
    )
    assert declared.environments[0].sync == (
        SyncStep("web", "/app", ("*.md",)),
        RunStep(("sh", "-c", "make"), ("web/a.go",)),
    )
    assert not declared.remarks


def test_the_steps_of_an_environment_from_a_file_are_kept(web: Project) -> None:
    web.write(
        "dse.yaml",
        "apiVersion: apps.example.com/v1alpha1\nkind: DevStagingEnvironment\n"
        "metadata: {name: orders}\n"
        "spec: {deployment: {image: 'orders:1', port: 80}, service: {port: 80}}\n",
    )
    declared = web.evaluate("dse('orders', file='dse.yaml', sync=sync('web', '/app'))\n")
    assert declared.environments[0].sync == (SyncStep("web", "/app"),)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("run('make')", "`sync` of service copies nothing"),
        ("run('a'), sync('web', '/a')", "In `sync`, `sync` comes after `run`"),
        ("sync('web', 'app')", "must be an absolute path in the container"),
        (
            "sync('web', '/a'), run('x', trigger='other')",
            "`other` of `run` is in no `sync` step of `shop`",
        ),
        ("'web'", "`service(sync=)` wants steps such as `sync()` and `run()`"),
    ],
)
def test_steps_that_no_service_can_have_are_refused(web: Project, steps: str, message: str) -> None:
    text = web.fails(_service(steps))
    assert text.startswith("Kindlingfile:1:")
    assert message in text


def test_what_is_not_there_to_be_copied_is_named_at_its_step(web: Project) -> None:
    """A folder may be made later, as by a build, so it is no mistake; the nearest name is told."""
    (remark,) = web.evaluate(
        "steps = [\n  sync('wep', '/app'),\n]\n" + _service("").replace("[]", "steps")
    ).remarks
    assert str(remark).startswith("Kindlingfile:2:3: `sync` copies `wep`, which is not there yet")
    assert "`web`" in str(remark)
