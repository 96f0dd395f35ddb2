"""Which objects are one resource: workloads, selectors, what is left over."""

from __future__ import annotations

import pytest

from kindling.errors import ConfigError
from kindling.graph.node import EdgeKind, FileSet, Trigger, Where
from kindling.graph.spec import CustomDeploySpec, ObjectRef, Readiness, RolloutSpec
from kindling.lang.assemble.target import TargetFacts
from kindling.lang.declared import (
    ClusterDeclaration,
    CustomDeploy,
    DiscoveryStrategy,
    ImageObject,
    KindDeclaration,
    KubernetesObject,
    Link,
    ObjectSelector,
    PortForward,
    SecretIfAbsent,
    Settings,
    WorkloadId,
)
from kindling.testing.declaring import Built, Said, deployment, service, thing


def select(text: str) -> ObjectSelector:
    parts = [*text.split(":"), "", "", ""][:4]
    return ObjectSelector(text, *parts)


def names(built: Built, id_: str) -> list[str]:
    return [f"{o.ref.kind}/{o.ref.name}" for o in built.spec(id_).objects]


def test_a_service_joins_the_workload_whose_pods_it_selects() -> None:
    said = Said()
    said.yaml(
        service("front", {"app": "api"}),
        thing("ConfigMap", "settings"),
        deployment("api", "nginx", labels={"app": "api", "tier": "web"}),
        service("elsewhere", {"app": "api"}, "other"),
    )
    built = said.assemble()
    assert names(built, "apply:api") == ["Service/front", "Deployment/api"]
    assert names(built, "apply:uncategorized") == ["ConfigMap/settings", "Service/elsewhere"]


def test_what_is_left_over_is_applied_first_and_waits_for_no_pods() -> None:
    said = Said()
    said.yaml(deployment("api", "nginx"), thing("ConfigMap", "settings"))
    built = said.assemble()
    assert built.edge("apply:uncategorized", "apply:api") is EdgeKind.READY
    assert "rollout:uncategorized" not in built.ids


def test_objects_are_applied_in_install_order() -> None:
    said = Said()
    said.yaml(
        thing("Ingress", "i", api="networking.k8s.io/v1"),
        thing("ConfigMap", "c"),
        thing("CustomResourceDefinition", "d", api="apiextensions.k8s.io/v1"),
        thing("Namespace", "n"),
    )
    kinds = [o.ref.kind for o in said.assemble().spec("apply:uncategorized").objects]
    assert kinds == ["Namespace", "CustomResourceDefinition", "ConfigMap", "Ingress"]


def test_manifests_are_what_the_user_wrote_plus_a_namespace_where_one_is_needed() -> None:
    said = Said(target=TargetFacts("dev", namespace="team"))
    role = thing("ClusterRole", "r", api="rbac.authorization.k8s.io/v1")
    custom = thing("Widget", "w", api="acme.io/v1")
    said.yaml(thing("ConfigMap", "c", data={"a": "1"}), role, custom)
    built = said.assemble()
    config = thing("ConfigMap", "c", "team", data={"a": "1"})
    assert built.manifests("apply:uncategorized") == [config, role, custom]
    refs = [o.ref for o in built.spec("apply:uncategorized").objects]
    assert refs == [
        ObjectRef("v1", "ConfigMap", "c", "team"),
        ObjectRef("rbac.authorization.k8s.io/v1", "ClusterRole", "r"),
        ObjectRef("acme.io/v1", "Widget", "w"),
    ]


def test_the_namespace_that_cluster_names_wins_over_the_contexts() -> None:
    said = Said(target=TargetFacts("dev", namespace="team"))
    said.fixed["cluster"] = ClusterDeclaration(namespace="mine")
    said.yaml(thing("ConfigMap", "c"))
    built = said.assemble()
    assert built.assembly.namespace == "mine"
    assert built.manifests("apply:uncategorized")[0]["metadata"]["namespace"] == "mine"
    assert built.spec("cluster:dev").namespace == "mine"


