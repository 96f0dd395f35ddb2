"""The verbs that talk to a session that runs in another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Kindling = Callable[..., Any]


def test_status_trigger_and_a_second_up_beside_a_session(kindling: Kindling, folder: Path) -> None:
    """A session tells how its nodes stand, runs what is asked for, and keeps a second one out."""
    (folder / "Kindlingfile").write_text(
        'local_resource("now", cmd="echo settled")\n'
        'local_resource("later", cmd="echo asked", trigger_mode=TRIGGER_MODE_MANUAL,'
        " auto_init=False)\n"
    )
    program = [sys.executable, "-m", "kindling", "up", "--json"]
    with subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None

        def wait_for(node: str, status: str) -> None:
            assert process.stdout is not None
            for line in process.stdout:
                changed = json.loads(line).get("node")
                now = (changed["id"], changed["status"]) if isinstance(changed, dict) else None
                if now == (node, status):
                    return
            raise AssertionError(f"{node} never became {status}")

        wait_for("local:now", "done")
        form = json.loads(kindling("status", "--json").out)
        assert form["running"] is True
        states = {node["id"]: node["status"] for node in form["nodes"]}
        assert states == {"local:now": "done", "local:later": "idle"}
        assert "local:later  idle" in kindling("status").out

        assert kindling("trigger", "later").out == "triggered local:later\n"
        wait_for("local:later", "done")
        unknown = kindling("trigger", "latre")
        assert unknown.code == 2
        assert "Did you mean `later`?" in unknown.err

        second = kindling("up", "--once", "--plain")
        assert second.code == 1
        assert str(process.pid) in second.err

        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) == 0
