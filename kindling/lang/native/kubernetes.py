"""k8s_yaml, k8s_resource and their kin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kindling.errors import ConfigError
from kindling.graph.node import FileSet
from kindling.graph.spec import Readiness
from kindling.lang import structured
from kindling.lang.blob import Blob
from kindling.lang.call import Call, show
from kindling.lang.declared import (
    ContainerSelector,
    CustomDeploy,
    DiscoveryStrategy,
    ImageObject,
    KindDeclaration,
    KubernetesObject,
    ObjectSelector,
    PortForward,
    ResourceConfiguration,
    SecretIfAbsent,
)
from kindling.lang.native.files import read_text
from kindling.lang.native.live_update import live_update_steps
from kindling.lang.native.registering import is_environment, take_in_file
from kindling.lang.session import Native
from kindling.objects.identity import api_group, canonical, display_name, object_ref
from kindling.objects.reference import parse_reference

__all__ = ["NATIVES", "objects_of", "parse_port_forward", "parse_selector", "yaml_texts"]


def yaml_texts(call: Call, argument: str, value: object) -> Iterable[tuple[str, str]]:
    """Pairs of text and the file it came from, of paths and blobs, one or several."""
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, Blob):
            yield item, ""
        elif isinstance(item, str) and "\n" in item:
            raise ConfigError(
                f"`{call.name}` was given contents where it takes a path",
                hint="Wrap contents in `blob(...)`.",
            )
        elif isinstance(item, str):
            path = call.on_disk(argument, item)
            yield read_text(call, path) or "", call.session.paths.relative(path)
        else:
            raise call.wants(argument, "paths or blobs", item)


def objects_of(documents: Iterable[object], source: str) -> list[Mapping[str, Any]]:
    """The objects of YAML documents: empty documents are dropped, lists are taken apart."""
    found: list[Mapping[str, Any]] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ConfigError(
                f"{source or 'The YAML'} holds something that is no object: {show(document)}",
                hint="Is a path meant? Contents must be a blob: `blob(...)` or `read_file(...)`."
                if isinstance(document, str)
                else "",
            )
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            found += objects_of(items, source)
        elif document:
            found.append(document)
    return found


def k8s_yaml(call: Call, yaml: object, allow_duplicates: object) -> None:
    allow = call.flag("allow_duplicates", allow_duplicates)
    if yaml is None or yaml == []:
        raise ConfigError("`k8s_yaml` was given nothing")
    for text, source in yaml_texts(call, "yaml", yaml):
        found = objects_of(structured.parse_yaml_stream(text, source), source)
        if not found:
            raise ConfigError(
                f"`{source}` holds no objects" if source else "The YAML holds no objects"
            )
        for manifest in found:
            if is_environment(manifest):
                take_in_file(call, manifest, source, text, allow_duplicates=allow)
            else:
                _register(call, manifest, source, allow)


def _register(call: Call, manifest: Mapping[str, Any], source: str, allow: bool) -> None:
    try:
        ref = object_ref(manifest)
    except ConfigError as error:
        if source:
            raise ConfigError(f"{source}: {error.message}", hint=error.hint) from None
        raise
    key = (api_group(ref.api_version), ref.kind, ref.namespace, ref.name)
    first = call.state.identities.get(key)
    made = KubernetesObject(ref, canonical(manifest), call.where, source, allow)
    if isinstance(first, KubernetesObject) and not allow:
        before = f"first at {first.where}" + (f", in {first.source}" if first.source else "")
        details = [before, f"again in {source}"] if source else [before]
        raise ConfigError(
            f"{display_name(ref)} is declared twice",
            details=details,
            hint="Remove one of them, or say `allow_duplicates=True`: then the last one counts.",
        )
    call.state.identities[key] = made
    call.state.objects.append(made)


def parse_port_forward(call: Call, item: object) -> PortForward:
    """A port-forward from a number, `8080`, `8080:80`, `host:8080:80` or `port_forward()`."""
    if isinstance(item, PortForward):
        return item
    if isinstance(item, bool) or not isinstance(item, int | str | float):
        raise call.wants("port_forwards", "ports such as `8080` or `8080:80`", item)
    parts = [
        part.strip()
        for part in (str(int(item)) if isinstance(item, float) else str(item)).split(":")
    ]
    host = parts.pop(0) if len(parts) == 3 or (len(parts) == 2 and not parts[0].isdigit()) else ""
    if not 1 <= len(parts) <= 2 or not all(part.isdigit() for part in parts):
        raise call.wants("port_forwards", "ports such as `8080`, `8080:80` or `host:8080:80`", item)
    if host and not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        raise ConfigError(f"`{host}` is not a host name")
    ports = [_port(int(part)) for part in parts]
    return PortForward(ports[0], ports[1] if len(ports) == 2 else 0, host=host)


def _port(number: int) -> int:
    if not 0 <= number <= 65535:
        raise ConfigError(f"{number} is not a port: ports end at 65535")
    return number


def port_forward(
    call: Call,
    local_port: object,
    container_port: object,
    name: object,
    link_path: object,
    host: object,
) -> PortForward:
    path = call.text("link_path", link_path)
    inner = 0 if container_port is None else _port(call.count("container_port", container_port))
    return PortForward(
        local_port=_port(call.count("local_port", local_port)),
        container_port=inner,
        name=call.text("name", name),
        path=path if not path or path.startswith("/") else f"/{path}",
        host=call.text("host", host),
    )


def parse_selector(text: str) -> ObjectSelector:
    """`name[:kind[:namespace[:group]]]`; a backslash keeps a colon from dividing.

    Raises:
        ConfigError: It has no name, or more than four parts.
    """
    parts = [part.replace("\\:", ":") for part in re.split(r"(?<!\\):", text)]
    if not parts[0] or len(parts) > 4:
        raise ConfigError(
            f"`{text}` does not select an object",
            hint="A selector is `name`, `name:kind`, `name:kind:namespace` "
            "or `name:kind:namespace:group`.",
        )
    parts += [""] * (4 - len(parts))
    return ObjectSelector(text, *parts)


def _selectors(call: Call, value: object) -> tuple[tuple[tuple[str, str], ...], ...]:
    items = value if isinstance(value, list) else [value] if value else []
    return tuple(call.pairs("extra_pod_selectors", item) for item in items if item)


_READINESS = [mode.value for mode in Readiness]


def _readiness(call: Call, value: object) -> Readiness | None:
    text = call.choice("pod_readiness", value, _READINESS)
    return Readiness(text) if text else None


def k8s_resource(
    call: Call,
    workload: object,
    new_name: object,
    port_forwards: object,
    extra_pod_selectors: object,
    trigger_mode: object,
    resource_deps: object,
    objects: object,
    auto_init: object,
    pod_readiness: object,
    links: object,
    labels: object,
    discovery_strategy: object,
    recreate: object,
) -> None:
    name = call.text("workload", workload)
    selectors = tuple(map(parse_selector, call.texts("objects", objects)))
    fresh = call.text("new_name", new_name)
    if not name and not selectors:
        raise ConfigError(
            "`k8s_resource` names neither a workload nor objects",
            hint="Give `workload=`, or `new_name=` with `objects=[...]`.",
        )
    if not name and not fresh:
        raise ConfigError(
            "`k8s_resource` with objects alone needs a `new_name`",
            hint="Say what the resource of these objects is called: `new_name=`.",
        )
    forwards = port_forwards if isinstance(port_forwards, list) else [port_forwards]
    strategies = [strategy.value for strategy in DiscoveryStrategy]
    strategy = call.choice("discovery_strategy", discovery_strategy, strategies)
    call.state.resources.append(
        ResourceConfiguration(
            where=call.where,
            workload=name,
            new_name=fresh,
            port_forwards=tuple(
                parse_port_forward(call, item) for item in forwards if item not in (None, "")
            ),
            extra_pod_selectors=_selectors(call, extra_pod_selectors),
            trigger=call.trigger("trigger_mode", trigger_mode),
            resource_deps=call.texts("resource_deps", resource_deps),
            objects=selectors,
            auto_init=call.maybe_flag("auto_init", auto_init),
            pod_readiness=_readiness(call, pod_readiness),
            links=call.links("links", links),
            labels=call.labels(labels),
            discovery_strategy=DiscoveryStrategy(strategy) if strategy else None,
            recreate=call.maybe_flag("recreate", recreate),
        )
    )


def k8s_custom_deploy(
    call: Call,
    name: object,
    apply_cmd: object,
    delete_cmd: object,
    deps: object,
    image_selector: object,
    live_update: object,
    apply_dir: object,
    apply_env: object,
    apply_cmd_bat: object,  # noqa: ARG001
    delete_dir: object,
    delete_env: object,
    delete_cmd_bat: object,  # noqa: ARG001
    container_selector: object,
    image_deps: object,
) -> None:
    text = call.required("name", name)
    image = call.text("image_selector", image_selector)
    container = call.text("container_selector", container_selector)
    if image and container:
        raise ConfigError(
            f"k8s_custom_deploy `{text}` has both `image_selector` and `container_selector`",
            hint="Remove one of them.",
        )
    steps = live_update_steps(call, live_update)
    if steps and not image and not container:
        raise ConfigError(
            f"k8s_custom_deploy `{text}` has `live_update` and does not say for which containers",
            hint="Give `image_selector=` or `container_selector=`.",
        )
    images = call.texts("image_deps", image_deps)
    for ref in images:
        parse_reference(ref)
    apply_argv, delete_argv = call.argv("apply_cmd", apply_cmd), call.argv("delete_cmd", delete_cmd)
    for part, argv in (("apply_cmd", apply_argv), ("delete_cmd", delete_argv)):
        if not argv:
            raise ConfigError(f"k8s_custom_deploy `{text}` has no `{part}`")
    call.claim("k8s_custom_deploy", text)
    call.state.custom_deploys.append(
        CustomDeploy(
            name=text,
            where=call.where,
            apply_argv=apply_argv,
            delete_argv=delete_argv,
            files=FileSet(call.paths("deps", deps)),
            apply_dir=call.path("apply_dir", apply_dir),
            apply_env=call.environment("apply_env", apply_env),
            delete_dir=call.path("delete_dir", delete_dir),
            delete_env=call.environment("delete_env", delete_env),
            image_deps=images,
            live_update=steps,
            selector=ContainerSelector(image, container),
        )
    )


def _pattern(call: Call, argument: str, value: object) -> str:
    text = call.text(argument, value)
    try:
        re.compile(text)
    except re.error as error:
        raise ConfigError(
            f"`{call.name}({argument}=)` is not a regular expression: {error}"
        ) from None
    return text


def _json_paths(call: Call, argument: str, value: object) -> tuple[str, ...]:
    paths = call.texts(argument, value)
    for path in paths:
        if not path.startswith("{") or not path.endswith("}"):
            raise ConfigError(
                f"`{path}` is not a JSON path", hint="Such as `{.spec.template.image}`."
            )
    return paths


def k8s_kind(
    call: Call,
    kind: object,
    api_version: object,
    image_json_path: object,
    image_object: object,
    pod_readiness: object,
) -> None:
    paths = _json_paths(call, "image_json_path", image_json_path)
    if paths and image_object:
        raise ConfigError("`k8s_kind` takes `image_json_path` or `image_object`, not both")
    made = None
    if image_object:
        fields = dict(call.pairs("image_object", image_object))
        wanted = ("json_path", "repo_field", "tag_field")
        if missing := [field for field in wanted if not fields.get(field)]:
            raise ConfigError(f"`k8s_kind(image_object=)` lacks [{', '.join(missing)}]")
        made = ImageObject(*(fields[field] for field in wanted))
    call.required("kind", kind)
    call.state.kinds.append(
        KindDeclaration(
            where=call.where,
            kind=_pattern(call, "kind", kind),
            api_version=_pattern(call, "api_version", api_version),
            image_json_paths=paths,
            image_object=made,
            pod_readiness=_readiness(call, pod_readiness),
        )
    )


def k8s_image_json_path(
    call: Call,
    paths: object,
    api_version: object,
    kind: object,
    name: object,
    namespace: object,
) -> None:
    found = _json_paths(call, "paths", paths)
    if not found:
        raise ConfigError("`k8s_image_json_path` names no paths")
    if not kind and not name and not namespace and not api_version:
        raise ConfigError("`k8s_image_json_path` does not say for which objects")
    call.state.kinds.append(
        KindDeclaration(
            where=call.where,
            kind=_pattern(call, "kind", kind),
            api_version=_pattern(call, "api_version", api_version),
            name=_pattern(call, "name", name),
            namespace=_pattern(call, "namespace", namespace),
            image_json_paths=found,
            workload=False,
        )
    )


def filter_yaml(
    call: Call,
    yaml: object,
    labels: object,
    name: object,
    namespace: object,
    kind: object,
    api_version: object,
) -> list[Blob]:
    wanted = {
        "name": _pattern(call, "name", name),
        "namespace": _pattern(call, "namespace", namespace),
        "kind": _pattern(call, "kind", kind),
        "api_version": _pattern(call, "api_version", api_version),
    }
    pairs = call.pairs("labels", labels)
    matching: list[Mapping[str, Any]] = []
    rest: list[Mapping[str, Any]] = []
    for text, source in yaml_texts(call, "yaml", yaml):
        for manifest in objects_of(structured.parse_yaml_stream(text, source), source):
            chosen = matching if _selected(manifest, wanted, pairs) else rest
            chosen.append(manifest)
    return [Blob(structured.dump_yaml_stream(part)) for part in (matching, rest)]


def _selected(
    manifest: Mapping[str, Any], wanted: Mapping[str, str], labels: tuple[tuple[str, str], ...]
) -> bool:
    metadata = manifest.get("metadata") or {}
    values = {
        "name": metadata.get("name", ""),
        "namespace": metadata.get("namespace", "") or "default",
        "kind": manifest.get("kind", ""),
        "api_version": manifest.get("apiVersion", ""),
    }
    own = metadata.get("labels") or {}
    return all(
        re.search(pattern, str(values[field]), re.IGNORECASE)
        for field, pattern in wanted.items()
        if pattern
    ) and all(str(own.get(key)) == value for key, value in labels)


def secret_if_absent(
    call: Call,
    name: object,
    namespace: object,
    literals: object,
    type: object,
    labels: object,
) -> None:
    text = call.required("name", name)
    place = call.text("namespace", namespace)
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text):
        raise ConfigError(
            f"`{text}` is not the name of a Secret",
            hint="Names are lower case letters, digits, `-` and `.`.",
        )
    call.claim("secret", f"{place}/{text}" if place else text)
    call.state.secrets.append(
        SecretIfAbsent(
            name=text,
            where=call.where,
            namespace=place,
            literals=call.pairs("literals", literals),
            type=call.text("type", type) or "Opaque",
            labels=call.labels(labels),
        )
    )


NATIVES: dict[str, Native] = {
    "k8s_yaml": k8s_yaml,
    "k8s_resource": k8s_resource,
    "k8s_custom_deploy": k8s_custom_deploy,
    "k8s_kind": k8s_kind,
    "k8s_image_json_path": k8s_image_json_path,
    "filter_yaml": filter_yaml,
    "secret_if_absent": secret_if_absent,
    "port_forward": port_forward,
}
