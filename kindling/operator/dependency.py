"""The objects of one dependency: Secret, volume claim, Service and Deployment."""

from __future__ import annotations

import base64
from typing import Any

from kindling.operator.backing.service import BackingService
from kindling.operator.backing.table import SERVICES
from kindling.operator.containers import amounts
from kindling.operator.credentials import Credentials, secret_name
from kindling.operator.marks import (
    CREDENTIALS_ANNOTATION,
    dependency_labels,
    marked,
    metadata,
)
from kindling.operator.model import Dependency, Environment

__all__ = ["dependency_objects"]

Object = dict[str, Any]


def dependency_objects(
    environment: Environment, dependency: Dependency, values: Credentials
) -> tuple[Object, ...]:
    """In the order in which they are written: what a pod refers to comes before the pod."""
    service = SERVICES[dependency.type]
    keeps = bool(dependency.storage and service.storage)
    return (
        _secret(environment, dependency, values),
        *((marked(_claim(environment, dependency)),) if keeps else ()),
        marked(_service(environment, dependency, service)),
        marked(_deployment(environment, dependency, service, values)),
    )


def _secret(environment: Environment, dependency: Dependency, values: Credentials) -> Object:
    labels = dependency_labels(environment, dependency)
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.data.items()}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(environment, secret_name(environment, dependency), labels),
        "type": "Opaque",
        "data": encoded,
    }
    return marked(secret, digest=values.digest)


def _claim(environment: Environment, dependency: Dependency) -> Object:
    labels = dependency_labels(environment, dependency)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(environment, f"{environment.child(dependency)}-data", labels),
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": dependency.storage}},
        },
    }


def _ports(dependency: Dependency, service: BackingService) -> tuple[tuple[str, int], ...]:
    main = (dependency.type, dependency.port or service.port)
    return (main, *((port.name, port.number) for port in service.ports))


def _service(environment: Environment, dependency: Dependency, service: BackingService) -> Object:
    labels = dependency_labels(environment, dependency)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(environment, environment.child(dependency), labels),
        "spec": {
            "type": "ClusterIP",
            "selector": labels,
            "ports": [
                {"name": name, "port": number, "targetPort": number, "protocol": "TCP"}
                for name, number in _ports(dependency, service)
            ],
        },
    }


def _deployment(
    environment: Environment, dependency: Dependency, service: BackingService, values: Credentials
) -> Object:
    labels = dependency_labels(environment, dependency)
    template = {
        "metadata": {"labels": labels, "annotations": {CREDENTIALS_ANNOTATION: values.digest}},
        "spec": _pod(environment, dependency, service, values),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(environment, environment.child(dependency), labels),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            # Two of them must never have the same data.
            "strategy": {"type": "Recreate"},
            "template": template,
        },
    }


def _pod(
    environment: Environment, dependency: Dependency, service: BackingService, values: Credentials
) -> Object:
    container: Object = {
        "name": dependency.name,
        "image": dependency.image or service.image(dependency.version),
        "ports": [
            {"name": name, "containerPort": number, "protocol": "TCP"}
            for name, number in _ports(dependency, service)
        ],
        "readinessProbe": _readiness(dependency, service),
    }
    if args := _args(dependency, service):
        container["args"] = args
    if values.variables:
        container["env"] = [variable.manifest() for variable in values.variables]
    if asked := amounts(dependency.resources):
        container["resources"] = asked
    # The variables of links are named after Services, and some images take them for settings.
    pod: Object = {"containers": [container], "enableServiceLinks": False}
    if dependency.storage and service.storage:
        claim = {"claimName": f"{environment.child(dependency)}-data"}
        pod["volumes"] = [{"name": "data", "persistentVolumeClaim": claim}]
        # A folder of the volume, since its root may hold `lost+found`, and MySQL wants it empty.
        mount = {"name": "data", "mountPath": service.storage.path, "subPath": "data"}
        container["volumeMounts"] = [mount]
        if service.storage.group is not None:
            pod["securityContext"] = {"fsGroup": service.storage.group}
    return pod


def _args(dependency: Dependency, service: BackingService) -> list[str]:
    moved = dependency.port not in (0, service.port) and service.moved_args is not None
    args = service.moved_args if moved and service.moved_args is not None else service.args
    if dependency.storage and service.storage:
        args += service.storage.args
    return [one.format(port=dependency.port or service.port) for one in args]


def _readiness(dependency: Dependency, service: BackingService) -> Object:
    port = dependency.port or service.port
    asked: Object = (
        {"httpGet": {"path": service.probe.path, "port": port}}
        if service.probe.path
        else {"tcpSocket": {"port": port}}
    )
    return asked | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3}
