"""What the two clusters may print differently, each with its reason.

`VERSIONS` is what Kubernetes 1.20 and 1.32 differ in; no row there hides a difference of the
embedded cluster from Kubernetes 1.32. `OURS` is what differs on purpose, as docs/embedded.md says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["OURS", "VERSIONS", "Difference", "without_differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Text that one of the clusters prints, and what stands for it."""

    side: str
    """"old" is the reference of 1.20, "new" the embedded cluster, "both"."""
    pattern: str
    """Of normalised text; `^` and `$` are the ends of lines."""
    replacement: str
    reason: str


VERSIONS: tuple[Difference, ...] = (
    Difference("new", r" \(AGE ago\)", "", "1.22 began to print when a container restarted last"),
    Difference(
        "new",
        r"^[+ ]*(?:internalTrafficPolicy: Cluster|ipFamilies:|- IPv4|ipFamilyPolicy: SingleStack)\n",
        "",
        "services have address families since 1.23 and traffic policies since 1.26",
    ),
    Difference(
        "new",
        r"^\+ +clusterIP: IP\n\+ +clusterIPs:\n\+ +- IP\n",
        "",
        "1.22 began to choose addresses in dry runs",
    ),
    Difference(
        "new",
        r"^ *labels:\n *kubernetes\.io/metadata\.name: .*\n",
        "",
        "1.21 began to label namespaces with their name",
    ),
    Difference(
        "old",
        r"NAME(.*)  COMPLETIONS  DURATION",
        r"NAME\1  STATUS  COMPLETIONS  DURATION",
        "since 1.31",
    ),
    Difference(
        "old",
        r"^(job\S*)  1/1  AGE",
        r"\1  Complete  1/1  AGE",
        "jobs show their status since 1.31",
    ),
    Difference(
        "new", r"batch\.kubernetes\.io/(controller-uid)=", r"\1=", "jobs' own labels since 1.27"
    ),
    Difference(
        "new",
        r"^ *- lastTransitionTime: \S+\n +status: \S+\n +type: PodReadyToStartContainers\n",
        "",
        "pods say since 1.29 that they have a network",
    ),
    Difference("new", r"^ *hostIPs:\n *- ip: IP\n", "", "hosts have several addresses since 1.29"),
    Difference(
        "new",
        r"^ *volumeMounts:\n(?: *- mountPath: .*\n *name: .*\n(?: *readOnly: true\n)?"
        r" *recursiveReadOnly: Disabled\n)+",
        "",
        "containers' status shows since 1.31 what is mounted",
    ),
    Difference("both", r"^@@ .* @@", "@@", "line numbers follow the lines that are left out"),
)

OURS: tuple[Difference, ...] = (
    Difference(
        "both", r"^[+ ]*creationTimestamp: null\n", "", "moments that are none are left out"
    ),
    Difference("old", r"lastProbeTime: null\n +", "", "moments that are none are left out"),
)


def without_differences(text: str, side: str) -> str:
    """Normalised text of the cluster on `side`, without what may differ."""
    for row in (*VERSIONS, *OURS):
        if row.side in {side, "both"}:
            text = re.sub(row.pattern, row.replacement, text, flags=re.MULTILINE)
    return text
