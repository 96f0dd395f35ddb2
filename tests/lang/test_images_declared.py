"""docker_build, custom_build, default_registry."""

from __future__ import annotations

import pytest

from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import CustomBuild, DefaultRegistry, DockerBuild
from kindling.testing.project import Project


def test_a_build_takes_the_ignore_file_of_its_context(project: Project) -> None:
    project.write("web/Dockerfile", "FROM scratch\n")
    project.write("web/.dockerignore", "# comment\nnode_modules\n\n!keep\n")
    declared = project.evaluate("docker_build('web', 'web', ignore='*.md', only=['src', './a'])\n")
    (image,) = declared.images
    assert isinstance(image, DockerBuild)
    assert image.files == FileSet(
        ("web",),
        (IgnoreRule("web", ("node_modules", "!keep")), IgnoreRule("web", ("*.md",))),
        ("web/src", "web/a"),
    )
    assert (image.dockerfile, image.dockerfile_text) == ("web/Dockerfile", "FROM scratch\n")
    assert {"web/Dockerfile", "web/.dockerignore"} <= set(declared.reads.paths)


def test_an_ignore_file_of_the_dockerfile_comes_first(project: Project) -> None:
    project.write("dev.Dockerfile", "FROM scratch\n")
    project.write("dev.Dockerfile.dockerignore", "dist\n")
    project.write(".dockerignore", "src\n")
    declared = project.evaluate("docker_build('web', '.', dockerfile='dev.Dockerfile')\n")
    image = declared.images[0]
    assert isinstance(image, DockerBuild)
    assert image.files.ignore == (IgnoreRule(".", ("dist",)),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("docker_build('a', 'Kindlingfile')", "The context `Kindlingfile` of image `a` is a file"),
        ("docker_build('a', 'nothing')", "`nothing/Dockerfile` does not exist"),
        ("docker_build('a', '.')", "`Dockerfile` does not exist"),
        (
            "docker_build('a', '.', dockerfile='x', dockerfile_contents='FROM y')",
            "both `dockerfile` and `dockerfile_contents`",
        ),
        (
            "docker_build('a', '.', dockerfile_contents='FROM y', only=['*.go'])",
            "takes paths, not patterns",
        ),
        (
            "docker_build('a', '.', dockerfile_contents='FROM y', ignore=['a\\nb'])",
            "a pattern with a line break",
        ),
        ("custom_build('a', '')", "Image `a` has no command"),
        (
            "custom_build('a', 'make', [], tag='x', outputs_image_ref_to='y')",
            "both `tag` and `outputs_image_ref_to`",
        ),
        ("custom_build('a', 'm')\ncustom_build('a', 'm')", "image `a` is declared twice"),
        ("default_registry('http://x')", "named without a scheme"),
        ("default_registry('a.io')\ndefault_registry('b.io')", "may be called once"),
    ],
)
def test_images_that_cannot_be_are_refused(project: Project, call: str, message: str) -> None:
    assert message in project.fails(call + "\n")


def test_a_custom_build_ignores_relative_to_each_of_its_deps(project: Project) -> None:
    """As the post that started this prints it: a fixed tag, no push, the binary as input."""
    project.write("cmd/main.go", "")
    project.write("Dockerfile.dev", "")
    declared = project.evaluate(
        "custom_build('worker', 'docker build -t worker:dev . && k3d image import worker:dev',\n"
        "  deps=['cmd', 'Dockerfile.dev'], tag='dev', disable_push=True, ignore=['*_test.go'])\n"
    )
    (image,) = declared.images
    assert isinstance(image, CustomBuild)
    assert image.files == FileSet(
        ("cmd", "Dockerfile.dev"),
        (IgnoreRule("cmd", ("*_test.go",)), IgnoreRule(".", ("*_test.go",))),
    )
    assert (image.tag, image.disable_push) == ("dev", True)


def test_containers_commands_are_told_apart_from_none(project: Project) -> None:
    declared = project.evaluate(
        "custom_build('a', 'm', entrypoint='run me', container_args=[])\n"
        "custom_build('b', ['m', '-x'], entrypoint=['/run'])\n"
    )
    first, second = declared.images
    assert (first.entrypoint, first.container_args) == (("sh", "-c", "run me"), ())
    assert (second.entrypoint, second.container_args) == (("/run",), None)


def test_a_registry_has_two_names(project: Project) -> None:
    declared = project.evaluate("default_registry('localhost:5000', 'registry:5000', 'dev')\n")
    assert declared.registry == DefaultRegistry("localhost:5000", "registry:5000", "dev")
