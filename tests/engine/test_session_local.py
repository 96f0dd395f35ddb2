"""Whole sessions on graphs of local commands: real files, real processes, the real run database."""

from __future__ import annotations

import os

import pytest

from kindling.engine.notices import ChangesSeen, NodeStatus
from kindling.graph.event import Hold, HoldReason
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.testing.workbench import Workbench

COPY = """
local_resource("first", cmd = "tr a-z A-Z < in.txt > first.txt", deps = ["in.txt"],
               outputs = ["first.txt"])
local_resource("second", cmd = "wc -c < first.txt > second.txt", deps = ["first.txt"],
               outputs = ["second.txt"])
"""


async def test_a_second_session_on_the_same_inputs_runs_nothing(bench: Workbench) -> None:
    bench.write("in.txt", "hello")
    bench.write("Kindlingfile", COPY)
    first = await bench.run("up")
    assert first.exit_code == 0, first.explain()
    first.assert_only_ran("local:first", "local:second")
    assert bench.read("second.txt").strip() == "5"
    again = await bench.run("ci")
    assert again.exit_code == 0, again.explain()
    again.assert_only_ran()
    assert again.end.counts == {Verdict.UNCHANGED: 2}


async def test_an_edit_runs_what_reads_it_and_an_equal_output_stops_the_change(
    bench: Workbench,
) -> None:
    """`first` makes new bytes, `second` counts as many as before, so what reads the count rests."""
    bench.write("in.txt", "hello")
    bench.write(
        "Kindlingfile",
        COPY
        + 'local_resource("third", cmd = "cp second.txt third.txt", deps = ["second.txt"],'
        + ' outputs = ["third.txt"])\n',
    )
    await bench.run("up")
    bench.write("in.txt", "olleh")
    result = await bench.run("up")
    result.assert_only_ran("local:first", "local:second")
    assert result.verdicts("local:third") == [Verdict.UNCHANGED]
    assert result.views["local:first"].reasons == ("`in.txt` changed",)


async def test_a_touched_file_with_the_same_content_runs_nothing(bench: Workbench) -> None:
    bench.write("in.txt", "hello")
    bench.write("Kindlingfile", COPY)
    async with bench.up() as session:
        await session.settled("local:first", "local:second")
        mark = session.mark()
        os.utime(bench.root / "in.txt")
        await session.until(
            lambda: any(isinstance(n, ChangesSeen) for n in session.since(mark).notices)
        )
        result = await session.settled("local:first", mark=mark)
        assert result.verdicts("local:first") == [Verdict.UNCHANGED]
        result.assert_only_ran()


async def test_outputs_of_an_earlier_run_come_back_from_the_cache(bench: Workbench) -> None:
    bench.write("in.txt", "hello")
    bench.write("Kindlingfile", COPY)
    await bench.run("up")
    bench.write("in.txt", "other words")
    await bench.run("up")
    bench.write("in.txt", "hello")
    result = await bench.run("up")
    assert result.verdicts("local:first") == [Verdict.RESTORED], result.explain()
    assert bench.read("first.txt") == "HELLO"


async def test_an_output_that_was_deleted_comes_back_without_running_anything(
    bench: Workbench,
) -> None:
    bench.write("in.txt", "hello")
    bench.write("Kindlingfile", COPY)
    await bench.run("up")
    (bench.root / "first.txt").unlink()
    result = await bench.run("up")
    assert result.verdicts("local:first") == [Verdict.RESTORED], result.explain()
    assert bench.read("first.txt") == "HELLO"


async def test_a_failed_command_holds_its_dependents_and_is_never_recorded_as_done(
    bench: Workbench,
) -> None:
    bench.write(
        "Kindlingfile",
        """
local_resource("base", cmd = "echo no luck >&2; exit 3", outputs = ["base.txt"])
local_resource("web", cmd = "true", deps = ["base.txt"])
local_resource("other", cmd = "echo fine")
""",
    )
    result = await bench.run("up")
    assert result.exit_code == 1
    result.assert_failed("local:base", "3", "no luck")
    result.assert_only_ran("local:other")
    (held,) = result.end.held
    assert held.id == "local:web"
    assert held.hold == Hold(HoldReason.DEPENDENCY_FAILED, (NodeId("local:base"),))
    again = await bench.run("up")
    again.assert_failed("local:base")


async def test_ci_ends_at_the_first_failure_and_names_it(bench: Workbench) -> None:
    bench.write(
        "Kindlingfile",
        """
local_resource("bad", cmd = "exit 4", allow_parallel = True)
local_resource("slow", cmd = "sleep 60", allow_parallel = True)
""",
    )
    result = await bench.run("ci")
    assert result.exit_code == 1
    assert "local:bad" in result.end.error
    assert result.end.seconds < 30


async def test_names_before_the_dashes_select_with_all_they_depend_on(bench: Workbench) -> None:
    bench.write("in.txt", "x")
    bench.write("Kindlingfile", COPY + 'local_resource("third", cmd = "true")\n')
    result = await bench.run("up", "second")
    result.assert_only_ran("local:first", "local:second")


async def test_an_unknown_name_stops_with_the_nearest_one(bench: Workbench) -> None:
    bench.write("Kindlingfile", 'local_resource("backend", cmd = "true")\n')
    result = await bench.run("up", "backnd")
    assert result.exit_code == 2
    assert "backend" in result.messages[-1]


