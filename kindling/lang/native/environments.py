"""service and dse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kindling.errors import ConfigError, nearest
from kindling.lang import structured
from kindling.lang.blob import Blob
from kindling.lang.call import Call
from kindling.lang.declared import HealthCheck, LiveUpdateStep, ResourceConfiguration
from kindling.lang.native.backing import DEPENDENCIES
from kindling.lang.native.fields import (
    dependencies_of,
    health_of,
    ingress_of,
    plain,
    resources_of,
    variables_of,
)
from kindling.lang.native.kubernetes import objects_of, parse_port_forward, yaml_texts
from kindling.lang.native.live_update import sync_steps
from kindling.lang.native.registering import is_environment, take_in, take_in_file
from kindling.lang.session import Native
from kindling.objects.identity import display_name, object_ref

__all__ = ["NATIVES"]

_API_VERSION = "apps.example.com/v1alpha1"
_KIND = "DevStagingEnvironment"

_SERVICE_NAMES = {
    "metadata.name": "name",
    "metadata.namespace": "namespace",
    "spec.deployment.healthCheck": "health",
    "spec.deployment.env": "env",
    "spec.deployment": "",
    "spec.service.port": "service_port",
    "spec.service.type": "service_type",
    "spec.ingress": "ingress",
    "spec.dependencies": "dependencies",
    "envVarName": "env_var",
    "storageSize": "storage",
}
"""What `service` calls the fields."""

_DSE_NAMES = {
    "metadata.name": "name",
    "metadata.namespace": "namespace",
    "spec.dependencies": "dependencies",
    "spec": "",
}

_SAME_PORT = {"spec.service.port": "deployment.port"}


def _configuration(
    call: Call,
    name: str,
    labels: object,
    resource_deps: object,
    port_forwards: object,
    links: object,
    trigger_mode: object,
    auto_init: object,
) -> ResourceConfiguration:
    forwards = port_forwards if isinstance(port_forwards, list) else [port_forwards]
    return ResourceConfiguration(
        where=call.where,
        workload=name,
        port_forwards=tuple(
            parse_port_forward(call, item) for item in forwards if item not in (None, "")
        ),
        trigger=call.trigger("trigger_mode", trigger_mode),
        resource_deps=call.texts("resource_deps", resource_deps),
        auto_init=call.maybe_flag("auto_init", auto_init),
        links=call.links("links", links),
        labels=call.labels(labels),
    )


def _manifest(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": _API_VERSION, "kind": _KIND, "metadata": metadata, "spec": spec}


def _declare(
    call: Call,
    manifest: Mapping[str, Any],
    names: Mapping[str, str],
    configuration: ResourceConfiguration,
    steps: tuple[LiveUpdateStep, ...],
) -> None:
    from kindling.lang.findings import error_of, find_in_environment, renamed

    what = f"{call.name} `{configuration.workload}`"
    # A port that stands for two is wrong once.
    found = dict.fromkeys(renamed(find_in_environment(manifest), names, manifest))
    if serious := tuple(one for one in found if one.serious):
        raise error_of(what, serious)
    for one in found:
        call.warn(f"{what}: {one}")
    take_in(call, manifest, configuration=configuration, sync=steps)


def service(
    call: Call,
    name: object,
    image: object,
    port: object,
    env: object,
    dependencies: object,
    health: object,
    ingress: object,
    replicas: object,
    resources: object,
    command: object,
    args: object,
    service_port: object,
    service_type: object,
    namespace: object,
    labels: object,
    resource_deps: object,
    port_forwards: object,
    links: object,
    trigger_mode: object,
    auto_init: object,
    sync: object,
) -> None:
    text = call.required("name", name)
    steps = sync_steps(call, sync)
    deployment = {
        "image": call.required("image", image),
        "port": plain(call, "port", port),
        "replicas": plain(call, "replicas", replicas),
        "command": list(call.argv("command", command)),
        "args": list(call.texts("args", args)),
        "env": variables_of(call, "env", env),
        "resources": resources_of(call, "resources", resources),
        "healthCheck": health_of(call, health),
    }
    outside = {
        "port": plain(call, "port", port if service_port is None else service_port),
        "type": call.text("service_type", service_type),
    }
    spec = {
        "deployment": _given(deployment),
        "service": _given(outside),
        "ingress": ingress_of(call, ingress),
        "dependencies": dependencies_of(call, dependencies, DEPENDENCIES),
    }
    manifest = _manifest(text, call.text("namespace", namespace), _given(spec))
    rest = (labels, resource_deps, port_forwards, links, trigger_mode, auto_init)
    names = _SERVICE_NAMES | ({"spec.service.port": "port"} if service_port is None else {})
    _declare(call, manifest, names, _configuration(call, text, *rest), steps)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "", [], {})}


def dse(
    call: Call,
    name: object,
    file: object,
    deployment: object,
    service: object,
    ingress: object,
    dependencies: object,
    namespace: object,
    labels: object,
    resource_deps: object,
    port_forwards: object,
    links: object,
    trigger_mode: object,
    auto_init: object,
    sync: object,
) -> None:
    text = call.required("name", name)
    steps = sync_steps(call, sync)
    place = call.text("namespace", namespace)
    fields = {
        "deployment": deployment,
        "service": service,
        "ingress": ingress,
        "dependencies": dependencies,
    }
    said = [key for key, value in fields.items() if value not in (None, "", [], {})]
    rest = (labels, resource_deps, port_forwards, links, trigger_mode, auto_init)
    configuration = _configuration(call, text, *rest)
    if file:
        if said:
            raise ConfigError(
                f"dse `{text}` has both `file` and `{said[0]}`",
                hint="Say it in the file, or say everything here.",
            )
        _from_file(call, text, place, file, configuration, steps)
        return
    if "deployment" not in said:
        raise ConfigError(
            f"dse `{text}` has neither `file` nor `deployment`",
            hint='Such as `deployment = {"image": "shop", "port": 8080}`.',
        )
    spec = {
        "deployment": _deployment(call, deployment),
        "service": _outside(call, service, deployment),
        "ingress": ingress_of(call, ingress),
        "dependencies": dependencies_of(call, dependencies, DEPENDENCIES),
    }
    same = {} if "port" in spec["service"] and "service" in said else _SAME_PORT
    _declare(call, _manifest(text, place, _given(spec)), _DSE_NAMES | same, configuration, steps)


def _deployment(call: Call, value: object) -> Any:
    if not isinstance(value, dict):
        raise call.wants("deployment", "a dict such as `{'image': 'shop', 'port': 8080}`", value)
    fields: dict[str, Any] = dict(value)
    if "env" in fields:
        fields["env"] = variables_of(call, "deployment", fields["env"])
    if isinstance(fields.get("resources"), dict):
        fields["resources"] = resources_of(call, "deployment", fields["resources"])
    if isinstance(fields.get("healthCheck"), HealthCheck):
        fields["healthCheck"] = health_of(call, fields["healthCheck"])
    return plain(call, "deployment", fields)


def _outside(call: Call, value: object, deployment: object) -> Any:
    """The Service; it listens where the container does unless it says otherwise."""
    if not isinstance(value, dict):
        raise call.wants("service", "a dict such as `{'port': 80}`", value)
    same = deployment.get("port") if isinstance(deployment, dict) else None
    start = {} if same is None else {"port": same}
    return plain(call, "service", start | value)


def _from_file(
    call: Call,
    name: str,
    namespace: str,
    file: object,
    configuration: ResourceConfiguration,
    steps: tuple[LiveUpdateStep, ...],
) -> None:
    from kindling.lang.findings import name_of

    found: list[tuple[Mapping[str, Any], str, str]] = []
    others: list[str] = []
    known: list[str] = []
    for text, source in yaml_texts(call, "file", file):
        for manifest in objects_of(structured.parse_yaml_stream(text, source), source):
            if not is_environment(manifest):
                others.append(display_name(object_ref(manifest)))
            elif (own := name_of(manifest)) != name:
                known.append(own)
            else:
                found.append((manifest, source, text))
    place = found[0][1] if found else ""
    where = place or ("the YAML" if isinstance(file, Blob) else call.text("file", file))
    if not found:
        raise ConfigError(
            f"`{where}` has no DevStagingEnvironment `{name}`",
            details=[f"known: [{', '.join(known)}]"] if known else [],
            hint=nearest(name, known) or ("Its name is that in `metadata.name`." if known else ""),
        )
    if len(found) > 1:
        raise ConfigError(f"`{where}` has {len(found)} DevStagingEnvironments `{name}`")
    if others:
        call.warn(
            f"`{where}` has more than environments: [{', '.join(others)}]; `dse` leaves that out, "
            "`k8s_yaml` takes all of a file"
        )
    manifest, source, text = found[0]
    there = manifest["metadata"].get("namespace")
    if namespace and there not in (None, "", namespace):
        raise ConfigError(
            f"dse `{name}` is in namespace `{there}` in `{where}`, not in `{namespace}`",
            hint="Leave `namespace` out, or take it out of the file.",
        )
    take_in_file(call, manifest, source, text, configuration, namespace=namespace, sync=steps)


NATIVES: dict[str, Native] = {"service": service, "dse": dse}
