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
        r"^[+ ]*(?:internalTrafficPolicy: Cluster|ipFamilies:|- IPv4"
        r"|ipFamilyPolicy: SingleStack)\n",
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
    Difference(
        "new",
        r"^ *started: false\n(?= *state:\n *terminated:)",
        "",
        "also of init containers since 1.28",
    ),
    Difference(
        "old",
        r"^ *started: false\n(?= *state:\n *terminated:)",
        "",
        "also of init containers since 1.28",
    ),
    Difference(
        "old",
        r"didn't match Pod's node affinity\.",
        "didn't match Pod's node affinity/selector. preemption: 0/1 nodes are available: "
        "1 Preemption is not helpful for scheduling.",
        "the scheduler's words of 1.32",
    ),
    Difference(
        "new",
        r"^ *persistentVolumeClaimRetentionPolicy:\n *whenDeleted: Retain\n *whenScaled: Retain\n"
        r"|^ *maxSurge: 0\n",
        "",
        "fields of stateful sets since 1.23 and of daemon sets since 1.21",
    ),
    Difference(
        "new",
        r"^ *availableReplicas: 1\n(?= *collisionCount)",
        "",
        "stateful sets count them since 1.22",
    ),
    Difference(
        "old",
        r"^ *resourceVersion: \"REVISION\"\n(?= *uid: UID\n *(?:- ip|ports))",
        "",
        "endpoints tell no revision of pods since 1.22",
    ),
    Difference(
        "new", r"  VOLUMEATTRIBUTESCLASS|  <unset>", "", "claims have a column of it since 1.29"
    ),
    Difference(
        "old",
        r"message: 'containers with unready status: .*'\n *(reason: )ContainersNotReady"
        r"(\n *status: \"False\"\n *type: (?:Ready|ContainersReady)\n)"
        r"(?=(?:.*\n)+ *phase: Failed)",
        r"\1PodFailed\2",
        "pods that failed say so in their conditions since 1.27",
    ),
    Difference("new", r"^ *PodReadyToStartContainers +True\n", "", "pods say so since 1.29"),
    Difference(
        "new", r"(Scaled up replica set \S+) from \d+ (to \d+)", r"\1 \2", "more words since 1.31"
    ),
    Difference("new", r"(than or equal to memory limit) of \S+", r"\1", "more words since 1.27"),
    Difference("both", r"^@@ .* @@", "@@", "line numbers follow the lines that are left out"),
)

OURS: tuple[Difference, ...] = (
    Difference(
        "old",
        r"(error executing command in container: )"
        r"failed to exec in container: .*: (exec: .*?)(?:: unknown)?$",
        r"\1\2",
        "no container runtime and no OCI runtime add their words",
    ),
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
