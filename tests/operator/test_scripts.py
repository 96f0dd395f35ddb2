"""Runners register, run, and unregister when they are told to stop."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kindling.operator.pools.scripts import GITHUB_SCRIPT, GITLAB_SCRIPT

BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="needs bash")

CURL = """#!/bin/sh
{ echo "curl $*"; cat; echo; } >>"$SEEN"
case "$*" in
  *remove-token*) echo '{"token": "REMOVAL", "expires_at": "x"}' ;;
  *registration-token*) echo '{"token": "REGISTRATION", "expires_at": "x"}' ;;
  *user/runners*) echo '{"id": 12345, "token": "glrt-REGISTERED", "token_expires_at": null}' ;;
  *projects/*) printf '{"id":42,\\n"name":"orders"}' ;;
esac
"""
CONFIG = """#!/bin/sh
echo "config $* token=$ACTIONS_RUNNER_INPUT_TOKEN" >>"$SEEN"
"""
RUN = """#!/bin/bash
echo "pid $$" >>"$SEEN"
trap 'echo "stopped" >>"$SEEN"; exit 0' TERM QUIT
echo "running pat=${GITHUB_PAT:-}${GITLAB_PAT:-} $*" >>"$SEEN"
[ -e "$0.fails" ] && exit 7
while :; do sleep 0.02; done
"""


class Runner:
    """A runner's container: its tools are stand-ins that write down what they were told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.seen = folder / "seen"
        for name, text in {
            "bin/curl": CURL,
            "bin/gitlab-runner": RUN,
            "config.sh": CONFIG,
            "run.sh": RUN,
        }.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)

    def start(self, script: str, **env: str) -> subprocess.Popen[bytes]:
        assert BASH is not None
        whole = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "RUNNER_HOME": str(self.folder),
            "SEEN": str(self.seen),
            "HOSTNAME": "jeff-runner-5d7c-abcde",
        }
        process = subprocess.Popen([BASH, "-c", script], env=whole | env, start_new_session=True)
        self.started.append(process)
        return process

    def stop(self) -> None:
        for process in self.started:
            process.kill()
            process.wait(20)
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """The runners themselves, which are not in their shell's process group."""
        lines = (line.split() for line in self.lines() if line.startswith("pid "))
        return [int(pid) for _, pid in lines]

    def lines(self) -> list[str]:
        return self.seen.read_text().splitlines() if self.seen.exists() else []

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + 20
        while not any(text in line for line in self.lines()):
            assert time.monotonic() < end, self.lines()
            time.sleep(0.01)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path)
    yield made
    made.stop()


GITHUB = {
    "GITHUB_PAT": "ghp_secret",
    "GITHUB_API_URL": "https://api.github.com",
    "RUNNER_REPO_SLUG": "jeff/orders",
    "RUNNER_REPOSITORY_URL": "https://github.com/jeff/orders",
    "RUNNER_NAME_PREFIX": "jeff-" + "p" * 60,
    "RUNNER_LABELS": "self-hosted,jeff",
    "RUNNER_WORKDIR": "/work",
    "RUNNER_GROUP": "my team",
}
GITLAB = {
    "GITLAB_PAT": "glpat-secret",
    "GITLAB_API_URL": "https://gitlab.com/api/v4",
    "GITLAB_PROJECT_REF": "group%2Forders",
    "GITLAB_PROJECT_PATH": "group/orders",
    "CI_SERVER_URL": "https://gitlab.com",
    "RUNNER_NAME": "ann-lab",
    "RUNNER_TAG_LIST": "self-hosted,ann",
    "RUNNER_EXECUTOR": "shell",
    "RUNNER_WORKDIR": "/builds",
}


def test_a_github_runner_registers_and_unregisters(runner: Runner) -> None:
    """The trap is alive when the pod ends; the group is passed on; the long name stays unlike that
    of its neighbours; the access token is on no command line and not with the jobs."""
    process = runner.start(GITHUB_SCRIPT, **GITHUB)
    runner.wait_for("running")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    lines = runner.lines()
    config = [line for line in lines if line.startswith("config")]
    assert "--runnergroup my team" in config[0]
    assert "token=REGISTRATION" in config[0]
    name = config[0].split("--name ")[1].split()[0]
    assert len(name) == 64
    assert name.endswith("-jeff-runner-5d7c-abcde")
    assert config[1] == "config remove token=REMOVAL"
    assert lines.index("stopped") < lines.index(config[1])
    assert not any("ghp_secret" in line for line in lines if line.startswith("curl"))
    assert 'header = "Authorization: Bearer ghp_secret"' in lines
    assert "running pat= " in lines


def test_a_github_runner_that_fails_says_so(runner: Runner) -> None:
    """With the runner's own exit code, and off the list."""
    (runner.folder / "run.sh.fails").touch()
    process = runner.start(GITHUB_SCRIPT, **GITHUB)
    assert process.wait(20) == 7
    assert runner.lines()[-1] == "config remove token=REMOVAL"


def test_a_refused_token_ends_the_container(runner: Runner) -> None:
    (runner.folder / "bin" / "curl").write_text("#!/bin/sh\ncat >/dev/null\nexit 22\n")
    assert runner.start(GITHUB_SCRIPT, **GITHUB).wait(20) != 0
    assert runner.start(GITLAB_SCRIPT, **GITLAB).wait(20) != 0
    assert runner.lines() == []


def test_a_gitlab_runner_registers_and_unregisters(runner: Runner) -> None:
    process = runner.start(GITLAB_SCRIPT, **GITLAB)
    runner.wait_for("running")
    config = runner.folder / "kindling.toml"
    assert config.stat().st_mode & 0o777 == 0o600
    assert 'token = "glrt-REGISTERED"' in config.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    lines = runner.lines()
    calls = [line for line in lines if line.startswith("curl")]
    assert calls[0].endswith("/projects/group%2Forders")
    assert "project_id=42" in calls[1]
    assert "--request DELETE" in calls[2]
    assert 'form-string = "token=glrt-REGISTERED"' in lines
    assert not any("secret" in line or "REGISTERED" in line for line in calls)
