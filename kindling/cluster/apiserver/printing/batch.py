"""Columns of the kinds in batch/v1, autoscaling and policy."""

from __future__ import annotations

from typing import Any

from kindling.cluster.apiserver.printing.column import AGE, NAME, Printer, age, column, since
from kindling.cluster.apiserver.printing.durations import human_duration, seconds_since_epoch
from kindling.cluster.apiserver.printing.texts import condition, containers, labels, template_cells
from kindling.cluster.model.api import Obj
from kindling.cluster.registry.autoscalers import in_v2

__all__ = ["PRINTERS"]

_CONTAINERS = column("Containers", wide=True, about="Names of the template's containers.")
_IMAGES = column("Images", wide=True, about="Images of the template's containers.")
_SELECTOR = column("Selector", wide=True, about="Which pods are meant.")


def _job(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    succeeded = status.get("succeeded", 0)
    wanted, parallel = spec.get("completions"), spec.get("parallelism") or 0
    if wanted is not None:
        completions = f"{succeeded}/{wanted}"
    else:
        completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    began = seconds_since_epoch(status.get("startTime"))
    ended = seconds_since_epoch(status.get("completionTime"))
    took = "" if began is None else human_duration((now if ended is None else ended) - began)
    return [
        obj["metadata"]["name"],
        _job_status(obj),
        completions,
        took,
        age(obj, now),
        *template_cells(obj),
    ]


def _job_status(obj: Obj) -> str:
    for name in ("Complete", "Failed"):
        if condition(obj, name) == "True":
            return name
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for name in ("Suspended", "FailureTarget"):
        if condition(obj, name) == "True":
            return name
    return "Running"


def _cron_job(obj: Obj, now: float) -> list[Any]:
    spec, status = obj.get("spec", {}), obj.get("status", {})
    job = spec.get("jobTemplate", {}).get("spec", {})
    last = status.get("lastScheduleTime")
    suspend = spec.get("suspend")
    return [
        obj["metadata"]["name"],
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "<unset>" if suspend is None else "True" if suspend else "False",
        len(status.get("active") or ()),
        since(last, now) if last else "<none>",
        age(obj, now),
        *containers(job.get("template")),
        labels(job.get("selector")),
    ]


def _budget(obj: Obj, now: float) -> list[Any]:
    spec = obj.get("spec", {})
    bounds = [spec.get(key) for key in ("minAvailable", "maxUnavailable")]
    return [
        obj["metadata"]["name"],
        *("N/A" if bound is None else str(bound) for bound in bounds),
        obj.get("status", {}).get("disruptionsAllowed", 0),
        age(obj, now),
    ]


def _autoscaler(obj: Obj, now: float) -> list[Any]:
    if obj.get("apiVersion") == "autoscaling/v1":
        obj = in_v2(obj)
    spec, status = obj.get("spec", {}), obj.get("status", {})
    target = spec.get("scaleTargetRef", {})
    least = spec.get("minReplicas")
    return [
        obj["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _metrics(spec.get("metrics") or [], status.get("currentMetrics") or []),
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _metrics(wanted: list[Obj], current: list[Obj]) -> str:
    """`cpu: 12%/80%`, two at most."""
    if not wanted:
        return "<none>"
    shown: list[str] = []
    for at, metric in enumerate(wanted):
        source = {
            "Resource": "resource",
            "ContainerResource": "containerResource",
            "Pods": "pods",
            "Object": "object",
            "External": "external",
        }.get(metric.get("type", ""), "")
        goal = metric.get(source, {})
        now_is = (current[at].get(source) or {}).get("current", {}) if at < len(current) else {}
        target = goal.get("target", {})
        name = f"{goal['name']}: " if source in ("resource", "containerResource") else ""
        if "averageUtilization" in target or target.get("type") == "Utilization":
            have, want = now_is.get("averageUtilization"), target.get("averageUtilization")
            told = f"{'<unknown>' if have is None else f'{have}%'}/"
            told += "<auto>" if want is None else f"{want}%"
        elif "averageValue" in target:
            told = f"{now_is.get('averageValue', '<unknown>')}/{target['averageValue']}"
            told += " (avg)" if source in ("external", "object") else ""
        else:
            told = f"{now_is.get('value', '<unknown>')}/{target.get('value', '<auto>')}"
        shown.append(name + told)
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


PRINTERS: dict[str, Printer] = {
    "jobs.batch": Printer(
        (
            NAME,
            column("Status", about="How the job is getting on."),
            column("Completions", about="How many pods have done it, of how many."),
            column("Duration", about="How long it ran, or runs."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _job,
    ),
    "cronjobs.batch": Printer(
        (
            NAME,
            column("Schedule", about="When it runs, in the form of cron."),
            column("Timezone", about="The time zone that is meant."),
            column("Suspend", sort="boolean", about="Whether it is held."),
            column("Active", sort="integer", about="How many of its jobs run."),
            column("Last Schedule", about="How long ago it ran last."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _cron_job,
    ),
    "poddisruptionbudgets.policy": Printer(
        (
            NAME,
            column("Min Available", about="How many pods must stay."),
            column("Max Unavailable", about="How many pods may be missing."),
            column("Allowed Disruptions", sort="integer", about="How many may go now."),
            AGE,
        ),
        _budget,
    ),
    "horizontalpodautoscalers.autoscaling": Printer(
        (
            NAME,
            column("Reference", about="What is scaled."),
            column("Targets", about="What is measured, and what is aimed at."),
            column("MinPods", about="The least number of pods."),
            column("MaxPods", about="The greatest number of pods."),
            column("Replicas", about="How many pods there are."),
            AGE,
        ),
        _autoscaler,
    ),
}
