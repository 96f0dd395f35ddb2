"""What two clusters print for the same command, made comparable.

Only what must differ between any two clusters is taken away: names of nodes, addresses, times, ages
and what is made at random. What differs between versions of Kubernetes is in `differences`.
"""

from __future__ import annotations

import re

__all__ = ["normalise"]

_RANDOM = "bcdfghjklmnpqrstvwxz2456789"
"""The letters of random suffixes: `k8s.io/apimachinery/pkg/util/rand` leaves out vowels, 0, 1, 3
so that no words come about."""
_DURATION = r"(?:\d+y)?(?:\d+d)?(?:\d+h)?(?:\d+m)?(?:\d+s)?"
_AGE = re.compile(rf"(?=\d){_DURATION}(?: \(x\d+ over {_DURATION}\))?|<unknown>|<invalid>")
_AGED = {"AGE", "LAST SEEN", "LAST SCHEDULE", "DURATION", "FIRST SEEN"}
_HASH = rf"(?=[{_RANDOM}]*\d)[{_RANDOM}]{{6,10}}"
"""Of a template. One without any digit is rare (1 of 40), one that is a word rarer still."""

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        # What client-go notes of a watch that its own time limit cuts off: sometimes, on either.
        (r"^(?:stderr: )?[EWI]\d{4} [\d:.]+ .*reflector\.go:.*\n?", ""),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d| UTC)?", "TIME"),
        (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "TIME"),
        (r"\b(?:containerd|kindling)://[0-9a-f]{64}", "CONTAINER"),
        (r"(?:[\w./:-]+@)?sha256:[0-9a-f]{64}", "IMAGE-ID"),
        (r"\b(?:10|172|192)\.\d{1,3}\.\d{1,3}\.\d{1,3}\b", "IP"),
        (r"(127\.0\.0\.1|localhost|\[::1\]):\d+", r"\1:PORT"),
        (r"(Handling connection for )\d+", r"\1PORT"),
        (r"""(resourceVersion"?(?:: ?|=)"?)\d+""", r"\1REVISION"),
        (r"""(pod-template-hash"?(?:: ?|=)"?)\w+""", r"\1HASH"),
        (r"""(controller-revision-hash"?(?:: ?|=)"?)[\w-]+""", r"\1HASH"),
        (r"(Resource Version: +)\d+", r"\1REVISION"),
        (rf"-[{_RANDOM}]{{6,10}}-[{_RANDOM}]{{5}}\b", "-HASH-RANDOM"),
        (rf"-{_HASH}\b", "-HASH"),
        (rf"-[{_RANDOM}]{{5}}\b", "-RANDOM"),
        (r"(\d|<none>|http|\w):(3[0-2]\d{3})/(TCP|UDP)", r"\1:NODEPORT/\3"),
        (r"(nodePort\"?: ?)3[0-2]\d{3}", r"\1NODEPORT"),
        (r"(NodePort:.*\s)3[0-2]\d{3}/", r"\1NODEPORT/"),
        (r"\(\d+[smh]\d* ago\)", "(AGE ago)"),
        (rf"(Duration: +)(?=\d){_DURATION}", r"\1AGE"),
    )
)


def normalise(text: str, *, node: str, server: str = "", namespace: str = "") -> str:
    """`text` with what is one cluster's own replaced by words, and columns set alike.

    `node` is the name of the cluster's node, `server` the host and port of its API server,
    `namespace` the one that the command ran in.
    """
    text = text.replace("\r\n", "\n")
    if server:
        text = text.replace(server, "SERVER")
    text = _ages(text)
    if namespace:
        text = text.replace(namespace, "NAMESPACE")
    text = re.sub(rf"(?<![\w-]){re.escape(node)}(?![\w-])", "NODE", text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return "\n".join(_columns(line) for line in text.split("\n"))


def _columns(line: str) -> str:
    """Two blanks between columns, however wide they are; the indentation stays."""
    body = line.lstrip(" ")
    indent = line[: len(line) - len(body)]
    body = re.sub(r"-{3,}", "---", body)
    return indent + re.sub(r"(?: {2,}|\t+ *)", "  ", body).rstrip()


def _ages(text: str) -> str:
    """`text` with AGE for the cells of those columns of its tables that hold ages."""
    lines = text.split("\n")
    columns: list[tuple[int, int | None]] = []
    for number, line in enumerate(lines):
        if not line.strip():
            columns = []
            continue
        heads = [(found.start(), found.group()) for found in re.finditer(r"\S+(?: \S+)*", line)]
        names = [name.upper() for _, name in heads]
        if any(name in _AGED for name in names) and len(names) > 1:
            starts = [start for start, _ in heads]
            ends: list[int | None] = [*starts[1:], None]
            columns = [
                (start, end)
                for start, end, name in zip(starts, ends, names, strict=True)
                if name in _AGED
            ]
            continue
        for start, end in reversed(columns):
            cell = line[start:end]
            if start < len(line) and _AGE.fullmatch(cell.strip()):
                lines[number] = line = line[:start] + "AGE  " + (line[end:] if end else "")
    return "\n".join(lines)
