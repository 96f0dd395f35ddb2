"""What services are made of: the fifteen backing services, health checks, ingresses, secrets."""

from __future__ import annotations

from typing import Any

from kindling.errors import ConfigError, UsageError
from kindling.lang.call import Call
from kindling.lang.declared import Dependency, HealthCheck, IngressRule, SecretReference
from kindling.lang.native.fields import health_fields, resources_of, storage_of, variables_of
from kindling.lang.session import Native
from kindling.objects.identity import canonical

__all__ = ["DEPENDENCIES", "NATIVES"]

_ARGUMENTS = {"envVarName": "env_var", "storageSize": "storage"}
_STATELESS = ("nats", "memcached", "consul", "vault", "jaeger")
_STATEFUL = (
    *("postgres", "redis", "mysql", "mongodb", "rabbitmq", "minio"),
    *("elasticsearch", "kafka", "cassandra", "influxdb"),
)
DEPENDENCIES = (*_STATEFUL, *_STATELESS)
"""Every type that has a builtin of its name."""


def _version(call: Call, value: object) -> str:
    if isinstance(value, float):
        raise ConfigError(
            f"`{call.name}(version=)` is the number {value:g}, which may have lost a zero",
            hint=f'Write it as a text: `version = "{value:g}"`.',
        )
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return call.text("version", value)


def _dependency(
    call: Call,
    type_: str,
    version: object,
    image: object,
    port: object,
    env: object,
    env_var: object,
    storage: object,
    resources: object,
    name: object,
) -> Dependency:
    from kindling.lang.findings import error_of, find_in_dependency, renamed

    said: dict[str, Any] = {
        "version": _version(call, version),
        "image": call.text("image", image),
        "port": port,
        "env": variables_of(call, "env", env),
        "envVarName": call.text("env_var", env_var),
        "storageSize": storage_of(call, storage),
        "resources": resources_of(call, "resources", resources),
        "name": call.text("name", name),
    }
    manifest = {"type": type_} | {key: v for key, v in said.items() if v not in (None, "", [], {})}
    if found := find_in_dependency(manifest):
        raise error_of(f"`{type_}`", renamed(found, _ARGUMENTS, manifest))
    return Dependency(type_, canonical(manifest), call.where)


def _stateful(type_: str) -> Native:
    def native(
        call: Call,
        version: object,
        image: object,
        port: object,
        env: object,
        env_var: object,
        storage: object,
        resources: object,
        name: object,
    ) -> Dependency:
        rest = (version, image, port, env, env_var, storage, resources, name)
        return _dependency(call, type_, *rest)

    return native


def _stateless(type_: str) -> Native:
    def native(
        call: Call,
        version: object,
        image: object,
        port: object,
        env: object,
        env_var: object,
        resources: object,
        name: object,
    ) -> Dependency:
        rest = (version, image, port, env, env_var, "", resources, name)
        return _dependency(call, type_, *rest)

    return native


def _health(call: Call, manifest: dict[str, Any]) -> HealthCheck:
    from kindling.lang.findings import error_of, find_in_part, renamed

    if found := find_in_part(manifest, "spec", "deployment", "healthCheck"):
        names = {"initialDelaySeconds": "initial_delay", "periodSeconds": "period"}
        raise error_of(f"`{call.name}`", renamed(found, names, manifest))
    return HealthCheck(manifest["type"], canonical(manifest))


def http_get(
    call: Call, path: object, port: object, initial_delay: object, period: object
) -> HealthCheck:
    text = call.required("path", path)
    if not text.startswith("/"):
        raise ConfigError(f"`http_get(path=)` must begin with a slash: `/{text}`")
    return _health(
        call, {"type": "http", "path": text} | health_fields(call, port, initial_delay, period)
    )


def grpc(call: Call, port: object, initial_delay: object, period: object) -> HealthCheck:
    return _health(call, {"type": "grpc"} | health_fields(call, port, initial_delay, period))


def tcp(call: Call, port: object, initial_delay: object, period: object) -> HealthCheck:
    return _health(call, {"type": "tcp"} | health_fields(call, port, initial_delay, period))


def ingress(
    call: Call,
    host: object,
    path: object,
    path_type: object,
    class_name: object,
    tls_secret: object,
    annotations: object,
) -> IngressRule:
    from kindling.lang.findings import error_of, find_in_part, renamed

    secret_ = call.text("tls_secret", tls_secret)
    said: dict[str, Any] = {
        "host": call.required("host", host),
        "path": call.required("path", path),
        "pathType": call.required("path_type", path_type),
        "ingressClassName": call.text("class_name", class_name),
        "tls": {"secretName": secret_} if secret_ else {},
        "annotations": dict(call.pairs("annotations", annotations)),
    }
    manifest = {"enabled": True} | {key: value for key, value in said.items() if value}
    if found := find_in_part(manifest, "spec", "ingress"):
        names = {"pathType": "path_type"}
        raise error_of("`ingress`", renamed(found, names, manifest))
    return IngressRule(canonical(manifest))


def secret(call: Call, name: object) -> SecretReference:
    from kindling.objects.secretnames import VALUE_KEY, secret_name

    text = call.required("name", name)
    try:
        return SecretReference(text, secret_name(text), VALUE_KEY)
    except UsageError as error:
        raise ConfigError(error.message, hint=error.hint) from error


NATIVES: dict[str, Native] = {
    "secret": secret,
    "ingress": ingress,
    "http_get": http_get,
    "grpc": grpc,
    "tcp": tcp,
    **{type_: _stateful(type_) for type_ in _STATEFUL},
    **{type_: _stateless(type_) for type_ in _STATELESS},
}
