"""The graph as one self-contained SVG picture: no script, no font, no reference to anything
outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kindling.graph.dag import Graph
from kindling.graph.export import KIND_COLOURS
from kindling.graph.layout import Layout, Segment, layout
from kindling.graph.node import EdgeKind, Kind, Node, NodeId

__all__ = ["to_svg"]

_NO_STATUS: Mapping[NodeId, str] = MappingProxyType({})

_CHAR = 6.9
"""Width of a character of the label's font: 12 px, monospaced in effect by being generous."""
_BOX = 30
_ROW = 44
_GAP = 90
_MARGIN = 24
_LEGEND = 30
_LONGEST = 44

_EDGE_STYLES = {
    EdgeKind.CONTENT: ("#455a64", ""),
    EdgeKind.READY: ("#78909c", "6 4"),
    EdgeKind.ORDER: ("#90a4ae", "2 4"),
}
_EDGE_WORDS = {
    EdgeKind.CONTENT: "content: its output is an input",
    EdgeKind.READY: "ready: must be healthy first",
    EdgeKind.ORDER: "order: just after",
}
_STATUS_COLOURS = {
    "done": "#2e7d32",
    "running": "#1565c0",
    "failed": "#c62828",
    "unready": "#ef6c00",
    "held": "#9e9e9e",
    "idle": "#bdbdbd",
}


def to_svg(graph: Graph, status: Mapping[NodeId, str] = _NO_STATUS) -> str:
    """Draw the graph from left to right.

    Boxes are coloured by kind; edges are solid (content), dashed (ready) or dotted (order). A
    tooltip on each box gives its id, resource, declaration and status; a dot in its corner shows
    the status.
    """
    plan = layout(graph)
    widths = [0.0] * plan.layers
    for id_, (layer, _) in plan.places.items():
        widths[layer] = max(widths[layer], len(_short(id_)) * _CHAR + 32)
    left: list[float] = []
    x = float(_MARGIN)
    for width in widths:
        left.append(x)
        x += width + _GAP
    legend = _legend(graph)
    legend_width = max((at + width for at, width, _ in _legend_places(legend)), default=0.0)
    total = max(x - _GAP + _MARGIN if widths else 0.0, legend_width + _MARGIN, 240.0)
    top = _MARGIN + _LEGEND * 2
    height = top + plan.height * _ROW + _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(total)} {_n(height)}" '
        f'width="{_n(total)}" height="{_n(height)}" '
        'font-family="ui-sans-serif, Helvetica, Arial, sans-serif" font-size="12">',
        f"<title>{_text(_heading(graph))}</title>",
        "<defs>",
        *(
            f'<marker id="arrow-{kind.value}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
            for kind, (colour, _) in _EDGE_STYLES.items()
        ),
        "</defs>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_draw_legend(legend),
        *_draw_edges(plan, left, widths, top),
        *(
            _box(node, left[layer], widths[layer], top + y * _ROW, status.get(id_, ""))
            for id_, node in graph.nodes.items()
            for layer, y in (plan.places[id_],)
        ),
        "</svg>",
        "",
    ]
    return "\n".join(parts)


def _heading(graph: Graph) -> str:
    return f"kindling: {len(graph)} nodes, {len(graph.edges)} edges"


def _box(node: Node, x: float, width: float, y: float, status: str) -> str:
    fill, line = KIND_COLOURS[node.kind]
    tip = [node.id, f"declared at {node.where}"]
    if node.resource:
        tip.insert(1, f"resource {node.resource}")
    if node.description:
        tip.append(node.description)
    if status:
        tip.append(status)
    dot = (
        f'<circle cx="{_n(x + width - 9)}" cy="{_n(y + 9)}" r="4" '
        f'fill="{_STATUS_COLOURS.get(status, "#9e9e9e")}"/>'
        if status
        else ""
    )
    return (
        f"<g><title>{_text(chr(10).join(tip))}</title>"
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_BOX}" rx="6" '
        f'fill="{fill}" stroke="{line}"/>'
        f'<text x="{_n(x + 10)}" y="{_n(y + 19)}" fill="#212121">{_text(_short(node.id))}</text>'
        f"{dot}</g>"
    )


