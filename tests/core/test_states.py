"""The states and the moves between them."""

from __future__ import annotations

import pytest

from chalicelib.core import states
from chalicelib.core.states import LIVE, MOVES, TERMINAL, State, may_move

PENDING, RUNNING, WAITING = State.PENDING, State.RUNNING, State.WAITING
SUCCESS, FAILED, CANCELED = State.SUCCESS, State.FAILED, State.CANCELED

ARROWS = {
    (PENDING, RUNNING),
    (PENDING, CANCELED),
    (PENDING, SUCCESS),
    (PENDING, FAILED),
    (RUNNING, RUNNING),
    (RUNNING, SUCCESS),
    (RUNNING, WAITING),
    (RUNNING, PENDING),
    (RUNNING, CANCELED),
    (RUNNING, FAILED),
    (WAITING, SUCCESS),
    (WAITING, FAILED),
    (WAITING, CANCELED),
    (FAILED, PENDING),
    (CANCELED, PENDING),
}


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_the_moves_are_those_of_the_diagram(before: State, after: State) -> None:
    assert may_move(before, after) is ((before, after) in ARROWS)


def test_every_state_has_its_moves() -> None:
    assert set(MOVES) == set(State)


def test_terminal_and_live_divide_the_states() -> None:
    assert {SUCCESS, FAILED, CANCELED} == TERMINAL
    assert {PENDING, RUNNING, WAITING} == LIVE
    assert [state for state in State if state.terminal] == [SUCCESS, FAILED, CANCELED]


def test_success_is_for_good_and_the_other_ends_lead_back_to_pending_only() -> None:
    assert {end: MOVES[end] for end in TERMINAL} == {SUCCESS: set(), FAILED: {PENDING}, CANCELED: {PENDING}}


def test_every_state_is_reached_from_pending() -> None:
    reached = {PENDING}
    while (further := reached.union(*(MOVES[state] for state in reached))) != reached:
        reached = further
    assert reached == set(State)


def test_the_stored_words_do_not_change() -> None:
    """They are in every record and every index key."""
    assert [state.value for state in State] == ["pending", "running", "waiting", "success", "failed", "canceled"]
    assert [kind.value for kind in states.Kind] == ["task", "message"]