def test_workloads_of_one_name_are_told_apart_by_kind_then_namespace() -> None:
    said = Said()
    said.yaml(
        deployment("db", "x"),
        deployment("db", "x", kind="StatefulSet", namespace="a"),
        deployment("db", "x", kind="StatefulSet", namespace="b"),
        deployment("web", "x"),
    )
    built = said.assemble()
    assert list(built.assembly.resources) == [
        "db:deployment",
        "db:statefulset:a",
        "db:statefulset:b",
        "web",
    ]


def test_the_users_function_names_workloads() -> None:
    said = Said()
    said.yaml(deployment("api", "x", namespace="a"), deployment("api", "x", namespace="b"))

    def name(workload: WorkloadId) -> str:
        return f"{workload.namespace}-{workload.name}"

    said.fixed["name_workload"] = name
    assert list(said.assemble().assembly.resources) == ["a-api", "b-api"]


def test_new_name_renames_and_later_calls_use_the_new_name() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    said.k8s_resource("api", new_name="backend", labels=("a",))
    said.k8s_resource("backend", labels=("b",))
    built = said.assemble()
    assert built.node("apply:backend").labels == ("a", "b")


def test_an_unknown_workload_names_the_nearest_one() -> None:
    said = Said()
    said.yaml(deployment("frontend", "x"))
    said.k8s_resource("frontnd")
    with pytest.raises(ConfigError, match=r"Kindlingfile:2:1: there is no workload") as caught:
        said.assemble()
    assert caught.value.hint == "Did you mean `frontend`?"
    assert caught.value.details == ("known: [frontend]",)


def test_naming_an_object_without_pods_as_workload_says_what_to_write() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "settings"))
    said.k8s_resource("settings")
    with pytest.raises(ConfigError, match="makes no pods") as caught:
        said.assemble()
    assert "objects = [...]" in caught.value.hint


def test_objects_moves_an_object_into_a_resource() -> None:
    said = Said()
    said.yaml(
        deployment("api", "x"),
        thing("ConfigMap", "settings"),
        thing("Role", "r", api="rbac.authorization.k8s.io/v1"),
    )
    said.k8s_resource("api", objects=(select("SETTINGS:configmap"),))
    said.k8s_resource(new_name="rights", objects=(select("r"),))
    built = said.assemble()
    assert names(built, "apply:api") == ["ConfigMap/settings", "Deployment/api"]
    assert names(built, "apply:rights") == ["Role/r"]
    assert "rollout:rights" not in built.ids
    assert "apply:uncategorized" not in built.ids


def test_a_selector_must_name_exactly_one_object() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "x", "a"), thing("ConfigMap", "x", "b"), deployment("api", "i"))
    said.k8s_resource("api", objects=(select("x:configmap"),))
    with pytest.raises(ConfigError, match=r"Kindlingfile:2:1: .* names 2 objects") as caught:
        said.assemble()
    assert caught.value.details == ("[x:configmap:a, x:configmap:b]",)


def test_a_prefix_of_a_name_selects_nothing() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "settings"))
    said.k8s_resource(new_name="s", objects=(select("setting"),))
    with pytest.raises(ConfigError, match="names no object") as caught:
        said.assemble()
    assert caught.value.hint == "Did you mean `settings:configmap:default`?"


def test_an_object_belongs_to_one_resource() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "c"))
    said.k8s_resource(new_name="one", objects=(select("c"),))
    said.k8s_resource(new_name="two", objects=(select("c"),))
    with pytest.raises(
        ConfigError, match=r"Kindlingfile:3:1: .*already in resource `one`"
    ) as caught:
        said.assemble()
    assert caught.value.details == ("put there at Kindlingfile:2:1",)


def test_a_workload_that_moves_leaves_no_resource_behind() -> None:
    said = Said()
    said.yaml(deployment("api", "x"), deployment("migrate", "x", kind="Job", api="batch/v1"))
    said.k8s_resource("api", objects=(select("migrate:job"),))
    built = said.assemble()
    assert list(built.assembly.resources) == ["api"]
    assert {o.name for o in built.spec("rollout:api").objects} == {"api", "migrate"}
    assert built.spec("rollout:api").readiness is Readiness.WAIT


