"""The definition of DevStagingEnvironment.

Every field, default and limit is upstream's (kindling-sh/kindling, `api/v1alpha1`), so that its
manifests apply unchanged. What we add is optional: `name` of a dependency, which tells two of one
type apart, the health check `tcp`, and `observedGeneration`. Rules and limits beyond upstream's
refuse only what could never have run: a name that no Service can have, a path that no Ingress
takes.
"""

from __future__ import annotations

from kindling.operator.definitions.core import (
    Schema,
    array,
    conditions,
    definition,
    env_vars,
    integer,
    mapping,
    port,
    quantity,
    record,
    resources,
    rule,
    text,
)

__all__ = ["DEPENDENCY_TYPES", "KIND", "MAX_NAME", "environment_definition"]

KIND = "DevStagingEnvironment"

DEPENDENCY_TYPES = (
    "postgres",
    "redis",
    "mysql",
    "mongodb",
    "rabbitmq",
    "minio",
    "elasticsearch",
    "kafka",
    "nats",
    "memcached",
    "cassandra",
    "consul",
    "vault",
    "influxdb",
    "jaeger",
)

MAX_NAME = 63
"""Characters of a Service's name, and of a label's value."""


def environment_definition() -> Schema:
    """The CustomResourceDefinition, ready to be applied."""
    root = record(
        {"spec": _spec(), "status": _status()},
        "spec",
        **{
            "x-kubernetes-validations": [
                rule(
                    f"self.metadata.name.matches('^[a-z]') && size(self.metadata.name) <= "
                    f"{MAX_NAME}",
                    f"metadata.name must begin with a letter and have at most {MAX_NAME} "
                    "characters, since a Service is named after it",
                ),
                rule(
                    "!has(self.spec.dependencies) || self.spec.dependencies.all(d, "
                    "size(self.metadata.name) + 1 + (has(d.name) ? size(d.name) : size(d.type)) "
                    f"<= {MAX_NAME})",
                    "metadata.name and a dependency's name must together have at most "
                    f"{MAX_NAME - 1} characters, since a Service is named after both",
                ),
            ]
        },
    )
    return definition(KIND, "devstagingenvironments", ("dse",), root, _columns())


def _columns() -> list[Schema]:
    rows = (
        ("Image", "string", ".spec.deployment.image"),
        ("Replicas", "integer", ".spec.deployment.replicas"),
        ("Available", "integer", ".status.availableReplicas"),
        ("Ready", "boolean", ".status.deploymentReady"),
        ("Age", "date", ".metadata.creationTimestamp"),
    )
    return [{"name": name, "type": sort, "jsonPath": path} for name, sort, path in rows]


def _spec() -> Schema:
    return record(
        {
            "deployment": _deployment(),
            "service": _service(),
            "ingress": _ingress(),
            "dependencies": array(
                _dependency(),
                description="Backing services that stand beside the application.",
                maxItems=64,
            ),
        },
        "deployment",
        "service",
    )


def _deployment() -> Schema:
    health = record(
        {
            "type": text(
                "How the container is asked.", enum=["http", "grpc", "tcp", "none"], default="http"
            ),
            "path": text("Where HTTP asks.", default="/healthz"),
            "port": port("Where it is asked; the container's port if not given."),
            "initialDelaySeconds": integer(default=5, minimum=0),
            "periodSeconds": integer(default=10, minimum=0),
        }
    )
    return record(
        {
            "image": text("What runs.", minLength=1),
            "port": port("Where the container listens."),
            "replicas": integer("How many run.", minimum=1, default=1),
            "command": array(text()),
            "args": array(text()),
            "env": env_vars("Variables of the container; they win over those of dependencies."),
            "resources": resources(),
            "healthCheck": health,
        },
        "image",
        "port",
    )


def _service() -> Schema:
    return record(
        {
            "port": port("Where the Service listens."),
            "targetPort": port("The container's port, if it is another than deployment.port."),
            "type": text(enum=["ClusterIP", "NodePort", "LoadBalancer"], default="ClusterIP"),
        },
        "port",
    )


def _ingress() -> Schema:
    tls = record(
        {
            "secretName": text("The Secret with the certificate.", minLength=1),
            "hosts": array(text()),
        },
        "secretName",
    )
    return record(
        {
            "enabled": {"type": "boolean", "default": False},
            "host": text("Under which name it is reached."),
            "path": text(default="/"),
            "pathType": text(enum=["Prefix", "Exact", "ImplementationSpecific"], default="Prefix"),
            "ingressClassName": text(),
            "tls": tls,
            "annotations": mapping(text()),
        },
        **{
            "x-kubernetes-validations": [
                rule(
                    "!self.enabled || self.pathType == 'ImplementationSpecific' "
                    "|| self.path.startsWith('/')",
                    "path must begin with a slash",
                )
            ]
        },
    )


def _dependency() -> Schema:
    return record(
        {
            "type": text("Which service.", enum=list(DEPENDENCY_TYPES)),
            "name": text(
                "Its name within the environment; the type if not given.",
                pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$",
                maxLength=40,
            ),
            "version": text("The tag of the default image."),
            "image": text("Another image; `version` is not looked at then."),
            "port": port("Where it listens; the type's own port if not given."),
            "env": env_vars("Variables of its container; they win over the type's."),
            "envVarName": text(
                "Which variable of the application holds the URL.",
                pattern="^([-._a-zA-Z][-._a-zA-Z0-9]*)?$",
            ),
            "storageSize": quantity("How large a volume keeps its data; none if not given."),
            "resources": resources(),
        },
        "type",
    )


def _status() -> Schema:
    flag: Schema = {"type": "boolean"}
    return record(
        {
            "availableReplicas": integer(),
            "deploymentReady": dict(flag),
            "serviceReady": dict(flag),
            "ingressReady": dict(flag),
            "dependenciesReady": dict(flag),
            "url": text(),
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": conditions(),
        }
    )
