"""What the decoder of the real server knows of a field and its published definition does not say.

The server decodes JSON into Go structs. Two traces of that are visible to clients: the type names
in its complaints, and that an optional field whose Go type is no pointer loses its zero value
(`hostNetwork: false` is not stored). Both follow k8s.io/api at v0.32, `types.go` of each group.
"""

from __future__ import annotations

__all__ = ["drops_zero", "named_string", "struct_name"]

_DROPPED_BOOLEANS = {
    "chapAuthDiscovery",
    "chapAuthSession",
    "deprecated",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "nullable",
    "paused",
    "preserveUnknownFields",
    "publishNotReadyAddresses",
    "readOnly",
    "sslEnabled",
    "stdin",
    "stdinOnce",
    "tty",
    "uniqueItems",
    "unschedulable",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
}
_DROPPED_INTEGERS = {
    "count",
    "deprecatedCount",
    "code",
    "generation",
    "healthCheckNodePort",
    "hostPort",
    "initialDelaySeconds",
    "minReadySeconds",
    "nodePort",
    "number",
    "periodSeconds",
    "priority",
    "retryAfterSeconds",
    "signal",
    "sizeBytes",
    "start",
    "successThreshold",
    "failureThreshold",
    "timeoutSeconds",
}
_KEPT = {
    ("AzureDiskVolumeSource", "readOnly"),
    ("ClientIPConfig", "timeoutSeconds"),
    ("CSIVolumeSource", "readOnly"),
    ("HorizontalPodAutoscalerStatus", "observedGeneration"),
    ("JobStatus", "ready"),
    ("JobStatus", "terminating"),
    ("MutatingWebhook", "timeoutSeconds"),
    ("PodSpec", "priority"),
    ("StatefulSetStatus", "availableReplicas"),
    ("ValidatingWebhook", "timeoutSeconds"),
    ("VolumeNodeResources", "count"),
}
_KEPT_STRINGS = {
    "apiGroup",
    "appProtocol",
    "dataSourceRef",
    "defaultValue",
    "deprecationWarning",
    "driverName",
    "externalID",
    "holderIdentity",
    "ingressClassName",
    "internalTrafficPolicy",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "nodeName",
    "pathType",
    "persistentVolumeName",
    "preemptionPolicy",
    "preferredHolder",
    "runtimeClassName",
    "shareName",
    "signerName",
    "strategy",
    "subdomain",
    "volumeMode",
    "zone",
}
_PLAIN_STRINGS = {
    ("ContainerPort", "strategy"),
    ("ObjectReference", "apiGroup"),
    ("PodSpec", "nodeName"),
    ("PodSpec", "subdomain"),
    ("RoleRef", "apiGroup"),
    ("Subject", "apiGroup"),
}
_POINTER_STRINGS = {
    ("EndpointPort", "name"),
    ("GRPCAction", "service"),
    ("HostPathVolumeSource", "type"),
    ("PersistentVolumeClaimSpec", "storageClassName"),
    ("PersistentVolumeClaimSpec", "volumeAttributesClassName"),
    ("PersistentVolumeSpec", "volumeAttributesClassName"),
}
_NAMED = {
    "accessModes": "PersistentVolumeAccessMode",
    "clusterScope": "ResourceScope",
    "completionMode": "CompletionMode",
    "concurrencyPolicy": "ConcurrencyPolicy",
    "dnsPolicy": "DNSPolicy",
    "effect": "TaintEffect",
    "externalTrafficPolicy": "ServiceExternalTrafficPolicy",
    "imagePullPolicy": "PullPolicy",
    "internalTrafficPolicy": "ServiceInternalTrafficPolicy",
    "ipFamilies": "IPFamily",
    "ipFamilyPolicy": "IPFamilyPolicy",
    "mountPropagation": "MountPropagationMode",
    "namespaceSelector": "LabelSelector",
    "operator": "TolerationOperator",
    "pathType": "PathType",
    "persistentVolumeReclaimPolicy": "PersistentVolumeReclaimPolicy",
    "phase": "PodPhase",
    "podManagementPolicy": "PodManagementPolicyType",
    "podReplacementPolicy": "PodReplacementPolicy",
    "preemptionPolicy": "PreemptionPolicy",
    "protocol": "Protocol",
    "restartPolicy": "RestartPolicy",
    "sessionAffinity": "ServiceAffinity",
    "terminationMessagePolicy": "TerminationMessagePolicy",
    "volumeMode": "PersistentVolumeMode",
}
_NAMED_HERE = {
    ("Container", "restartPolicy"): "ContainerRestartPolicy",
    ("DaemonSetUpdateStrategy", "type"): "DaemonSetUpdateStrategyType",
    ("DeploymentStrategy", "type"): "DeploymentStrategyType",
    ("EphemeralContainer", "restartPolicy"): "ContainerRestartPolicy",
    ("HTTPGetAction", "scheme"): "URIScheme",
    ("LabelSelectorRequirement", "operator"): "LabelSelectorOperator",
    ("NodeSelectorRequirement", "operator"): "NodeSelectorOperator",
    ("ObjectMeta", "uid"): "types.UID",
    ("OwnerReference", "uid"): "types.UID",
    ("Secret", "type"): "SecretType",
    ("ServiceSpec", "type"): "ServiceType",
    ("StatefulSetUpdateStrategy", "type"): "StatefulSetUpdateStrategyType",
}


def struct_name(definition: str) -> tuple[str, str]:
    """Package and name of a definition's Go struct: `("v1", "PodSpec")`."""
    head, _, name = definition.rpartition(".")
    return head.rpartition(".")[2], name


def named_string(package: str, struct: str, field: str) -> str:
    """The Go type of a field that holds text, or a list's items of it."""
    name = _NAMED_HERE.get((struct, field)) or _NAMED.get(field, "")
    if struct in ("ContainerResizePolicy",):
        name = "ResourceResizeRestartPolicy" if field == "restartPolicy" else "ResourceName"
    if not name:
        return "string"
    return name if "." in name else f"{package}.{name}"


def drops_zero(struct: str, field: str, kind: str) -> bool:
    """Whether an optional field's zero value (`false`, `0`, `""`) is left out."""
    if (struct, field) in _KEPT:
        return False
    if kind == "boolean":
        return field in _DROPPED_BOOLEANS
    if kind == "integer":
        counted = struct.endswith(("Status", "Condition")) and field != "collisionCount"
        return counted or field in _DROPPED_INTEGERS
    if kind == "string":
        if (struct, field) in _PLAIN_STRINGS:
            return True
        return field not in _KEPT_STRINGS and (struct, field) not in _POINTER_STRINGS
    return False
