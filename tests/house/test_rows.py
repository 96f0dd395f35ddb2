"""Each row of the acceptance checklist of environments, pools, secrets and sync has a test that
bears its number, in its name or at the head of its docstring: one that runs on a cluster where the
row needs one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]

PLAIN = {
    20: "bad values are refused by their path",
    21: "defaults",
    24: "variables of dependencies precede the user's",
    25: "URL and variables of each of 15 types",
    26: "overrides take effect",
    27: "a changed port is listened on",
    28: "further ports are on the Service, and Kafka tells its Service's address",
    29: "credentials are encoded, and what clashes is refused",
    30: "waiting for a dependency has an end and a reason",
    31: "health checks of each type",
    32: "a stable hash of 16 digits, and no write for what is unchanged",
    33: "a changed port reaches Service and Ingress",
    40: "the TLS block, and https",
    42: "names of runners",
    44: "addresses of GitHub's and GitLab's API",
    45: "log, exit code, done; a failure has the tool's exit code",
    46: "applies and scripts have answers of their own",
    47: "an old answer or Dockerfile serves no new request",
    48: "wrong names are refused",
    49: "a request under way when the agent ends is not stuck",
    50: "references of images and of the cache",
    55: "the table of runtimes",
    56: "what runs is told from its command",
    57: "--language decides, and a wrong one falls back",
    58: "what is left out is left out by whichever way",
    59: "changes close together are one batch",
    60: "deletes, renames and files of new folders are carried",
    61: "only what changed travels, modes are kept, and no link leaves the source",
    65: "what builds yield, or that they cannot",
    87: "names that cannot be, and lists without values",
}
"""Rows that nothing but the checkout is needed for."""

CLUSTER = {
    22: "Deployment, Service and Ingress with their owner",
    23: "the children of a dependency, with CONNECTION_URL",
    34: "a dependency that is taken out goes alone",
    35: "the Ingress goes, and all goes with the environment",
    36: "Ready tells the truth, and turns back",
    37: "readiness follows the children",
    38: "events are on the environment",
    39: "storageSize keeps data",
    41: "a pool waits for its token",
    43: "a pool takes its rights along, which are small",
    62: "the right signal, and supervision where it does nothing",
    63: "the command word by word, started again and told to end",
    64: "Go for the node's processor, and a failed build touches nothing",
    66: "a front-end behind a web server is built here, without a signal",
    67: "an image without a shell",
    68: "everything is put back, after a crash too",
    69: "--once, to an exit code",
    70: "every ready replica",
    71: "two sessions side by side, and never on one workload",
    86: "a secret is made and changed in place",
    88: "a destroyed cluster loses no secret",
}
"""Rows that a cluster is needed for."""


def rows_of(text: str) -> set[int]:
    """The numbers after `row` or `rows`, with what lies between where it says `to`."""
    found: set[int] = set()
    for match in re.finditer(r"(?i)\brows?[ _]((?:\d+|to|and|row|,|[ _])+)", text):
        words = re.findall(r"\d+|to", match[1])
        for at, word in enumerate(words):
            if word != "to":
                found.add(int(word))
            elif 0 < at < len(words) - 1:
                found.update(range(int(words[at - 1]), int(words[at + 1])))
    return found


@cache
def _proved() -> tuple[dict[int, set[str]], dict[int, set[str]]]:
    """By row, the tests that bear its number: without a cluster, and with one."""
    plain: dict[int, set[str]] = {}
    cluster: dict[int, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        whole = any(
            isinstance(node, ast.Assign) and "mark.cluster" in ast.unparse(node)
            for node in tree.body
        )
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("test_"):
                continue
            marked = any("mark.cluster" in ast.unparse(one) for one in node.decorator_list)
            place = cluster if whole or marked else plain
            name = node.name.removeprefix("test_")
            for row in rows_of(name) | rows_of(ast.get_docstring(node) or ""):
                place.setdefault(row, set()).add(f"{path.relative_to(TESTS)}::{node.name}")
    return plain, cluster


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("row_20_bad_values_are_refused", {20}),
        ("rows_86_to_88_set_lose_and_restore", {86, 87, 88}),
        ("rows_45_and_46_builds", {45, 46}),
        ("rows_36_37_38_a_failure", {36, 37, 38}),
        ("Row 33, and row 32: 16 digits, the same for the same.", {32, 33}),
        ("Rows 23 to 25: the variables are upstream's.", {23, 24, 25}),
        ("narrows_20_things", set[int]()),
        ("It has 20 rows.", set[int]()),
    ],
)
def test_numbers_are_read(text: str, rows: set[int]) -> None:
    assert rows_of(text) == rows


@pytest.mark.parametrize("row", sorted(PLAIN), ids=str)
def test_a_plain_test_bears_the_rows_number(row: int) -> None:
    plain, _ = _proved()
    assert plain.get(row), f"no plain test bears the number of row {row}: {PLAIN[row]}"


@pytest.mark.parametrize("row", sorted(CLUSTER), ids=str)
def test_a_test_on_a_cluster_bears_the_rows_number(row: int) -> None:
    _, cluster = _proved()
    assert cluster.get(row), f"no test on a cluster bears the number of row {row}: {CLUSTER[row]}"
