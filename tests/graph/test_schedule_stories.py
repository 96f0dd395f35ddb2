"""The rules of the scheduler as short stories, one for each promise to a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kindling.graph.dag import Graph
from kindling.graph.event import (
    Finished,
    ReloadEnded,
    ReloadStarted,
    SlotsChanged,
    Start,
    Stopping,
)
from kindling.graph.node import NodeId
from kindling.graph.outcome import Verdict
from kindling.graph.state import RunState, changed, failed, idle, record

Drive = Callable[..., Any]
MakeGraph = Callable[..., Graph]

SERVICE = ("image:a of=web", "push:a of=web", "apply:a of=web", "rollout:a of=web")
CHAIN = "image:a -> push:a -> apply:a -> rollout:a"


def test_a_base_image_is_built_first_and_its_change_rebuilds_what_stands_on_it(
    drive: Drive,
) -> None:
    """Behaviour: B FROM A. A before B; editing A rebuilds B; editing B leaves A alone."""
    session = drive(["image:a", "image:b"], "image:a -> image:b")
    assert session.running == ["image:a"]
    assert session.finish("image:a", "a1") == ["image:b"]
    session.settle()
    assert session.save("image:a") == ["image:a"]
    assert session.finish("image:a", "a2") == ["image:b"]
    session.settle()
    assert session.save("image:b") == ["image:b"]
    session.settle()
    assert record(session.state, NodeId("image:a")).attempt == 2


def test_a_shared_base_is_built_once_and_both_services_follow(drive: Drive) -> None:
    session = drive(
        ["image:base", "image:x", "image:y"], "image:base -> image:x", "image:base -> image:y"
    )
    session.settle()
    assert session.save("image:base") == ["image:base"]
    assert session.finish("image:base", "new") == ["image:x", "image:y"]
    session.settle()
    assert record(session.state, NodeId("image:base")).attempt == 2


def test_in_a_diamond_every_image_is_built_exactly_once(drive: Drive) -> None:
    session = drive(
        ["image:top", "image:left", "image:right", "image:bottom"],
        "image:top -> image:left -> image:bottom",
        "image:top -> image:right -> image:bottom",
    )
    session.settle()
    session.save("image:top")
    started = session.settle()
    assert sorted(started) == ["image:bottom", "image:left", "image:right"]


def test_a_rebuild_with_equal_output_stops_there(drive: Drive) -> None:
    """Early cut-off: image bits unchanged, no push, no rollout."""
    session = drive(SERVICE, CHAIN)
    session.settle("same")
    assert session.save("image:a") == ["image:a"]
    assert session.finish("image:a", "same") == []
    assert idle(session.state)
    assert session.holds == {}


def test_never_more_run_at_once_than_there_are_slots_and_lowering_cuts_nothing_off(
    drive: Drive,
) -> None:
    session = drive([f"image:{n}" for n in range(5)], max_parallel=2)
    assert session.running == ["image:0", "image:1"]
    assert session.why_held("image:2") == ("waiting-for-slot", ["image:0", "image:1"])
    assert session.send(SlotsChanged(1.0, 1)) == []
    assert session.finish("image:0") == []
    assert session.finish("image:1") == ["image:2"]
    assert session.send(SlotsChanged(2.0, 0)) == [], "there is always one slot"


def test_servers_and_rollouts_take_no_slot(drive: Drive) -> None:
    session = drive(["serve:a", "serve:b", "serve:c", "image:d"], max_parallel=1)
    assert session.running == ["serve:a", "serve:b", "serve:c", "image:d"]


def test_a_command_that_runs_alone_holds_others_by_name(drive: Drive) -> None:
    session = drive(["local:gen alone", "image:a", "serve:s"])
    assert session.running == ["local:gen", "serve:s"]
    assert session.why_held("image:a") == ("waiting-for-local", ["local:gen"])
    assert session.finish("local:gen") == ["image:a"]
    assert session.save("local:gen") == []
    assert session.why_held("local:gen") == ("waiting-to-run-alone", ["image:a"])
    assert session.finish("image:a") == ["local:gen"]


def test_commands_that_may_run_together_do(drive: Drive) -> None:
    session = drive(["local:one", "local:two"])
    assert session.running == ["local:one", "local:two"]


def test_who_waits_for_a_dependency_says_for_which(drive: Drive) -> None:
    session = drive(["local:db", "local:app"], "local:db => local:app")
    assert session.why_held("local:app") == ("waiting-for-dependency", ["local:db"])
    assert session.finish("local:db") == ["local:app"]


def test_a_dependency_that_becomes_unready_holds_again_and_dirties_nobody(
    drive: Drive,
) -> None:
    """Unlike Tilt, where having been ready once is enough."""
    session = drive(["serve:db", "local:app"], "serve:db => local:app")
    session.settle()
    assert session.health("serve:db", False) == []
    assert session.holds == {}
    assert session.save("local:app") == []
    assert session.why_held("local:app") == ("waiting-for-dependency", ["serve:db"])
    assert session.health("serve:db", True) == ["local:app"]


def test_a_changed_output_reruns_the_dependent_after_it_finished_and_not_before(
    drive: Drive,
) -> None:
    session = drive(["local:a", "local:b"], "local:a -> local:b")
    session.settle()
    assert session.save("local:a", "local:b") == ["local:a"]
    assert session.why_held("local:b") == ("waiting-for-dependency", ["local:a"])
    assert session.finish("local:a", "other") == ["local:b"]


def test_nothing_runs_against_a_grandparent_that_is_about_to_change(drive: Drive) -> None:
    session = drive(["local:a", "local:b", "local:c"], "local:a -> local:b -> local:c")
    session.settle()
    session.save("local:a")
    assert session.save("local:c") == []
    assert session.why_held("local:c") == ("waiting-for-dependency", ["local:b"])
    assert session.finish("local:a", "other") == ["local:b"]
    assert session.finish("local:b", "other") == ["local:c"]


def test_a_ready_edge_does_not_carry_changes(drive: Drive) -> None:
    session = drive(["local:a", "local:b"], "local:a => local:b")
    session.settle()
    session.save("local:a")
    assert session.finish("local:a", "other") == []


def test_mere_order_waits_for_the_end_and_not_for_success(drive: Drive) -> None:
    session = drive(["local:a", "local:b"], "local:a .. local:b")
    assert session.why_held("local:b") == ("waiting-for-dependency", ["local:a"])
    assert session.fail("local:a") == ["local:b"]


def test_a_manual_node_shows_its_changes_and_runs_when_asked(drive: Drive) -> None:
    session = drive(["local:a manual"])
    assert session.running == ["local:a"], "its first run happens by itself"
    session.settle()
    assert session.save("local:a") == []
    assert session.why_held("local:a") == ("waiting-for-trigger", [])
    assert idle(session.state)
    assert session.ask("local:a") == ["local:a"]


def test_what_stands_on_a_pending_node_goes_on_with_its_last_result(drive: Drive) -> None:
    session = drive(["image:a manual", "apply:x"], "image:a -> apply:x")
    session.settle()
    session.save("image:a")
    assert session.save("apply:x") == ["apply:x"]


def test_a_manual_node_that_runs_is_pending_afterwards(drive: Drive) -> None:
    session = drive(["local:a manual"])
    session.save("local:a")
    session.finish("local:a")
    assert session.why_held("local:a") == ("waiting-for-trigger", [])


def test_a_node_without_auto_init_waits_for_a_change(drive: Drive) -> None:
    session = drive(["local:a later"])
    assert session.running == []
    assert idle(session.state)
    assert session.save("local:a") == ["local:a"]


def test_manual_and_without_auto_init_never_runs_by_itself(drive: Drive) -> None:
    session = drive(["local:a later manual"])
    assert session.save("local:a") == []
    assert session.ask("local:a") == ["local:a"]


def test_the_rest_of_a_resource_comes_up_with_what_was_asked_for(drive: Drive) -> None:
    """`auto_init=False` on a service holds back all its nodes until one change starts the chain."""
    session = drive(
        [f"{node} later" for node in SERVICE] + ["portforward:a later of=web"],
        f"{CHAIN} => portforward:a",
    )
    assert session.running == []
    session.save("image:a")
    assert session.settle() == ["push:a", "apply:a", "rollout:a", "portforward:a"]


def test_a_shared_base_at_the_start_does_not_wake_what_starts_later(drive: Drive) -> None:
    session = drive(["image:base", "image:x later"], "image:base -> image:x")
    assert session.settle() == []
    session.save("image:base")
    assert session.finish("image:base", "other") == ["image:x"]


def test_what_users_asked_for_goes_before_older_changes(drive: Drive) -> None:
    session = drive(["local:x", "local:y", "local:z"], max_parallel=1)
    session.settle()
    session.save("local:z")
    session.save("local:y")
    session.ask("local:x")
    assert session.why_held("local:y")[0] == "waiting-for-earlier"
    assert session.why_held("local:y")[1] == ["local:x"]
    assert session.finish("local:z") == ["local:x"]
    assert session.finish("local:x") == ["local:y"]


def test_asked_first_served_first(drive: Drive) -> None:
    session = drive(["local:a", "local:b", "local:c"], max_parallel=1)
    session.settle()
    session.save("local:a")
    session.ask("local:c")
    session.ask("local:b")
    assert session.settle() == ["local:c", "local:b"]


def test_the_oldest_change_goes_first_and_ties_go_by_declaration(drive: Drive) -> None:
    session = drive(["local:a", "local:b", "local:c", "local:d"], max_parallel=1)
    session.settle()
    session.save("local:d")
    session.save("local:c")
    session.save("local:b", "local:a")
    session.save("local:c")
    assert session.settle() == ["local:c", "local:a", "local:b"]


def test_first_runs_go_local_then_uncategorized_then_apply_only_then_as_declared(
    drive: Drive,
) -> None:
    session = drive(
        ["image:web", "secret:s", "apply:db", "apply:uncategorized", "local:gen"], max_parallel=1
    )
    order = [*session.running, *session.settle()]
    assert order == ["local:gen", "apply:uncategorized", "apply:db", "image:web", "secret:s"]


def test_what_never_ran_goes_before_rebuilds(drive: Drive, make_graph: MakeGraph) -> None:
    session = drive(["local:a", "local:b"], max_parallel=1)
    session.settle()
    session.save("local:a")
    session.save("local:b")
    session.load(make_graph(["local:a", "local:b", "image:new"]), max_parallel=1)
    assert session.why_held("local:b") == ("waiting-for-earlier", ["image:new"])
    assert session.finish("local:a") == ["image:new"]


def test_force_is_passed_on(drive: Drive) -> None:
    session = drive(["local:a"])
    session.settle()
    session.ask("local:a", force=True)
    assert session.commands == [Start(NodeId("local:a"), 2, True)]
    session.finish("local:a")
    session.save("local:a")
    assert session.commands == [Start(NodeId("local:a"), 3, False)]


def test_a_failure_holds_what_is_due_below_it_and_names_itself(drive: Drive) -> None:
    session = drive(SERVICE, CHAIN)
    assert session.fail("image:a") == []
    assert failed(session.state) == ("image:a",)
    for node in ("push:a", "apply:a", "rollout:a"):
        assert session.why_held(node) == ("dependency-failed", ["image:a"])
    assert idle(session.state)
    assert session.save("image:a") == ["image:a"]
    assert session.settle() == ["push:a", "apply:a", "rollout:a"]


def test_a_failure_leaves_settled_dependents_alone(drive: Drive) -> None:
    session = drive(["image:a", "push:a"], "image:a -> push:a")
    session.settle()
    session.save("image:a")
    assert session.fail("image:a") == []
    assert session.holds == {}
    assert record(session.state, NodeId("push:a")).state is RunState.DONE


def test_a_failed_node_is_retried_when_asked(drive: Drive) -> None:
    session = drive(["local:a"])
    session.fail("local:a")
    assert session.ask("local:a") == ["local:a"]


def test_a_rollout_that_recovers_sets_free_what_waited(drive: Drive) -> None:
    session = drive(["rollout:a", "local:t"], "rollout:a => local:t")
    session.fail("rollout:a")
    assert session.health("rollout:a", True) == ["local:t"]
    assert failed(session.state) == ()


def test_a_server_that_ended_has_failed(drive: Drive) -> None:
    """Said by a second `Finished` of the attempt that had succeeded."""
    session = drive(["serve:a", "local:t"], "serve:a => local:t")
    session.finish("serve:a")
    session.finish("local:t")
    assert session.fail("serve:a") == []
    assert failed(session.state) == ("serve:a",)
    session.save("local:t")
    assert session.why_held("local:t") == ("dependency-failed", ["serve:a"])


def test_a_save_during_a_run_makes_it_run_once_more(drive: Drive) -> None:
    session = drive(["image:a", "push:a"], "image:a -> push:a")
    assert session.save("image:a") == []
    assert session.save("image:a") == []
    assert session.finish("image:a") == ["image:a"]
    assert session.why_held("push:a") == ("waiting-for-dependency", ["image:a"])
    assert session.finish("image:a") == ["push:a"]


def test_an_output_that_changes_during_a_dependents_run_makes_it_run_again(
    drive: Drive,
) -> None:
    session = drive(["image:a", "push:a"], "image:a -> push:a")
    session.finish("image:a", "one")
    session.save("image:a")
    assert session.finish("image:a", "two") == []
    assert session.finish("push:a") == ["push:a"]


def test_a_result_of_an_old_attempt_is_ignored(drive: Drive) -> None:
    session = drive(["local:a"])
    before = session.state
    session.send(Finished(1.0, NodeId("local:a"), 7, Verdict.RAN, "x"))
    session.send(Finished(1.0, NodeId("local:unknown"), 1, Verdict.RAN, "x"))
    assert session.state == before


def test_what_was_cut_off_is_due_again(drive: Drive) -> None:
    session = drive(["local:a"])
    assert session.finish("local:a", verdict=Verdict.CANCELLED) == ["local:a"]
    assert session.commands == [Start(NodeId("local:a"), 2)]


def test_without_a_cluster_local_work_goes_on(drive: Drive) -> None:
    session = drive(
        ["cluster:c", "image:a", "push:a", "local:t"],
        "image:a -> push:a",
        "cluster:c => push:a",
    )
    session.fail("cluster:c")
    session.finish("local:t")
    session.finish("image:a")
    assert session.why_held("push:a") == ("waiting-for-cluster", ["cluster:c"])
    assert session.ask("cluster:c") == ["cluster:c"]
    assert session.finish("cluster:c") == ["push:a"]


def test_a_cluster_that_goes_away_holds_what_is_due(drive: Drive) -> None:
    session = drive(["cluster:c", "apply:a"], "cluster:c => apply:a")
    session.settle()
    session.health("cluster:c", False)
    session.save("apply:a")
    assert session.why_held("apply:a") == ("waiting-for-cluster", ["cluster:c"])
    assert session.health("cluster:c", True) == ["apply:a"]


def test_objects_of_no_resource_are_applied_before_others(drive: Drive) -> None:
    session = drive(["apply:a", "apply:uncategorized", "secret:s"])
    assert session.running == ["apply:uncategorized", "secret:s"]
    assert session.why_held("apply:a") == ("waiting-for-uncategorized", ["apply:uncategorized"])
    assert session.fail("apply:uncategorized") == ["apply:a"], "only while it runs"


def test_nothing_new_starts_while_the_file_is_evaluated(drive: Drive) -> None:
    session = drive(["local:a", "local:b"], "local:a -> local:b")
    session.send(ReloadStarted(1.0))
    assert session.finish("local:a") == []
    assert session.why_held("local:b") == ("waiting-for-reload", [])
    assert not idle(session.state)
    assert session.send(ReloadEnded(2.0)) == ["local:b"]


def test_stopping_cuts_off_what_runs_and_starts_nothing(drive: Drive) -> None:
    session = drive(["local:a", "local:b"], "local:a -> local:b")
    assert session.send(Stopping(1.0)) == ["!local:a"]
    assert session.why_held("local:b") == ("stopping", [])
    assert session.finish("local:a", verdict=Verdict.CANCELLED) == []
    assert idle(session.state)


def test_stopping_gently_lets_what_runs_end(drive: Drive) -> None:
    session = drive(["local:a", "local:b"], "local:a -> local:b")
    assert session.send(Stopping(1.0, cancel=False)) == []
    assert session.finish("local:a") == []


def test_a_reload_without_changes_runs_nothing(drive: Drive, make_graph: MakeGraph) -> None:
    session = drive(SERVICE, CHAIN)
    session.settle()
    assert session.load(make_graph(SERVICE, CHAIN)) == []
    assert idle(session.state)


def test_a_reload_runs_what_is_new_and_what_changed(drive: Drive, make_graph: MakeGraph) -> None:
    session = drive(["local:a", "local:b"])
    session.settle()
    graph = make_graph(["local:a", "local:b", "local:c"])
    assert session.load(graph, changed=["local:b"]) == ["local:c", "local:b"]


def test_a_new_content_edge_makes_its_node_due(drive: Drive, make_graph: MakeGraph) -> None:
    session = drive(["local:a", "local:b"])
    session.settle()
    assert session.load(make_graph(["local:a", "local:b"], "local:a -> local:b")) == ["local:b"]


def test_what_left_the_graph_is_cut_off_and_undone_dependents_first(
    drive: Drive, make_graph: MakeGraph
) -> None:
    session = drive([*SERVICE, "local:t"], CHAIN)
    session.finish("image:a")
    assert session.load(make_graph(["local:t"])) == [
        "!push:a",
        "undo rollout:a apply:a push:a image:a",
    ]


def test_a_node_that_comes_back_while_it_is_cut_off_waits_for_that(
    drive: Drive, make_graph: MakeGraph
) -> None:
    """Attempt numbers never come back either, so that a late answer can not be taken for a new
    one.
    """
    session = drive(["local:a", "local:b"])
    session.load(make_graph(["local:b"]))
    assert session.load(make_graph(["local:a", "local:b"])) == []
    cut = Finished(9.0, NodeId("local:a"), 1, Verdict.CANCELLED)
    assert session.send(cut) == ["local:a"]
    assert session.commands == [Start(NodeId("local:a"), 2)]


def test_a_node_that_is_leaving_keeps_its_slot(drive: Drive, make_graph: MakeGraph) -> None:
    session = drive(["local:a", "local:b"], max_parallel=1)
    session.load(make_graph(["local:b"]), max_parallel=1)
    assert session.why_held("local:b") == ("waiting-for-slot", ["local:a"])
    cut = Finished(9.0, NodeId("local:a"), 1, Verdict.CANCELLED)
    assert session.send(cut) == ["local:b"]


def test_a_deselected_node_is_left_alone_and_remembers_its_changes(
    drive: Drive, make_graph: MakeGraph
) -> None:
    session = drive(["local:a", "local:b"])
    session.settle()
    graph = make_graph(["local:a", "local:b"])
    assert session.load(graph, selected=["local:a"]) == []
    assert session.save("local:b") == []
    assert session.holds == {}
    assert session.load(graph) == ["local:b"]


def test_what_changed_between_two_states_is_found(drive: Drive) -> None:
    session = drive(["local:a", "local:b"])
    before = session.state
    session.finish("local:a")
    assert changed(before, session.state) == ("local:a",)
