"""What leaves the cluster, and what never does."""

from kindling.engine.garbage import declared_objects, leftovers
from kindling.graph.dag import Graph
from kindling.graph.node import Kind, Node, NodeId
from kindling.graph.outcome import Output
from kindling.graph.spec import ApplySpec, ObjectRef, ObjectSpec


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