def test_a_duplicate_object_cites_both_registrations() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "c"))
    said.yaml(thing("ConfigMap", "c", "default"))
    with pytest.raises(
        ConfigError, match=r"Kindlingfile:2:1: object ConfigMap/c in default"
    ) as caught:
        said.assemble()
    assert caught.value.details == (
        "first at Kindlingfile:1:1 (k8s.yaml)",
        "again at Kindlingfile:2:1 (k8s.yaml)",
    )


def test_an_allowed_duplicate_takes_the_place_of_the_first() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "c", data={"v": "1"}))
    said.yaml(thing("ConfigMap", "c", data={"v": "2"}), allow_duplicates=True)
    (manifest,) = said.assemble().manifests("apply:uncategorized")
    assert manifest["data"] == {"v": "2"}


def test_an_object_without_a_name_has_a_place_in_its_error() -> None:
    said = Said()
    ref = ObjectRef("v1", "Pod", "x")
    said.add(
        "objects", KubernetesObject(ref, '{"apiVersion":"v1","kind":"Pod"}', said.where(), "p.yaml")
    )
    with pytest.raises(ConfigError, match=r"Kindlingfile:1:1 \(p.yaml\): A Pod has no"):
        said.assemble()


# Readiness and configuration ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "readiness"),
    [("Deployment", Readiness.WAIT), ("Job", Readiness.SUCCEEDED)],
)
def test_jobs_must_succeed_and_everything_else_be_ready(kind: str, readiness: Readiness) -> None:
    said = Said()
    said.yaml(deployment("x", "i", kind=kind))
    assert said.assemble().spec("rollout:x") == RolloutSpec(
        "apply:x", (ObjectRef("apps/v1", kind, "x", "default"),), readiness=readiness
    )


def test_several_calls_for_one_workload_add_up_and_the_last_scalar_wins() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    said.k8s_resource(
        "api", labels=("a",), links=(Link("http://one"),), trigger=Trigger.MANUAL, auto_init=False,
        pod_readiness=Readiness.IGNORE, extra_pod_selectors=((("app", "x"),),),
    )  # fmt: skip
    said.k8s_resource("api", labels=("b",), links=(Link("http://two", "2"),), trigger=Trigger.AUTO)
    built = said.assemble()
    apply, rollout = built.node("apply:api"), built.node("rollout:api")
    assert apply.labels == rollout.labels == ("a", "b")
    assert apply.trigger is Trigger.AUTO
    assert not apply.auto_init
    assert not rollout.auto_init
    assert rollout.links == (("http://one", ""), ("http://two", "2"))
    assert built.spec("rollout:api").readiness is Readiness.IGNORE
    assert built.spec("rollout:api").selectors == ((("app", "x"),),)


def test_a_manual_resource_has_its_own_images_manual_and_shared_ones_not() -> None:
    said = Said()
    said.docker_build("base")
    said.docker_build("api", "FROM base")
    said.docker_build("web", "FROM base")
    said.yaml(deployment("api"), deployment("web"))
    said.k8s_resource("api", trigger=Trigger.MANUAL, auto_init=False)
    built = said.assemble()
    assert built.node("image:api").trigger is built.node("apply:api").trigger is Trigger.MANUAL
    assert not built.node("image:api").auto_init
    assert built.node("image:base").trigger is Trigger.AUTO
    assert built.node("image:base").auto_init


def test_the_trigger_mode_of_the_whole_file_is_the_default() -> None:
    said = Said()
    said.yaml(deployment("api", "x"), deployment("web", "x"))
    said.k8s_resource("web", trigger=Trigger.AUTO)
    said.local("gen")
    said.fixed["settings"] = Settings(trigger=Trigger.MANUAL, k8s_upsert_timeout_secs=90)
    built = said.assemble()
    assert built.node("apply:api").trigger is Trigger.MANUAL
    assert built.node("apply:web").trigger is Trigger.AUTO
    assert built.node("local:gen").trigger is Trigger.MANUAL
    assert built.spec("apply:api").timeout == 90


def test_recreate_is_said_of_one_resource() -> None:
    said = Said()
    said.yaml(deployment("api", "x"), deployment("web", "x"))
    said.k8s_resource("api", recreate=True)
    built = said.assemble()
    assert built.spec("apply:api").recreate
    assert not built.spec("apply:web").recreate


