"""A member of a consumer group that brings records in as messages: poll, accept, commit, again and again.

An offset is committed once the ledger has accepted the record for good (see ``commits``), and the record's coordinates
make it one message, so whatever dies, nothing is lost and nothing is doubled. Where the ledger does not take a record,
its partition goes back to it and waits; where too many messages of a topic wait already, its partitions pause.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chalicelib.core.errors import TaskyardError
from chalicelib.core.kafka import Inward, Record, Standing
from chalicelib.engine.bridge.commits import Commits, Saves, Span, Spans, durable
from chalicelib.engine.projections.depth import depth_of
from chalicelib.engine.publish.records import accept_each
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.kafka_group import KafkaGroup, Partition
from chalicelib.store.kafka_members import KafkaMembers, Member

BATCH_MAX = 490  # five chunks of what is accepted at once
POLL_S = 0.25  # how long a batch is waited for that does not fill
LOOK_MS = 5_000  # how often it is looked how many messages wait
REPORT_MS = 5_000
SEARCH_MS = 30_000  # how often it is looked whether a topic that was missing on Kafka is there
SEARCH_LIMIT_S = 2.0
RETRY_FIRST_MS = 500
RETRY_LONGEST_MS = 30_000
PENDING, REFUSED = "messages wait", "the ledger refuses"


@dataclass(slots=True)
class InwardBridge:
    """What one group brings in, ``topics`` by their names on Kafka, to a ledger that ``saves`` asks."""

    yard: Yard
    group: KafkaGroup
    topics: Mapping[str, Inward]
    saves: Saves = durable
    _commits: Commits = field(init=False)
    _crowded: set[str] = field(default_factory=set)  # the topics of which too many messages wait
    _again_at_ms: dict[Partition, int] = field(default_factory=dict)  # when a refused partition is read again
    _refusals: dict[Partition, int] = field(default_factory=dict)  # how often in a row it was refused
    _why: dict[Partition, str] = field(default_factory=dict)
    _looked_at_ms: int = 0
    _taken: int = 0  # records, since it was looked
    _reported_at_ms: int = 0
    _acknowledged: int = 0  # commits, when it was last looked
    _committed_at_ms: int | None = None
    _missing: frozenset[str] | None = None  # on Kafka; ``None``: it has not answered yet
    _searched_at_ms: int = 0

    def __post_init__(self) -> None:
        self._commits = Commits(self.group, self.saves)
        self.group.on_revoke = self._commits.forget

    def open(self) -> None:
        """Join the group. Raises ``NoLibrary`` and ``InvalidInput``."""
        self._commits.begin()
        self.group.open()

    def run(self, stopping: threading.Event) -> None:
        """Bring records in until ``stopping`` is set; what is under way then is finished and committed."""
        self.open()
        try:
            while not stopping.is_set():
                self.step()
            self._commits.advance(save_now=True)
        finally:
            self.group.close()
            self._leave()

    def step(self) -> None:
        """One round: a batch, and what the next one depends on."""
        records = self.group.poll(BATCH_MAX, POLL_S)
        if records:
            self.take(records)
        self._commits.advance()
        self._look_for_topics()
        self._look_at_depths()
        self.group.pause(self._to_be_paused())
        self._note_commits()
        self._report()

    def take(self, records: Sequence[Record]) -> None:
        """Accept a batch, as far as the ledger takes it."""
        for source in dict.fromkeys(record.topic for record in records):
            ours = [record for record in records if record.topic == source]
            outcomes = accept_each(self.yard, self.topics[source], ours)
            self._commits.accepted(self._concluded(ours, outcomes))
            self._taken += len(ours)

    def _concluded(self, records: Sequence[Record], outcomes: Sequence[TaskyardError | None]) -> Spans:
        """What was accepted of each partition; it goes back to its first record that was not."""
        done: Spans = {}
        refused: set[Partition] = set()
        for record, outcome in zip(records, outcomes, strict=True):
            place = (record.topic, record.partition)
            if place in refused:
                continue
            if outcome is None:
                done[place] = Span(done[place].first if place in done else record.offset, record.offset + 1)
            else:
                refused.add(place)
                self._go_back(place, record, outcome)
        for place in done.keys() - refused:
            self._refusals.pop(place, None)
            self._why.pop(place, None)
        return done

    def _go_back(self, place: Partition, record: Record, why: TaskyardError) -> None:
        refusals = self._refusals[place] = self._refusals.get(place, 0) + 1
        wait_ms = min(RETRY_FIRST_MS << min(refusals - 1, 10), RETRY_LONGEST_MS)
        told = {"record": record.place, "error": str(why), "wait_ms": wait_ms}
        logger.warning("record %s not accepted", record.place, extra=told)
        self._again_at_ms[place] = self.yard.now_ms() + wait_ms
        self._why[place] = str(why)
        self.group.go_back(place, record.offset)

    def _look_for_topics(self) -> None:
        """Tell once of topics that are not there: nothing is read of them, and Kafka says nothing."""
        now_ms = self.yard.now_ms()
        if self._missing == frozenset() or now_ms < self._searched_at_ms + SEARCH_MS:
            return
        self._searched_at_ms = now_ms
        missing = self.group.missing(SEARCH_LIMIT_S)
        if missing is None:
            return
        before = self._missing or frozenset()
        for topic in sorted(missing - before):
            logger.warning("there is no topic %s on Kafka", topic, extra={"topic": topic, "group": self.group.group})
        for topic in sorted(before - missing):
            logger.info("the topic %s is on Kafka now", topic, extra={"topic": topic, "group": self.group.group})
        self._missing = missing

    # -- back-pressure ---------------------------------------------------------------------------------

    def _look_at_depths(self) -> None:
        now_ms = self.yard.now_ms()
        soonest = min(each.max_pending for each in self.topics.values()) // 10
        if not (self._taken or self._crowded) or (now_ms < self._looked_at_ms + LOOK_MS and self._taken <= soonest):
            return
        self._looked_at_ms, self._taken = now_ms, 0
        for source, bridged in self.topics.items():
            try:
                waiting = depth_of(self.yard, bridged.topic).depth
            except AWS_FAILURES as error:
                logger.warning("nobody knows how many messages wait", extra={"error": str(error)})
                return
            if waiting >= bridged.max_pending:
                self._crowded.add(source)
            elif waiting <= bridged.max_pending // 2:
                self._crowded.discard(source)

    def _to_be_paused(self) -> set[Partition]:
        now_ms = self.yard.now_ms()
        self._again_at_ms = {each: at_ms for each, at_ms in self._again_at_ms.items() if at_ms > now_ms}
        return {each for each in self.group.assigned if each[0] in self._crowded} | self._again_at_ms.keys()

    # -- what it reports --------------------------------------------------------------------------------

    @property
    def _members(self) -> KafkaMembers:
        return KafkaMembers(self.yard.directory.table)

    @property
    def _name(self) -> str:
        """Its own: a group whose topics are read in several ways has a member for each way in one process."""
        ways = [*(() if self.group.from_start else ("latest",)), *(("classic",) if self.group.classic else ())]
        return "/".join([self.yard.worker_name, self.group.group, *ways])

    def standings(self) -> list[Standing]:
        """How it stands with each partition that it reads."""
        return [self._standing(each) for each in sorted(self.group.assigned)]

    def _standing(self, place: Partition) -> Standing:
        paused = REFUSED if place in self._again_at_ms else PENDING if place[0] in self._crowded else None
        return Standing(*place, self.group.done.get(place), paused, self._why.get(place) or self.group.trouble.text)

    def _note_commits(self) -> None:
        if self.group.commits != self._acknowledged:
            self._acknowledged, self._committed_at_ms = self.group.commits, self.yard.now_ms()

    def _report(self) -> None:
        now_ms = self.yard.now_ms()
        if now_ms < self._reported_at_ms + REPORT_MS:
            return
        self._reported_at_ms = now_ms
        try:
            self._members.report(
                Member(self._name, now_ms, tuple(self.standings()), self._committed_at_ms, self.group.trouble.text)
            )
        except AWS_FAILURES as error:
            logger.warning("a member of a group cannot report", extra={"error": str(error)})

    def _leave(self) -> None:
        try:
            self._members.leave(self._name)
        except AWS_FAILURES as error:
            logger.warning("a member of a group cannot report that it leaves", extra={"error": str(error)})


def inward_bridges(yard: Yard, saves: Saves = durable) -> list[InwardBridge]:
    """What brings the topics of an installation in: one member for each group, and way of reading.

    ``saves`` asks its ledger, from several threads, how far it is saved.

    Raises ``InvalidInput`` and ``NoLibrary``.
    """
    from chalicelib.engine.handlers.bridged import bridged
    from chalicelib.queue.kafka import expect_library, expect_taken, properties

    expect_library()
    by_group: dict[tuple[str, bool, bool], dict[str, Inward]] = {}
    for each in bridged(yard.settings).inward:
        by_group.setdefault((each.group, each.from_start, each.classic), {})[each.source] = each
    reached = properties(yard.settings.kafka) if by_group else {}
    if by_group:
        expect_taken(reached)
    return [
        InwardBridge(yard, KafkaGroup(reached, group, [*topics], from_start, classic), topics, saves)
        for (group, from_start, classic), topics in by_group.items()
    ]


def run_all(bridges: Sequence[InwardBridge], stopping: threading.Event) -> None:
    """Let several bring records in until ``stopping`` is set, or one of them fails, which is raised."""
    failures: list[BaseException] = []

    def run(each: InwardBridge) -> None:
        try:
            each.run(stopping)
        except BaseException as error:
            failures.append(error)
            stopping.set()

    threads = [threading.Thread(target=run, args=(each,), name=f"kafka-{each.group.group}") for each in bridges]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
