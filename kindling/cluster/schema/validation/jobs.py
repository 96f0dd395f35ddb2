"""Jobs and cron jobs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kindling.cluster.model.status import Cause
from kindling.cluster.schema import causes
from kindling.cluster.schema.validation import common
from kindling.cluster.schema.validation.pods import check_template

__all__ = ["check_cron_job", "check_job", "schedule_fault"]

_Obj = dict[str, Any]
_COUNTS = ("parallelism", "completions", "backoffLimit", "ttlSecondsAfterFinished")
_MODES = ("Indexed", "NonIndexed")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: index + 1 for index, name in enumerate(_MONTHS)}),
    (0, 6, {name: index for index, name in enumerate(_DAYS)}),
)
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy")


def check_job(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    yield from _spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield causes.required("spec.selector")
    else:
        yield from common.check_label_selector(selector, "spec.selector")
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if not common.matches_labels(selector, labels):
            text = "`selector` does not match template `labels`"
            where = "spec.template.metadata.labels"
            yield causes.invalid(where, causes.Literal(causes.go_syntax(labels)), text)
    if before is not None:
        yield from _stays(obj, before)


def _spec(spec: _Obj, path: str) -> Iterator[Cause]:
    for field in _COUNTS:
        yield from common.not_negative(spec.get(field), f"{path}.{field}")
    yield from common.not_negative(
        spec.get("activeDeadlineSeconds"), f"{path}.activeDeadlineSeconds"
    )
    mode = spec.get("completionMode")
    yield from common.one_of(mode, f"{path}.completionMode", _MODES)
    if mode == "Indexed" and "completions" not in spec:
        yield causes.required(f"{path}.completions", "when completion mode is Indexed")
    for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if mode != "Indexed" and field in spec:
            text = "requires indexed completion mode"
            yield causes.invalid(f"{path}.{field}", spec[field], text)
    template = spec.get("template") or {}
    yield from check_template(template, f"{path}.template")
    policy = (template.get("spec") or {}).get("restartPolicy", "")
    where = f"{path}.template.spec.restartPolicy"
    if policy == "Always":
        yield causes.required(where, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield causes.not_supported(where, policy, ("OnFailure", "Never"))
    elif "podFailurePolicy" in spec and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        yield causes.invalid(where, policy, text)


def _stays(obj: _Obj, before: _Obj) -> Iterator[Cause]:
    spec, old = obj.get("spec") or {}, before.get("spec") or {}
    if spec.get("completions") != old.get("completions"):
        # An indexed job may grow and shrink together with its parallelism.
        elastic = spec.get("completionMode") == "Indexed" and (
            spec.get("completions") == spec.get("parallelism")
        )
        if not elastic:
            yield causes.immutable("spec.completions", spec.get("completions"))
    if spec.get("selector") != old.get("selector"):
        yield causes.immutable("spec.selector", common.shown_selector(spec.get("selector") or {}))
    waiting = old.get("suspend") and not (before.get("status") or {}).get("startTime")
    if _template(spec, waiting) != _template(old, waiting):
        yield causes.immutable("spec.template", causes.Literal("core.PodTemplateSpec{...}"))
    for field in _IMMUTABLE:
        if spec.get(field) != old.get(field):
            yield causes.immutable(f"spec.{field}", spec.get(field))


def _template(spec: _Obj, waiting: object) -> _Obj:
    """The template as far as it may not change: where its pods go may, until the job starts."""
    template: _Obj = spec.get("template") or {}
    if not waiting:
        return template
    placed = ("affinity", "nodeSelector", "schedulingGates", "tolerations")
    inner = {key: one for key, one in (template.get("spec") or {}).items() if key not in placed}
    metadata = {
        key: one
        for key, one in (template.get("metadata") or {}).items()
        if key not in ("annotations", "labels")
    }
    return {**template, "spec": inner, "metadata": metadata}


def check_cron_job(obj: _Obj, before: _Obj | None) -> Iterator[Cause]:
    name = (obj.get("metadata") or {}).get("name", "")
    if before is None and len(name) > 52:
        yield causes.invalid("metadata.name", name, "must be no more than 52 characters")
    spec = obj.get("spec") or {}
    schedule = spec.get("schedule", "")
    if not schedule:
        yield causes.required("spec.schedule")
    elif fault := schedule_fault(schedule):
        yield causes.invalid("spec.schedule", schedule, fault)
    elif "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield causes.invalid("spec.schedule", schedule, text)
    yield from common.not_negative(
        spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds"
    )
    if "timeZone" in spec:
        yield from _zone(spec["timeZone"])
    policy = spec.get("concurrencyPolicy", "")
    known = ("Allow", "Forbid", "Replace")
    if not policy:
        yield causes.required("spec.concurrencyPolicy")
    else:
        yield from common.one_of(policy, "spec.concurrencyPolicy", known)
    template = (spec.get("jobTemplate") or {}).get("spec") or {}
    yield from _spec(template, "spec.jobTemplate.spec")
    if template.get("manualSelector"):
        where = "spec.jobTemplate.spec.manualSelector"
        yield causes.not_supported(where, True, ("nil", "false"))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from common.not_negative(spec.get(field), f"spec.{field}")


def _zone(name: str) -> Iterator[Cause]:
    if not name:
        text = "timeZone must be nil or non-empty string"
        yield causes.invalid("spec.timeZone", name, text)
    elif name.lower() == "local":
        text = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        yield causes.invalid("spec.timeZone", name, text)
    else:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield causes.invalid("spec.timeZone", name, f"unknown time zone {name}")


def schedule_fault(text: str) -> str:
    """What is wrong with a schedule, in the words of robfig/cron; empty for a good one."""
    if match := re.match(r"(?:CRON_)?TZ=\S+\s+", text):
        text = text[match.end() :]
    if text.startswith("@"):
        if text in _DESCRIPTORS or text.startswith("@every "):
            return ""
        return f"unrecognized descriptor: {text}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        shown = f"[{' '.join(fields)}]"
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: {shown}"
    for field, (low, high, words) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            if fault := _part_fault(part, low, high, words):
                return fault
    return ""


def _part_fault(part: str, low: int, high: int, words: dict[str, int]) -> str:
    span, slash, step = part.partition("/")
    begin, dash, end = span.partition("-")
    if "/" in step:
        return f"too many slashes: {part}"
    if "-" in end:
        return f"too many hyphens: {part}"
    numbers: list[int] = [low, high]
    if begin not in ("*", "?"):
        for place, word in enumerate((begin, end) if dash else (begin,)):
            number = words.get(word.lower())
            if number is None:
                if not word.isdigit():
                    reason = f"strconv.Atoi: parsing {causes.quoted(word)}: invalid syntax"
                    return f"failed to parse int from {word}: {reason}"
                number = int(word)
            numbers[place] = number
        if not dash and not slash:
            numbers[1] = numbers[0]
    if slash and not step.isdigit():
        reason = f"strconv.Atoi: parsing {causes.quoted(step)}: invalid syntax"
        return f"failed to parse int from {step}: {reason}"
    if numbers[0] < low:
        return f"beginning of range ({numbers[0]}) below minimum ({low}): {part}"
    if numbers[1] > high:
        return f"end of range ({numbers[1]}) above maximum ({high}): {part}"
    if numbers[0] > numbers[1]:
        return f"beginning of range ({numbers[0]}) beyond end of range ({numbers[1]}): {part}"
    if slash and int(step) == 0:
        return f"step of range should be a positive number: {part}"
    return ""
