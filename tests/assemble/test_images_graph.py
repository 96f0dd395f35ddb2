"""Images: what is built from what, what is built at all, and how it reaches the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from kindling.errors import ConfigError, GraphError
from kindling.graph.node import EdgeKind, FileSet, IgnoreRule
from kindling.graph.spec import LoadSpec, PushSpec, RegistrySpec
from kindling.lang.assemble.target import AnnouncedRegistry, TargetFacts
from kindling.lang.declared import ClusterDeclaration, DefaultRegistry, Settings
from kindling.objects.inject import uses
from kindling.testing.declaring import KIND, UNKNOWN, Said, deployment


def test_a_service_with_its_own_image_is_built_pushed_applied_and_followed() -> None:
    said = Said()
    said.docker_build("api")
    said.yaml(deployment("api"))
    built = said.assemble()
    assert built.ids == [
        "cluster:dev",
        "image:api",
        "registry:local",
        "push:api",
        "apply:api",
        "rollout:api",
    ]
    assert built.before("push:api") == {
        "image:api": "content",
        "registry:local": "content",
        "cluster:dev": "ready",
    }
    assert built.before("apply:api") == {"push:api": "content", "cluster:dev": "ready"}
    assert built.before("rollout:api") == {"apply:api": "content", "cluster:dev": "ready"}
    assert built.spec("push:api") == PushSpec("api", "image:api", "registry:local")
    assert built.spec("registry:local") == RegistrySpec()
    assert built.assembly.resources["api"] == ("image:api", "push:api", "apply:api", "rollout:api")
    assert {built.node(id_).resource for id_ in built.ids} == {"", "api"}


def test_an_image_is_built_after_the_image_its_dockerfile_begins_with() -> None:
    said = Said()
    said.docker_build("base")
    said.docker_build("web", "ARG TAG=1\nFROM base:$TAG AS build\nRUN true\nFROM build")
    said.yaml(deployment("web"))
    built = said.assemble()
    assert built.edge("image:base", "image:web") is EdgeKind.CONTENT
    assert built.spec("image:web").bases == (("base:1", "image:base"),)
    assert "push:base" not in built.ids, "a mere base needs no way to the cluster"


def test_build_arguments_choose_the_base() -> None:
    said = Said()
    said.docker_build("one")
    said.docker_build("two")
    said.docker_build("web", "ARG BASE=one\nFROM ${BASE}", build_args=(("BASE", "two"),))
    said.yaml(deployment("web"))
    built = said.assemble()
    assert "image:one" not in built.ids
    assert built.edge("image:two", "image:web") is EdgeKind.CONTENT


def test_copy_from_another_image_is_a_dependency_and_from_a_stage_is_none() -> None:
    said = Said()
    said.docker_build("assets")
    said.docker_build("build")
    said.docker_build(
        "web",
        "FROM scratch AS build\nFROM scratch\nCOPY --from=build /a /a\nCOPY --from=assets /b /b",
    )
    said.yaml(deployment("web"))
    built = said.assemble()
    assert built.edge("image:assets", "image:web") is EdgeKind.CONTENT
    assert "image:build" not in built.ids


def test_a_shared_base_is_built_once_and_belongs_to_no_single_resource() -> None:
    said = Said()
    said.docker_build("base")
    for name in ("api", "web"):
        said.docker_build(name, "FROM base")
        said.yaml(deployment(name))
    built = said.assemble()
    assert built.ids.count("image:base") == 1
    assert built.node("image:base").resource == ""
    assert "image:base" in built.assembly.resources["api"]
    assert "image:base" in built.assembly.resources["web"]


def test_an_image_diamond_has_every_image_once() -> None:
    said = Said()
    said.docker_build("base")
    said.docker_build("left", "FROM base")
    said.docker_build("right", "FROM base")
    said.docker_build("top", "FROM left\nCOPY --from=right /x /x")
    said.yaml(deployment("top"))
    built = said.assemble()
    assert sorted(id_ for id_ in built.ids if id_.startswith("image:")) == [
        "image:base",
        "image:left",
        "image:right",
        "image:top",
    ]


def test_an_image_that_two_resources_run_is_built_and_pushed_once() -> None:
    said = Said()
    said.docker_build("worker")
    said.yaml(deployment("one", "worker"), deployment("two", "worker:v1"))
    built = said.assemble()
    assert built.ids.count("push:worker") == 1
    assert built.edge("push:worker", "apply:one") is EdgeKind.CONTENT
    assert built.edge("push:worker", "apply:two") is EdgeKind.CONTENT


def test_images_built_from_each_other_are_named() -> None:
    said = Said()
    said.docker_build("a", "FROM b")
    said.docker_build("b", "FROM a")
    said.yaml(deployment("a"))
    with pytest.raises(GraphError, match=r"Kindlingfile:1:1: .*a -> b -> a") as caught:
        said.assemble()
    assert "a is built from b at Kindlingfile:1:1" in caught.value.details


def test_a_build_of_nginx_from_nginx_means_the_public_one() -> None:
    said = Said()
    said.docker_build("nginx", "FROM nginx:1.27")
    said.yaml(deployment("web", "nginx"))
    assert said.assemble().spec("image:nginx").bases == ()


def test_an_unused_image_is_not_built_and_the_nearest_name_is_suggested() -> None:
    said = Said()
    said.docker_build("fronted")
    said.yaml(deployment("web", "frontend"))
    built = said.assemble()
    assert "image:fronted" not in built.ids
    assert built.warnings() == [
        "Kindlingfile:1:1: image `fronted` is used by no object and is not built. "
        "Did you mean `frontend`?"
    ]


def test_the_warning_about_unused_images_can_be_suppressed() -> None:
    said = Said()
    said.docker_build("lib-one")
    said.docker_build("two")
    said.fixed["settings"] = Settings(suppress_unused_images=("lib-*", "two"))
    assert said.assemble().warnings() == []


def test_an_image_declared_twice_cites_both_places() -> None:
    said = Said()
    said.docker_build("api")
    said.custom_build("docker.io/library/api")
    with pytest.raises(ConfigError, match=r"Kindlingfile:2:1: .*declared twice") as caught:
        said.assemble()
    assert caught.value.details == ("first at Kindlingfile:1:1",)


def test_image_deps_of_a_custom_build_come_first_and_an_unknown_one_is_an_error() -> None:
    said = Said()
    said.docker_build("base")
    said.custom_build("web", image_deps=("base",))
    said.yaml(deployment("web"))
    built = said.assemble()
    assert built.edge("image:base", "image:web") is EdgeKind.CONTENT
    assert built.spec("image:web").images == (("base", "image:base"),)
    said.custom_build("other", image_deps=("bas",))
    with pytest.raises(ConfigError, match=r"Kindlingfile:4:1: .*`bas`") as caught:
        said.assemble()
    assert caught.value.hint == "Did you mean `base`?"


def test_a_missing_dockerfile_is_an_error_with_a_place() -> None:
    said = Said()
    said.docker_build("api", path="api/Dockerfile")
    said.files.clear()
    with pytest.raises(ConfigError, match=r"Kindlingfile:1:1: .*there is no `api/Dockerfile`"):
        said.assemble()


def test_the_dockerfile_is_an_input_even_where_the_context_ignores_it() -> None:
    said = Said()
    context = FileSet(("api",), ignore=(IgnoreRule("api", ("*",)),))
    said.docker_build("api", files=context)
    said.yaml(deployment("api"))
    assert said.assemble().node("image:api").files == (context, FileSet(("api/Dockerfile",)))


def test_a_tag_in_the_declaration_counts() -> None:
    said = Said()
    said.docker_build("db:dev")
    said.docker_build("db:test")
    said.yaml(
        deployment("one", "db:dev"), deployment("two", "db:test"), deployment("three", "db:9")
    )
    built = said.assemble()
    assert built.edge("push:db:dev", "apply:one") is EdgeKind.CONTENT
    assert built.edge("push:db:test", "apply:two") is EdgeKind.CONTENT
    assert built.before("apply:three") == {"cluster:dev": "ready"}


# How they travel ----------------------------------------------------------------------------------


def test_kind_without_a_registry_loads() -> None:
    said = Said(target=KIND)
    said.docker_build("api")
    said.yaml(deployment("api"))
    built = said.assemble()
    assert built.spec("load:api") == LoadSpec("api", "image:api", "kind", "dev")
    assert built.before("apply:api") == {"load:api": "content", "cluster:kind-dev": "ready"}
    assert not any(id_.startswith("registry:") for id_ in built.ids)


def test_kind_with_a_registry_pushes() -> None:
    said = Said(target=TargetFacts("kind-dev", "kind", "dev", registry=AnnouncedRegistry("r:5000")))
    said.docker_build("api")
    said.yaml(deployment("api"))
    assert "push:api" in said.assemble().ids


def test_default_registry_wins_over_what_the_target_announces() -> None:
    said = Said()
    said.docker_build("api")
    said.yaml(deployment("api"))
    said.fixed["registry"] = DefaultRegistry("ghcr.io/acme", "mirror/acme", "all")
    built = said.assemble()
    assert built.spec("registry:ghcr.io/acme") == RegistrySpec("ghcr.io/acme", "mirror/acme", "all")
    assert "registry:local" not in built.ids


def test_a_registry_that_cluster_asks_for_is_used() -> None:
    said = Said(target=KIND)
    said.docker_build("api")
    said.yaml(deployment("api"))
    said.fixed["cluster"] = ClusterDeclaration(registry=True)
    assert "registry:local" in said.assemble().ids


def test_without_any_registry_an_image_goes_where_its_name_says() -> None:
    said = Said(target=UNKNOWN)
    said.docker_build("ghcr.io/acme/api")
    said.docker_build("web")
    said.yaml(deployment("api", "ghcr.io/acme/api"), deployment("web"))
    built = said.assemble()
    assert built.spec("registry:ghcr.io") == RegistrySpec("ghcr.io")
    assert built.spec("registry:docker.io") == RegistrySpec("docker.io")
    assert [w for w in built.warnings() if "docker.io" in w and "`web`" in w]


def test_a_cluster_that_is_the_docker_engine_needs_no_delivery() -> None:
    said = Said(target=TargetFacts("docker-desktop", "docker-desktop"))
    said.docker_build("api")
    said.yaml(deployment("api"))
    built = said.assemble()
    assert built.before("apply:api") == {"image:api": "content", "cluster:docker-desktop": "ready"}
    assert built.spec("apply:api").images[0].delivery == "image:api"


@pytest.mark.parametrize(
    "how",
    [
        {"tag": "dev", "disable_push": True},
        {"disable_push": True},
        {"skips_local_docker": True},
        {"skips_local_docker": True, "outputs_image_ref_to": "ref.txt"},
    ],
)
def test_a_build_that_delivers_by_itself_is_the_delivery(how: dict[str, Any]) -> None:
    """What such a command does, it does to one cluster, so another cluster means another run."""
    said = Said()
    said.custom_build("kpulse", deps=("bin",), **how)
    said.yaml(deployment("kpulse", "kpulse:dev"))
    built = said.assemble()
    assert built.edge("image:kpulse", "apply:kpulse") is EdgeKind.CONTENT
    assert built.edge("cluster:dev", "image:kpulse") is EdgeKind.CONTENT
    assert built.spec("apply:kpulse").images[0].delivery == "image:kpulse"


def test_a_reference_file_that_a_build_writes_is_not_its_input() -> None:
    said = Said()
    said.custom_build("api", deps=(".",), outputs_image_ref_to="out/ref[1].txt")
    said.yaml(deployment("api"))
    (files,) = said.assemble().node("image:api").files
    assert files.ignore == (IgnoreRule(".", (r"out/ref\[1].txt",)),)


def test_custom_builds_are_told_the_registry() -> None:
    said = Said()
    said.custom_build("api")
    said.yaml(deployment("api"))
    assert said.assemble().spec("image:api").host == "localhost:5000"
    said.fixed["registry"] = DefaultRegistry("ghcr.io/acme", "mirror")
    spec = said.assemble().spec("image:api")
    assert (spec.host, spec.host_from_cluster) == ("ghcr.io/acme", "mirror")


# Where references go ------------------------------------------------------------------------------


def test_an_entrypoint_needs_a_container() -> None:
    said = Said()
    said.docker_build("tool", entrypoint=("/run",), match_in_env_vars=True)
    said.yaml(deployment("api", "nginx", env={"TOOL_IMAGE": "tool"}))
    with pytest.raises(ConfigError, match=r"Kindlingfile:1:1: .*`entrypoint=`"):
        said.assemble()


def test_images_in_environment_variables_count_where_the_build_says_so() -> None:
    said = Said()
    said.docker_build("tool", match_in_env_vars=True)
    said.docker_build("other")
    said.yaml(deployment("api", "nginx", env={"TOOL_IMAGE": "tool:1", "OTHER": "other"}))
    built = said.assemble()
    assert built.edge("push:tool", "apply:api") is EdgeKind.CONTENT
    assert "image:other" not in built.ids


def test_what_a_resource_waits_for_its_image_waits_for_too() -> None:
    """The build may copy what the dependency makes."""
    said = Said()
    said.local("go-build", deps=("cmd",))
    said.docker_build("api")
    said.docker_build("base")
    said.yaml(deployment("api"))
    said.k8s_resource("api", resource_deps=("go-build",))
    built = said.assemble()
    assert built.edge("local:go-build", "image:api") is EdgeKind.READY
    assert built.edge("local:go-build", "apply:api") is EdgeKind.READY


def test_a_shared_image_waits_only_for_what_all_its_users_wait_for() -> None:
    said = Said()
    said.local("gen")
    said.local("migrate")
    said.docker_build("base")
    said.docker_build("db", "FROM base")
    said.docker_build("api", "FROM base")
    said.yaml(deployment("db"), deployment("api"))
    said.k8s_resource("db", resource_deps=("gen",))
    said.k8s_resource("api", resource_deps=("gen", "migrate", "db"))
    built = said.assemble()
    assert built.before("image:base") == {"local:gen": "ready"}
    assert built.edge("local:migrate", "image:api") is EdgeKind.READY


def test_a_cluster_that_nobody_asked_yet_may_still_announce_a_registry() -> None:
    said = Said(target=TargetFacts("far", registry_known=False))
    said.docker_build("web")
    said.yaml(deployment("web"))
    built = said.assemble()
    assert built.spec("registry:local") == RegistrySpec()
    assert built.warnings() == []


def test_a_build_that_writes_its_reference_is_pushed_unless_it_says_that_it_did() -> None:
    said = Said()
    said.custom_build("api", outputs_image_ref_to="ref.txt")
    said.yaml(deployment("api"))
    assert said.assemble().edge("push:api", "apply:api") is EdgeKind.CONTENT


def test_an_image_does_not_wait_for_pods_that_its_resource_waits_for() -> None:
    """No build copies from a pod; what is behind the pods on this machine still counts."""
    said = Said()
    said.local("gen")
    said.docker_build("api")
    said.yaml(deployment("db", "x"), deployment("api"))
    said.k8s_resource("db", resource_deps=("gen",))
    said.k8s_resource("api", resource_deps=("db",))
    built = said.assemble()
    assert built.before("image:api") == {"local:gen": "ready"}
    assert built.edge("rollout:db", "apply:api") is EdgeKind.READY


def test_every_declared_injection_has_a_place() -> None:
    said = Said()
    for name in ("api", "init", "tool"):
        said.docker_build(name, match_in_env_vars=True)
    manifest = deployment("api", env={"TOOL": "tool:1"})
    manifest["spec"]["template"]["spec"]["initContainers"] = [{"name": "i", "image": "init"}]
    said.yaml(manifest)
    built = said.assemble()
    images = built.spec("apply:api").images
    assert [image.ref for image in images] == ["init", "api", "tool"]
    assert uses(built.manifests("apply:api")[0], images) == {0, 1, 2}