def test_pods_found_by_selectors_only() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    said.k8s_resource(
        "api",
        extra_pod_selectors=((("a", "b"),),),
        discovery_strategy=DiscoveryStrategy.SELECTORS_ONLY,
    )
    spec = said.assemble().spec("rollout:api")
    assert (spec.objects, spec.selectors) == ((), ((("a", "b"),),))


# Kinds of the user's own --------------------------------------------------------------------------


def test_a_declared_kind_is_a_workload_and_its_image_is_injected() -> None:
    said = Said()
    said.docker_build("worker")
    said.add(
        "kinds",
        KindDeclaration(said.where(), "Widget", image_json_paths=("{.spec.image}",)),
    )
    said.yaml(thing("Widget", "w", api="acme.io/v1", spec={"image": "worker:old"}))
    built = said.assemble()
    (injection,) = built.spec("apply:w").images
    assert injection.paths == ("{.spec.image}",)
    assert built.edge("push:worker", "apply:w") is EdgeKind.CONTENT
    assert built.spec("rollout:w").objects == (ObjectRef("acme.io/v1", "Widget", "w"),)


def test_a_kind_that_holds_its_image_in_two_fields() -> None:
    said = Said()
    said.docker_build("worker")
    said.add(
        "kinds",
        KindDeclaration(
            said.where(), "Widget", image_object=ImageObject("{.spec.image}", "repo", "tag")
        ),
    )
    said.yaml(
        thing("Widget", "w", api="acme.io/v1", spec={"image": {"repo": "worker", "tag": "1"}})
    )
    (injection,) = said.assemble().spec("apply:w").images
    assert (injection.object_paths[0].path, injection.object_paths[0].repo_field) == (
        "{.spec.image}",
        "repo",
    )


def test_a_declared_kind_without_images_has_pods_only_when_it_says_so() -> None:
    said = Said()
    said.add("kinds", KindDeclaration(said.where(), "Plain"))
    said.add("kinds", KindDeclaration(said.where(), "Podded", pod_readiness=Readiness.WAIT))
    said.yaml(thing("Plain", "p", api="acme.io/v1"), thing("Podded", "q", api="acme.io/v1"))
    built = said.assemble()
    assert "rollout:p" not in built.ids
    assert "rollout:q" in built.ids


def test_a_wrong_json_path_has_a_place() -> None:
    said = Said()
    said.add("kinds", KindDeclaration(said.where(), "W", image_json_paths=("{.spec[}",)))
    with pytest.raises(ConfigError, match=r"Kindlingfile:1:1: .*not a JSON path"):
        said.assemble()


def test_an_image_in_the_pods_of_an_unknown_kind_is_found_by_shape() -> None:
    said = Said()
    said.docker_build("api")
    said.yaml(deployment("api", kind="Rollout", api="argoproj.io/v1alpha1"))
    built = said.assemble()
    assert built.edge("push:api", "apply:api") is EdgeKind.CONTENT
    assert "rollout:api" in built.ids


def test_an_unknown_kind_with_a_pod_template_and_no_image_of_ours_is_no_workload() -> None:
    said = Said()
    said.yaml(deployment("api", "nginx", kind="Rollout", api="argoproj.io/v1alpha1"))
    assert "apply:uncategorized" in said.assemble().ids


# Custom deploys -----------------------------------------------------------------------------------


def custom_deploy(said: Said, name: str, **more: object) -> None:
    deploy = CustomDeploy(
        name,
        said.where(),
        ("helm", "install"),
        ("helm", "delete"),
        FileSet(("chart",)),
        **more,  # type: ignore[arg-type]
    )
    said.add("custom_deploys", deploy)


def test_a_custom_deploy_applies_by_its_own_command_and_gets_its_images() -> None:
    said = Said()
    said.docker_build("api")
    custom_deploy(said, "chart", image_deps=("api",))
    said.k8s_resource("chart", port_forwards=(PortForward(8080, 80),))
    built = said.assemble()
    spec = built.spec("apply:chart")
    assert isinstance(spec, CustomDeploySpec)
    assert spec.images[0].delivery == "push:api"
    assert built.before("apply:chart") == {"push:api": "content", "cluster:dev": "ready"}
    assert built.node("apply:chart").files == (FileSet(("chart",)),)
    assert built.before("portforward:chart-8080") == {
        "rollout:chart": "ready",
        "cluster:dev": "ready",
    }


