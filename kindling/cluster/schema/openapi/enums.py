"""The values that fields of built-in kinds may have, for `kubectl explain`.

The published document of the real server leaves them out, and the server itself tells them
(`+enum` in `types.go` of k8s.io/api at v0.32). Whether a value is one of them is for `validation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["enum_of"]

_POLICY = "Cluster Local"
_PROTOCOL = "SCTP TCP UDP"
_PULL = "Always IfNotPresent Never"
_TERMINATION = "FallbackToLogsOnError File"
_EFFECT = "NoExecute NoSchedule PreferNoSchedule"
_MODE = "Block Filesystem"
_PROFILE = "Localhost RuntimeDefault Unconfined"
_RECLAIM = "Delete Recycle Retain"
_HONOR = "Honor Ignore"

_TABLE: Mapping[str, str] = MappingProxyType(
    {
        "apps.v1.DaemonSetUpdateStrategy.type": "OnDelete RollingUpdate",
        "apps.v1.DeploymentStrategy.type": "Recreate RollingUpdate",
        "apps.v1.StatefulSetSpec.podManagementPolicy": "OrderedReady Parallel",
        "apps.v1.StatefulSetUpdateStrategy.type": "OnDelete RollingUpdate",
        "batch.v1.CronJobSpec.concurrencyPolicy": "Allow Forbid Replace",
        "batch.v1.JobSpec.completionMode": "Indexed NonIndexed",
        "batch.v1.JobSpec.podReplacementPolicy": "Failed TerminatingOrFailed",
        "batch.v1.PodFailurePolicyRule.action": "Count FailIndex FailJob Ignore",
        "core.v1.AppArmorProfile.type": _PROFILE,
        "core.v1.Container.imagePullPolicy": _PULL,
        "core.v1.Container.terminationMessagePolicy": _TERMINATION,
        "core.v1.ContainerPort.protocol": _PROTOCOL,
        "core.v1.EndpointPort.protocol": _PROTOCOL,
        "core.v1.EphemeralContainer.imagePullPolicy": _PULL,
        "core.v1.EphemeralContainer.terminationMessagePolicy": _TERMINATION,
        "core.v1.HTTPGetAction.scheme": "HTTP HTTPS",
        "core.v1.NamespaceStatus.phase": "Active Terminating",
        "core.v1.NodeSelectorRequirement.operator": "DoesNotExist Exists Gt In Lt NotIn",
        "core.v1.PersistentVolumeClaimSpec.volumeMode": _MODE,
        "core.v1.PersistentVolumeClaimStatus.phase": "Bound Lost Pending",
        "core.v1.PersistentVolumeSpec.persistentVolumeReclaimPolicy": _RECLAIM,
        "core.v1.PersistentVolumeSpec.volumeMode": _MODE,
        "core.v1.PersistentVolumeStatus.phase": "Available Bound Failed Pending Released",
        "core.v1.PodSecurityContext.fsGroupChangePolicy": "Always OnRootMismatch",
        "core.v1.PodSpec.dnsPolicy": "ClusterFirst ClusterFirstWithHostNet Default None",
        "core.v1.PodSpec.preemptionPolicy": "Never PreemptLowerPriority",
        "core.v1.PodSpec.restartPolicy": "Always Never OnFailure",
        "core.v1.PodStatus.phase": "Failed Pending Running Succeeded Unknown",
        "core.v1.PodStatus.qosClass": "BestEffort Burstable Guaranteed",
        "core.v1.SeccompProfile.type": _PROFILE,
        "core.v1.SecurityContext.procMount": "Default Unmasked",
        "core.v1.ServicePort.protocol": _PROTOCOL,
        "core.v1.ServiceSpec.externalTrafficPolicy": _POLICY,
        "core.v1.ServiceSpec.internalTrafficPolicy": _POLICY,
        "core.v1.ServiceSpec.ipFamilyPolicy": "PreferDualStack RequireDualStack SingleStack",
        "core.v1.ServiceSpec.sessionAffinity": "ClientIP None",
        "core.v1.ServiceSpec.type": "ClusterIP ExternalName LoadBalancer NodePort",
        "core.v1.Taint.effect": _EFFECT,
        "core.v1.Toleration.effect": _EFFECT,
        "core.v1.Toleration.operator": "Equal Exists",
        "core.v1.TopologySpreadConstraint.nodeAffinityPolicy": _HONOR,
        "core.v1.TopologySpreadConstraint.nodeTaintsPolicy": _HONOR,
        "core.v1.TopologySpreadConstraint.whenUnsatisfiable": "DoNotSchedule ScheduleAnyway",
        "discovery.v1.EndpointSlice.addressType": "FQDN IPv4 IPv6",
        "networking.v1.HTTPIngressPath.pathType": "Exact ImplementationSpecific Prefix",
        "storage.v1.StorageClass.reclaimPolicy": _RECLAIM,
        "storage.v1.StorageClass.volumeBindingMode": "Immediate WaitForFirstConsumer",
    }
)


def enum_of(definition: str, field: str) -> list[str]:
    """What a field of a definition (`io.k8s.api.core.v1.PodSpec`) may be; empty when it is open."""
    return _TABLE.get(f"{definition.removeprefix('io.k8s.api.')}.{field}", "").split()
