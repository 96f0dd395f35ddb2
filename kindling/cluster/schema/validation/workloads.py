"""Deployments, replica sets, stateful sets, daemon sets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.metadata import check_labels, check_metadata_annotations
from kindling.cluster.schema.validation import common
from kindling.cluster.schema.validation.pods import check_template

__all__ = [
    "check_daemon_set",
    "check_deployment",
    "check_pod_template",
    "check_replica_set",
    "check_replication_controller",
    "check_stateful_set",
]

_Obj = dict[str, Any]
_STATEFUL = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_STATEFUL_TEXT = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template',"
    " 'updateStrategy', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def check_pod_template(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    yield from check_template(obj.get("template") or {}, "template")


def check_deployment(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from _replicas(spec)
    yield from _selected_template(spec, "deployment")
    yield from _strategy(spec.get("strategy") or {}, "spec.strategy")
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        yield from common.not_negative(spec.get(field), f"spec.{field}")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        yield causes.invalid("spec.progressDeadlineSeconds", deadline, text)
    yield from _selector_stays(spec, before)


def _strategy(strategy: _Obj, path: str) -> Iterator[Cause]:
    kind = strategy.get("type", "")
    rolling = strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            yield causes.forbidden(f"{path}.rollingUpdate", text)
    elif kind == "RollingUpdate":
        if rolling is None:
            text = "this should be defaulted and never be nil"
            yield causes.required(f"{path}.rollingUpdate", text)
        else:
            yield from _rolling(rolling, f"{path}.rollingUpdate")
    else:
        known = ("Recreate", "RollingUpdate")
        shown = _shown_strategy("DeploymentStrategy", "RollingUpdateDeployment", kind)
        yield causes.not_supported(path, shown, known)


def _shown_strategy(name: str, rolling: str, kind: str) -> causes.Literal:
    told = f"Type:{causes.quoted(kind)}, RollingUpdate:(*apps.{rolling})(nil)"
    return causes.Literal(f"apps.{name}{{{told}}}")


def _rolling(rolling: _Obj, path: str) -> Iterator[Cause]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from common.int_or_percent(unavailable, f"{path}.maxUnavailable")
    yield from common.int_or_percent(surge, f"{path}.maxSurge")
    if _amount(unavailable) == 0 and _amount(surge) == 0:
        text = "may not be 0 when `maxSurge` is 0"
        yield causes.invalid(f"{path}.maxUnavailable", common.shown_either(unavailable), text)
    if (common.percent_of(unavailable) or 0) > 100:
        text = "must not be greater than 100%"
        yield causes.invalid(f"{path}.maxUnavailable", common.shown_either(unavailable), text)


def _amount(value: Any) -> Any:
    percent = common.percent_of(value)
    return value if percent is None else percent


def check_replica_set(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from _replicas(spec)
    yield from common.not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    yield from _selected_template(spec, "deployment")
    yield from _selector_stays(spec, before)


def check_replication_controller(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:  # noqa: ARG001
    spec = obj.get("spec") or {}
    yield from common.not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector = spec.get("selector") or {}
    if not selector:
        yield causes.required("spec.selector")
    yield from _replicas(spec)
    template = spec.get("template")
    if not template:
        yield causes.required("spec.template")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector and not common.matches_labels({"matchLabels": selector}, labels):
        yield _mismatch(labels)
    yield from check_template(template, "spec.template")
    yield from _always(template)


def check_daemon_set(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from _selected_template(spec, "daemonset")
    yield from common.not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    strategy = spec.get("updateStrategy") or {}
    path = "spec.updateStrategy"
    if strategy.get("type") == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        where = f"{path}.rollingUpdate"
        unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        yield from common.int_or_percent(unavailable, f"{where}.maxUnavailable")
        yield from common.int_or_percent(surge, f"{where}.maxSurge")
        if _amount(unavailable) and _amount(surge):
            text = "may not be set when maxUnavailable is non-zero"
            yield causes.invalid(f"{where}.maxSurge", common.shown_either(surge), text)
        elif not _amount(unavailable) and not _amount(surge):
            text = "cannot be 0 when maxUnavailable is 0"
            yield causes.required(f"{where}.maxSurge", text)
    elif strategy.get("type") != "OnDelete":
        known = ("RollingUpdate", "OnDelete")
        name, rolling = "DaemonSetUpdateStrategy", "RollingUpdateDaemonSet"
        shown = _shown_strategy(name, rolling, strategy.get("type", ""))
        yield causes.not_supported(path, shown, known)
    yield from common.not_negative(spec.get("revisionHistoryLimit"), "spec.revisionHistoryLimit")
    yield from _selector_stays(spec, before)


def check_stateful_set(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    policy = spec.get("podManagementPolicy", "")
    if policy not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        yield causes.invalid("spec.podManagementPolicy", policy, text)
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        if strategy.get("rollingUpdate") is not None:
            text = "only allowed for updateStrategy 'RollingUpdate'"
            shown = causes.Literal("apps.RollingUpdateStatefulSetStrategy{...}")
            yield causes.invalid("spec.updateStrategy.rollingUpdate", shown, text)
    elif strategy.get("type") != "RollingUpdate":
        text = "must be 'RollingUpdate' or 'OnDelete'"
        name, rolling = "StatefulSetUpdateStrategy", "RollingUpdateStatefulSetStrategy"
        shown = _shown_strategy(name, rolling, strategy.get("type", ""))
        yield causes.invalid("spec.updateStrategy", shown, text)
    partition = (strategy.get("rollingUpdate") or {}).get("partition")
    yield from common.not_negative(partition, "spec.updateStrategy.rollingUpdate.partition")
    yield from _replicas(spec)
    yield from common.not_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    start = (spec.get("ordinals") or {}).get("start")
    yield from common.not_negative(start, "spec.ordinals.start")
    yield from _selected_template(spec, "statefulset")
    if before is not None:
        old = before.get("spec") or {}
        names = {*spec, *old} - {*_STATEFUL}
        if any(spec.get(name) != old.get(name) for name in names):
            yield causes.forbidden("spec", _STATEFUL_TEXT)


def _replicas(spec: _Obj) -> Iterator[Cause]:
    yield from common.not_negative(spec.get("replicas"), "spec.replicas")


def _selected_template(spec: _Obj, kind: str) -> Iterator[Cause]:
    """A selector that is there, is not empty and takes the template's own pods.

    The pods of a stateful set get volumes of the claim templates, which its own template does not
    name: what is in that template's spec is left until the pods are made, as the real server does.
    """
    selector = spec.get("selector")
    if selector is None:
        yield causes.required("spec.selector")
    else:
        yield from common.check_label_selector(selector, "spec.selector")
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            shown = common.shown_selector(selector)
            text = f"empty selector is invalid for {kind}"
            yield causes.invalid("spec.selector", shown, text)
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    if selector is not None and not common.is_selector(selector):
        shown = common.shown_selector(selector)
        yield causes.invalid("spec.selector", shown, "invalid label selector")
    elif selector is None or not common.matches_labels(selector, labels):
        yield _mismatch(labels)
    if kind == "statefulset":
        metadata = template.get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        yield from check_labels(labels, "spec.template.labels")
        yield from check_metadata_annotations(annotations, "spec.template.annotations")
    else:
        yield from check_template(template, "spec.template")
    yield from _always(template)


def _mismatch(labels: dict[str, str]) -> Cause:
    shown = causes.go_syntax(labels) if labels else "map[string]string(nil)"
    text = "`selector` does not match template `labels`"
    return causes.invalid("spec.template.metadata.labels", causes.Literal(shown), text)


def _always(template: _Obj) -> Iterator[Cause]:
    spec = template.get("spec") or {}
    policy = spec.get("restartPolicy", "")
    if policy != "Always":
        yield causes.not_supported("spec.template.spec.restartPolicy", policy, ("Always",))
    if "activeDeadlineSeconds" in spec:
        text = "activeDeadlineSeconds in ReplicaSet is not Supported"
        yield causes.forbidden("spec.template.spec.activeDeadlineSeconds", text)


def _selector_stays(spec: _Obj, before: _Obj | None) -> Iterator[Cause]:
    if before is None:
        return
    selector = spec.get("selector") or {}
    if selector != ((before.get("spec") or {}).get("selector") or {}):
        yield causes.immutable("spec.selector", common.shown_selector(selector))