def test_a_custom_deploy_with_an_unknown_image_is_an_error() -> None:
    said = Said()
    said.docker_build("api")
    custom_deploy(said, "chart", image_deps=("apy",))
    with pytest.raises(
        ConfigError, match=r"Kindlingfile:2:1: `chart` depends on image `apy`"
    ) as caught:
        said.assemble()
    assert caught.value.hint == "Did you mean `api`?"


# Port-forwards ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "asked", "expected"),
    [
        ((), PortForward(8080), (8080, 8080)),
        ((80,), PortForward(8080), (8080, 80)),
        ((80, 8080), PortForward(8080), (8080, 8080)),
        ((80,), PortForward(8080, 90), (8080, 90)),
        ((80,), PortForward(0, 90), (90, 90)),
        ((80,), PortForward(0, 0), (80, 80)),
    ],
)
def test_which_ports_a_forward_joins(
    declared: tuple[int, ...], asked: PortForward, expected: tuple[int, int]
) -> None:
    said = Said()
    said.yaml(deployment("api", "x", ports=declared))
    said.k8s_resource("api", port_forwards=(asked,))
    built = said.assemble()
    (id_,) = (id_ for id_ in built.ids if id_.startswith("portforward:"))
    spec = built.spec(id_)
    assert (spec.local_port, spec.container_port) == expected
    assert id_ == f"portforward:api-{expected[0]}"


def test_a_forward_has_an_address_to_show() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    said.k8s_resource(
        "api",
        port_forwards=(PortForward(8080, 80, "page", "/home", "127.0.0.2"),),
        links=(Link("http://docs"),),
    )
    endpoints = said.assemble().assembly.endpoints
    assert [(e.url, e.name) for e in endpoints] == [
        ("http://docs", ""),
        ("http://127.0.0.2:8080/home", "page"),
    ]


def test_two_forwards_of_one_local_port_name_both() -> None:
    said = Said()
    said.yaml(deployment("api", "x"), deployment("web", "x"))
    said.k8s_resource("api", port_forwards=(PortForward(8080, 80),))
    said.k8s_resource("web", port_forwards=(PortForward(8080, 81, host="127.0.0.1"),))
    with pytest.raises(
        ConfigError, match=r"Kindlingfile:3:1: .*8080 .*`api` and to `web`"
    ) as caught:
        said.assemble()
    assert caught.value.details == ("first at Kindlingfile:2:1",)


def test_two_forwards_of_one_port_on_addresses_of_their_own_are_fine() -> None:
    said = Said()
    said.yaml(deployment("api", "x"), deployment("web", "x"))
    said.k8s_resource("api", port_forwards=(PortForward(8080, 80, host="127.0.0.2"),))
    said.k8s_resource("web", port_forwards=(PortForward(8080, 80, host="127.0.0.3"),))
    assert "portforward:web-8080" in said.assemble().ids


def test_a_resource_without_pods_has_no_port_to_forward() -> None:
    said = Said()
    said.yaml(thing("ConfigMap", "c"))
    said.k8s_resource(new_name="x", objects=(select("c"),), port_forwards=(PortForward(1, 1),))
    with pytest.raises(ConfigError, match=r"Kindlingfile:2:1: .*has no pods"):
        said.assemble()


# Secrets, namespaces, custom kinds ----------------------------------------------------------------


def test_a_secret_comes_before_what_is_applied_in_its_namespace_and_after_that_itself() -> None:
    said = Said()
    said.yaml(
        thing("Namespace", "kpulse"),
        deployment("api", "x", namespace="kpulse"),
        deployment("web", "x"),
    )
    said.add("secrets", SecretIfAbsent("creds", said.where(), "kpulse", (("token", "hunter22"),)))
    built = said.assemble()
    assert built.before("secret:kpulse/creds") == {
        "cluster:dev": "ready",
        "apply:uncategorized": "ready",
    }
    assert built.edge("secret:kpulse/creds", "apply:api") is EdgeKind.READY
    assert built.edge("secret:kpulse/creds", "apply:web") is None


