"""A group that brings records in: no record is lost and none is two jobs, whatever becomes of brokers and members."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError
from confluent_kafka import KafkaError

from chalicelib.core.errors import Unavailable
from chalicelib.core.kafka import Inward, Standing
from chalicelib.engine.bridge import inward
from chalicelib.engine.bridge.commits import Saved, Saves, durable
from chalicelib.engine.bridge.inward import InwardBridge, inward_bridges, run_all
from chalicelib.engine.handlers.declare import subscribe
from chalicelib.engine.kafka_members import told_of_members
from chalicelib.queue.kafka import properties
from chalicelib.queue.kafka_group import KafkaGroup, offsets_of
from chalicelib.store.kafka_members import KafkaMembers
from tests.support.kafka import LIMIT_S, Kafka, kafka
from tests.support.waiting import until
from tests.support.worlds import World, wiped, world
from tests.support.yards import SETTINGS

PARTITIONS = 2


@subscribe("orders")
def reader(_: Any) -> None: ...


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kafka]:
    with kafka() as running:
        yield running


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([reader], SETTINGS) as used:
        yield used


@dataclass(slots=True)
class Stage:
    """A world, and a topic on Kafka that comes into it."""

    w: World
    cluster: Kafka
    source: str
    max_pending: int = 10_000
    opened: list[InwardBridge] = field(default_factory=list)
    written: int = 0

    def write(self, count: int, partition: int | None = None) -> None:
        values = [b"%d" % number for number in range(self.written, self.written + count)]
        self.written += count
        self.cluster.write(self.source, values, partition=partition, key=None)

    def member(self, *, classic: bool = False, saves: Saves = durable) -> InwardBridge:
        """Another member of the group."""
        topic = Inward(topic="orders", source=self.source, cluster="k", group=self.source, max_pending=self.max_pending)
        group = KafkaGroup(properties(self.cluster.bootstrap), self.source, [self.source], classic=classic)
        self.opened.append(InwardBridge(self.w.yard, group, {self.source: topic}, saves))
        self.opened[-1].open()
        return self.opened[-1]

    def inputs(self) -> list[int]:
        return sorted(self.w.yard.payloads.body(job)["input"] for job in self.w.jobs())

    def bring_in(self, *members: InwardBridge) -> None:
        """Until everything that was written is here."""
        self.until(lambda: len(self.inputs()) >= self.written, *members)

    def until(self, holds: Callable[[], bool], *members: InwardBridge) -> None:
        def step() -> bool:
            for each in members:
                each.step()
            return holds()

        until(step)

    def all_committed(self) -> bool:
        return (
            sum(offset or 0 for offset in self.cluster.committed(self.source, self.source, PARTITIONS)) == self.written
        )


@pytest.fixture
def stage(cluster: Kafka, ground: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.setattr(inward, "POLL_S", 0.02)
    made = Stage(wiped(ground), cluster, cluster.topic(PARTITIONS))
    yield made
    cluster.up()
    cluster.answer_after(0)
    for each in made.opened:
        each.group.close()


def once_each(stage: Stage) -> None:
    assert stage.inputs() == list(range(stage.written))


def test_records_become_messages_and_then_offsets_are_committed(stage: Stage) -> None:
    stage.write(30)
    member = stage.member()
    stage.bring_in(member)
    stage.until(stage.all_committed, member)
    once_each(stage)


def test_the_next_member_goes_on_where_the_one_before_it_stopped(stage: Stage) -> None:
    stage.write(10)
    first = stage.member()
    stage.bring_in(first)
    stage.opened.remove(first)
    first.group.close()
    assert stage.all_committed()
    stage.write(5)
    second = stage.member()
    with patch.object(inward, "accept_each", wraps=inward.accept_each) as accepting:
        stage.bring_in(second)
    assert sum(len(call.args[2]) for call in accepting.call_args_list) == 5
    once_each(stage)


def test_what_was_accepted_and_not_committed_is_delivered_again_and_one_job(stage: Stage) -> None:
    stage.write(20)
    first = stage.member()
    with patch.object(KafkaGroup, "commit"):
        stage.bring_in(first)
    stage.opened.remove(first)
    first.group.close()
    assert stage.cluster.committed(stage.source, stage.source, PARTITIONS) == [None] * PARTITIONS
    second = stage.member()
    stage.until(stage.all_committed, second)
    once_each(stage)


def test_a_member_that_joins_in_the_middle_of_a_batch_loses_and_doubles_nothing(stage: Stage) -> None:
    stage.write(40)
    first, seconds = stage.member(), []
    real = inward.accept_each

    def meanwhile(*given: Any) -> Any:
        if not seconds:
            seconds.append(stage.member())
            stage.write(40)
        return real(*given)

    with patch.object(inward, "accept_each", meanwhile):
        stage.until(lambda: bool(seconds), first)
    (second,) = seconds
    stage.until(lambda: (len(first.group.assigned), len(second.group.assigned)) == (1, 1), first, second)
    stage.write(40)
    stage.bring_in(first, second)
    stage.until(stage.all_committed, first, second)
    once_each(stage)


def test_a_broker_that_goes_and_comes_back_costs_time(stage: Stage) -> None:
    stage.write(10)
    member = stage.member()
    stage.bring_in(member)
    stage.cluster.down()
    stage.until(lambda: member.group.trouble.text is not None, member)
    stage.w.clock.move(inward.REPORT_MS)
    member._report()
    with pytest.raises(Unavailable, match=f"1 members read {PARTITIONS} partitions, .*BROKER|TRANSPORT"):
        told_of_members(stage.w.yard)
    assert [each.error for each in member.standings()] == [member.group.trouble.text] * PARTITIONS
    stage.cluster.up()
    stage.write(10)
    stage.bring_in(member)
    stage.until(stage.all_committed, member)
    stage.until(lambda: {each.error for each in member.standings()} == {None}, member)
    once_each(stage)


def test_late_answers_cost_time(stage: Stage) -> None:
    stage.write(10)
    member = stage.member()
    stage.cluster.answer_after(300)
    stage.bring_in(member)
    stage.cluster.answer_after(0)
    stage.until(stage.all_committed, member)
    once_each(stage)


def test_the_older_group_protocol_does_as_well(stage: Stage) -> None:
    stage.write(10)
    member = stage.member(classic=True)
    stage.bring_in(member)
    stage.until(stage.all_committed, member)
    once_each(stage)


def test_a_member_that_cannot_go_on_says_so(stage: Stage) -> None:
    member = stage.member()
    member.group._failed(KafkaError(KafkaError.UNSUPPORTED_VERSION, "KIP-848", fatal=True))
    with pytest.raises(Unavailable, match="classic"):
        member.step()


def test_a_topic_that_is_not_there_is_told_once_and_once_more_when_it_is(stage: Stage) -> None:
    stage.source = "later"
    member = stage.member()

    def look() -> None:
        stage.w.clock.move(inward.SEARCH_MS)
        member.step()

    def look_until(holds: Callable[[], bool]) -> None:
        """A look that has no answer in time tells nothing."""
        until(lambda: (look(), holds())[-1])

    with patch.object(inward, "logger") as told:
        look_until(lambda: told.warning.called)
        for _ in range(2):
            look()
        (missing,) = told.warning.call_args_list
        assert missing.args == ("there is no topic %s on Kafka", "later")
        told.info.assert_not_called()
        stage.cluster.topic(PARTITIONS, "later")
        look_until(lambda: told.info.called)
        look()
        (there,) = told.info.call_args_list
        assert there.args == ("the topic %s is on Kafka now", "later")


# -- back-pressure --------------------------------------------------------------------------------------


def test_where_the_ledger_does_not_answer_a_partition_goes_back_and_waits(stage: Stage) -> None:
    stage.write(6, partition=0)
    member = stage.member()
    down = EndpointConnectionError(endpoint_url="https://aws.test")
    with patch.object(type(stage.w.yard.jobs), "together", side_effect=down):
        stage.until(lambda: (stage.source, 0) in member.group.paused, member)
    assert stage.inputs() == []
    assert [each.paused for each in member.standings()] == ["the ledger refuses", None]
    assert "AWS" in (member.standings()[0].error or "") or "DynamoDB" in (member.standings()[0].error or "")
    stage.w.clock.move(500)
    stage.bring_in(member)
    assert member.standings()[0] == Standing(stage.source, 0, 6)
    once_each(stage)


def test_a_member_that_cannot_go_back_ends_rather_than_pass_over_a_record(stage: Stage) -> None:
    member = stage.member()
    stage.until(lambda: len(member.group.assigned) == PARTITIONS, member)
    nowhere = (stage.source, 9)
    member.group.go_back(nowhere, 0)  # another member's
    member.group.assigned.add(nowhere)
    with pytest.raises(Unavailable, match="cannot be read again from 0 on"):
        member.group.go_back(nowhere, 0)
    member.group.assigned.remove(nowhere)


def test_where_too_many_messages_wait_nothing_more_is_brought_in(stage: Stage) -> None:
    stage.max_pending = 20
    stage.write(30)
    member = stage.member()
    stage.bring_in(member)
    stage.until(lambda: member.group.paused == member.group.assigned, member)
    assert {each.paused for each in member.standings()} == {"messages wait"}
    stage.write(10)
    for _ in range(5):
        stage.w.clock.move(inward.LOOK_MS)
        member.step()
    assert len(stage.inputs()) == 30
    stage.w.deliver()
    stage.w.clock.move(inward.LOOK_MS)
    stage.bring_in(member)
    assert member.group.paused == set()
    once_each(stage)


# -- a ledger that is saved now and then -------------------------------------------------------------------


@dataclass
class Emulator:
    """How far a ledger is saved that changes with every question, and is saved when it is told to."""

    run: str = "the first"
    writes: int = 0
    saved_writes: int = 0

    def __call__(self, *, save_now: bool = False) -> Saved:
        self.writes += 1
        if save_now:
            self.save()
        return Saved(self.run, self.writes, self.saved_writes)

    def save(self) -> None:
        self.saved_writes = self.writes


def nothing_committed(stage: Stage) -> bool:
    return stage.cluster.committed(stage.source, stage.source, PARTITIONS) == [None] * PARTITIONS


def saved_and_committed(stage: Stage, emulator: Emulator, *members: InwardBridge) -> None:
    """All that was written is, while saves go on."""

    def holds() -> bool:
        emulator.save()
        return stage.all_committed()

    stage.until(holds, *members)


def test_offsets_wait_for_the_next_save_those_of_unreadable_records_too(stage: Stage) -> None:
    stage.max_pending = 20
    emulator = Emulator()
    stage.write(30)
    stage.cluster.write(stage.source, [b"no JSON"], partition=0)
    member = stage.member(saves=emulator)
    stage.until(lambda: len(stage.w.jobs()) == 31, member)
    for _ in range(3):
        member.step()
    assert nothing_committed(stage)
    assert {each.offset for each in member.standings()} == {None}
    stage.until(lambda: member.group.paused == member.group.assigned, member)
    stage.written += 1
    saved_and_committed(stage, emulator, member)


def test_a_member_that_joins_while_offsets_wait_loses_and_doubles_nothing(stage: Stage) -> None:
    emulator = Emulator()
    stage.write(40)
    first = stage.member(saves=emulator)
    stage.bring_in(first)
    second = stage.member(saves=emulator)
    stage.until(lambda: (len(first.group.assigned), len(second.group.assigned)) == (1, 1), first, second)
    stage.write(20)
    stage.bring_in(first, second)
    assert nothing_committed(stage)
    saved_and_committed(stage, emulator, first, second)
    once_each(stage)


def test_what_an_emulator_may_have_lost_that_was_started_anew_is_read_again(stage: Stage) -> None:
    emulator = Emulator()
    stage.write(20)
    member = stage.member(saves=emulator)
    stage.bring_in(member)
    member.step()
    stage.w = wiped(stage.w)
    member.yard, emulator.run = stage.w.yard, "the second"
    stage.write(5)
    stage.bring_in(member)
    saved_and_committed(stage, emulator, member)
    once_each(stage)


def test_a_member_that_ends_has_what_waits_saved_and_commits_it(stage: Stage) -> None:
    emulator = Emulator()
    stage.write(10)
    member = stage.member(saves=emulator)
    stopping = threading.Event()
    with patch.object(InwardBridge, "open"):  # it is open
        running = threading.Thread(target=member.run, args=(stopping,))
        running.start()
        until(lambda: len(stage.inputs()) == 10)
        assert nothing_committed(stage)
        stopping.set()
        running.join()
    stage.opened.remove(member)
    assert stage.all_committed()
    once_each(stage)


# -- the whole ------------------------------------------------------------------------------------------


def test_members_of_one_group_that_read_in_several_ways_report_beside_one_another(stage: Stage) -> None:
    ways: list[dict[str, str]] = [{}, {"start": "latest"}, {"protocol": "classic"}]
    topics = [{"topic": f"t{number}", "direction": "in", "group": "g", **way} for number, way in enumerate(ways)]
    chosen = replace(SETTINGS, kafka=stage.cluster.bootstrap, kafka_topics=json.dumps(topics))
    yard = replace(stage.w.yard, settings=chosen)
    for each in inward_bridges(yard):
        each._report()
    reported = KafkaMembers(yard.directory.table).all(yard.now_ms())
    assert [each.name.removeprefix(f"{yard.worker_name}/") for each in reported] == ["g", "g/classic", "g/latest"]
    assert {each.process for each in reported} == {yard.worker_name}


def test_it_reports_how_it_stands_until_it_leaves(stage: Stage) -> None:
    stage.write(4, partition=1)
    topic = {"topic": "orders", "direction": "in", "kafka": stage.source, "group": "whole"}
    chosen = replace(SETTINGS, kafka=stage.cluster.bootstrap, kafka_topics=json.dumps([topic]))
    yard = replace(stage.w.yard, settings=chosen)
    members, stopping = KafkaMembers(yard.directory.table), threading.Event()
    running = threading.Thread(target=run_all, args=(inward_bridges(yard), stopping))
    running.start()
    try:
        until(lambda: len(stage.inputs()) == 4)

        def reported() -> bool:
            stage.w.clock.move(inward.REPORT_MS)
            found = {each.name: each for each in members.all(yard.now_ms())}
            member = found.get(f"{yard.worker_name}/whole")
            return member is not None and Standing(stage.source, 1, 4) in member.partitions and bool(told())

        def told() -> bool:
            return told_of_members(yard).startswith(f"1 members read {PARTITIONS} partitions, last commit ")

        until(reported)
    finally:
        stopping.set()
        running.join()
    assert members.all(yard.now_ms()) == []
    assert offsets_of(properties(stage.cluster.bootstrap), "whole", [stage.source], LIMIT_S) == {
        (stage.source, 0): (None, 0, 0),
        (stage.source, 1): (4, 0, 4),
    }


def test_each_group_has_a_member_of_its_own(stage: Stage) -> None:
    topics = [
        {"topic": "a", "direction": "in", "group": "one"},
        {"topic": "b", "direction": "in", "group": "one"},
        {"topic": "c", "direction": "in", "group": "two"},
        {"topic": "d", "direction": "out"},
    ]
    chosen = replace(SETTINGS, kafka=stage.cluster.bootstrap, kafka_topics=json.dumps(topics))
    made = inward_bridges(replace(stage.w.yard, settings=chosen))
    assert [(each.group.group, each.group.topics) for each in made] == [("one", ["a", "b"]), ("two", ["c"])]
