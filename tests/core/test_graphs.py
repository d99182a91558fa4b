"""Graphs: how nodes are ordered and told, and that whatever ends in whatever order, each join is found ready once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.graph_order import EDGES_MAX, NODES_MAX, arranged
from chalicelib.core.graph_progress import Next, Standing, first_left, lets_start, next_of
from chalicelib.core.graphs import (
    EDGES_TEXT_MAX_CHARS,
    Edge,
    GraphState,
    Node,
    OnFailure,
    Plan,
    numbers_in,
    ranges_text,
)

Given = tuple[str, dict[str, Any], list[str]]
ABSENT, LIVE, SUCCEEDED, FAILED, CANCELED, REMOVED = Standing
TASK = {"type": "t"}


def nodes(**after: Sequence[str]) -> list[Given]:
    return [(name, TASK, list(names)) for name, names in after.items()]


def plan(on_failure: OnFailure = OnFailure.STOP, **after: Sequence[str]) -> Plan:
    return Plan(arranged(nodes(**after)), on_failure)


@st.composite
def given_nodes(draw: st.DrawFn) -> list[Given]:
    """Nodes without a circle, in any order."""
    size = draw(st.integers(1, 12))
    edges = [draw(st.sets(st.integers(0, number - 1))) if number else set() for number in range(size)]
    made = [(f"n{number}", TASK, [f"n{each}" for each in before]) for number, before in enumerate(edges)]
    return draw(st.permutations(made))


plans = given_nodes().map(lambda made: Plan(arranged(made)))


# -- the order ----------------------------------------------------------------------------------------


@given(given_nodes())
def test_every_node_comes_after_those_that_it_names(made: list[Given]) -> None:
    found = arranged(made)
    assert sorted(node.name for node in found) == sorted(name for name, _, _ in made)
    named = {name: set(after) for name, _, after in made}
    for number, node in enumerate(found):
        assert {found[each].name for each in node.after} == named[node.name]
        assert all(each < number for each in node.after)
        assert list(node.after) == sorted(node.after)


def test_nodes_keep_the_order_in_which_they_are_given_within_a_level() -> None:
    made = nodes(join=["b", "a"], b=[], a=[], last=["join"], c=["a"])
    assert [node.name for node in arranged(made)] == ["b", "a", "join", "c", "last"]


@pytest.mark.parametrize(
    ("made", "field", "got"),
    [
        (nodes(a=["c"], b=["a"], c=["b"]), "nodes", "a -> b -> c -> a"),
        (nodes(a=["a"]), "nodes", "a -> a"),
        (nodes(a=[], resize=[], last=["resise"]), "nodes.2.after", "resise"),
        ([("a", TASK, []), ("a", TASK, [])], "nodes.1.name", "a"),
        ([("", TASK, [])], "nodes.0.name", ""),
        ([("x" * 101, TASK, [])], "nodes.0.name", "x" * 101),
        ([], "nodes", "0"),
    ],
)
def test_what_is_no_graph_is_refused_with_the_place(made: list[Given], field: str, got: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        arranged(made)
    assert (refused.value.field, refused.value.got) == (field, got)


def test_a_misspelled_name_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidInput) as refused:
        arranged(nodes(a=[], resize=[], last=["resise"]))
    assert refused.value.expected == "resize"


def test_a_long_circle_is_shown_by_its_ends() -> None:
    made = [(f"n{each}", TASK, [f"n{(each - 1) % 500}"]) for each in range(500)]
    with pytest.raises(InvalidInput) as refused:
        arranged(made)
    shown = str(refused.value.got).split(" -> ")
    assert (len(shown), shown[0], shown[-2]) == (13, shown[-1], "...")


def test_a_graph_may_be_wide_and_deep_but_not_beyond_its_limits() -> None:
    wide = [("root", TASK, []), *((f"leaf{each}", TASK, ["root"]) for each in range(NODES_MAX - 1))]
    assert arranged(wide)[-1].after == (0,)
    deep = [(f"n{each}", TASK, [f"n{each - 1}"] if each else []) for each in range(NODES_MAX)]
    assert arranged(deep)[-1].after == (NODES_MAX - 2,)
    with pytest.raises(InvalidInput, match=f"expected 1 to {NODES_MAX} of them; got {NODES_MAX + 1}"):
        arranged([*wide, ("more", TASK, [])])
    with pytest.raises(InvalidInput, match="too many edges"):
        arranged([("a", TASK, []), ("b", TASK, ["a"] * (EDGES_MAX + 1))])


# -- how a plan is told -------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 400)))
def test_numbers_come_back_from_their_text(numbers: set[int]) -> None:
    assert list(numbers_in(ranges_text(sorted(numbers)))) == sorted(numbers)


def test_numbers_in_a_row_are_told_by_their_ends() -> None:
    assert ranges_text([*range(10_000), 12_000, 12_002]) == "0-9999,12000,12002"
    assert ranges_text([]) == ""


@given(plans)
def test_a_plan_comes_back_from_its_text(made: Plan) -> None:
    assert Plan.from_text(made.to_text()) == made


@given(plans)
def test_edges_lead_to_whatever_comes_behind_and_tell_what_it_watches(made: Plan) -> None:
    for number in range(made.end):
        edges = made.edges(number)
        assert [each for edge in edges for each in edge.numbers] == list(made.behind(number))
        for edge in edges:
            for each in edge.numbers:
                before = made.before(each)
                assert edge.watched == (before[-1] if len(before) > 1 else None)
        text = made.edges_text(number)
        assert text is None or (Edge.all_in(text) == edges and len(text) <= EDGES_TEXT_MAX_CHARS)


def test_edges_of_many_alike_are_short() -> None:
    made = [("root", TASK, []), *((f"leaf{each}", TASK, ["root"]) for each in range(9_998))]
    fan = Plan(arranged([*made, ("join", TASK, [name for name, _, _ in made[1:]])]))
    assert (fan.edges_text(0), fan.edges_text(1), fan.edges_text(9_999)) == ("1-9998", "9999<9998", "10000")


def test_the_end_comes_after_all_that_nothing_comes_after() -> None:
    made = plan(a=[], b=["a"], c=["a"], d=["b"])
    assert [made.nodes[number].name for number in made.before(made.end)] == ["c", "d"]


# -- what may start -----------------------------------------------------------------------------------


@given(plans, st.randoms(use_true_random=False), st.data())
def test_each_node_and_the_end_is_found_ready_once_whatever_ends_when(
    made: Plan, dice: Random, data: st.DataObject
) -> None:
    """Every node that is done takes its steps (read what is watched, look, write, look again) amid those of others."""
    done: set[int] = set()
    watched: dict[int, int] = {}
    found: list[int] = []
    started: set[int] = {number for number in range(made.end) if not made.before(number)}
    at_work: list[Any] = []

    def over(known: set[int]) -> Callable[[Sequence[int]], Iterable[bool]]:
        return lambda numbers: [each in known for each in numbers]

    def steps(ended: int) -> Any:
        done.add(ended)
        yield
        for edge in made.edges(ended):
            for number in edge.numbers:
                seen = watched.get(number, edge.watched)
                yield
                if edge.watched is None:
                    found.append(number)
                elif seen == ended:
                    yield from looking(number, ended)

    def looking(number: int, seen: int) -> Any:
        while True:
            left = first_left(made.before(number), seen, over(set(done)))
            yield
            if left is None:
                found.append(number)
                return
            if watched.get(number, made.before(number)[-1]) != seen:
                return
            watched[number] = left
            yield
            if left not in done:
                return
            seen = left

    while started or at_work:
        if started and (not at_work or dice.random() < 0.5):
            ended = data.draw(st.sampled_from(sorted(started)))
            started.remove(ended)
            at_work.append(steps(ended))
        else:
            step = dice.choice(at_work)
            if next(step, "over") == "over":
                at_work.remove(step)
        started |= {number for number in found if number != made.end} - done
    assert set(found) == {number for number in range(made.end + 1) if made.before(number)}
    assert done == set(range(made.end))


def test_who_ends_looks_below_for_another_that_is_left() -> None:
    asked: list[list[int]] = []

    def over(numbers: Sequence[int]) -> Iterable[bool]:
        asked.append(list(numbers))
        return [number != 3 for number in numbers]

    assert first_left(range(10), 9, over, size=4) == 3
    assert asked == [[8, 7, 6, 5], [4, 3, 2, 1]]
    assert first_left(range(3), 2, over, size=4) is None


# -- how all nodes stand ------------------------------------------------------------------------------

DIAMOND: dict[str, Sequence[str]] = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


@pytest.mark.parametrize(
    ("found", "then"),
    [
        ([ABSENT, ABSENT, ABSENT, ABSENT], Next(start=(0,))),
        ([LIVE, ABSENT, ABSENT, ABSENT], Next()),
        ([SUCCEEDED, ABSENT, LIVE, ABSENT], Next(start=(1,))),
        ([REMOVED, SUCCEEDED, SUCCEEDED, ABSENT], Next(start=(3,))),
        ([SUCCEEDED, FAILED, LIVE, ABSENT], Next(stopped_by=1)),
        ([SUCCEEDED, LIVE, CANCELED, ABSENT], Next(stopped_by=2)),
        ([SUCCEEDED, SUCCEEDED, SUCCEEDED, SUCCEEDED], Next(over=True)),
    ],
)
def test_a_graph_that_stops_at_failures(found: list[Standing], then: Next) -> None:
    for on_failure in (OnFailure.STOP, OnFailure.COMPENSATE):
        assert next_of(plan(on_failure, **DIAMOND), GraphState.RUNNING, [*found, ABSENT]) == then


def test_a_graph_that_goes_on_in_spite_of_failures() -> None:
    made = plan(OnFailure.CONTINUE, **DIAMOND)

    def running(*found: Standing) -> Next:
        return next_of(made, GraphState.RUNNING, [*found, ABSENT])

    assert running(FAILED, ABSENT, ABSENT, ABSENT) == Next(start=(1, 2))
    assert running(FAILED, CANCELED, SUCCEEDED, ABSENT) == Next(start=(3,))
    assert running(FAILED, CANCELED, SUCCEEDED, LIVE) == Next()
    assert running(FAILED, CANCELED, SUCCEEDED, FAILED) == Next(over=True)


@pytest.mark.parametrize("state", [GraphState.STOPPING, GraphState.CANCELING, GraphState.RESTARTING])
def test_a_graph_that_starts_nothing_more_is_over_when_nothing_of_it_goes_on(state: GraphState) -> None:
    made = plan(**DIAMOND)
    assert next_of(made, state, [SUCCEEDED, FAILED, LIVE, ABSENT, ABSENT]) == Next()
    assert next_of(made, state, [SUCCEEDED, FAILED, SUCCEEDED, ABSENT, ABSENT]) == Next(over=True)


def test_a_compensation_is_started_and_waited_for() -> None:
    made = plan(OnFailure.COMPENSATE, **DIAMOND)
    nodes_then = [SUCCEEDED, FAILED, SUCCEEDED, ABSENT]

    def compensating(own: Standing) -> Next:
        return next_of(made, GraphState.COMPENSATING, [*nodes_then, own])

    assert compensating(ABSENT) == Next(start=(4,))
    assert compensating(LIVE) == Next()
    assert compensating(SUCCEEDED) == Next(over=True)
    assert compensating(FAILED) == Next(over=True)


def test_a_deleted_node_was_done() -> None:
    assert lets_start(OnFailure.STOP, REMOVED)
    assert not lets_start(OnFailure.STOP, FAILED)
    assert not lets_start(OnFailure.CONTINUE, ABSENT)


def test_final_states_are_final() -> None:
    assert {state for state in GraphState if state.final} == {"success", "failed", "canceled"}


def test_a_plan_keeps_what_its_tasks_have_by_default() -> None:
    made = Plan((Node("a", TASK),), OnFailure.COMPENSATE, {"type": "undo"}, {"priority": 5, "target_id": "7"})
    assert Plan.from_text(made.to_text()) == made