def test_a_secret_with_two_owners_is_refused() -> None:
    said = Said()
    said.yaml(thing("Secret", "creds"))
    said.add("secrets", SecretIfAbsent("creds", said.where()))
    with pytest.raises(
        ConfigError, match=r"Kindlingfile:2:1: Secret `creds` .*two owners"
    ) as caught:
        said.assemble()
    assert any("Kindlingfile:1:1 (k8s.yaml)" in line for line in caught.value.details)


def test_values_of_secrets_are_known_for_redaction_unless_the_file_says_otherwise() -> None:
    said = Said()
    said.yaml(thing("Secret", "a", data={"k": "aHVudGVyMjI="}, stringData={"p": "plain"}))
    said.add("secrets", SecretIfAbsent("b", said.where(), literals=(("x", "once"),)))
    values = {(s.secret, s.key, s.value) for s in said.assemble().assembly.secrets}
    assert values == {("a", "k", "hunter22"), ("a", "p", "plain"), ("b", "x", "once")}
    said.fixed["settings"] = Settings(scrub_secrets=False)
    assert said.assemble().assembly.secrets == ()


def test_a_namespace_that_was_moved_still_comes_first() -> None:
    said = Said()
    said.yaml(
        thing("Namespace", "kpulse"),
        thing("ConfigMap", "c", "kpulse"),
        deployment("api", "x", namespace="kpulse"),
    )
    said.k8s_resource(new_name="ns", objects=(select("kpulse:namespace"),))
    built = said.assemble()
    assert built.edge("apply:ns", "apply:api") is EdgeKind.READY
    assert built.edge("apply:ns", "apply:uncategorized") is EdgeKind.READY


def test_objects_of_a_custom_kind_come_after_its_definition() -> None:
    said = Said()
    crd = thing(
        "CustomResourceDefinition",
        "widgets.acme.io",
        api="apiextensions.k8s.io/v1",
        spec={"group": "acme.io", "names": {"kind": "Widget"}},
    )
    said.yaml(crd, thing("Widget", "w", api="acme.io/v1"))
    said.k8s_resource(new_name="crds", objects=(select("widgets.acme.io"),))
    assert said.assemble().edge("apply:crds", "apply:uncategorized") is EdgeKind.READY


def test_no_target_still_gives_a_graph() -> None:
    said = Said(target=None)
    said.docker_build("api")
    said.yaml(deployment("api"))
    said.fixed["cluster"] = ClusterDeclaration("context", "prod", where=Where("Kindlingfile", 1, 1))
    built = said.assemble()
    assert built.ids[0] == "cluster:prod"
    assert built.spec("registry:local").host == ""


def test_the_same_forward_said_twice_is_one() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    said.k8s_resource("api", port_forwards=(PortForward(80, 80), PortForward(81, 80)))
    said.k8s_resource("api", port_forwards=(PortForward(80, 80),))
    built = said.assemble()
    forwards = [id_ for id_ in built.ids if id_.startswith("portforward:")]
    assert forwards == ["portforward:api-80", "portforward:api-81"]
    assert built.node("portforward:api-80").where == Where("Kindlingfile", 2, 1)


def test_one_port_of_one_resource_on_two_addresses() -> None:
    said = Said()
    said.yaml(deployment("api", "x"))
    hosts = ("127.0.0.2", "127.0.0.3")
    said.k8s_resource("api", port_forwards=tuple(PortForward(80, 80, host=host) for host in hosts))
    assert {"portforward:api-80", "portforward:api-80-127.0.0.3"} <= set(said.assemble().ids)


def test_a_path_that_leads_nowhere_is_warned_about() -> None:
    said = Said()
    said.add("kinds", KindDeclaration(said.where(), "Widget", image_json_paths=("{.spec.imag}",)))
    said.yaml(thing("Widget", "w", api="acme.io/v1", spec={"image": "worker"}))
    assert said.assemble().warnings() == [
        "Kindlingfile:1:1: `{.spec.imag}` leads to nothing in Widget/w"
    ]
