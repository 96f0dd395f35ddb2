"""Objects are filled in as the real server does; test_beside_a_server.py compares more of it."""

from __future__ import annotations

import copy

import pytest

from kindling.cluster.schema.catalog import Catalog
from tests.cluster.schema.objects import Obj, documents, placed, row_of, stored, told

VALID = documents("valid.yaml")


@pytest.mark.parametrize("obj", VALID, ids=lambda obj: f"{obj['kind']}-{obj['metadata']['name']}")
def test_what_is_filled_in_is_valid_final_and_leaves_the_given_object_alone(
    obj: Obj, catalog: Catalog
) -> None:
    schema = catalog.of(row_of(obj))
    pruned, unknown = schema.prune(placed(obj))
    assert unknown == ()
    before = copy.deepcopy(pruned)
    full = schema.default(pruned)
    assert pruned == before
    assert schema.default(full) == full
    assert schema.prune(full) == (full, ())
    assert told(catalog, full) == []
    assert told(catalog, full, full) == []


def test_a_pod(catalog: Catalog) -> None:
    pod = stored(
        catalog,
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: "
        "[{name: a, image: 'x:1', resources: {limits: {cpu: 1}}, readinessProbe: "
        "{httpGet: {port: 80}}, ports: [{containerPort: 80}]}]}}",
    )
    assert pod["spec"] == {
        "containers": [
            {
                "name": "a",
                "image": "x:1",
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {
                    "failureThreshold": 3,
                    "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "timeoutSeconds": 1,
                },
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
    ],
)
def test_only_the_tag_latest_is_always_pulled(image: str, policy: str, catalog: Catalog) -> None:
    pod = stored(
        catalog,
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: "
        f"[{{name: a, image: '{image}'}}]}}}}",
    )
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_a_job_gets_a_selector_of_its_own(catalog: Catalog) -> None:
    job = stored(
        catalog,
        "{apiVersion: batch/v1, kind: Job, metadata: {name: j, uid: u}, spec: "
        "{template: {spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}}",
    )
    labels = {
        "batch.kubernetes.io/controller-uid": "u",
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": "u",
        "job-name": "j",
    }
    spec = job["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert spec["template"]["metadata"]["labels"] == labels
    assert job["metadata"]["labels"] == labels
    assert {name: spec[name] for name in spec.keys() - {"selector", "template"}} == {
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "completions": 1,
        "manualSelector": False,
        "parallelism": 1,
        "podReplacementPolicy": "TerminatingOrFailed",
        "suspend": False,
    }


def test_a_secrets_plain_text_becomes_data(catalog: Catalog) -> None:
    secret = stored(
        catalog,
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: "
        "{a: hello}, data: {a: eA==, b: eQ==}}",
    )
    assert (secret["data"], secret["type"]) == ({"a": "aGVsbG8=", "b": "eQ=="}, "Opaque")
    assert "stringData" not in secret


def test_an_autoscalers_rules_are_completed(catalog: Catalog) -> None:
    scaler = stored(
        catalog,
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, "
        "metadata: {name: h}, spec: {maxReplicas: 3, behavior: {scaleDown: "
        "{stabilizationWindowSeconds: 0}}, scaleTargetRef: {kind: D, name: d}}}",
    )
    assert told(catalog, scaler) == []
    assert scaler["spec"]["minReplicas"] == 1
    behavior = scaler["spec"]["behavior"]
    assert behavior["scaleDown"]["policies"] == [
        {"type": "Percent", "value": 100, "periodSeconds": 15}
    ]
    assert behavior["scaleUp"]["selectPolicy"] == "Max"
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 80


def test_a_cron_jobs_template_stays_a_template(catalog: Catalog) -> None:
    """The defaults of a job come when it is made, not when it is planned."""
    cron = stored(
        catalog,
        "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: "
        "{schedule: '*/5 * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: "
        "Never, containers: [{name: a, image: b}]}}}}}}",
    )
    assert told(catalog, cron) == []
    spec = cron["spec"]
    assert spec["jobTemplate"]["spec"].keys() == {"template"}
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert (spec["concurrencyPolicy"], spec["successfulJobsHistoryLimit"]) == ("Allow", 3)


def test_a_balancer(catalog: Catalog) -> None:
    service = stored(
        catalog,
        "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {type: "
        "LoadBalancer, ports: [{port: 80}], selector: {a: b}}}",
    )
    spec = service["spec"]
    assert spec["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert spec["allocateLoadBalancerNodePorts"] is True
    assert spec["externalTrafficPolicy"] == spec["internalTrafficPolicy"] == "Cluster"
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("SingleStack", ["IPv4"])