def _draw_edges(plan: Layout, left: list[float], widths: list[float], top: float) -> list[str]:
    return [_draw_edge(segment, left, widths, top) for segment in plan.segments]


def _draw_edge(segment: Segment, left: list[float], widths: list[float], top: float) -> str:
    colour, dash = _EDGE_STYLES[segment.kind]
    layer = segment.layer
    middle = top + _BOX / 2
    y1, y2 = middle + segment.from_y * _ROW, middle + segment.to_y * _ROW
    exit_x = left[layer] + widths[layer]
    x1 = exit_x
    x2 = left[layer + 1]
    bend = (x2 - x1) / 2
    path = (
        f"M{_n(x1)} {_n(y1)} C{_n(x1 + bend)} {_n(y1)} {_n(x2 - bend)} {_n(y2)} {_n(x2)} {_n(y2)}"
    )
    if not segment.ends:  # straight on through the layer it only passes
        path += f" H{_n(left[layer + 1] + widths[layer + 1])}"
    arrow = f' marker-end="url(#arrow-{segment.kind.value})"' if segment.ends else ""
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.3"{dashes}{arrow}/>'


def _legend(graph: Graph) -> list[tuple[Kind | EdgeKind, str]]:
    kinds = dict.fromkeys(node.kind for node in graph.nodes.values())
    edges = [kind for kind in EdgeKind if any(edge.kind is kind for edge in graph.edges)]
    return [
        *((kind, kind.value) for kind in kinds),
        *((kind, _EDGE_WORDS[kind]) for kind in edges),
    ]


def _legend_places(
    legend: list[tuple[Kind | EdgeKind, str]],
) -> list[tuple[float, float, int]]:
    """Left end, width and row of each entry: kinds above, edges below."""
    ends = [float(_MARGIN), float(_MARGIN)]
    places: list[tuple[float, float, int]] = []
    for what, words in legend:
        row = int(isinstance(what, EdgeKind))
        width = (44.0 if row else 22.0) + len(words) * 6.2 + 18
        places.append((ends[row], width, row))
        ends[row] += width
    return places


def _draw_legend(legend: list[tuple[Kind | EdgeKind, str]]) -> list[str]:
    parts: list[str] = []
    for (what, words), (x, _, row) in zip(legend, _legend_places(legend), strict=True):
        y = 18.0 + row * 24
        if isinstance(what, Kind):
            fill, line = KIND_COLOURS[what]
            parts.append(
                f'<rect x="{_n(x)}" y="{_n(y - 7)}" width="14" height="14" rx="3" '
                f'fill="{fill}" stroke="{line}"/>'
            )
            text_x = x + 20
        else:
            colour, dash = _EDGE_STYLES[what]
            dashes = f' stroke-dasharray="{dash}"' if dash else ""
            parts.append(
                f'<path d="M{_n(x)} {_n(y)} H{_n(x + 34)}" fill="none" stroke="{colour}" '
                f'stroke-width="1.3"{dashes} marker-end="url(#arrow-{what.value})"/>'
            )
            text_x = x + 42
        parts.append(
            f'<text x="{_n(text_x)}" y="{_n(y + 4)}" fill="#455a64" font-size="11">'
            f"{_text(words)}</text>"
        )
    return parts


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 12]}…{text[-11:]}"


def _text(text: str) -> str:
    """Text as XML has it; what XML cannot hold at all becomes a replacement sign."""
    legal = "".join(
        char
        if char in "\t\n"
        or " " <= char < "\ud800"
        or "\ue000" <= char < "\ufffe"
        or char > "\uffff"
        else "\ufffd"
        for char in text
    )
    return legal.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _n(value: float) -> str:
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")
