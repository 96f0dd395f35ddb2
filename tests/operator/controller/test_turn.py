"""What an operator says when another one takes over from it, or it from another."""

from __future__ import annotations

from kindling.operator.controller.run import Phase, Standing, turn

ME, OTHER = "up-1@here", "run-2@there"
STARTING = Standing(Phase.STARTING)
ACTING = Standing(Phase.ACTING, ME)
BEHIND = Standing(Phase.STANDING_BY, OTHER)


def test_another_that_takes_over_is_named() -> None:
    assert turn(ACTING, BEHIND, ME) == f"the operator {OTHER} acts from now on; this one stands by"
    assert "third acts" in turn(BEHIND, Standing(Phase.STANDING_BY, "third"), ME)


def test_taking_over_is_told() -> None:
    assert turn(BEHIND, ACTING, ME) == "this operator acts from now on"


def test_how_it_begins_is_told_by_whoever_started_it() -> None:
    assert not turn(STARTING, ACTING, ME)
    assert not turn(STARTING, BEHIND, ME)


def test_the_same_is_told_once_and_a_lease_that_nobody_holds_not_at_all() -> None:
    assert not turn(BEHIND, BEHIND, ME)
    assert not turn(ACTING, ACTING, ME)
    assert not turn(ACTING, Standing(Phase.STANDING_BY), ME)
    assert not turn(ACTING, Standing(Phase.STANDING_BY, ME), ME)
