"""The objects of an operator that runs in the cluster. Pure.

It is installed once for all namespaces, or for some that are named; then it has no rights in
others, and leaves those to other operators. Objects that belong to no namespace are called after
the one that the operator runs in, so that two installations do not meet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from kindling import __version__
from kindling.objects.identity import canonical
from kindling.operator.install.rights import (
    cluster_rules,
    lease_rules,
    operator_rules,
    seeing_lease_rules,
)
from kindling.operator.marks import marked

__all__ = [
    "HASH_ANNOTATION",
    "INSTALLATION_LABEL",
    "KINDS",
    "NAME",
    "ONLY_ANNOTATION",
    "SYSTEM",
    "TEMPLATE_ANNOTATION",
    "Installation",
    "operator_objects",
]

NAME = "kindling-operator"
SYSTEM = "kindling-system"
"""Where an operator of all namespaces has its Lease, wherever it runs."""

INSTALLATION_LABEL = "kindling.dev/operator"
"""On every object of an installation: the namespace that its operator runs in."""

HASH_ANNOTATION = "kindling.dev/install-hash"
"""Notices what an earlier version had and this one has not."""

ONLY_ANNOTATION = "kindling.dev/only"
"""On the Deployment: the namespaces that the operator acts in; empty is all."""

TEMPLATE_ANNOTATION = "kindling.dev/template-hash"
"""On pods: tells those of the latest change from those that it replaces."""

KINDS = (
    ("apps/v1", "Deployment"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ServiceAccount"),
    ("v1", "Namespace"),
)
"""What an installation consists of, in the order in which it is removed."""

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_PORT = 8081
_USER = 65532
"""The user `nonroot` of many images."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An operator in `namespace`, acting in the namespaces `only`, or in all.

    `command` is how `kindling` is called in images that have it not as their entry point; with
    `machine`, the image is this machine's own root file system, whose files belong to whoever
    installed kindling there. `scratch` is the folder that it may write to.
    """

    image: str
    namespace: str = SYSTEM
    only: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    machine: bool = False
    scratch: str = "/tmp"

    @property
    def name(self) -> str:
        """What its objects are called, also where others could have the same."""
        return NAME if self.namespace == SYSTEM else f"{NAME}-{self.namespace}"

    @property
    def leases(self) -> tuple[str, ...]:
        """The namespaces of its Leases."""
        return self.only or (SYSTEM,)


def operator_objects(told: Installation) -> tuple[Object, ...]:
    """All that is needed besides the definitions, in the order in which it is to be made."""
    namespaces = dict.fromkeys((told.namespace, SYSTEM, *told.only))
    objects = [
        *(_head(told, "v1", "Namespace", one) for one in namespaces),
        _head(told, "v1", "ServiceAccount", NAME, told.namespace),
        *_rights(told),
        _deployment(told),
    ]
    return tuple(marked(one, HASH_ANNOTATION) for one in objects)


def _rights(told: Installation) -> list[Object]:
    lease, objects = f"{told.name}-lease", []
    if told.only:
        objects += _cluster_wide(told, cluster_rules())
        for namespace in told.only:
            objects += _within(told, told.name, namespace, operator_rules())
        if SYSTEM not in told.only:
            objects += _within(told, lease, SYSTEM, seeing_lease_rules())
    else:
        objects += _cluster_wide(told, [*cluster_rules(), *operator_rules()])
    for namespace in told.leases:
        objects += _within(told, lease, namespace, lease_rules())
    return objects


def _cluster_wide(told: Installation, rules: list[Object]) -> list[Object]:
    return [
        _head(told, f"{_RBAC}/v1", "ClusterRole", told.name) | {"rules": rules},
        _head(told, f"{_RBAC}/v1", "ClusterRoleBinding", told.name)
        | _bound(told, "ClusterRole", told.name),
    ]


def _within(told: Installation, name: str, namespace: str, rules: list[Object]) -> list[Object]:
    return [
        _head(told, f"{_RBAC}/v1", "Role", name, namespace) | {"rules": rules},
        _head(told, f"{_RBAC}/v1", "RoleBinding", name, namespace) | _bound(told, "Role", name),
    ]


def _bound(told: Installation, kind: str, name: str) -> Object:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": told.namespace}
    role = {"apiGroup": _RBAC, "kind": kind, "name": name}
    return {"roleRef": role, "subjects": [account]}


def _labels(told: Installation) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/managed-by": "kindling",
        "app.kubernetes.io/part-of": "kindling",
        INSTALLATION_LABEL: told.namespace,
    }


def _head(
    told: Installation, api_version: str, kind: str, name: str, namespace: str = ""
) -> Object:
    metadata: Object = {"name": name, "labels": _labels(told)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _deployment(told: Installation) -> Object:
    labels = _labels(told)
    pod = _pod(told)
    digest = hashlib.sha256(canonical(pod).encode()).hexdigest()[:16]
    template = {
        "metadata": {
            "labels": {**labels, "app.kubernetes.io/version": __version__},
            "annotations": {TEMPLATE_ANNOTATION: digest},
        },
        "spec": pod,
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        # Two could live side by side, since one Lease lets one act; but the second could not act,
        # and would only use memory.
        "strategy": {"type": "Recreate"},
        "template": template,
    }
    deployment = _head(told, "apps/v1", "Deployment", NAME, told.namespace) | {"spec": spec}
    deployment["metadata"]["annotations"] = {ONLY_ANNOTATION: ",".join(told.only)}
    return deployment


def _pod(told: Installation) -> Object:
    pod: Object = {
        "serviceAccountName": NAME,
        # It gives its Lease back and is gone; this is for one that hangs.
        "terminationGracePeriodSeconds": 20,
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [_container(told)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}],
    }
    if not told.machine:
        pod["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return pod


def _container(told: Installation) -> Object:
    args = ["operator", "run", "--identity", "$(POD_NAMESPACE)/$(POD_NAME)"]
    args += ["--health-host", "$(POD_IP)", "--health-port", str(_PORT), "--image", told.image]
    for namespace in told.only:
        args += ["--namespace", namespace]
    container: Object = {
        "name": "operator",
        "image": told.image,
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "env": [
            *(_of_pod(name, path) for name, path in _FACTS),
            {"name": "HOME", "value": told.scratch},
            {"name": "TMPDIR", "value": told.scratch},
            # Where pods are plain processes, this path is made the pod's own.
            {
                "name": "KINDLING_SERVICE_ACCOUNT",
                "value": "/var/run/secrets/kubernetes.io/serviceaccount",
            },
        ],
        "ports": [{"name": "health", "containerPort": _PORT}],
        "livenessProbe": _probe("/healthz", 15, 4),
        "readinessProbe": _probe("/readyz", 5, 3),
        # Importing takes seconds of a busy core.
        "startupProbe": _probe("/healthz", 1, 120),
        "resources": {
            "requests": {"cpu": "20m", "memory": "128Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": told.scratch}],
    }
    if told.command:
        container["command"] = list(told.command)
    return container


_FACTS = (
    ("POD_IP", "status.podIP"),
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
)


def _of_pod(name: str, path: str) -> Object:
    # The server adds the version, and a comparison would find it otherwise.
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }
