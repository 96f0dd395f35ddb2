"""Writing what was built into manifests."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kindling.errors import ConfigError
from kindling.graph.spec import ImageInjection, ImageObjectPath
from kindling.objects.inject import (
    OWNER_LABEL,
    Delivered,
    inject,
    named_images,
    owner_of,
    uses,
    with_owner,
)
from kindling.objects.jsonpath import parse_json_path

API = ImageInjection("api", "push:api")
BUILT = {"push:api": Delivered("localhost:5000/api:kindling-1")}


def deployment(*containers: dict[str, Any], **pod: Any) -> dict[str, Any]:
    labels = {"app": "x"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": list(containers), **pod},
            },
        },
    }


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return spec


def test_containers_init_containers_and_image_volumes_are_rewritten_and_nothing_else() -> None:
    manifest = deployment(
        {"name": "a", "image": "api:v1"},
        {"name": "b", "image": "nginx"},
        {"name": "c", "image": "acme/api"},
        initContainers=[{"name": "i", "image": "docker.io/library/api"}],
        volumes=[{"name": "v", "image": {"reference": "api", "pullPolicy": "Always"}}],
    )
    before = copy.deepcopy(manifest)
    result = inject(manifest, [API], BUILT)
    new = "localhost:5000/api:kindling-1"
    assert [c["image"] for c in pod(result)["containers"]] == [new, "nginx", "acme/api"]
    assert pod(result)["initContainers"][0]["image"] == new
    assert pod(result)["volumes"][0]["image"] == {"reference": new, "pullPolicy": "IfNotPresent"}
    assert manifest == before, "the manifest handed in is never changed"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(None, "IfNotPresent"), ("Always", "IfNotPresent"), ("Never", "Never"), ("IfNotPresent",) * 2],
)
def test_our_images_are_not_pulled_again(policy: str | None, expected: str) -> None:
    ours: dict[str, Any] = {"name": "a", "image": "api"}
    if policy:
        ours["imagePullPolicy"] = policy
    theirs = {"name": "b", "image": "nginx", "imagePullPolicy": "Always"}
    one, other = pod(inject(deployment(ours, theirs), [API], BUILT))["containers"]
    assert one["imagePullPolicy"] == expected
    assert other == theirs


def test_an_entrypoint_replaces_the_command_and_keeps_the_arguments() -> None:
    container = {"name": "a", "image": "api", "command": ["old"], "args": ["x"]}
    changed = ImageInjection("api", "push:api", entrypoint=("/run", "-v"))
    (result,) = pod(inject(deployment(container), [changed], BUILT))["containers"]
    assert (result["command"], result["args"]) == (["/run", "-v"], ["x"])
    emptied = ImageInjection("api", "push:api", container_args=())
    (result,) = pod(inject(deployment(container), [emptied], BUILT))["containers"]
    assert (result["command"], result["args"]) == (["old"], [])


def test_environment_values_are_rewritten_on_request_alone() -> None:
    env = [{"name": "IMAGE", "value": "api:v1"}, {"name": "URL", "value": "http://api"}]
    manifest = deployment({"name": "a", "image": "nginx", "env": env})
    asked = ImageInjection("api", "push:api", env=True)
    (container,) = pod(inject(manifest, [asked], BUILT))["containers"]
    assert [e["value"] for e in container["env"]] == ["localhost:5000/api:kindling-1", "http://api"]
    assert "imagePullPolicy" not in container
    assert inject(manifest, [API], {}) == manifest


def test_places_in_custom_resources() -> None:
    widget = {
        "apiVersion": "acme.io/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"image": "api", "other": "api", "parts": [{"image": "api:x"}, {"image": "y"}]},
    }
    injection = ImageInjection("api", "push:api", paths=("{.spec.image}", "{.spec.parts[*].image}"))
    spec = inject(widget, [injection], BUILT)["spec"]
    new = "localhost:5000/api:kindling-1"
    assert spec == {"image": new, "other": "api", "parts": [{"image": new}, {"image": "y"}]}


def test_an_image_in_two_fields() -> None:
    widget: dict[str, Any] = {
        "kind": "Widget",
        "spec": {"image": {"repo": "api", "tag": "v1", "x": 1}},
    }
    injection = ImageInjection(
        "api", "push:api", object_paths=(ImageObjectPath("{.spec.image}", "repo", "tag"),)
    )
    result = inject(widget, [injection], BUILT)["spec"]["image"]
    assert result == {"repo": "localhost:5000/api", "tag": "kindling-1", "x": 1}
    digest = "sha256:" + "a" * 64
    result = inject(widget, [injection], {"push:api": (f"r.io/api@{digest}", "")})
    assert result["spec"]["image"] == {"repo": "r.io/api", "tag": digest, "x": 1}


def test_a_reference_that_does_not_name_its_content_rolls_the_pods() -> None:
    manifest = deployment({"name": "a", "image": "api:dev"})
    first = inject(manifest, [API], {"push:api": ("api:dev", "sha256:1")})
    second = inject(manifest, [API], {"push:api": ("api:dev", "sha256:2")})
    template = first["spec"]["template"]["metadata"]
    assert template["annotations"] == {"kindling.dev/image-digest.0": "sha256:1"}
    assert first != second
    assert "annotations" not in first["metadata"]


def test_a_roll_without_a_pod_template_is_noted_on_the_object() -> None:
    widget = {"kind": "Widget", "spec": {"image": "api"}}
    injection = ImageInjection("api", "push:api", paths=("{.spec.image}",))
    result = inject(widget, [injection], {"push:api": ("api:dev", "sha256:1")})
    assert result["metadata"]["annotations"] == {"kindling.dev/image-digest.0": "sha256:1"}


def test_the_most_exact_declaration_takes_the_place() -> None:
    general, exact = ImageInjection("db", "push:db"), ImageInjection("db:dev", "push:db:dev")
    built = {"push:db": ("g:1", ""), "push:db:dev": ("e:1", "")}
    manifest = deployment({"name": "a", "image": "db:dev"}, {"name": "b", "image": "db:x"})
    result = pod(inject(manifest, [general, exact], built))["containers"]
    assert [c["image"] for c in result] == ["e:1", "g:1"]
    assert uses(manifest, [general, exact]) == {0, 1}


def test_a_delivery_that_is_missing_is_a_bug_of_the_caller() -> None:
    with pytest.raises(KeyError):
        inject(deployment({"name": "a", "image": "api"}), [API], {})


def test_the_owner_stands_on_object_and_pods_and_in_no_selector() -> None:
    result = with_owner(deployment({"name": "a", "image": "api"}), "shop")
    assert owner_of(result) == "shop"
    assert result["spec"]["template"]["metadata"]["labels"] == {"app": "x", OWNER_LABEL: "shop"}
    assert result["spec"]["selector"] == {"matchLabels": {"app": "x"}}
    assert owner_of({"kind": "Pod"}) == ""
    assert with_owner({"kind": "ConfigMap", "metadata": {"labels": None}}, "shop")["metadata"] == {
        "labels": {OWNER_LABEL: "shop"}
    }


def test_what_a_manifest_says_about_images_is_told_by_where_it_stands() -> None:
    manifest = deployment({"name": "a", "image": "api", "env": [{"name": "X", "value": "v"}]})
    named = named_images(manifest, ["{.metadata.name}"], [("{.spec}", "repo", "tag")])
    assert (named.images, named.declared, named.env) == (("api",), ("x",), ("v",))


NAMES = st.sampled_from(["api", "api:v1", "acme/api", "nginx", "web", "web:2", "", "Not Valid"])


@given(
    st.lists(st.fixed_dictionaries({"name": st.text(max_size=3), "image": NAMES}), max_size=4),
    st.lists(st.sampled_from(["api", "api:v1", "web"]), unique=True),
)
def test_injecting_twice_is_injecting_once(
    containers: list[dict[str, str]], refs: list[str]
) -> None:
    manifest = deployment(*containers)
    injections = [ImageInjection(ref, f"push:{ref}") for ref in refs]
    built = {f"push:{ref}": (f"r.io/{ref.replace(':', '_')}:kindling-1", "x") for ref in refs}
    once = inject(manifest, injections, built)
    assert inject(once, injections, built) == once
    json.dumps(once)


# JSON paths ---------------------------------------------------------------------------------------

DATA = {"a": {"b": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "c.d": 3}, "v": 4}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{.a.b[0].v}", [("a", "b", 0, "v")]),
        ("a.b[-1].v", [("a", "b", 1, "v")]),
        ("$.a.b[*].v", [("a", "b", 0, "v"), ("a", "b", 1, "v")]),
        ("{.a['c.d']}", [("a", "c.d")]),
        (r"{.a.c\.d}", [("a", "c.d")]),
        ('{.a.b[?(@.n=="y")].v}', [("a", "b", 1, "v")]),
        ("{..v}", [("v",), ("a", "b", 0, "v"), ("a", "b", 1, "v")]),
        ("{.a.b[7].v}", []),
        ("{.x.y}", []),
        ("{.v.y}", []),
        ("{.*.b}", [("a", "b")]),
    ],
)
def test_json_paths_lead_to_places(path: str, found: list[tuple[str | int, ...]]) -> None:
    assert list(parse_json_path(path).find(DATA)) == found


@pytest.mark.parametrize("path", ["", "{}", "{.a[}", "{.a[1:2]}", "{.a..}", "{range .a}", "{.a b}"])
def test_what_is_no_json_path_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="not a JSON path"):
        parse_json_path(path)


def test_parts_that_yaml_aliases_share_are_told_apart() -> None:
    """`labels: &x` and `matchLabels: *x` are one object when they come from a YAML reader."""
    manifest = deployment()
    labels = manifest["spec"]["selector"]["matchLabels"]
    assert manifest["spec"]["template"]["metadata"]["labels"] is labels
    assert with_owner(manifest, "shop")["spec"]["selector"]["matchLabels"] == {"app": "x"}
