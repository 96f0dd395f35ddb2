"""Faults of built-in kinds are told in the server's words, at the server's paths, in its order."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest

Faults = Callable[..., list[str]]

POD = "{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {{{}}}}}"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must"
    " start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for"
    " validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("containers: []", ["spec.containers: Required value"]),
        (
            "containers: [{name: A_}]",
            [
                f'spec.containers[0].name: Invalid value: "A_": {LABEL}',
                "spec.containers[0].image: Required value",
            ],
        ),
        (
            "containers: [{name: a, image: x}, {name: a, image: x}]",
            ['spec.containers[1].name: Duplicate value: "a"'],
        ),
        (
            "restartPolicy: x, containers: [{name: a, image: x}]",
            [
                'spec.restartPolicy: Unsupported value: "x": supported values: "Always",'
                ' "OnFailure", "Never"'
            ],
        ),
        (
            "containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /v}]}]",
            ['spec.containers[0].volumeMounts[0].name: Not found: "v"'],
        ),
        (
            "containers: [{name: a, image: x, ports: [{containerPort: 70000}]}]",
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1"
                " and 65535, inclusive"
            ],
        ),
        (
            "containers: [{name: a, image: x, resources: {limits: {memory: 1Mi}, requests:"
            " {memory: 1Gi}}}]",
            [
                'spec.containers[0].resources.requests: Invalid value: "1Gi": must be less than or'
                " equal to memory limit of 1Mi"
            ],
        ),
        (
            "containers: [{name: a, image: x, livenessProbe: {}}]",
            ["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
        ),
        (
            "containers: [{name: a, image: x, env: [{name: A, value: b, valueFrom: {fieldRef:"
            " {fieldPath: metadata.name}}}]}]",
            [
                'spec.containers[0].env[0].valueFrom: Invalid value: "": may not be specified when'
                " `value` is not empty"
            ],
        ),
        (
            "containers: [{name: a, image: x}], initContainers: [{name: b, image: x, livenessProbe:"
            " {exec: {command: [a]}}}]",
            [
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init"
                " containers without restartPolicy=Always"
            ],
        ),
        (
            "containers: [{name: a, image: x}], initContainers: [{name: b, image: x, restartPolicy:"
            " Always, startupProbe: {exec: {command: [a]}}}]",
            [],
        ),
        (
            "containers: [{name: a, image: x, restartPolicy: Always}]",
            ["spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers"],
        ),
        (
            "containers: [{name: a, image: x}], volumes: [{name: v, emptyDir: {}}, {name: v,"
            " emptyDir: {}}]",
            ['spec.volumes[1].name: Duplicate value: "v"'],
        ),
    ],
)
def test_a_pods_faults(spec: str, expected: list[str], faults: Faults) -> None:
    assert faults(POD.format(spec)) == expected


TEMPLATE = "template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: b}]}}"
WEB = "apiVersion: apps/v1, kind: {}, metadata: {{name: web}}"


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        (
            "Deployment",
            f"selector: {{matchLabels: {{app: other}}}}, {TEMPLATE}",
            [
                'spec.template.metadata.labels: Invalid value: map[string]string{"app":"web"}:'
                " `selector` does not match template `labels`"
            ],
        ),
        (
            "Deployment",
            f"selector: {{}}, {TEMPLATE}",
            [
                "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil),"
                " MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid"
                " for deployment"
            ],
        ),
        (
            "Deployment",
            f"replicas: -1, selector: {{matchLabels: {{app: web}}}}, {TEMPLATE}",
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "Deployment",
            "strategy: {type: Recreate, rollingUpdate: {maxSurge: 1}}, selector: {matchLabels:"
            f" {{app: web}}}}, {TEMPLATE}",
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type`"
                " is 'Recreate'"
            ],
        ),
        (
            "StatefulSet",
            f"selector: {{matchLabels: {{app: web}}}}, podManagementPolicy: x, {TEMPLATE}",
            [
                "spec.podManagementPolicy: Invalid value: \"x\": must be 'OrderedReady' or"
                " 'Parallel'"
            ],
        ),
    ],
)
def test_a_workloads_faults(kind: str, spec: str, expected: list[str], faults: Faults) -> None:
    assert faults(f"{{{WEB.format(kind)}, spec: {{{spec}}}}}") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: A_}}",
            [
                'metadata.name: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of'
                " lower case alphanumeric characters, '-' or '.', and must start and end with an"
                " alphanumeric character (e.g. 'example.com', regex used for validation is"
                r" '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ],
        ),
        (
            "{apiVersion: v1, kind: ConfigMap, metadata: {}}",
            ["metadata.name: Required value: name or generateName is required"],
        ),
        ("{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}", [None]),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {}}",
            ["spec.ports: Required value"],
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {ports: [{port: 1}, {port:"
            " 2}]}}",
            [
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Required value",
            ],
        ),
        (
            "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {template: {spec:"
            " {containers: [{name: a, image: b}]}}}}",
            [
                "spec.template.spec.restartPolicy: Required value: valid values: "
                '"OnFailure", "Never"'
            ],
        ),
        (
            "{apiVersion: batch/v1, kind: CronJob, metadata: {name: c}, spec: {schedule: daily,"
            " jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a,"
            " image: b}]}}}}}}",
            ['spec.schedule: Invalid value: "daily": expected exactly 5 fields, found 1: [daily]'],
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: i}, spec: {rules:"
            " [{http: {paths: [{path: /, backend: {service: {name: a, port: {number: 1}}}}]}}]}}",
            ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: p}, spec: {}}",
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ],
        ),
    ],
)
def test_other_kinds_faults(text: str, expected: list[str | None], faults: Faults) -> None:
    if expected == [None]:
        # A name is made of the prefix before the object is checked.
        assert faults(text) == ["metadata.name: Required value: name or generateName is required"]
    else:
        assert faults(text) == expected


@pytest.mark.parametrize(
    ("schedule", "fault"),
    [
        ("* * * * *", ""),
        ("*/5 0-6,8 1 jan MON-fri", ""),
        ("@daily", ""),
        ("@every 1h", ""),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * * 0 *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("@never", "unrecognized descriptor: @never"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_schedules(schedule: str, fault: str) -> None:
    from kindling.cluster.schema.validation.jobs import schedule_fault

    assert schedule_fault(schedule) == fault


DEPLOYMENT = (
    f"{{{WEB.format('Deployment')}, spec: {{selector: {{matchLabels: {{app: web}}}}, {TEMPLATE}}}}}"
)
STATEFUL = DEPLOYMENT.replace("Deployment", "StatefulSet")


def test_a_stateful_sets_template_may_mount_what_its_claims_give(faults: Faults) -> None:
    mounting = STATEFUL.replace("image: b", "volumeMounts: [{name: data, mountPath: /data}]")
    assert mounting != STATEFUL
    assert faults(mounting) == []
    assert faults(mounting.replace("StatefulSet", "Deployment")) != []


CLAIM = (
    "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: p}, spec: {accessModes:"
    " [ReadWriteOnce], storageClassName: a, resources: {requests: {storage: 1Gi}}}}"
)
JOB = (
    "{apiVersion: batch/v1, kind: Job, metadata: {name: j, uid: u}, spec: {template: {spec:"
    " {restartPolicy: Never, containers: [{name: a, image: b}]}}}}"
)
SECRET = "{apiVersion: v1, kind: Secret, metadata: {name: s}, immutable: true, data: {a: eA==}}"
SERVICE = (
    "{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {clusterIP: 10.198.0.7, ports:"
    " [{port: 80}]}}"
)
SIMPLE = POD.format("containers: [{name: a, image: x}], tolerations: [{key: k, operator: Exists}]")


@pytest.mark.parametrize(
    ("before", "old", "new", "expected"),
    [
        (
            DEPLOYMENT,
            "app: web",
            "app: api",
            "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string"
            '{"app":"api"}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is'
            " immutable",
        ),
        (DEPLOYMENT, "image: b", "image: c", ""),
        (
            STATEFUL,
            "spec: {selector",
            "spec: {serviceName: x, selector",
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas',"
            " 'ordinals', 'template', 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and"
            " 'minReadySeconds' are forbidden",
        ),
        (STATEFUL, "image: b", "image: c", ""),
        (
            CLAIM,
            "storageClassName: a",
            "storageClassName: b",
            "spec: Forbidden: spec is immutable after creation except resources.requests and"
            " volumeAttributesClassName for bound claims",
        ),
        (
            JOB,
            "image: b",
            "image: c",
            "spec.template: Invalid value: core.PodTemplateSpec{...}: field is immutable",
        ),
        (JOB, "spec: {template", "spec: {parallelism: 3, completions: 1, template", ""),
        (
            SECRET,
            "eA==",
            "eQ==",
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            SECRET,
            "immutable: true",
            "type: other",
            'type: Invalid value: "other": field is immutable',
        ),
        (
            SERVICE,
            "10.198.0.7",
            "10.198.0.8",
            'spec.clusterIPs[0]: Invalid value: []string{"10.198.0.8"}: may not change once set',
        ),
        (SIMPLE, "image: x", "image: z", ""),
        (SIMPLE, "tolerations: [", "tolerations: [{key: z, operator: Exists}, ", ""),
        (
            SIMPLE,
            "tolerations: [{key: k, operator: Exists}]",
            "tolerations: []",
            "spec.tolerations: Forbidden: existing toleration can not be modified except its"
            " tolerationSeconds",
        ),
        (
            SIMPLE,
            "containers:",
            "hostname: z, containers:",
            "spec: Forbidden: pod updates may not change fields other than"
            " `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
            " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was"
            ' previously negative)\n  core.PodSpec{\n+ \thostname: "z",\n  }\n',
        ),
        (
            DEPLOYMENT,
            "metadata: {name: web}",
            "metadata: {name: web, uid: other}",
            'metadata.uid: Invalid value: "other": field is immutable',
        ),
    ],
)
def test_what_may_not_change(
    before: str, old: str, new: str, expected: str, faults: Faults
) -> None:
    after = before.replace(old, new)
    assert after != before
    found = faults(before, after)
    assert expected in found if expected else found == []


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_secret_has_room_for_a_mebibyte_of_values_however_they_are_padded(
    faults: Faults, size: int
) -> None:
    """Counted are the values themselves: what fills the last group of base64 is none of them."""
    rest = 2**20 - 3 * 200_000 - size

    def secret(more: int) -> str:
        values = (b"x" * (3 * 200_000 + more), b"x" * size, b"x" * rest)
        data = {f"k{n}": base64.b64encode(v).decode() for n, v in enumerate(values)}
        return f"{{apiVersion: v1, kind: Secret, metadata: {{name: a}}, data: {json.dumps(data)}}}"

    assert faults(secret(0)) == []
    assert [fault.partition(":")[0] for fault in faults(secret(1))] == ["data"]
