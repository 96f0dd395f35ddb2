"""The rules of `live_update`: where files land, what a change means, what answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kindling.graph.node import FileSet, IgnoreRule
from kindling.lang.declared import (
    FallBackOn,
    InitialSync,
    LiveUpdateStep,
    RestartContainer,
    RunStep,
    SyncStep,
)
from kindling.sync.rules.decision import Carry, Landed, Nothing, Rebuild, decide, starting
from kindling.sync.rules.failures import TRIES, Action, Answer, Outcome, Verdict, settle
from kindling.sync.rules.landing import Context, landed_tree, landings, source_of, syncs_of
from kindling.sync.trees.manifest import Entry, Kind, Reason

FILE = "file:644:sha256:1"
TREE: dict[str, str] = {
    ".": "dir:755",
    "package.json": FILE,
    "web": "dir:755",
    "web/a.js": FILE,
    "web/lib": "dir:755",
    "web/lib/b.js": FILE,
    "Dockerfile": FILE,
}
INSTALL = RunStep(("npm", "install"), ("package.json",))
ALWAYS = RunStep(("touch", "/tmp/now"))


def context(
    *paths: str,
    ignore: tuple[str, ...] = (),
    root: str = "/home/ada/shop",
    only: tuple[str, ...] = (),
) -> Context:
    rules = (IgnoreRule(".", ignore),) if ignore else ()
    return Context("web", Path(root), (FileSet(paths or (".",), rules, only),))


def placed(path: str, *steps: SyncStep, tree: Mapping[str, str] = TREE) -> tuple[str, ...]:
    return landings(path, syncs_of(steps, context(".", "../shared"), tree))


# Where files land ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "remote", "path", "place"),
    [
        ("web", "/app", "web/lib/b.js", "/app/lib/b.js"),
        ("web", "/app/", "web/lib/b.js", "/app/lib/b.js"),
        ("web", "/", "web/a.js", "/a.js"),
        ("web", "/app/../srv//x", "web/a.js", "/srv/x/a.js"),
        (".", "/app", "web/a.js", "/app/web/a.js"),
        (".", "/app", ".", "/app"),
        ("web", "/app", "web", "/app"),
        # A single file: its target, or into a folder under its own name.
        ("package.json", "/app/package.json", "package.json", "/app/package.json"),
        ("package.json", "/app/", "package.json", "/app/package.json"),
        ("../shared", "/shared", "../shared/x", "/shared/x"),
        # What is gone is a file, unless something of it is there.
        ("gone", "/app/", "gone", "/app/gone"),
        ("gone", "/app", "gone/x", "/app/x"),
    ],
)
def test_a_path_lands_where_its_step_says(local: str, remote: str, path: str, place: str) -> None:
    steps = SyncStep(local, remote)
    tree = {**TREE, "../shared": "dir:755", "../shared/x": FILE}
    if path == "gone/x":
        tree["gone/x"] = FILE
    assert placed(path, steps, tree=tree) == (place,)


@pytest.mark.parametrize("path", ["webs/a.js", "we", "package.json", "../web/a.js"])
def test_a_path_outside_lands_nowhere(path: str) -> None:
    assert placed(path, SyncStep("web", "/app")) == ()


def test_the_projects_own_name_by_way_of_its_parent_is_the_project() -> None:
    assert placed("web/a.js", SyncStep("../shop/web", "/app")) == ("/app/a.js",)


def test_a_file_lands_in_every_place_that_covers_it() -> None:
    steps = (SyncStep("web", "/app"), SyncStep("web/lib", "/lib"), SyncStep(".", "/all"))
    assert placed("web/lib/b.js", *steps) == ("/app/lib/b.js", "/lib/b.js", "/all/web/lib/b.js")


def test_the_patterns_of_a_step_are_relative_to_its_folder() -> None:
    step = SyncStep("web", "/app", ("lib", "**/*.map", "!lib/b.js"))
    tree = {**TREE, "web/lib/c.js": FILE, "web/x/y.map": FILE}
    assert placed("web/lib/c.js", step, tree=tree) == ()
    assert placed("web/x/y.map", step, tree=tree) == ()
    assert placed("web/lib/b.js", step, tree=tree) == ("/app/lib/b.js",)


def test_on_one_container_path_the_later_step_wins_and_the_earlier_comes_back() -> None:
    steps = (SyncStep("base", "/app"), SyncStep("over", "/app"))
    both = {"base/a": FILE, "over/a": FILE, "base": "dir:755", "over": "dir:755"}
    syncs = syncs_of(steps, context(), both)
    assert source_of("/app/a", syncs, both) == "over/a"
    less = {path: text for path, text in both.items() if path != "over/a"}
    assert source_of("/app/a", syncs_of(steps, context(), less), less) == "base/a"
    assert source_of("/app/b", syncs, both) is None
    assert source_of("/elsewhere", syncs, both) is None


def test_all_that_lands_is_one_tree_of_the_container() -> None:
    steps = (
        SyncStep("web", "/srv/app", ("lib",)),
        SyncStep("package.json", "/srv/app/"),
        SyncStep("out", "/srv/out"),
    )
    tree = {**TREE, "out": "dir:700", "out/l": "link:../web", "out/s": "socket:755"}
    laid = landed_tree(syncs_of(steps, context(), tree), tree)
    assert (
        dict(laid.entries)
        == {
            "srv": Entry(Kind.DIR),
            "srv/app": Entry(Kind.DIR),
            "srv/app/a.js": Entry(Kind.FILE, 0o644, "sha256:1"),
            "srv/app/package.json": Entry(Kind.FILE, 0o644, "sha256:1"),
            "srv/out": Entry(Kind.DIR),
        }
        or "srv/out" not in laid.entries
    )
    assert {one.path: one.reason for one in laid.refused} == {
        "srv/out/l": Reason.OUTSIDE,
        "srv/out/s": Reason.SPECIAL,
    }


def test_a_later_file_takes_the_place_of_an_earlier_folder_and_back() -> None:
    tree = {"f": FILE, "d": "dir:755", "d/x": FILE}
    file_last = (SyncStep("d", "/app/p"), SyncStep("f", "/app/p"))
    laid = landed_tree(syncs_of(file_last, context(), tree), tree)
    assert {path: one.kind for path, one in laid.entries.items()} == {
        "app": Kind.DIR,
        "app/p": Kind.FILE,
    }
    laid = landed_tree(syncs_of(file_last[::-1], context(), tree), tree)
    assert {path: one.kind for path, one in laid.entries.items()} == {
        "app": Kind.DIR,
        "app/p": Kind.DIR,
        "app/p/x": Kind.FILE,
    }


_LOCALS = st.sampled_from([".", "web", "web/lib", "web/a.js", "package.json", "gone"])
_REMOTES = st.sampled_from(["/", "/app", "/app/", "/app/lib", "/srv/x"])
_SYNCS = st.lists(st.builds(SyncStep, _LOCALS, _REMOTES), min_size=1, max_size=4)
_THERE = st.sets(st.sampled_from(["package.json", "web/a.js", "web/lib/b.js", "Dockerfile"]))


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(_SYNCS, _THERE)
def test_the_tree_and_the_single_answers_agree(steps: list[SyncStep], there: set[str]) -> None:
    tree = {".": "dir:755"}
    for path in there:
        tree[path] = f"file:644:{path}"
        if path.startswith("web/"):
            tree["web"] = "dir:755"
        if path.startswith("web/lib/"):
            tree["web/lib"] = "dir:755"
    syncs = syncs_of(steps, context(), tree)
    laid = landed_tree(syncs, tree)
    for place, entry in laid.entries.items():
        if entry.kind is Kind.FILE:
            assert source_of("/" + place, syncs, tree) == entry.digest
    for path in there:
        for place in landings(path, syncs):
            assert source_of(place, syncs, tree) is not None


# What a change means ------------------------------------------------------------------------------


def test_synced_files_are_carried_with_the_commands_they_trigger() -> None:
    steps: tuple[LiveUpdateStep, ...] = (
        SyncStep("web", "/app"),
        SyncStep("package.json", "/app/"),
        INSTALL,
        ALWAYS,
    )
    assert decide(["web/a.js", "web/gone.js"], steps, context(), TREE) == Carry(
        (Landed("/app/a.js", "web/a.js"), Landed("/app/gone.js", None)), (ALWAYS,)
    )
    assert decide(["package.json"], steps, context(), TREE) == Carry(
        (Landed("/app/package.json", "package.json"),), (INSTALL, ALWAYS)
    )


def test_a_trigger_may_be_a_folder() -> None:
    step = RunStep(("make",), ("web",))
    carry = decide(["web/lib/b.js"], (SyncStep(".", "/app"), step), context(), TREE)
    assert isinstance(carry, Carry)
    assert carry.commands == (step,)


def test_a_command_that_is_owed_runs_with_the_next_batch() -> None:
    steps = (SyncStep(".", "/app"), INSTALL)
    carry = decide(["web/a.js"], steps, context(), TREE, owed=(INSTALL,))
    assert isinstance(carry, Carry)
    assert carry.commands == (INSTALL,)


def test_a_restart_is_told_of() -> None:
    carry = decide(["web/a.js"], (SyncStep(".", "/app"), RestartContainer()), context(), TREE)
    assert isinstance(carry, Carry)
    assert carry.restart


def test_one_file_outside_every_sync_rebuilds_and_is_named() -> None:
    steps = (SyncStep("web", "/app"),)
    assert decide(["web/a.js", "Dockerfile", "x"], steps, context(), TREE) == Rebuild(
        "`Dockerfile` (and 1 more) is in no `sync` step", ("Dockerfile", "x")
    )
    assert decide(["web/a.js"], (), context(), TREE) == Rebuild(
        "`web/a.js` is in no `sync` step", ("web/a.js",)
    )


def test_a_trigger_that_no_sync_covers_rebuilds() -> None:
    decision = decide(["package.json"], (SyncStep("web", "/app"), INSTALL), context(), TREE)
    assert isinstance(decision, Rebuild)


@pytest.mark.parametrize("ignore", [(), ("package.json",)])
def test_fall_back_on_rebuilds_whatever_ignores_the_file(ignore: tuple[str, ...]) -> None:
    steps = (FallBackOn(("package.json",)), SyncStep(".", "/app", ("package.json",)))
    decision = decide(["package.json", "web/a.js"], steps, context(ignore=ignore), TREE)
    assert decision == Rebuild("`package.json` is in `fall_back_on`", ("package.json",))


def test_fall_back_on_a_folder_means_all_in_it() -> None:
    steps = (FallBackOn(("web/lib",)), SyncStep(".", "/app"))
    assert isinstance(decide(["web/lib/new"], steps, context(), TREE), Rebuild)
    assert isinstance(decide(["web/library"], steps, context(), TREE), Carry)


@pytest.mark.parametrize("path", [".git/HEAD", "web/.a.js.swp", "../other/x", "log/x", "a.pyc"])
def test_what_is_no_part_of_the_image_means_nothing(path: str) -> None:
    steps = (SyncStep(".", "/app"),)
    where = context(ignore=("log", "**/*.pyc"))
    assert decide([path], steps, where, TREE) == Nothing("no file of image `web` changed")
    carry = decide([path, "web/a.js"], steps, where, TREE)
    assert carry == Carry((Landed("/app/web/a.js", "web/a.js"),))


def test_what_the_context_leaves_out_by_only_is_no_part_of_it() -> None:
    where = context(".", only=("web",))
    steps = (SyncStep("web", "/app"),)
    assert isinstance(decide(["Dockerfile"], steps, where, TREE), Nothing)
    assert isinstance(decide(["web/a.js"], steps, where, TREE), Carry)


def test_what_every_sync_ignores_means_nothing_and_another_may_carry_it() -> None:
    one = SyncStep("web", "/app", ("lib",))
    assert decide(["web/lib/b.js"], (one,), context(), TREE) == Nothing(
        "the `sync` steps ignore `web/lib/b.js`"
    )
    both = decide(["web/lib/b.js"], (one, SyncStep("web/lib", "/lib")), context(), TREE)
    assert both == Carry((Landed("/lib/b.js", "web/lib/b.js"),))


def test_a_folder_that_leads_to_a_sync_is_no_change_of_its_own() -> None:
    steps = (SyncStep("web/lib", "/lib"),)
    carry = decide([".", "web", "web/lib/b.js"], steps, context(), TREE)
    assert carry == Carry((Landed("/lib/b.js", "web/lib/b.js"),))


def test_no_change_means_nothing() -> None:
    assert isinstance(decide([], (SyncStep(".", "/app"),), context(), TREE), Nothing)


def test_a_deleted_file_shows_the_one_that_it_hid() -> None:
    steps = (SyncStep("web", "/app"), SyncStep("over", "/app"))
    assert decide(["over/a.js"], steps, context(), {**TREE, "over": "dir:755"}) == Carry(
        (Landed("/app/a.js", "web/a.js"),)
    )


def test_a_started_container_gets_all_with_initial_sync_and_else_what_changed() -> None:
    syncs: tuple[LiveUpdateStep, ...] = (SyncStep("web", "/app", ("lib",)), INSTALL, ALWAYS)
    assert starting((InitialSync(), *syncs), context(), TREE, ["web/gone"]) == Carry(
        (Landed("/app", "web"), Landed("/app/a.js", "web/a.js")), (ALWAYS,)
    )
    assert starting(syncs, context(), TREE, ["web/gone"]) == Carry(
        (Landed("/app/gone", None),), (ALWAYS,)
    )
    assert isinstance(starting(syncs, context(), TREE), Nothing)
    nothing = starting((InitialSync(), SyncStep("none", "/app")), context(), TREE)
    assert nothing == Nothing("the `sync` steps cover no file")


# What answers mean --------------------------------------------------------------------------------


def answer(pod: str, outcome: Outcome, *, tries: int = 1, supervised: bool = False) -> Answer:
    return Answer(pod, "web", outcome, "exit 1", tries, supervised)


CASES: dict[str, tuple[list[Answer], Action, str, tuple[str, ...], bool]] = {
    "all is well": ([answer("p", Outcome.DONE)], Action.DONE, "", (), False),
    "a command failed everywhere": (
        [answer("p", Outcome.COMMAND_FAILED), answer("q", Outcome.COMMAND_FAILED)],
        Action.REPORT,
        "a",
        ("p", "q"),
        True,
    ),
    "a cut connection": (
        [answer("p", Outcome.CUT_OFF), answer("q", Outcome.DONE)],
        Action.RETRY,
        "b",
        ("p",),
        False,
    ),
    "cut once too often": (
        [answer("p", Outcome.CUT_OFF, tries=TRIES)],
        Action.REBUILD,
        "b",
        ("p",),
        False,
    ),
    "no permission": ([answer("p", Outcome.CANNOT)], Action.REBUILD, "b", ("p",), False),
    "a full disk": (
        [answer("p", Outcome.NO_ROOM), answer("q", Outcome.DONE)],
        Action.RETRY,
        "g",
        ("p",),
        False,
    ),
    "containers that differ": (
        [answer("p", Outcome.COMMAND_FAILED), answer("q", Outcome.DONE)],
        Action.REBUILD,
        "c",
        ("p",),
        False,
    ),
    "failed here, cut off there": (
        [answer("p", Outcome.COMMAND_FAILED), answer("q", Outcome.CUT_OFF)],
        Action.RETRY,
        "b",
        ("q",),
        True,
    ),
    "a crash loop": (
        [answer("p", Outcome.CRASHING), answer("q", Outcome.DONE)],
        Action.REBUILD,
        "d",
        ("p",),
        False,
    ),
    "a crash under a supervisor": (
        [answer("p", Outcome.CRASHING, supervised=True)],
        Action.RETRY,
        "b",
        ("p",),
        False,
    ),
    "all ended": ([answer("p", Outcome.ENDED)], Action.WAIT, "e", ("p",), False),
    "one ended": (
        [answer("p", Outcome.ENDED), answer("q", Outcome.DONE)],
        Action.DONE,
        "",
        (),
        False,
    ),
    "one not started": (
        [answer("p", Outcome.NOT_STARTED), answer("q", Outcome.DONE)],
        Action.WAIT,
        "f",
        ("p",),
        False,
    ),
    "none started": ([], Action.WAIT, "f", (), False),
}


@pytest.mark.parametrize("case", CASES)
def test_answers_are_settled(case: str) -> None:
    answers, action, kind, pods, owed = CASES[case]
    for order in (answers, answers[::-1]):
        verdict = settle(order)
        assert (verdict.action, verdict.kind, verdict.owed) == (action, kind, owed)
        assert sorted(verdict.pods) == sorted(pods)


def test_a_verdict_names_the_container_and_what_it_said() -> None:
    assert settle([answer("p", Outcome.COMMAND_FAILED)]) == Verdict(
        Action.REPORT, "a command failed: `web` in pod `p`: exit 1", "a", ("p",), owed=True
    )


@given(st.lists(st.sampled_from(Outcome), max_size=4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_nothing_is_done_as_long_as_any_container_lacks_something(outcomes: list[Outcome]) -> None:
    verdict = settle([answer(f"p{at}", one) for at, one in enumerate(outcomes)])
    if verdict.action is Action.DONE:
        assert Outcome.DONE in outcomes
        assert set(outcomes) <= {Outcome.DONE, Outcome.ENDED}
    else:
        assert verdict.why
