"""What leaves the cluster, and what never does."""

from pathlib import Path

from kindling.engine.garbage import declared_objects, leftovers
from kindling.engine.unfinished import Unfinished
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ObjectRef, ObjectSpec, OperatorSpec
from kindling.store.database import Store


def applying(*refs: ObjectRef) -> Graph:
    spec = ApplySpec(tuple(ObjectSpec(ref, "{}") for ref in refs))
    return Graph([Node(NodeId("apply:web"), Kind.APPLY, "web", spec)])


def recorded(*refs: ObjectRef) -> Output:
    return Output(
        "d",
        {
            "objects": [
                {
                    "apiVersion": r.api_version,
                    "kind": r.kind,
                    "name": r.name,
                    "namespace": r.namespace,
                }
                for r in refs
            ]
        },
    )


APPLIED = NodeId("apply:web")
CONFIG = ObjectRef("v1", "ConfigMap", "settings", "default")
DEPLOYMENT = ObjectRef("apps/v1", "Deployment", "web", "default")


def test_an_object_that_nobody_declares_any_more_is_left_over() -> None:
    gone = leftovers(
        APPLIED, recorded(CONFIG, DEPLOYMENT), declared_objects(applying(DEPLOYMENT)), "default"
    )
    assert gone is not None
    assert [o["name"] for o in gone.data["objects"]] == ["settings"]


def test_an_object_that_moved_to_another_resource_stays() -> None:
    assert (
        leftovers(
            APPLIED, recorded(CONFIG), declared_objects(applying(DEPLOYMENT, CONFIG)), "default"
        )
        is None
    )


def test_an_object_whose_version_changed_is_still_the_same_object() -> None:
    old = ObjectRef("apps/v1beta1", "Deployment", "web", "default")
    assert (
        leftovers(APPLIED, recorded(old), declared_objects(applying(DEPLOYMENT)), "default") is None
    )


def test_a_manifest_without_a_namespace_means_the_default_one() -> None:
    bare = ObjectRef("v1", "ConfigMap", "settings")
    assert leftovers(APPLIED, recorded(CONFIG), declared_objects(applying(bare)), "default") is None


def test_an_environment_answers_for_itself_and_not_for_its_children() -> None:
    shop = {"apiVersion": "apps.example.com/v1alpha1", "kind": "DevStagingEnvironment"}
    shop |= {"name": "shop", "namespace": "default"}
    child = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop", "namespace": "default"}
    output = Output("d", {"environment": shop, "objects": [child]})
    gone = leftovers(NodeId("operator:shop"), output, frozenset(), "default")
    assert gone is not None
    assert gone.data["environments"] == [shop]
    ref = ObjectRef(shop["apiVersion"], shop["kind"], "shop")
    spec = OperatorSpec(ObjectSpec(ref, "{}"))
    graph = Graph([Node(NodeId("operator:shop"), Kind.OPERATOR, "shop", spec)])
    assert leftovers(NodeId("operator:shop"), output, declared_objects(graph), "default") is None


def test_an_environment_that_was_begun_and_never_recorded_is_known(tmp_path: Path) -> None:
    ref = ObjectRef("apps.example.com/v1alpha1", "DevStagingEnvironment", "shop", "default")
    node = Node(NodeId("operator:shop"), Kind.OPERATOR, "shop", OperatorSpec(ObjectSpec(ref, "{}")))
    with Store.open(tmp_path) as store:
        unfinished = Unfinished(store)
        unfinished.begin(node, "scope")
        assert unfinished.of("scope") == (node.id,)
        known = unfinished.with_rest(node.id, Output(""))
    assert [one["name"] for one in known.data["environments"]] == ["shop"]
