"""What a limit counts: the shares of jobs, and that their changes add up to the occupancy however jobs travel."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.limits import NOTHING, Concurrency, Limit, order_of, share
from chalicelib.core.states import State

stands = st.tuples(st.sampled_from(State), st.booleans(), st.booleans())


def test_a_job_counts_as_unfinished_until_it_is_done_and_as_running_while_it_holds_a_slot() -> None:
    shares = {
        (state, slot): share(state, limited=True, slot=slot)
        for state, slot in [
            (State.PENDING, False),
            (State.RUNNING, True),
            (State.WAITING, False),
            (State.CANCELED, True),  # its worker has not noticed
            (State.PENDING, True),  # nor here, and somebody retried it
            (State.SUCCESS, False),
            (State.FAILED, False),
        ]
    }
    assert list(shares.values()) == [
        Concurrency(0, 1),
        Concurrency(1, 1),
        Concurrency(0, 1),
        Concurrency(1, 0),
        Concurrency(1, 1),
        NOTHING,
        NOTHING,
    ]
    assert share(State.RUNNING, limited=False, slot=True) == Concurrency(1, 0)  # bounded since it was published
    assert share(State.PENDING, limited=False, slot=False) == NOTHING


@given(st.lists(st.lists(stands, min_size=1, max_size=12), max_size=6))
def test_the_changes_along_any_paths_add_up_to_the_shares_where_they_end(
    paths: list[list[tuple[State, bool, bool]]],
) -> None:
    concurrency_share, ends = NOTHING, NOTHING
    for path in paths:
        limited = path[0][2]  # fixed when a job is published
        shares = [NOTHING, *(share(state, limited=limited, slot=slot) for state, slot, _ in path)]
        for before, after in pairwise(shares):
            concurrency_share += after - before
        ends += shares[-1]
    assert concurrency_share == ends
    assert (concurrency_share.running, concurrency_share.unfinished) >= (0, 0)
    assert bool(concurrency_share) == (concurrency_share != NOTHING)


def test_how_many_more_may_run() -> None:
    assert [Concurrency(running).free(Limit(3)) for running in (0, 2, 3, 5)] == [3, 1, 0, 0]
    assert Concurrency(5).free(Limit(size=9)) is None
    assert Concurrency(5).free(None) is None


@given(st.lists(st.tuples(st.integers(-1_000, 1_000), st.integers(0, 10**12), st.integers(1, 2**53 - 1))))
def test_a_shelf_is_in_the_order_of_priority_then_age(jobs: list[tuple[int, int, int]]) -> None:
    by_place = sorted(jobs, key=lambda job: order_of(*job))
    assert by_place == sorted(jobs, key=lambda job: (-job[0], job[1], job[2]))
    assert order_of(10, 1_750_000_000_000, 42) == "0990-1750000000000-0000000000000042"