async def test_a_missing_kindlingfile_is_one_line_and_up_waits_for_it(bench: Workbench) -> None:
    async with bench.up() as session:
        await session.until(lambda: session.result.messages)
        assert "Kindlingfile" in session.result.messages[0]
        bench.write("Kindlingfile", 'local_resource("a", cmd = "true")\n')
        await session.settled("local:a")
    result = await bench.run("ci", file="Nothing")
    assert result.exit_code == 2


async def test_a_broken_edit_leaves_everything_alone_and_its_mending_rebuilds_nothing(
    bench: Workbench,
) -> None:
    good = 'local_resource("a", cmd = "true")\nlocal_resource("s", serve_cmd = "sleep 1000")\n'
    bench.write("Kindlingfile", good)
    async with bench.up() as session:
        await session.settled("local:a", "serve:s")
        mark = session.mark()
        bench.write("Kindlingfile", good + "local_resource(\n")
        await session.until(lambda: session.since(mark).messages)
        assert "Kindlingfile:" in session.since(mark).messages[0]
        mark = session.mark()
        bench.write("Kindlingfile", good + "\n")
        await session.until(
            lambda: any(
                type(n).__name__ == "KindlingfileLoaded" for n in session.since(mark).notices
            )
        )
        session.since(mark).assert_only_ran()
        assert session.result.views["serve:s"].status is NodeStatus.DONE


async def test_a_resource_that_leaves_the_file_stops_and_a_new_one_starts(bench: Workbench) -> None:
    serve = 'local_resource("{0}", serve_cmd = "echo $$ > {0}.pid; exec sleep 1000")\n'
    bench.write("Kindlingfile", serve.format("one"))
    async with bench.up() as session:
        await session.settled("serve:one")
        written = bench.root / "one.pid"
        await session.until(lambda: written.exists() and written.read_text().strip())
        pid = int(bench.read("one.pid"))
        bench.write("Kindlingfile", serve.format("two"))
        await session.settled("serve:two")
        await session.until(lambda: not os.path.exists(f"/proc/{pid}"))


async def test_a_manual_resource_waits_to_be_asked_after_its_first_run(bench: Workbench) -> None:
    bench.write("in.txt", "1")
    bench.write(
        "Kindlingfile",
        'local_resource("m", cmd = "cat in.txt", deps = ["in.txt"],'
        " trigger_mode = TRIGGER_MODE_MANUAL)\n",
    )
    async with bench.up() as session:
        await session.settled("local:m")
        mark = session.mark()
        bench.write("in.txt", "2")
        await session.until(
            lambda: (
                (view := session.since(mark).views.get("local:m")) is not None
                and view.hold is not None
                and view.hold.reason is HoldReason.TRIGGER
            )
        )
        reply = await bench.ask("trigger", "m")
        assert reply == {"nodes": ["local:m"]}
        await session.settled("local:m", mark=mark)
        session.since(mark).assert_ran("local:m")


async def test_ctrl_c_is_0_when_nothing_is_cut_off_and_130_when_work_is(bench: Workbench) -> None:
    bench.write("Kindlingfile", 'local_resource("s", serve_cmd = "sleep 1000")\n')
    async with bench.up() as session:
        await session.settled("serve:s")
        assert (await session.stop()).exit_code == 0
    bench.write("Kindlingfile", 'local_resource("slow", cmd = "sleep 1000")\n')
    async with bench.up() as session:
        await session.until(
            lambda: any(v.doing == "running" for v in session.result.views.values())
        )
        assert (await session.stop()).exit_code == 130


async def test_ci_gives_up_at_its_time_limit_and_lists_what_is_not_done(bench: Workbench) -> None:
    bench.write(
        "Kindlingfile",
        'local_resource("slow", cmd = "sleep 1000", outputs = ["x"])\n'
        'local_resource("after", cmd = "true", deps = ["x"])\n',
    )
    result = await bench.run("ci", timeout=0.5)
    assert result.exit_code == 1
    assert "local:slow" in result.end.error
    assert "local:after" in result.end.error


async def test_a_profile_is_part_of_the_graph_and_leaving_it_returns_to_the_one_before(
    bench: Workbench,
) -> None:
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "true")\n'
        'if profile("extra", "more"):\n    local_resource("b", cmd = "true")\n',
    )
    (await bench.run("up", words=("extra",))).assert_only_ran("local:a", "local:b")
    plain = await bench.run("up")
    plain.assert_only_ran()
    assert set(plain.views) == {"local:a"}


@pytest.mark.parametrize("limit", [1, 2])
async def test_max_parallel_updates_bounds_what_runs_at_once(bench: Workbench, limit: int) -> None:
    lines = [f"update_settings(max_parallel_updates = {limit})"]
    count = "echo + >> log; sleep 0.05; echo - >> log"
    lines += [f'local_resource("n{i}", cmd = "{count}", allow_parallel = True)' for i in range(5)]
    bench.write("Kindlingfile", "\n".join(lines) + "\n")
    await bench.run("up")
    depth = deepest = 0
    for sign in bench.read("log").split():
        depth += 1 if sign == "+" else -1
        deepest = max(deepest, depth)
    assert deepest == limit


async def test_secrets_in_manifests_never_reach_the_log(bench: Workbench) -> None:
    """The value is learnt from the declared Secret, and cut out of every line of every node."""
    bench.write(
        "Kindlingfile",
        'secret_if_absent("creds", literals = {"token": "s3cr3t-value"})\n'
        'local_resource("leak", cmd = "echo token is s3cr3t-value")\n',
    )
    result = await bench.run("up", "leak")
    assert result.log("local:leak") == ["token is [redacted secret creds:token]"]
