"""Records of Kafka under faults: every AWS call fails, before and after it took effect; each record is one job.

Whoever delivers them does so again, all of them, until they are accepted. How it is done: ``test_faults.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from chalicelib.core.kafka import Inward, Reading, Record
from chalicelib.core.states import State
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.publish.records import accept
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from tests.support.faults import VAGUE, Fault, Play, Run, Scenario, plays_of, run_of, stage, verify

RUNS: list[Run] = []
AT_MS = 1_700_000_000_000
PLAIN = Inward(topic="plain", source="plain", cluster="k", group="g")
IN_ORDER = Inward(topic="in order", source="in order", cluster="k", group="g", reading=Reading(flow_key="key"))


@subscribe("plain")
def reader(_: Any, context: Context) -> None:
    RUNS.append(run_of(context))


@subscribe("in order", order="step aside")
def patient(_: Any, context: Context) -> None:
    RUNS.append(run_of(context))


def records(bridged: Inward, *values: bytes) -> list[Record]:
    return [Record(bridged.source, 0, place, AT_MS, b"k", value) for place, value in enumerate(values)]


def delivering(bridged: Inward, *values: bytes) -> Callable[[Play], None]:
    def deliver(play: Play) -> None:
        def ask(yard: Yard) -> None:
            accept(yard, bridged, records(bridged, *values))

        play.ask(ask, VAGUE)

    return deliver


def delivered_before(bridged: Inward, *values: bytes) -> Callable[[Play], None]:
    def arrange(play: Play) -> None:
        accept(play.yard, bridged, records(bridged, *values))

    return arrange


def one_each(*states: State) -> Callable[[Play], None]:
    """Each record is one job, in the end in its state of ``states``."""

    def check(play: Play) -> None:
        jobs = list(play.world.jobs())
        offsets = [play.yard.payloads.body(job)["options"]["kafka"]["offset"] for job in jobs]
        assert Counter(offsets) == Counter(range(len(states)))
        found: Sequence[State] = [state for _, state in sorted(zip(offsets, (job.state for job in jobs), strict=True))]
        assert tuple(found) == states

    return check


DONE, DEAD = State.SUCCESS, State.FAILED
SCENARIOS = {
    scenario.name: scenario
    for scenario in [
        Scenario("new ones", delivering(PLAIN, b"1", b"2", b"3"), one_each(DONE, DONE, DONE)),
        Scenario(
            "some that came before",
            delivering(PLAIN, b"1", b"2", b"3", b"4"),
            one_each(DONE, DONE, DONE, DONE),
            delivered_before(PLAIN, b"1", b"2"),
        ),
        Scenario("one that is unreadable", delivering(PLAIN, b"1", b"{", b"3"), one_each(DONE, DEAD, DONE)),
        Scenario(
            "an unreadable one that came before",
            delivering(PLAIN, b"{", b"2"),
            one_each(DEAD, DONE),
            delivered_before(PLAIN, b"{"),
        ),
        Scenario("in order", delivering(IN_ORDER, b"1", b"2"), one_each(DONE, DONE)),
    ]
}


@pytest.fixture(scope="module")
def fresh() -> Iterator[Callable[[Fault | None], Play]]:
    with stage([reader, patient], RUNS) as ready:
        yield ready


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_each_record_is_one_job_whatever_fails(
    scenario: Scenario, fresh: Callable[[Fault | None], Play], subtests: pytest.Subtests
) -> None:
    for play in plays_of(scenario, fresh):
        with subtests.test(str(play.calls.fault)):
            verify(play)
            scenario.check(play)
