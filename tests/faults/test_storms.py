"""Files that change by the thousand, by themselves, or into something else."""

from __future__ import annotations

import subprocess
from collections import Counter

from kindling.engine.notices import ChangesSeen, KindlingfileLoaded, LogLine, NodeStatus
from kindling.graph.outcome import Verdict
from kindling.testing.workbench import Running, Workbench


def shell(bench: Workbench, script: str) -> str:
    done = subprocess.run(["sh", "-c", script], cwd=bench.root, check=True, capture_output=True)
    return done.stdout.decode()


def reactions(session: Running, mark: int = 0) -> list[ChangesSeen]:
    return [n for n in session.since(mark).notices if isinstance(n, ChangesSeen)]


async def test_ten_thousand_files_saved_at_once_are_one_change(bench: Workbench) -> None:
    for folder in range(100):
        (bench.root / f"src/{folder}").mkdir(parents=True)
        for number in range(100):
            (bench.root / f"src/{folder}/{number}.txt").write_text("a")
    bench.write(
        "Kindlingfile",
        'local_resource("all", cmd = "cat src/*/*.txt | sha256sum > all.txt; echo ran >> ran.log",'
        ' deps = ["src"], outputs = ["all.txt"])\n',
    )
    async with bench.up() as session:
        await session.settled("local:all", seconds=40)
        mark = session.mark()
        for folder in range(100):
            for number in range(100):
                bench.write(f"src/{folder}/{number}.txt", "b")
        await session.until(
            lambda: Verdict.RAN in session.since(mark).verdicts("local:all"), seconds=40
        )
        await session.until(lambda: session.result.views["local:all"].status is NodeStatus.DONE)
        seen = sum(r.total for r in reactions(session, mark))
        assert seen >= 10_000
        assert len(reactions(session, mark)) <= 2
    assert bench.read("all.txt") == shell(bench, "cat src/*/*.txt | sha256sum")
    assert len(bench.read("ran.log").split()) <= 3
    (await bench.run("up")).assert_only_ran()


def git(bench: Workbench, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=bench.root, check=True, capture_output=True)


async def test_a_branch_switch_ends_in_the_graph_of_the_branch_and_runs_nothing_twice(
    bench: Workbench,
) -> None:
    """The Kindlingfile and 300 sources change at once; every node runs once for what it reads."""
    one = 'local_resource("{0}", cmd = "cat {0}/* | sha256sum > {0}.out; echo {0} >> ran.log",'
    one += ' deps = ["{0}"], outputs = ["{0}.out"])\n'
    bench.write(".gitignore", ".kindling\n*.out\nran.log\n")

    def branch(names: str, word: str) -> None:
        for name in names:
            for number in range(100):
                bench.write(f"{name}/{number}", f"{word} {name} {number}")
        bench.write("Kindlingfile", "".join(one.format(name) for name in names))

    git(bench, "init", "-q", "-b", "main")
    branch("abc", "main")
    git(bench, "add", ".")
    git(bench, "commit", "-q", "-m", "main")
    git(bench, "checkout", "-q", "-b", "other")
    git(bench, "rm", "-rqf", "a")
    branch("bcd", "other")
    git(bench, "add", ".")
    git(bench, "commit", "-q", "-m", "other")
    git(bench, "checkout", "-q", "main")
    async with bench.up() as session:
        await session.settled("local:a", "local:b", "local:c")
        bench.write("ran.log", "")
        git(bench, "checkout", "-q", "other")
        wanted = {"local:b", "local:c", "local:d"}
        await session.until(lambda: set(session.session.board.views) == wanted)
        await settle(session)
        assert Counter(bench.read("ran.log").split()) == {"b": 1, "c": 1, "d": 1}
        for name in "bcd":
            assert digest(bench, name) == bench.read(f"{name}.out").split()[0]
        git(bench, "checkout", "-q", "main")
        wanted = {"local:a", "local:b", "local:c"}
        await session.until(lambda: set(session.session.board.views) == wanted)
        await settle(session)
        for name in "abc":
            assert digest(bench, name) == bench.read(f"{name}.out").split()[0]
        # What the first branch had made came back from the cache.
        assert Counter(bench.read("ran.log").split()) == {"b": 1, "c": 1, "d": 1}


def digest(bench: Workbench, name: str) -> str:
    return shell(bench, f"cat {name}/* | sha256sum").split()[0]


async def settle(session: Running) -> None:
    """Wait until every node is done and stays so for longer than a change takes to be seen."""
    while True:
        mark = session.mark()
        await session.until(
            lambda: all(
                view.status is NodeStatus.DONE for view in session.session.board.views.values()
            )
        )
        clock = session.session._clock  # the session's own: nothing else tells that it is quiet
        await clock.sleep(0.6)
        if session.mark() == mark:
            return


async def test_a_kindlingfile_rewritten_fifty_times_ends_as_its_last_text_says(
    bench: Workbench,
) -> None:
    text = 'local_resource("n{0}", cmd = "echo {0} >> ran.log")\n'
    bench.write("Kindlingfile", text.format("start"))
    async with bench.up() as session:
        await session.settled("local:nstart")
        mark = session.mark()
        for number in range(50):
            bench.write("Kindlingfile", text.format(number))
            await session.session._clock.sleep(0.015)
        await session.until(lambda: set(session.session.board.views) == {"local:n49"})
        await settle(session)
        loads = [n for n in session.since(mark).notices if isinstance(n, KindlingfileLoaded)]
        assert 1 <= len(loads) <= 51
    ran = Counter(bench.read("ran.log").split())
    assert ran["49"] == 1
    assert max(ran.values()) == 1


