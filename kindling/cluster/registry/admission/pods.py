"""Service account, token volume, priority and tolerations of a new pod.

After the ServiceAccount, Priority and DefaultTolerationSeconds plugins of k8s.io/kubernetes
`plugin/pkg/admission`.
"""

from __future__ import annotations

from typing import Any

from kindling.cluster.model.api import Obj
from kindling.cluster.model.status import ApiError, forbidden
from kindling.cluster.registry.memory import Memory
from kindling.cluster.registry.names import generated_name

__all__ = ["admit_pod", "service_account_of"]

_TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
"""An hour and a few seconds: kubelets know by them that the lifetime was not chosen by anybody."""

_SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_MIRROR = "kubernetes.io/config.mirror"
_EVICTED_AFTER = 300


def service_account_of(pod: Obj) -> str:
    """The service account that a pod runs as; empty for the mirror of a static pod. Takes what a
    client sent, before anybody has looked at it."""
    annotations = _object(_object(pod, "metadata"), "annotations")
    if _MIRROR in annotations:
        return ""
    spec = _object(pod, "spec")
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _object(obj: Obj, field: str) -> Obj:
    value = obj.get(field)
    return value if isinstance(value, dict) else {}


def admit_pod(memory: Memory, pod: Obj, namespace: str) -> Obj:
    """The pod with what a cluster adds. Raises `ApiError` 403."""
    spec = dict(pod.get("spec") or {})
    if account := service_account_of(pod):
        spec = _with_account(memory, pod, spec, namespace, account)
    spec = _with_priority(memory, pod, spec)
    return pod | {"spec": _with_tolerations(spec)}


def _refused(pod: Obj, why: str) -> ApiError:
    metadata = pod["metadata"]
    return forbidden("pods", metadata.get("name") or metadata.get("generateName") or "", why)


def _with_account(memory: Memory, pod: Obj, spec: Obj, namespace: str, name: str) -> Obj:
    account = memory.current(("serviceaccounts", namespace, name))
    if account is None:
        why = (
            f"error looking up service account {namespace}/{name}: serviceaccount"
            f' "{name}" not found'
        )
        raise _refused(pod, why)
    spec = spec | {"serviceAccountName": name, "serviceAccount": name}
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken", True)
    return _with_token(spec) if automount else spec


def _with_token(spec: Obj) -> Obj:
    """The projected volume, mounted wherever a container has nothing at its place."""
    volumes = list(spec.get("volumes") or ())
    taken = next((v["name"] for v in volumes if _is_token(v)), "")
    name = taken or generated_name("kube-api-access-")
    mount = {"name": name, "readOnly": True, "mountPath": _TOKEN_FOLDER}
    used = False
    made = dict(spec)
    for field in ("initContainers", "containers"):
        if field not in spec:
            continue
        containers = []
        for container in spec[field] or ():
            mounts = container.get("volumeMounts") or []
            if any(m.get("mountPath") == _TOKEN_FOLDER for m in mounts):
                containers.append(container)
                continue
            containers.append(container | {"volumeMounts": [*mounts, mount]})
            used = True
        made[field] = containers
    if used and not taken:
        made["volumes"] = [*volumes, _token_volume(name)]
    return made


def _is_token(volume: Obj) -> bool:
    return str(volume.get("name", "")).startswith("kube-api-access-")


def _token_volume(name: str) -> Obj:
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources: list[Obj] = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}


def _with_priority(memory: Memory, pod: Obj, spec: Obj) -> Obj:
    name = spec.get("priorityClassName") or ""
    value, policy = 0, "PreemptLowerPriority"
    found: Obj | None = None
    if name:
        found = memory.current(("priorityclasses.scheduling.k8s.io", "", name))
        if found is None and name not in _SYSTEM_PRIORITIES:
            raise _refused(pod, f"no PriorityClass with name {name} was found")
        value = _SYSTEM_PRIORITIES.get(name, 0)
    else:
        defaults = [
            c
            for c in memory.current_all("priorityclasses.scheduling.k8s.io")
            if c.get("globalDefault")
        ]
        if defaults:
            found = min(defaults, key=lambda c: int(c.get("value", 0)))
            spec = spec | {"priorityClassName": found["metadata"]["name"]}
    if found is not None:
        value = int(found.get("value", 0))
        policy = found.get("preemptionPolicy") or policy
    asked = spec.get("priority")
    if asked is not None and asked != value:
        why = (
            f"the integer value of priority ({asked}) must not be provided in pod spec; priority"
            f" admission controller computed {value} from the given PriorityClass name"
        )
        raise _refused(pod, why)
    return spec | {"priority": value, "preemptionPolicy": spec.get("preemptionPolicy") or policy}


def _with_tolerations(spec: Obj) -> Obj:
    tolerations: list[Any] = list(spec.get("tolerations") or ())
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_covers(toleration, key) for toleration in spec.get("tolerations") or ()):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _EVICTED_AFTER,
                }
            )
    return spec | {"tolerations": tolerations}


def _covers(toleration: Obj, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in (
        "NoExecute",
        None,
        "",
    )
