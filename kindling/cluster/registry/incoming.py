"""What a request brings: whether it can be understood, and which object it means."""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj, WriteOptions
from kindling.cluster.model.resource import ResourceType
from kindling.cluster.model.schema import Schemas
from kindling.cluster.model.status import (
    ApiError,
    Cause,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from kindling.cluster.registry.deletion import namespace_refusal
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.patches import unfit_patch
from kindling.cluster.registry.strategies import needs_version
from kindling.cluster.schema.names import dns_label

__all__ = [
    "check_identity",
    "check_namespace",
    "metadata_of",
    "namespace_of",
    "understood",
    "warn_of_name",
]


def metadata_of(obj: Any) -> Obj:
    """The metadata of what a client sent, empty when there are none. Raises `ApiError` 400."""
    if not isinstance(obj, dict):
        raise bad_request("the body of the request is not an object")
    metadata = obj.get("metadata")
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal metadata into Go value of type v1.ObjectMeta")
    return metadata


def understood(
    schemas: Schemas, resource: ResourceType, obj: Obj, options: WriteOptions, patch: Any = None
) -> Obj:
    """The object with the fields of its kind alone. Raises `ApiError`: 400 for an object that
    cannot be read, 422 for a patch that makes one."""
    reset = metadata_of(obj).get("managedFields") == []
    kind, version = obj.get("kind"), obj.get("apiVersion")
    handled = f"cannot be handled as a {resource.kind}"
    if kind not in (None, "", resource.kind) or version not in (None, "", resource.api_version):
        said = f'{kind} in version "{version}" {handled}'
        if version != resource.api_version:
            said += f': no kind "{kind}" is registered for version "{version}"'
        raise bad_request(said)
    obj = obj | {"apiVersion": resource.api_version, "kind": resource.kind}
    try:
        obj, unknown = schemas.of(resource).prune(obj)
    except ApiError as error:
        if patch is None or error.code != 400:
            raise
        raise unfit_patch(patch, error.message.partition(f"{handled}: ")[2]) from error
    if reset:
        # No field of any kind but a sign: forget whose fields these are.
        obj = obj | {"metadata": (obj.get("metadata") or {}) | {"managedFields": []}}
    if unknown and options.field_validation == "Strict":
        said = f"strict decoding error: {', '.join(unknown)}"
        if patch is not None:
            raise unfit_patch(patch, said)
        raise bad_request(f'{resource.kind} in version "{resource.version}" {handled}: {said}')
    if unknown and options.field_validation == "Warn" and options.warn is not None:
        for told in unknown:
            options.warn(told)
    return obj


def namespace_of(resource: ResourceType, metadata: Obj, namespace: str) -> str:
    """The namespace that a new object goes to, which is put into `metadata`. Raises `ApiError`
    400."""
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return ""
    own = metadata.get("namespace") or ""
    if namespace and own and namespace != own:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    namespace = namespace or own
    if not namespace:
        raise bad_request("an empty namespace may not be set during creation")
    metadata["namespace"] = namespace
    return namespace


def check_namespace(memory: Memory, resource: ResourceType, obj: Obj, namespace: str) -> None:
    """Raises `ApiError` 403 or 404 when nothing new may be made there."""
    found = memory.current(("namespaces", "", namespace))
    if found is None:
        raise not_found("namespaces", namespace)
    if found["metadata"].get("deletionTimestamp"):
        raise namespace_refusal(resource, obj["metadata"].get("name", ""), namespace)


_IN_POD_NAMES = frozenset(
    (
        "cronjobs.batch",
        "deployments.apps",
        "jobs.batch",
        "replicasets.apps",
        "replicationcontrollers",
    )
)


def warn_of_name(resource: ResourceType, name: str, options: WriteOptions) -> None:
    """Say that a new object's name is a poor one for the host that a pod is."""
    if options.warn is None or not (resource.key == "pods" or resource.key in _IN_POD_NAMES):
        return
    if found := dns_label(name):
        used = "the Pod's hostname" if resource.key == "pods" else "Pod names and hostnames"
        options.warn(
            f"metadata.name: this is used in {used}, which can result in surprising behavior; a DNS"
            f" label is recommended: [{' '.join(found)}]"
        )


def check_identity(resource: ResourceType, before: Obj, asked: Obj) -> None:
    """Whether a replacement means the object whose metadata are `before`. Raises `ApiError` 400,
    409 or 422."""
    metadata = asked.get("metadata") or {}
    name, namespace = before["name"], before.get("namespace", "")
    if metadata.get("name") != name:
        raise bad_request(
            f"the name of the object ({metadata.get('name', '')}) does not match the name on"
            f" the URL ({name})"
        )
    if resource.namespaced and (metadata.get("namespace") or namespace) != namespace:
        raise bad_request(
            f"the namespace of the object ({metadata['namespace']}) does not match the"
            f" namespace on the URL ({namespace})"
        )
    uid = metadata.get("uid")
    if uid and uid != before["uid"]:
        raise conflict(
            resource.plural,
            name,
            resource.group,
            "StorageError: invalid object, Code: 4, Key:"
            f" /registry/{'/'.join(filter(None, (resource.plural, namespace, name)))},"
            " ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in"
            f" precondition: {uid}, UID in object meta: {before['uid']}",
        )
    version = metadata.get("resourceVersion")
    if version in (None, "", "0"):
        if needs_version(resource):
            said = "Invalid value: 0x0: must be specified for an update"
            cause = Cause("FieldValueInvalid", said, "metadata.resourceVersion")
            raise invalid(resource.kind, name, [cause], resource.group)
    elif version != before["resourceVersion"]:
        raise conflict(resource.plural, name, resource.group)
