"""What stands in a cluster, as text: one section for each sort of thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kindling.engine.environments.overview import Overview, Sick
from kindling.report.ink import Ink, wrapped
from kindling.report.narrator import Tone
from kindling.report.safetext import plain

__all__ = ["overview_text"]

_Row = tuple[tuple[str, Tone], ...]


def overview_text(overview: Overview, *, chosen_names: bool = False, ink: Ink | None = None) -> str:
    """The page. With `chosen_names` only some things were asked for, and a section without any is
    left out."""
    pen = ink or Ink()
    if overview.problem:
        name = f" `{overview.context}`" if overview.context else ""
        said = f" ({overview.chosen})" if overview.chosen else ""
        hint = f"\n  {overview.hint}" if overview.hint else ""
        return pen(f"cluster{name}{said}: {overview.problem}{hint}", Tone.DIM) + "\n"
    lines = [pen.bold(f"cluster `{overview.context}`: {overview.chosen}")]
    if not chosen_names:
        where = f", namespace {overview.namespace}" if overview.namespace else ""
        lines.append(f"{overview.version} at {overview.server}{where}")
    for head, rows in _sections(overview, pen, heads=not chosen_names):
        if rows:
            lines += ["", pen.bold(head), *rows]
        elif not chosen_names:
            lines += ["", f"{pen.bold(head)}  {pen('none', Tone.DIM)}"]
    lines += [pen(f"not read: {note}", Tone.WARN) for note in overview.notes]
    return "\n".join(lines) + "\n"


def _sections(overview: Overview, pen: Ink, *, heads: bool) -> Iterator[tuple[str, list[str]]]:
    if heads:
        yield "nodes", _nodes(overview, pen)
        yield "operator", _operators(overview, pen)
        yield "registry", [f"  {overview.registry}"] if overview.registry else []
        yield "ingress controller", _controllers(overview, pen)
    yield "runner pools", _pools(overview, pen)
    yield "environments", _environments(overview, pen)
    yield "sync sessions", _sessions(overview, pen)
    yield "deployments", _deployments(overview, pen)
    yield "unhealthy pods", [line for one in overview.unhealthy_pods for line in _sick(one, pen)]
    yield "routes", _routes(overview, pen)


def _nodes(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            (
                (one.name, Tone.NORMAL),
                ("ready", Tone.GOOD) if one.ready else ("not ready", Tone.BAD),
                (one.version, Tone.DIM),
                (one.problem, Tone.WARN),
            )
            for one in overview.nodes
        ),
        pen,
    )


def _operators(overview: Overview, pen: Ink) -> list[str]:
    rows: list[_Row] = [
        (
            (one.namespace or "all namespaces", Tone.NORMAL),
            (f"{one.holder} acts", Tone.GOOD) if one.holder else ("nobody acts", Tone.DIM),
        )
        for one in overview.operators
    ]
    rows += [
        (
            (f"installed in {one.namespace}", Tone.NORMAL),
            (
                f"{one.ready}/{one.replicas}  {', '.join(one.images)}",
                Tone.GOOD if one.ready >= one.replicas else Tone.WARN,
            ),
        )
        for one in overview.installed_operators
    ]
    return _table(rows, pen)


def _controllers(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            (
                (one.name, Tone.NORMAL),
                (one.controller, Tone.DIM),
                ("default" if one.default else "", Tone.NORMAL),
            )
            for one in overview.ingress_controllers
        ),
        pen,
    )


def _pools(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            (
                (f"{one.namespace}/{one.name}", Tone.NORMAL),
                ("ready", Tone.GOOD) if one.ready else (one.reason, Tone.WARN),
                (f"{one.ready_runners}/{one.replicas}", Tone.NORMAL),
                (f"{one.user} at {one.repository}", Tone.DIM),
                ("" if one.ready else one.message, Tone.WARN),
            )
            for one in overview.runner_pools
        ),
        pen,
    )


def _environments(overview: Overview, pen: Ink) -> list[str]:
    heads = _table(
        (
            (
                (f"{one.namespace}/{one.name}", Tone.NORMAL),
                ("ready", Tone.GOOD) if one.ready else (one.reason, Tone.WARN),
                (f"{one.available}/{one.replicas}", Tone.NORMAL),
                (", ".join(one.dependencies), Tone.DIM),
                (one.url, Tone.NORMAL),
            )
            for one in overview.environments
        ),
        pen,
    )
    lines: list[str] = []
    for head, one in zip(heads, overview.environments, strict=True):
        lines.append(head)
        if not one.ready:
            lines += [f"      {line}" for line in wrapped(plain(one.message), pen.width - 6)]
    return lines


def _sessions(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            ((f"{one.namespace}/{one.name}", Tone.NORMAL), (one.session, Tone.DIM))
            for one in overview.sync_sessions
        ),
        pen,
    )


def _deployments(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            (
                (f"{one.namespace}/{one.name}", Tone.NORMAL),
                (
                    f"{one.ready}/{one.replicas}",
                    Tone.GOOD if one.ready >= one.replicas else Tone.WARN,
                ),
                (", ".join(one.images), Tone.DIM),
            )
            for one in overview.deployments
        ),
        pen,
    )


def _sick(one: Sick, pen: Ink) -> list[str]:
    facts = [one.reason]
    if one.exit_code is not None:
        facts.append(f"exit code {one.exit_code}")
    if one.restarts:
        facts.append(f"{one.restarts} restart{'s' if one.restarts > 1 else ''}")
    container = f", container {one.container}" if one.container else ""
    head = f"  {one.namespace}/{one.pod}{container}: {', '.join(facts)}"
    lines = [pen(head, Tone.BAD)]
    if one.message:
        lines += [f"      {line}" for line in wrapped(plain(one.message), pen.width - 6)]
    return lines + [f"      {pen('|', Tone.DIM)} {plain(line)}" for line in one.log]


def _routes(overview: Overview, pen: Ink) -> list[str]:
    return _table(
        (
            (
                (one.url, Tone.NORMAL),
                (f"{one.namespace}/{one.service}:{one.port}", Tone.DIM),
            )
            for one in overview.routes
        ),
        pen,
    )


def _table(rows: Iterable[_Row], pen: Ink) -> list[str]:
    """Columns as wide as what is in them; those that are empty everywhere are left out."""
    every: Sequence[_Row] = [
        tuple((plain(text).replace("\n", " "), tone) for text, tone in row) for row in rows
    ]
    widths = [max(len(text) for text, _ in column) for column in zip(*every, strict=True)]
    lines: list[str] = []
    for row in every:
        cells = [
            pen(text, tone) + " " * (width - len(text))
            for (text, tone), width in zip(row, widths, strict=True)
            if width
        ]
        lines.append(f"  {'  '.join(cells)}".rstrip())
    return lines
