"""What single requests say and are told, beyond what kubectl asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from kindling.cluster.model.resource import builtin
from tests.cluster.apiserver.serve import Cluster

PATH = "/api/v1/namespaces/default/configmaps"
JSON = {"content-type": "application/json"}
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def told(
    cluster: Cluster,
    method: str,
    path: str,
    body: bytes | str = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, Any]]:
    status, _, answer = await cluster.request(method, path, body, headers or JSON)
    found = json.loads(answer)
    assert isinstance(found, dict)
    return status, found


@pytest.mark.parametrize(
    ("method", "path", "code", "message"),
    [
        ("GET", "/metrics", 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/namespaces/default/nothing", 404, "the server could not find the"),
        ("GET", f"{PATH}/x", 404, 'configmaps "x" not found'),
        ("GET", f"{PATH}/x/status", 404, "the server could not find the requested resource"),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/x", 404, "deployments.apps"),
        ("POST", f"{PATH}/x", 405, "the server does not allow this method on the requested"),
        ("PATCH", PATH, 405, "the server does not allow this method on the requested resource"),
        ("POST", "/api/v1/configmaps", 405, "the server does not allow this method on the"),
        ("DELETE", "/api/v1/namespaces", 405, "the server does not allow this method on the"),
        ("GET", f"{PATH}?limit=abc", 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("GET", f"{PATH}?labelSelector===", 400, "found '==', expected"),
        ("GET", f"{PATH}?watch=1&timeoutSeconds=x", 400, "strconv.ParseInt"),
        ("POST", f"{PATH}?dryRun=Foo", 422, "CreateOptions.meta.k8s.io \"\" is invalid: dryRun"),
        ("POST", f"{PATH}?fieldManager={'a' * 129}", 422, "Too long: must have at most 128"),
        ("POST", f"{PATH}?fieldValidation=X", 422, "fieldValidation: Unsupported value"),
        ("POST", PATH, 400, "the object provided is unrecognized (must be of type ConfigMap)"),
        ("DELETE", f"{PATH}/x?propagationPolicy=X", 422, 'propagationPolicy: Unsupported value'),
    ],
)  # fmt: skip
async def test_refusals_are_worded_as_by_the_real_server(
    cluster: Cluster, method: str, path: str, code: int, message: str
) -> None:
    status, found = await told(cluster, method, path)
    assert (status, found["code"], found["kind"]) == (code, code, "Status")
    assert message in found["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{bad", "couldn't get version/kind; json parse error"),
        ("[]", "cannot unmarshal array into Go value"),
        ('{"kind":"Pod"}', 'Pod in version "v1" cannot be handled as a ConfigMap'),
        ('{"apiVersion":"v2"}', "the API version in the data (v2) does not match the expected"),
        (
            '{"metadata":{"name":"a","namespace":"other"}}',
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        ('{"metadata":[]}', "cannot be handled as a ConfigMap"),
    ],
)
async def test_wrong_bodies_are_told_what_is_wrong(
    cluster: Cluster, body: str, message: str
) -> None:
    status, found = await told(cluster, "POST", PATH, body)
    assert (status, found["reason"]) == (400, "BadRequest")
    assert message in found["message"]


async def test_kind_and_version_may_be_left_to_the_path(cluster: Cluster) -> None:
    status, made = await told(cluster, "POST", PATH, '{"metadata":{"name":"a"}}')
    assert (status, made["kind"], made["apiVersion"]) == (201, "ConfigMap", "v1")


async def test_fields_given_twice_are_refused_or_warned_of(cluster: Cluster) -> None:
    body = '{"metadata":{"name":"a"},"data":{"x":"1","y":"2","x":"3"}}'
    status, found = await told(cluster, "POST", f"{PATH}?fieldValidation=Strict", body)
    assert status == 400
    assert found["message"].endswith('strict decoding error: duplicate field "data.x"')
    status, headers, answer = await cluster.request("POST", PATH, body, JSON)
    assert status == 201
    assert headers["warning"] == '299 - "duplicate field \\"data.x\\""'
    assert json.loads(answer)["data"] == {"x": "3", "y": "2"}
    again = body.replace('"a"', '"b"')
    _, headers, _ = await cluster.request("POST", f"{PATH}?fieldValidation=Ignore", again, JSON)
    assert "warning" not in headers


async def test_unknown_fields_are_warned_of(cluster: Cluster) -> None:
    body = '{"metadata":{"name":"a"},"dta":{}}'
    status, headers, _ = await cluster.request("POST", PATH, body, JSON)
    assert (status, headers["warning"]) == (201, '299 - "unknown field \\"dta\\""')


async def test_yaml_comes_and_goes(cluster: Cluster) -> None:
    body = "metadata:\n  name: a\ndata:\n  day: '2026-01-01'\n  other: 2026-01-01\n"
    sent = {"content-type": "application/yaml", "accept": "application/yaml"}
    status, headers, answer = await cluster.request("POST", PATH, body, sent)
    assert (status, headers["content-type"]) == (201, "application/yaml")
    assert yaml.safe_load(answer)["data"] == {"day": "2026-01-01", "other": "2026-01-01"}


async def test_who_manages_fields_is_told_by_the_agent(cluster: Cluster) -> None:
    sent = JSON | {"user-agent": "my-operator/1.2 (linux)"}
    _, found = await told(cluster, "POST", PATH, '{"metadata":{"name":"a"},"data":{"x":"1"}}', sent)
    assert [entry["manager"] for entry in found["metadata"]["managedFields"]] == ["my-operator"]


async def test_an_object_may_be_asked_for_its_metadata_alone(cluster: Cluster) -> None:
    await told(cluster, "POST", PATH, '{"metadata":{"name":"a"},"data":{"x":"1"}}')
    _, found = await told(cluster, "GET", f"{PATH}/a", headers={"accept": METADATA})
    assert (found["kind"], found["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert set(found) == {"kind", "apiVersion", "metadata"}
    accept = {"accept": METADATA.replace("Metadata;", "MetadataList;")}
    _, found = await told(cluster, "GET", PATH, headers=accept)
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        ("application/vnd.kubernetes.protobuf", 406),
        ("text/html", 406),
        ("application/json;as=Table;v=v2;g=meta.k8s.io", 406),
        ("application/vnd.kubernetes.protobuf,application/json", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/json;stream=watch", 200),
    ],
)
async def test_forms_that_are_not_there_are_passed_over_or_refused(
    cluster: Cluster, accept: str, code: int
) -> None:
    status, _ = await told(cluster, "GET", PATH, headers={"accept": accept})
    assert status == code


async def test_lists_leave_kinds_to_the_list_and_come_in_pages(cluster: Cluster) -> None:
    for name in "abc":
        await told(cluster, "POST", PATH, json.dumps({"metadata": {"name": name}}))
    _, first = await told(cluster, "GET", f"{PATH}?limit=2")
    assert (first["kind"], first["metadata"]["remainingItemCount"]) == ("ConfigMapList", 1)
    assert "kind" not in first["items"][0]
    _, rest = await told(cluster, "GET", f"{PATH}?limit=2&continue={first['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c"]
    assert "continue" not in rest["metadata"]


async def test_a_large_list_is_compressed_for_who_can_read_it(cluster: Cluster) -> None:
    body = json.dumps({"metadata": {"name": "a"}, "data": {"x": "y" * 200_000}})
    await told(cluster, "POST", PATH, body)
    _, headers, answer = await cluster.request("GET", PATH, headers={"accept-encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert len(json.loads(answer)["items"][0]["data"]["x"]) == 200_000
    _, headers, _ = await cluster.request("GET", PATH, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in headers


async def test_deleting_tells_what_went(cluster: Cluster) -> None:
    _, made = await told(cluster, "POST", PATH, '{"metadata":{"name":"a"}}')
    _, found = await told(cluster, "DELETE", f"{PATH}/a")
    assert found["status"] == "Success"
    assert found["details"] == {
        "name": "a",
        "kind": "configmaps",
        "uid": made["metadata"]["uid"],
    }


async def test_a_collection_is_deleted_by_its_selector(cluster: Cluster) -> None:
    for name, tier in (("a", "web"), ("b", "db"), ("c", "web")):
        meta = {"name": name, "labels": {"tier": tier}}
        await told(cluster, "POST", PATH, json.dumps({"metadata": meta}))
    _, found = await told(cluster, "DELETE", f"{PATH}?labelSelector=tier=web")
    assert [item["metadata"]["name"] for item in found["items"]] == ["a", "c"]
    left = cluster.api.select(builtin("configmaps"))
    assert [item["metadata"]["name"] for item in left] == ["b"]


async def test_a_name_in_the_body_must_be_that_of_the_path(cluster: Cluster) -> None:
    await told(cluster, "POST", PATH, '{"metadata":{"name":"a"}}')
    status, found = await told(cluster, "PUT", f"{PATH}/a", '{"metadata":{"name":"b"}}')
    assert (status, found["message"]) == (
        400,
        "the name of the object (b) does not match the name on the URL (a)",
    )
    status, found = await told(cluster, "PUT", f"{PATH}/a", '{"metadata":{}}')
    assert "undeterminable: name must be provided" in found["message"]


async def test_openapi_is_sent_once_to_who_keeps_it(cluster: Cluster) -> None:
    _, index = await told(cluster, "GET", "/openapi/v3")
    address = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    status, headers, _ = await cluster.request("GET", address)
    assert (status, headers["cache-control"]) == (200, "public, immutable")
    assert "expires" in headers
    for path, etag in ((address, headers["etag"]), ("/openapi/v3", "")):
        _, again, _ = await cluster.request("GET", path)
        kept = {"if-none-match": etag or again["etag"]}
        status, _, body = await cluster.request("GET", path, headers=kept)
        assert (status, body) == (304, b"")


async def test_who_knows_an_old_openapi_document_is_led_to_the_new_one(cluster: Cluster) -> None:
    _, index = await told(cluster, "GET", "/openapi/v3")
    address = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    status, headers, _ = await cluster.request("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
    assert (status, headers["cache-control"]) == (200, "public, immutable")  # followed
    assert headers["etag"].strip('"') == address.rpartition("=")[2]
    status, headers, _ = await cluster.request("GET", "/openapi/v3/apis/apps/v1")
    assert (status, headers["cache-control"]) == (200, "no-cache, private")


async def test_openapi_v2_comes_as_protobuf_for_go_clients(cluster: Cluster) -> None:
    accept = {"accept": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
    status, headers, body = await cluster.request("GET", "/openapi/v2", headers=accept)
    kind = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert (status, headers["content-type"]) == (200, kind)
    assert body.startswith(b"\x0a\x032.0")
    _, plain, _ = await cluster.request("GET", "/openapi/v2")
    assert plain["etag"] != headers["etag"]


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        (
            "json-patch+json",
            "{}",
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        (
            "strategic-merge-patch+json",
            "[]",
            "cannot unmarshal array into Go value of type map[string]",
        ),
        (
            "merge-patch+json",
            "3",
            "cannot unmarshal number into Go value of type map[string]interface",
        ),
        (
            "apply-patch+yaml",
            "[]",
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot",
        ),
        ("apply-patch+yaml", "", "Incorrect version specified in apply patch."),
        ("json-patch+json", "null", ""),
        ("strategic-merge-patch+json", "null", ""),
    ],
)
async def test_a_patch_of_the_wrong_shape_is_told_once_its_object_is_there(
    cluster: Cluster, kind: str, body: str, said: str
) -> None:
    sent = {"content-type": f"application/{kind}"}
    code, _ = await told(cluster, "PATCH", f"{PATH}/a?fieldManager=x", body, sent)
    assert code == (400 if kind.startswith("apply") else 404)
    await told(cluster, "POST", PATH, '{"metadata":{"name":"a"}}')
    code, found = await told(cluster, "PATCH", f"{PATH}/a?fieldManager=x", body, sent)
    assert code == (400 if said else 200)
    assert said in found.get("message", "")


async def test_the_server_says_what_it_is(cluster: Cluster) -> None:
    _, version = await told(cluster, "GET", "/version")
    assert (version["gitVersion"], version["major"], version["minor"]) == (
        "v1.32.0+kindling",
        "1",
        "32",
    )
    for door in ("healthz", "livez", "readyz"):
        assert (await cluster.request("GET", f"/{door}"))[2] == b"ok"
    _, _, text = await cluster.request("GET", "/readyz?verbose")
    assert text.decode().endswith("readyz check passed\n")
    cluster.app.stop()
    status, _, text = await cluster.request("GET", "/readyz")
    assert status == 500
    assert b"[-]shutdown failed" in text


async def test_everything_is_allowed_and_the_answer_says_why(cluster: Cluster) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    spec = {"resourceAttributes": {"verb": "create", "resource": "pods"}}
    status, found = await told(cluster, "POST", path, json.dumps({"spec": spec}))
    assert status == 201
    assert found["status"] == {
        "allowed": True,
        "reason": "RBAC is stored but not enforced by this cluster",
    }
    status, _ = await told(cluster, "POST", path, json.dumps({"spec": {}}))
    assert status == 422


async def test_a_scale_is_read_and_written(cluster: Cluster) -> None:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    status, made = await told(
        cluster, "POST", path, json.dumps({"metadata": {"name": "web"}, "spec": spec})
    )
    assert status == 201, made
    _, scale = await told(cluster, "GET", f"{path}/web/scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 2})
    assert scale["status"] == {"replicas": 0, "selector": "app=web"}
    scale["spec"]["replicas"] = 5
    status, scaled = await told(cluster, "PUT", f"{path}/web/scale", json.dumps(scale))
    assert (status, scaled["kind"], scaled["spec"]) == (200, "Scale", {"replicas": 5})
    _, found = await told(cluster, "GET", f"{path}/web")
    assert found["spec"]["replicas"] == 5
