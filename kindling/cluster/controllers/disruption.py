"""PodDisruptionBudgets: how many pods may go at this moment; and autoscalers, which cannot scale
here, since nothing measures pods."""

from __future__ import annotations

from collections.abc import Iterable

from kindling.cluster.controllers.controller import Controller, key_of
from kindling.cluster.controllers.kinds import (
    DISRUPTION_BUDGETS,
    POD_AUTOSCALERS,
    PODS,
)
from kindling.cluster.controllers.meta import (
    controller_of,
    int_or,
    labels,
    matches,
    name_of,
    namespace_of,
    terminating,
    uid_of,
    with_condition,
)
from kindling.cluster.controllers.pods import finished, ready
from kindling.cluster.controllers.rolling import percent
from kindling.cluster.controllers.work import Key
from kindling.cluster.model.api import Change, Obj, Selection

__all__ = ["AutoscalerController", "DisruptionController"]


class DisruptionController(Controller):
    name = "disruption"
    kinds = (DISRUPTION_BUDGETS, PODS)

    @property
    def component(self) -> str:
        return "controllermanager"

    def keys(self, change: Change) -> Iterable[Key]:
        if change.resource.key == DISRUPTION_BUDGETS.key:
            return (key_of(change.object),)
        return [
            key_of(budget)
            for budget in self.api.select(
                DISRUPTION_BUDGETS, Selection(namespace_of(change.object))
            )
            if matches(budget["spec"].get("selector"), labels(change.object))
        ]

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        budget = self.api.get(DISRUPTION_BUDGETS, name, namespace)
        if budget is None or terminating(budget):
            return None
        pods = [
            pod
            for pod in self.api.select(PODS, Selection(namespace))
            if matches(budget["spec"].get("selector"), labels(pod)) and not finished(pod)
        ]
        expected, desired = self._numbers(budget, pods)
        healthy = sum(ready(pod) and not terminating(pod) for pod in pods)
        allowed = max(healthy - desired, 0) if expected else 0
        state = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": int_or(budget["metadata"].get("generation"), 0),
        }
        old = budget.get("status") or {}
        status = {
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "observedGeneration": int_or(budget["metadata"].get("generation"), 0),
            "conditions": with_condition(old.get("conditions"), state, now=self.world.now),
        }
        there = {uid_of(pod) for pod in pods}
        gone = {
            pod_name: since
            for pod_name, since in (old.get("disruptedPods") or {}).items()
            if any(name_of(pod) == pod_name for pod in pods) and there
        }
        if gone:
            status["disruptedPods"] = gone
        await self.write_status(DISRUPTION_BUDGETS, budget, status)
        return None

    def _numbers(self, budget: Obj, pods: list[Obj]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy."""
        spec = budget["spec"]
        if spec.get("maxUnavailable") is not None:
            expected = self._scale(pods)
            return expected, max(expected - percent(spec["maxUnavailable"], expected, up=True), 0)
        least = spec.get("minAvailable")
        if least is None:
            return len(pods), 1
        if isinstance(least, int):
            return len(pods), least
        expected = self._scale(pods)
        return expected, percent(least, expected, up=True)

    def _scale(self, pods: list[Obj]) -> int:
        """What the controllers of these pods are told to have; a pod of nobody's counts itself."""
        total = 0
        seen: set[str] = set()
        for pod in pods:
            owner: Obj | None = pod
            top = pod
            while owner is not None:
                top = owner
                owner = self._controller(owner)
            if uid_of(top) in seen:
                continue
            seen.add(uid_of(top))
            total += 1 if top is pod else int_or((top.get("spec") or {}).get("replicas"), 1)
        return total

    def _controller(self, obj: Obj) -> Obj | None:
        reference = controller_of(obj)
        if reference is None:
            return None
        group, _, version = str(reference.get("apiVersion", "")).rpartition("/")
        kind = self.api.by_kind(group, str(reference.get("kind", "")), version)
        if kind is None:
            return None
        return self.api.get(
            kind, str(reference.get("name", "")), namespace_of(obj) if kind.namespaced else ""
        )


class AutoscalerController(Controller):
    """Says why nothing is scaled: there are no metrics in this cluster."""

    name = "horizontal-pod-autoscaler"
    kinds = (POD_AUTOSCALERS,)

    @property
    def component(self) -> str:
        return self.name

    async def reconcile(self, key: Key) -> float | None:
        namespace, name = key
        scaler = self.api.get(POD_AUTOSCALERS, name, namespace)
        if scaler is None or terminating(scaler):
            return None
        target = scaler["spec"].get("scaleTargetRef") or {}
        group, _, version = str(target.get("apiVersion", "")).rpartition("/")
        kind = self.api.by_kind(group, str(target.get("kind", "")), version)
        found = self.api.get(kind, str(target.get("name")), namespace) if kind else None
        states: list[Obj] = []
        if found is None:
            states.append(
                {
                    "type": "AbleToScale",
                    "status": "False",
                    "reason": "FailedGetScale",
                    "message": "the HPA controller was unable to get the target's current scale",
                }
            )
        else:
            states.append(
                {
                    "type": "AbleToScale",
                    "status": "True",
                    "reason": "SucceededGetScale",
                    "message": "the HPA controller was able to get the target's current scale",
                }
            )
            states.append(
                {
                    "type": "ScalingActive",
                    "status": "False",
                    "reason": "FailedGetResourceMetric",
                    "message": "the HPA was unable to compute the replica count: unable to get"
                    " metrics for resource cpu: unable to fetch metrics from resource metrics API:"
                    " the server could not find the requested resource (get pods.metrics.k8s.io)",
                }
            )
        old = scaler.get("status") or {}
        conditions = old.get("conditions")
        for state in states:
            conditions = with_condition(conditions, state, now=self.world.now)
        current = int_or(((found or {}).get("spec") or {}).get("replicas"), 0)
        status = {
            **old,
            "currentReplicas": current,
            "desiredReplicas": int_or(old.get("desiredReplicas"), 0),
            "conditions": conditions,
        }
        await self.write_status(POD_AUTOSCALERS, scaler, status)
        return None
