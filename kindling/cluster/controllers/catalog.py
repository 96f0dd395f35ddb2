"""All the controllers of a cluster."""

from __future__ import annotations

from kindling.cluster.controllers.controller import Controller
from kindling.cluster.controllers.cron_job import CronJobController
from kindling.cluster.controllers.daemon_set import DaemonSetController
from kindling.cluster.controllers.deployment import DeploymentController
from kindling.cluster.controllers.disruption import AutoscalerController, DisruptionController
from kindling.cluster.controllers.endpoints import EndpointsController, EndpointSliceController
from kindling.cluster.controllers.garbage import GarbageCollector
from kindling.cluster.controllers.housekeeping import (
    EventExpiry,
    NodeLifecycle,
    PodGarbage,
    TaintEviction,
)
from kindling.cluster.controllers.job import JobController
from kindling.cluster.controllers.namespace import (
    NamespaceController,
    NamespaceDefaultsController,
)
from kindling.cluster.controllers.protection import (
    ClaimProtection,
    EphemeralVolumes,
    VolumeProtection,
)
from kindling.cluster.controllers.replica_set import (
    ReplicaSetController,
    ReplicationControllerController,
)
from kindling.cluster.controllers.scheduler import Scheduler
from kindling.cluster.controllers.stateful_set import StatefulSetController
from kindling.cluster.controllers.token_secrets import TokenSecretController
from kindling.cluster.controllers.volumes import ClaimController, VolumeController

__all__ = ["CONTROLLERS"]

CONTROLLERS: tuple[type[Controller], ...] = (
    Scheduler,
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    StatefulSetController,
    DaemonSetController,
    JobController,
    CronJobController,
    EndpointsController,
    EndpointSliceController,
    NamespaceController,
    NamespaceDefaultsController,
    TokenSecretController,
    GarbageCollector,
    ClaimController,
    VolumeController,
    ClaimProtection,
    VolumeProtection,
    EphemeralVolumes,
    DisruptionController,
    AutoscalerController,
    NodeLifecycle,
    TaintEviction,
    PodGarbage,
    EventExpiry,
)
"""In the order in which they hear of a change: what pods wait for comes first."""
