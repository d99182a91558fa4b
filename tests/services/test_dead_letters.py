"""Dead letters in Python: list, replay one, replay several."""

from __future__ import annotations

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.services import dead_letters, messages, traces
from chalicelib.services.records import DeadLetter, moment_of
from chalicelib.services.words import Status
from tests.support.yards import Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on


def dead(topic: str, n: int = 0) -> DeadLetter:
    """A message that failed for the last time."""
    made = messages.publish(topic, {"n": n}, max_retries=1)
    (polled,) = messages.poll(topic)
    messages.fail(polled, "payment is down")
    (letter,) = [letter for letter in dead_letters.list(topic=topic) if letter.id == made.id]
    return letter


def test_what_a_dead_letter_tells(bench: Bench, topic: str) -> None:
    letter = dead(topic, 7)
    now = moment_of(bench.clock.ms)
    assert letter == DeadLetter(
        id=letter.id,
        topic=topic,
        payload={"n": 7},
        error_message="payment is down",
        cause=Cause.CONSUMER,
        retry_count=1,
        trace_id=letter.trace_id,
        replayed=False,
        replayed_at=None,
        replayed_as=None,
        created_at=now,
        updated_at=now,
    )
    assert letter.original_id == letter.id


def test_a_replay_is_a_new_message_with_a_trace_of_its_own(bench: Bench, topic: str) -> None:
    letter = dead(topic, 1)
    bench.clock.move(5)
    again = dead_letters.replay(letter)
    assert (again.status, again.payload, again.retry_count) == (Status.PENDING, {"n": 1}, 0)
    assert again.trace_id != letter.trace_id
    (first,) = traces.get(again.trace_id)
    assert (first.event, first.detail) == (
        "REPLAYED",
        {"originalId": str(letter.id), "deadLetterId": str(letter.id)},
    )
    (replayed,) = dead_letters.list(topic=topic, replayed=True)
    assert (replayed.replayed, replayed.replayed_as) == (True, again.id)
    assert replayed.replayed_at == moment_of(bench.clock.ms)
    with pytest.raises(Conflict):
        dead_letters.replay(letter.id)


def test_several_each_for_itself_in_order(topic: str) -> None:
    first, second = dead(topic, 1), dead(topic, 2)
    dead_letters.replay(second)
    outcomes = dead_letters.batch_replay([first, str(second.id), 12_345_678, "x"])
    assert [outcome.id for outcome in outcomes] == [first.id, str(second.id), 12_345_678, "x"]
    assert [outcome.success for outcome in outcomes] == [True, False, False, False]
    assert outcomes[0].error is None
    assert isinstance(outcomes[1].error, Conflict)
    assert all(isinstance(outcome.error, NotFound) for outcome in outcomes[2:])
    assert outcomes[0].message is not None
    assert outcomes[0].message.payload == {"n": 1}


@pytest.mark.parametrize(("replayed", "expected"), [(None, {0, 1}), (True, {0}), (False, {1})])
def test_filters(topic: str, replayed: bool | None, expected: set[int]) -> None:
    letters = [dead(topic, n) for n in (0, 1)]
    dead_letters.replay(letters[0])
    found = dead_letters.list(topic=topic, replayed=replayed)
    assert {letter.payload["n"] for letter in found} == expected
    assert found.total_count == len(expected)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidInput):
        dead_letters.list(cursor="next")
    with pytest.raises(NotFound):
        dead_letters.replay(messages.publish("alive", {}).id)
