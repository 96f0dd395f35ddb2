"""What the checklist wants of a real cluster and no other test here shows: a command that is kept
word by word, and a front-end behind a web server."""

from __future__ import annotations

from pathlib import Path

import pytest

from kindling.errors import ClusterError
from kindling.kube.protocol import Cluster
from tests.images import need
from tests.sync.world.stage import Stage, Workload, eventually
from tests.sync.world.syncing import Syncing, environment, kindling

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

_TELLS = """\
trap 'echo ended >>/tmp/said; exit 0' TERM
{ printf '<%s>' "$0" "$@"; echo; } >>/tmp/said
while :; do sleep 0.1; done
"""
_WORDS = ("it's", "a b", "c,d", 'e"f', "$HOME", "", "$(NOT_THERE)", "$(WORD)")
_TOLD = "<it's><a b><c,d><e\"f><$HOME><><$(NOT_THERE)><from the pod>"
_SPELLED = Workload(
    "spelled",
    "busybox:1.36",
    ("sh", "-c", _TELLS, *_WORDS[:2]),
    container={"args": list(_WORDS[2:]), "env": [{"name": "WORD", "value": "from the pod"}]},
    probe=False,
)


async def test_row_63_the_command_is_kept_word_by_word_and_is_told_to_end(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    need(_SPELLED.image)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_SPELLED)
    before = await stage.template(_SPELLED)

    async def said() -> list[str]:
        """All that programs of the one pod have said, once the last of them has begun."""
        lines: list[str] = []

        async def look() -> tuple[bool, object]:
            syncing.assert_runs()
            pods = await stage.pods(_SPELLED)
            try:
                argv = ["cat", "/tmp/said"]
                done = await cluster.exec(ns, pods[0]["metadata"]["name"], "main", argv)
            except ClusterError as error:
                return False, error.message
            lines[:] = done.stdout.decode().splitlines()
            return len(pods) == 1 and lines[-1:] == [_TOLD] and len(lines) > known, lines

        await eventually(look, f"a program has said {_TOLD}")
        return lines[known:]

    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("1")
    words = ("-d", "spelled", "-n", ns, "--src", str(source), "--dest", "/code", "--restart")
    known = 0
    syncing = Syncing(tmp_path, words)
    try:
        # The first copy starts it again, and so does each save.
        await syncing.says("restart in")
        known = len(await said())
        (source / "file").write_text("2")
        assert await said() == ["ended", _TOLD]
        await syncing.stop()
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- kindling sync said:\n{syncing.said}") from error
    finally:
        await syncing.close()
    await stage.assert_restored(_SPELLED, before)


_NPM = """\
#!/bin/sh
echo "$*" >>"$NPM_CALLS"
case "$1" in
install) mkdir -p node_modules/lib && echo lib >node_modules/lib/lib.js ;;
run)
    if grep -q broken src/index.html; then echo 'src/index.html: broken'; exit 1; fi
    rm -rf dist && mkdir -p dist/assets && cp src/index.html dist/ && echo made >dist/assets/made.js
    ;;
esac
"""
_SITE = Workload("site", "kindling-test-sync-debian:1", ("nginx", "-c", "/etc/world/nginx.conf"))


async def test_rows_64_66_and_69_a_front_end_is_built_here_and_a_failed_build_touches_nothing(
    cluster: Cluster, ns: str, tmp_path: Path
) -> None:
    need(_SITE.image)
    stage = Stage(cluster, ns)
    await stage.open()
    await stage.deploy(_SITE)
    before = await stage.template(_SITE)
    (pod,) = await stage.pods(_SITE)
    name = str(pod["metadata"]["name"])
    argv = ["sh", "-c", "cat /proc/1/task/1/children"]
    servers = (await cluster.exec(ns, name, "main", argv)).stdout
    assert servers
    tools, source, calls = tmp_path / "tools", tmp_path / "source", tmp_path / "calls"
    tools.mkdir()
    (tools / "npm").write_text(_NPM)
    (tools / "npm").chmod(0o755)
    page = source / "src/index.html"
    page.parent.mkdir(parents=True)
    (source / "package.json").write_text('{"scripts": {"build": "vite build"}}')
    (source / "vite.config.js").write_text("export default {}\n")
    env = {**environment(), "NPM_CALLS": str(calls)}
    env["PATH"] = f"{tools}:{env['PATH']}"
    words = ("-d", "site", "-n", ns, "--src", str(source), "--dest", "/app/nginx", "--restart")

    page.write_text("broken\n")
    code, told = kindling(tmp_path, "sync", *words, "--once", env=env)
    assert code == 1, told
    assert "src/index.html: broken" in told
    code, told = kindling(tmp_path, "sync", "-d", "site", "-n", ns, "--restore", env=env)
    assert code == 0, told
    assert [one["metadata"]["name"] for one in await stage.pods(_SITE)] == [name]
    await stage.serves(_SITE, "one")

    page.write_text("two\n")
    syncing = Syncing(tmp_path, words, env)
    try:
        await stage.serves(_SITE, "two", syncing.assert_runs)
        page.write_text("broken\n")
        await syncing.says("src/index.html: broken")
        await stage.serves(_SITE, "two", syncing.assert_runs)
        page.write_text("three\n")
        await stage.serves(_SITE, "three", syncing.assert_runs)
        found = await stage.tree(name, "/app/nginx")
        assert set(found) == {"index.html", "assets", "assets/made.js"}
        assert (await cluster.exec(ns, name, "main", argv)).stdout == servers, "no signal"
        assert await stage.template(_SITE) == before
        await syncing.stop()
    except AssertionError as error:
        raise AssertionError(f"{error}\n--- kindling sync said:\n{syncing.said}") from error
    finally:
        await syncing.close()
    installed = [one for one in calls.read_text().splitlines() if one.startswith("install")]
    assert installed == ["install --no-package-lock"]
    await stage.assert_restored(_SITE, before)
    await stage.serves(_SITE, "one")
