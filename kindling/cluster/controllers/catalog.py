"""All the controllers of a cluster."""

from __future__ import annotations

from kindling.cluster.controllers.controller import Controller
from kindling.cluster.controllers.deployment import DeploymentController
from kindling.cluster.controllers.replica_set import (
    ReplicaSetController,
    ReplicationControllerController,
)
from kindling.cluster.controllers.scheduler import Scheduler

__all__ = ["CONTROLLERS"]

CONTROLLERS: tuple[type[Controller], ...] = (
    Scheduler,
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
)
