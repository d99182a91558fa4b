"""Publishing, polling, settling and listing in Python."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.errors import Conflict, InvalidInput, NotFound, TaskyardError, TooLarge
from chalicelib.services import dead_letters, installation, messages, queues, traces
from chalicelib.services.consumer import Consumer
from chalicelib.services.current import at_work
from chalicelib.services.messages import NewMessage
from chalicelib.services.records import Message, moment_of
from chalicelib.services.words import Status, TraceEventType
from tests.services.handlers.publishers import published
from tests.support.yards import START_MS, Bench

pytestmark = pytest.mark.usefixtures("bench")  # the installation that all of it acts on

HOUR = timedelta(hours=1)


def refused(**fields: Any) -> tuple[str | None, str | None]:
    """The field that a publication is refused for, and what was expected."""
    given = {"topic": "t", "payload": {}} | fields
    with pytest.raises(InvalidInput) as error:
        messages.publish(**given)
    return error.value.field, error.value.expected


def trace_of(message: Message) -> list[TraceEventType]:
    return [told.event for told in traces.get(message.trace_id)]


class TestPublishing:
    def test_a_record_as_it_stands(self, bench: Bench, topic: str) -> None:
        made = messages.publish(topic, {"orderId": "123"}, priority=10, meta={"by": "test"}, trace_id=f"own-{topic}")
        now = moment_of(bench.clock.ms)
        assert made == Message(
            id=made.id,
            topic=topic,
            payload={"orderId": "123"},
            status=Status.PENDING,
            retry_count=0,
            max_retries=3,
            priority=10,
            execute_at=None,
            next_retry_at=None,
            consumer_id=None,
            locked_at=None,
            lock_expires_at=None,
            trace_id=f"own-{topic}",
            meta={"by": "test"},
            error=None,
            schedule=None,
            slot_time=None,
            created_at=now,
            updated_at=now,
        )
        assert messages.get(made) == messages.get(str(made.id)) == made

    def test_a_start_in_another_zone_is_that_moment(self, bench: Bench, topic: str) -> None:
        at = moment_of(bench.clock.ms) + HOUR
        made = messages.publish(topic, {}, execute_at=at.astimezone(timezone(timedelta(hours=-7))))
        assert made.execute_at == at
        assert made.execute_at.utcoffset() == timedelta()
        assert messages.poll(topic) == []

    @pytest.mark.parametrize(("given", "counted"), [(None, 3), (0, 1), (1, 1), (100, 100)])
    def test_how_many_deliveries_may_fail(self, topic: str, given: int | None, counted: int) -> None:
        assert messages.publish(topic, {}, max_retries=given).max_retries == counted

    def test_what_the_subscribers_declare_counts_where_the_message_says_nothing(self, bench: Bench, topic: str) -> None:
        assert _run(bench, {"to": topic}).max_retries == 5

    def test_a_priority_by_name(self, topic: str) -> None:
        assert messages.publish(topic, {}, priority="high").priority == 10
        (made,) = messages.publish_many([NewMessage(topic=topic, payload={}, priority="low")])
        assert isinstance(made, Message)
        assert made.priority == -10

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"topic": ""}, "topic"),
            ({"topic": "x" * 401}, "topic"),
            ({"topic": "a\nb"}, "topic"),
            ({"topic": 7}, "topic"),
            ({"payload": ["no", "object"]}, "payload"),
            ({"payload": "text"}, "payload"),
            ({"payload": {"n": float("nan")}}, "payload.n"),
            ({"payload": {"n": object()}}, "payload.n"),
            ({"meta": []}, "meta"),
            ({"priority": 1_001}, "priority"),
            ({"priority": "10"}, "priority"),
            ({"priority": "urgent"}, "priority"),
            ({"priority": True}, "priority"),
            ({"max_retries": 101}, "max_retries"),
            ({"max_retries": -1}, "max_retries"),
            ({"trace_id": ""}, "trace_id"),
            ({"idempotency_key": "x" * 257}, "idempotency_key"),
            ({"execute_at": datetime(2030, 1, 1)}, "execute_at"),  # noqa: DTZ001  # what is refused
            ({"execute_at": datetime(1969, 12, 31, tzinfo=UTC)}, "execute_at"),
            ({"execute_at": 1_750_000_000}, "execute_at"),
        ],
    )
    def test_what_is_refused(self, fields: dict[str, Any], field: str) -> None:
        assert refused(**fields)[0] == field

    def test_a_start_beyond_ten_years(self, bench: Bench) -> None:
        late = moment_of(bench.clock.ms) + timedelta(days=3_661)
        assert refused(execute_at=late) == ("execute_at", "a start within ten years")

    def test_too_large(self, topic: str) -> None:
        with pytest.raises(TooLarge):
            messages.publish(topic, {"text": "x" * 6_000_000})

    def test_one_key_is_one_message(self, topic: str) -> None:
        first = messages.publish(topic, {"n": 1}, idempotency_key=f"key-{topic}")
        assert messages.publish(topic, {"n": 1}, idempotency_key=f"key-{topic}") == first
        with pytest.raises(Conflict):
            messages.publish(topic, {"n": 2}, idempotency_key=f"key-{topic}")
        assert queues.depth(topic).depth == 1

    def test_many_at_once_each_for_itself(self, topic: str) -> None:
        outcomes = messages.publish_many(
            [
                NewMessage(topic=topic, payload={"n": 1}, priority=10),
                NewMessage(topic="", payload={}),
                NewMessage(topic=topic, payload={"n": 2}),
                NewMessage(topic=topic, payload={"n": 3}, idempotency_key=f"many-{topic}"),
            ]
        )
        made = [outcome for outcome in outcomes if isinstance(outcome, Message)]
        assert [message.payload for message in made] == [{"n": 1}, {"n": 2}, {"n": 3}]
        assert isinstance(outcomes[1], TaskyardError)
        assert outcomes[1].field == "topic"
        assert [message.payload["n"] for message in messages.poll(topic)] == [1, 2, 3]


class TestPublishingFromAHandler:
    def test_every_attempt_publishes_unless_it_names_what_it_publishes(self, bench: Bench, topic: str) -> None:
        _run(bench, {"to": topic, "fail": True}, deliveries=2)
        assert queues.depth(topic).depth == 2

    def test_once_is_once_whatever_later_attempts_say(self, bench: Bench, topic: str) -> None:
        _run(bench, {"to": topic, "fail": True, "once": ["shipped"]}, deliveries=3)
        (message,) = messages.poll(topic)
        assert message.payload == {"n": 0}
        assert published == [message.id] * 3

    def test_another_job_publishes_under_the_same_name(self, bench: Bench, topic: str) -> None:
        for _ in range(2):
            _run(bench, {"to": topic, "once": ["shipped"]})
        assert queues.depth(topic).depth == 2

    def test_two_publications_of_one_attempt_need_two_names(self, bench: Bench, topic: str) -> None:
        failed = _run(bench, {"to": topic, "once": ["a", "b", "a"]})
        assert failed.status is Status.PENDING  # its own input was right, so it is tried again
        assert (failed.error or "").startswith("once: this attempt has published under this name already")
        assert queues.depth(topic).depth == 2

    def test_a_name_is_free_again_when_nothing_was_published(self, bench: Bench, topic: str) -> None:
        with at_work(bench.yard, 4_711):
            with pytest.raises(TooLarge):
                messages.publish(topic, {"text": "x" * 6_000_000}, once="large")
            (refusal,) = messages.publish_many([NewMessage(topic=topic, payload={"x": "x" * 6_000_000}, once="large")])
            assert isinstance(refusal, TooLarge)
            assert messages.publish(topic, {}, once="large").topic == topic

    def test_once_needs_a_handler_and_no_other_key(self) -> None:
        assert refused(once="shipped") == ("once", "a name, and within=context")
        assert refused(once="shipped", idempotency_key="k") == ("once", "one of them, not both")


def _run(bench: Bench, script: dict[str, Any], deliveries: int = 1) -> Message:
    """The record of a message to the deployed subscriber after its deliveries."""
    with installation.using(bench.yard):
        sent = messages.publish("deployed", script, max_retries=deliveries if "fail" in script else None)
    for _ in range(deliveries):
        bench.work(bench.lane(bench.job(sent.id)))
        bench.clock.move(120_000)
    with installation.using(bench.yard):
        return messages.get(sent)


class TestSettling:
    def test_poll_and_complete(self, bench: Bench, topic: str) -> None:
        low, high = messages.publish(topic, {}, priority=0), messages.publish(topic, {}, priority=10)
        first, second = messages.poll(topic, consumer_id="me", lock_timeout_ms=5_000)
        assert [first.id, second.id] == [high.id, low.id]
        assert (first.status, first.consumer_id) == (Status.PROCESSING, "me")
        assert first.locked_at == moment_of(bench.clock.ms)
        assert first.lock_expires_at == moment_of(bench.clock.ms + 5_000)
        assert first.lock_token
        assert first.lock_token not in repr(first)
        assert messages.complete(first).status is Status.COMPLETED
        assert messages.complete(second.id).status is Status.COMPLETED
        assert trace_of(first) == ["PUBLISHED", "PROCESSING", "COMPLETED"]

    def test_many_are_settled_each_for_itself(self, topic: str) -> None:
        for n in range(4):
            messages.publish(topic, {"n": n}, max_retries=1)
        first, second, third, fourth = messages.poll(topic)
        done = messages.complete_many([first, second.id, first, 999_999_999, "x"])
        assert [each.status if isinstance(each, Message) else type(each) for each in done] == [
            Status.COMPLETED,
            Status.COMPLETED,
            Conflict,
            NotFound,
            NotFound,
        ]
        assert isinstance(done[0], Message)
        assert done[0].payload == first.payload
        failed = messages.fail_many([third, first], "payment is down")
        assert [str(each) for each in failed[1:]] == [
            f"id: message {first.id} is COMPLETED, not PROCESSING; expected a message that is PROCESSING; "
            "got COMPLETED; it is settled already"
        ]
        assert isinstance(failed[0], Message)
        assert (failed[0].status, failed[0].error) == (Status.FAILED, "payment is down")
        messages.fail(fourth)
        assert [replay.success for replay in dead_letters.replay_topic(topic, 1)] == [True]
        assert [replay.success for replay in dead_letters.replay_topic(topic)] == [True]
        assert dead_letters.replay_topic(topic) == []
        assert len(messages.poll(topic)) == 2

    def test_a_refusal_speaks_of_statuses(self, topic: str) -> None:
        made = messages.publish(topic, {})
        for act in (messages.complete, messages.fail):
            with pytest.raises(Conflict, match=f"message {made.id} is PENDING, not PROCESSING.*poll it first"):
                act(made)

    def test_a_failure_comes_back_and_the_last_is_a_dead_letter(self, bench: Bench, topic: str) -> None:
        made = messages.publish(topic, {}, max_retries=2)
        (polled,) = messages.poll(topic)
        failed = messages.fail(polled, "payment is down")
        assert (failed.status, failed.error, failed.retry_count) == (Status.PENDING, "payment is down", 1)
        assert failed.next_retry_at == moment_of(bench.clock.ms + 1_000)
        assert made.lock_token is None

    def test_an_empty_reason_is_told_as_none(self, topic: str) -> None:
        messages.publish(topic, {}, max_retries=1)
        (polled,) = messages.poll(topic)
        assert messages.fail(polled, "").error == "the consumer gave no reason"

    def test_only_the_holder_settles_with_a_token(self, topic: str) -> None:
        messages.publish(topic, {})
        (polled,) = messages.poll(topic)
        with pytest.raises(Conflict):
            messages.complete(polled, lock_token="of-somebody-else")  # noqa: S106  # no password
        assert messages.complete(polled.id, lock_token=polled.lock_token).status is Status.COMPLETED
        with pytest.raises(Conflict):
            messages.complete(polled)

    def test_a_lock_is_extended_from_now_on(self, bench: Bench, topic: str) -> None:
        messages.publish(topic, {})
        (polled,) = messages.poll(topic)
        bench.clock.move(20_000)
        extended = messages.extend(polled, 60_000)
        assert extended.lock_expires_at == moment_of(bench.clock.ms + 60_000)
        assert messages.complete(extended).status is Status.COMPLETED
        with pytest.raises(InvalidInput):
            messages.extend(polled.id)

    @pytest.mark.parametrize("which", ["x", "0", "12345678", 12345678])
    def test_there_is_no_such_message(self, which: Any) -> None:
        for act in (messages.get, messages.complete, messages.fail):
            with pytest.raises(NotFound):
                act(which)

    @pytest.mark.parametrize("which", [0, -1, 2**60, True, None, [1]])
    def test_what_is_no_id_is_told_as_that(self, which: Any) -> None:
        for act in (messages.get, messages.complete, messages.fail):
            with pytest.raises(InvalidInput):
                act(which)

    def test_a_topic_with_subscribers_is_not_polled(self) -> None:
        with pytest.raises(Conflict) as conflict:
            messages.poll("deployed")
        assert conflict.value.field == "topic"

    @pytest.mark.parametrize(
        ("options", "field"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 101}, "limit"),
            ({"lock_timeout_ms": 999}, "lock_timeout_ms"),
            ({"lock_timeout_ms": 43_200_001}, "lock_timeout_ms"),
            ({"wait_s": 21}, "wait_s"),
            ({"consumer_id": "a\nb"}, "consumer_id"),
        ],
    )
    def test_what_a_poll_refuses(self, topic: str, options: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidInput) as error:
            messages.poll(topic, **options)
        assert error.value.field == field

    def test_a_poll_takes_as_many_as_the_settings_say(self, bench: Bench, topic: str) -> None:
        messages.publish_many([NewMessage(topic=topic, payload={"n": n}) for n in range(12)])
        assert len(messages.poll(topic)) == bench.yard.settings.mq_poll_limit == 10


class TestListing:
    def test_pages_and_cursors_tell_the_same(self, bench: Bench, topic: str) -> None:
        made = []
        for n in range(5):
            bench.clock.move(1)
            made.append(messages.publish(topic, {"n": n}))
        newest_first = made[::-1]
        first = messages.list(topic=topic, per_page=2)
        assert (first.items, first.total_count, first.total_is_exact) == (newest_first[:2], 5, True)
        assert messages.list(topic=topic, per_page=2, page=2).items == newest_first[2:4]
        second = messages.list(topic=topic, per_page=2, cursor=first.next_cursor)
        assert (second.items, second.total_count) == (newest_first[2:4], None)
        last = messages.list(topic=topic, per_page=2, cursor=second.next_cursor)
        assert (list(last), len(last), last.next_cursor) == (newest_first[4:], 1, None)

    def test_filters_hold_together(self, topic: str) -> None:
        done, open_ = messages.publish(topic, {}, trace_id=f"a-{topic}", priority=5), messages.publish(topic, {})
        messages.complete(messages.poll(topic, 1)[0])
        assert [m.id for m in messages.list(topic=topic, status="COMPLETED")] == [done.id]
        assert [m.id for m in messages.list(topic=topic, status=Status.PENDING)] == [open_.id]
        assert [m.id for m in messages.list(trace_id=f"a-{topic}")] == [done.id]
        assert messages.list(trace_id=f"a-{topic}", status=Status.PENDING).items == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"status": "DONE"}, "status"),
            ({"page": 0}, "page"),
            ({"page": 1_000_000}, "page"),
            ({"per_page": 101}, "per_page"),
            ({"cursor": "x"}, "cursor"),
            ({"cursor": "1750000000000-0000000000000001", "page": 2}, "cursor"),
            ({"cursor": "1750000000000-0000000000000001"}, "cursor"),
            ({"cursor": 7}, "cursor"),
            ({"topic": ""}, "topic"),
        ],
    )
    def test_what_is_refused(self, query: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidInput) as error:
            messages.list(**query)
        assert error.value.field == field

    def test_a_cursor_of_another_list_is_refused(self, topic: str) -> None:
        for _ in range(2):
            messages.publish(topic, {})
        cursor = messages.list(topic=topic, per_page=1).next_cursor
        assert len(messages.list(topic=topic, cursor=cursor)) == 1
        for other in ({"topic": f"{topic}.b"}, {}, {"topic": topic, "status": "PENDING"}):
            with pytest.raises(InvalidInput, match="no cursor of this list"):
                messages.list(**other, cursor=cursor)  # type: ignore[arg-type]


NESTED: Any = []
for _ in range(100):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "payload",
    [{"n": NESTED}, {"n": 10**308}, {7: 1, "7": 2}, {"n": math.inf}, {"n": b"\xff"}, {"n": int}],
    ids=["deep", "large", "twice", "inf", "bytes", "class"],
)
def test_a_payload_is_judged_as_over_http(topic: str, payload: Any) -> None:
    for field in ("payload", "meta"):
        with pytest.raises(InvalidInput) as refused:
            messages.publish(topic, **{"payload": {}, field: payload})
        assert (refused.value.field or "").startswith(field)
    assert list(messages.list(topic=topic)) == []


def test_a_payload_takes_the_form_of_json(topic: str) -> None:
    day = datetime(2026, 1, 2, tzinfo=UTC)
    message = messages.publish(topic, {"day": day, "tags": {2, 1}, 7: Decimal("1.5")}, meta={"from": Path("/a")})
    assert message.payload == {"day": "2026-01-02T00:00:00Z", "tags": [1, 2], "7": "1.5"}
    (taken,) = messages.poll(topic)
    assert (taken.payload, taken.meta) == (message.payload, {"from": "/a"})


def test_the_deepest_and_largest_payload_is_taken(topic: str) -> None:
    payload = {"n": NESTED[0][0], "large": -(10**308) + 1, "pair": (1, 2.5, True, None)}
    messages.publish(topic, payload)
    (taken,) = messages.poll(topic)
    assert taken.payload == {**payload, "pair": [1, 2.5, True, None]}


def test_wrong_types_are_refused_as_such(topic: str) -> None:
    message = messages.publish(topic, {})
    wrong: Any = 5
    for act in (messages.fail, lambda found, reason: messages.fail_many([found], reason)):
        with pytest.raises(InvalidInput, match=r"error: this is no text; expected a str; got int"):
            act(message, wrong)
    (refused,) = messages.publish_many([{"topic": topic, "payload": {}}])  # type: ignore[list-item]
    assert str(refused) == "this cannot be published; expected a NewMessage; got dict"
    with pytest.raises(InvalidInput, match="this cannot be called"):
        Consumer().subscribe(topic, wrong)


def test_times_are_exact_to_the_millisecond() -> None:
    assert moment_of(START_MS + 7) == datetime(2025, 6, 15, 15, 6, 40, 7_000, tzinfo=UTC)
