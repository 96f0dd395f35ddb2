"""The objects of the application itself: Service, Deployment and Ingress."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from kindling.operator.backing.exports import injected
from kindling.operator.backing.table import SERVICES
from kindling.operator.containers import amounts, probe, wait_for
from kindling.operator.credentials import Credentials, secret_name
from kindling.operator.marks import CREDENTIALS_ANNOTATION, app_labels, marked, metadata
from kindling.operator.model import Environment, Ingress

__all__ = ["application_objects"]

Object = dict[str, Any]


def application_objects(
    environment: Environment, values: Mapping[str, Credentials]
) -> tuple[Object, ...]:
    """`values` are those of the dependencies, by name."""
    objects = [_service(environment), _deployment(environment, values)]
    if environment.ingress is not None:
        objects.append(_ingress(environment, environment.ingress))
    return tuple(marked(one) for one in objects)


def _service(environment: Environment) -> Object:
    labels = app_labels(environment)
    port = {
        "name": "http",
        "port": environment.service_port,
        "targetPort": environment.target_port,
        "protocol": "TCP",
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(environment, environment.base, labels),
        "spec": {"type": environment.service_type, "selector": labels, "ports": [port]},
    }


def _deployment(environment: Environment, values: Mapping[str, Credentials]) -> Object:
    labels = app_labels(environment)
    head: Object = {"labels": labels}
    notes = dict(environment.rolls)
    if values:
        joined = ",".join(f"{name}={one.digest}" for name, one in sorted(values.items()))
        digest = hashlib.sha256(joined.encode()).hexdigest()[:16]
        notes[CREDENTIALS_ANNOTATION] = digest
    if notes:
        head["annotations"] = notes
    pod: Object = {"containers": [_container(environment)]}
    if waits := _waits(environment):
        pod["initContainers"] = waits
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(environment, environment.base, labels),
        "spec": {
            "replicas": environment.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": head, "spec": pod},
        },
    }


def _waits(environment: Environment) -> list[Object]:
    return [
        wait_for(one.name, environment.child(one), one.port or SERVICES[one.type].port)
        for one in environment.dependencies
    ]


def _container(environment: Environment) -> Object:
    container: Object = {
        "name": environment.base,
        "image": environment.image,
        "ports": [{"name": "http", "containerPort": environment.port, "protocol": "TCP"}],
    }
    if environment.rolls:
        # It was delivered under a name that may mean something else elsewhere, or nothing.
        container["imagePullPolicy"] = "IfNotPresent"
    if environment.command:
        container["command"] = list(environment.command)
    if environment.args:
        container["args"] = list(environment.args)
    if env := _env(environment):
        container["env"] = env
    if asked := amounts(environment.resources):
        container["resources"] = asked
    if environment.health is not None:
        container["livenessProbe"] = probe(environment.health, environment.port)
        container["readinessProbe"] = probe(environment.health, environment.port)
    return container


def _env(environment: Environment) -> list[Object]:
    """The dependencies' variables before the user's, so that these can refer to them as
    `$(DATABASE_URL)`; one that the user sets stands in his place and with his value alone."""
    own = {variable.name for variable in environment.env}
    result: list[Object] = []
    for dependency in environment.dependencies:
        secret = secret_name(environment, dependency)
        for name, key in injected(dependency).items():
            if name not in own:
                source = {"secretKeyRef": {"name": secret, "key": key}}
                result.append({"name": name, "valueFrom": source})
    return [*result, *(variable.manifest() for variable in environment.env)]


def _ingress(environment: Environment, told: Ingress) -> Object:
    backend = {"service": {"name": environment.base, "port": {"number": environment.service_port}}}
    path = {"path": told.path, "pathType": told.path_type, "backend": backend}
    rule: Object = {"http": {"paths": [path]}}
    spec: Object = {"rules": [({"host": told.host} if told.host else {}) | rule]}
    if told.class_name:
        spec["ingressClassName"] = told.class_name
    if told.tls_secret:
        hosts: Object = {"hosts": list(told.tls_hosts)} if told.tls_hosts else {}
        spec["tls"] = [hosts | {"secretName": told.tls_secret}]
    head = metadata(environment, environment.base, app_labels(environment), told.annotations)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": head,
        "spec": spec,
    }