async def test_a_command_that_appends_to_its_own_input_is_slowed_down_and_said(
    bench: Workbench,
) -> None:
    """Its key is never the one it was recorded under, so that it would run for ever."""
    bench.write("in.txt", "x\n")
    bench.write(
        "Kindlingfile",
        'local_resource("loop", cmd = "echo more >> in.txt; echo ran >> ran.log",'
        ' deps = ["in.txt"])\n',
    )
    async with bench.up() as session:
        await session.until(
            lambda: any("loop" in text and "in.txt" in text for text in session.result.messages)
        )
        mark = session.mark()
        await session.session._clock.sleep(1.5)
        assert len(session.since(mark).verdicts("local:loop")) <= 3
        # Left to itself it would have run some hundred times by now.
        assert len(bench.read("ran.log").split()) < 30
        # A user's own edit is worked on as ever.
        before = len(bench.read("ran.log").split())
        bench.write("in.txt", "edited\n")
        await session.until(lambda: len(bench.read("ran.log").split()) > before)


async def test_a_command_that_formats_its_own_input_settles(bench: Workbench) -> None:
    bench.write("in.txt", "words")
    bench.write(
        "Kindlingfile",
        'local_resource("fmt", deps = ["in.txt"],'
        ' cmd = "tr a-z A-Z < in.txt > t; cat t > in.txt; echo ran >> ran.log")\n',
    )
    async with bench.up() as session:
        await session.settled("local:fmt")
        await settle(session)
        assert bench.read("in.txt") == "WORDS"
        assert len(bench.read("ran.log").split()) <= 3


async def test_a_file_that_becomes_a_folder_and_a_file_again_is_followed(bench: Workbench) -> None:
    bench.write("in", "words")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "ls -R in > out.txt", deps = ["in"], outputs = ["out.txt"])\n',
    )
    async with bench.up() as session:
        await session.settled("local:a")
        (bench.root / "in").unlink()
        bench.write("in/deep/file", "1")
        await session.until(lambda: "file" in bench.read("out.txt"))
        mark = session.mark()
        bench.write("in/deep/other", "1")
        await session.until(lambda: "other" in bench.read("out.txt"))
        await settle(session)
        session.since(mark).assert_ran("local:a")
        shell(bench, "rm -r in")
        bench.write("in", "words")
        await session.until(lambda: bench.read("out.txt").strip() == "in")
        await settle(session)
        mark = session.mark()
        bench.write("in", "more words")
        await session.settled("local:a", mark=mark)
    (await bench.run("up")).assert_only_ran()


async def test_an_output_that_became_a_folder_is_one_clear_failure(bench: Workbench) -> None:
    bench.write("in.txt", "1")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "cp -T in.txt out.txt", deps = ["in.txt"],'
        ' outputs = ["out.txt"])\n',
    )
    await bench.run("up")
    (bench.root / "out.txt").unlink()
    bench.write("out.txt/mine", "precious")
    result = await bench.run("up")
    assert result.exit_code == 1
    result.assert_failed("local:a", "1")
    assert bench.read("out.txt/mine") == "precious"


async def test_a_folder_that_is_deleted_and_made_again_is_followed(bench: Workbench) -> None:
    bench.write("src/deep/in.txt", "0")
    bench.write(
        "Kindlingfile",
        'local_resource("a", cmd = "cat src/deep/*.txt > out.txt || echo none > out.txt",'
        ' deps = ["src"], outputs = ["out.txt"])\n',
    )
    async with bench.up() as session:
        await session.settled("local:a")
        for number in range(1, 6):
            shell(bench, "rm -r src")
            if number % 2:
                await session.until(lambda: bench.read("out.txt") == "none\n")
            bench.write("src/deep/in.txt", str(number))
            await session.until(lambda number=number: bench.read("out.txt") == str(number))  # type: ignore[misc]
            bench.write("src/deep/in.txt", f"{number} again")
            await session.until(
                lambda number=number: bench.read("out.txt") == f"{number} again"  # type: ignore[misc]
            )


async def test_a_huge_line_and_very_many_lines_arrive_and_hold_nobody_up(
    bench: Workbench,
) -> None:
    bench.write("huge.py", "print('x' * 10_000_000); print('after')")
    bench.write("many.py", "for n in range(200_000): print('line', n)")
    bench.write(
        "Kindlingfile",
        'local_resource("huge", cmd = "python3 huge.py")\n'
        'local_resource("many", cmd = "python3 many.py")\n',
    )
    result = await bench.run("up")
    assert result.exit_code == 0, result.explain()
    huge = [n.text for n in result.notices if isinstance(n, LogLine) and n.node == "local:huge"]
    assert huge[-1] == "after"
    assert max(map(len, huge)) <= 65_536
    assert sum(len(line) for line in huge) == 10_000_000 + len("after")
    many = [n.text for n in result.notices if isinstance(n, LogLine) and n.node == "local:many"]
    assert many == [f"line {n}" for n in range(200_000)]
    kept = sum(path.stat().st_size for path in (bench.root / ".kindling/logs").iterdir())
    assert kept < 5 * 16 * 2**20
    journals = list((bench.root / ".kindling/journal").iterdir())
    assert [path.stat().st_size < 100_000 for path in journals] == [True]
