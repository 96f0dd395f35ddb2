"""What is taken from printed text is what two clusters cannot have in common, and no more."""

from __future__ import annotations

import pytest

from tests.parity.normalise import normalise
from tests.parity.script import steps


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("uid: 0f5a1c1e-9a3c-4e0e-8d9b-0123456789ab", "uid: UID"),
        ("at 2026-11-21T16:48:25.015765Z on", "at TIME on"),
        ("Sat, 21 Nov 2026 16:44:41 +0000", "TIME"),
        ("web-6d4b9c5f7d-x2v4q", "web-HASH-RANDOM"),
        ("replicaset/web-6d4b9c5f7d", "replicaset/web-HASH"),
        ("gen-x2v4q created", "gen-RANDOM created"),
        ("config-map and a web-server", "config-map and a web-server"),
        ('"resourceVersion":"123"', '"resourceVersion":"REVISION"'),
        ("on node-1 and node-12 and my-node-1", "on NODE and node-12 and my-node-1"),
        ("10.96.0.1 and 127.0.0.1:4000", "IP and 127.0.0.1:PORT"),
        ("80:31234/TCP", "80:NODEPORT/TCP"),
        ("    Port:         80/TCP", "    Port:  80/TCP"),
        ("containerd://" + "a" * 64, "CONTAINER"),
        ("timeout=1s period=10s", "timeout=1s period=10s"),
    ],
)
def test_only_what_is_one_clusters_own_goes(text: str, expected: str) -> None:
    assert normalise(text, node="node-1") == expected


def test_ages_go_from_their_column_only() -> None:
    table = "NAME   READY   AGE\n5s     1/1     2m5s\nweb    0/1     3d\n\n5s     1/1     2m5s"
    assert normalise(table, node="n").split("\n") == [
        "NAME  READY  AGE",
        "5s  1/1  AGE",
        "web  0/1  AGE",
        "",
        "5s  1/1  2m5s",
    ]


def test_a_column_after_the_ages_is_kept() -> None:
    table = "NAME   AGE   IP       NODE\nweb    10s   <none>   n\n"
    assert normalise(table, node="n") == "NAME  AGE  IP  NODE\nweb  AGE  <none>  NODE\n"


def test_scripts_are_steps_with_names_and_flags() -> None:
    first, second = steps("""
        # one [settles] [sorted]
        echo 1
          echo 2

        # two
        echo 3
    """)
    assert (first.name, first.command) == ("one", "echo 1\n  echo 2")
    assert first.flags == {"settles", "sorted"}
    assert (second.name, second.command, second.flags) == ("two", "echo 3", frozenset())


@pytest.mark.parametrize("script", ["echo", "# no command\n", "# flag [odd]\necho"])
def test_scripts_that_are_none_are_refused(script: str) -> None:
    with pytest.raises(ValueError, match="step"):
        steps(script)


def test_notes_of_a_watch_that_was_cut_off_are_nobodys() -> None:
    note = (
        'stderr: E1121 17:42:54.009218  15406 reflector.go:166] "Unhandled Error" err="x.go:146:'
        ' Failed to watch *unstructured.Unstructured: context deadline exceeded"\n'
    )
    assert normalise(f"before\n{note}after\n", node="n") == normalise("before\nafter\n", node="n")
