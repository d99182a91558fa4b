"""When offsets are committed on a ledger that is saved now and then: never before the save, always after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import Unavailable
from chalicelib.engine.bridge import commits
from chalicelib.engine.bridge.commits import Commits, Saved, Span
from chalicelib.queue.kafka_group import KafkaGroup, Partition

P, Q = ("orders", 0), ("orders", 1)


@dataclass
class Ledger:
    """Keeps the places of records in memory, and saves them when it is told to."""

    accepted: set[tuple[Partition, int]] = field(default_factory=set)
    saved: set[tuple[Partition, int]] = field(default_factory=set)
    run: int = 1
    writes: int = 0
    saved_writes: int = 0
    is_silent: bool = False
    can_save: bool = True
    asked: int = 0

    def __call__(self, *, save_now: bool = False) -> Saved:
        self.asked += 1
        if self.is_silent:
            raise Unavailable("the emulator does not answer")
        if save_now:
            self.save()
        return Saved(f"run {self.run}", self.writes, self.saved_writes)

    def accept(self, place: Partition, offset: int) -> None:
        self.accepted.add((place, offset))
        self.writes += 1

    def save(self) -> None:
        if self.can_save:
            self.saved, self.saved_writes = {*self.accepted}, self.writes

    def killed(self) -> None:
        self.run += 1
        self.accepted, self.writes, self.saved_writes = {*self.saved}, 0, 0


@dataclass
class Group:
    """A member of a group: what it has read up to, and what is committed."""

    assigned: set[Partition] = field(default_factory=lambda: {P, Q})
    position: dict[Partition, int] = field(default_factory=lambda: dict.fromkeys((P, Q), 0))
    committed: dict[Partition, int] = field(default_factory=lambda: dict.fromkeys((P, Q), 0))

    def commit(self, ends: dict[Partition, int]) -> None:
        self.committed |= {each: end for each, end in ends.items() if each in self.assigned}

    def go_back(self, place: Partition, offset: int) -> None:
        if place in self.assigned:
            self.position[place] = offset


@dataclass
class Member:
    ledger: Ledger = field(default_factory=Ledger)
    group: Group = field(default_factory=Group)

    def __post_init__(self) -> None:
        self.commits = Commits(cast(KafkaGroup, self.group), self.ledger)
        self.commits.begin()

    def accept(self, place: Partition, count: int) -> None:
        """A batch of one partition is read and accepted."""
        first = self.group.position[place]
        self.group.position[place] = end = first + count
        for offset in range(first, end):
            self.ledger.accept(place, offset)
        self.commits.accepted({place: Span(first, end)})

    def lose(self, place: Partition) -> None:
        self.group.assigned.discard(place)
        self.commits.forget({place})

    def gain(self, place: Partition) -> None:
        """A partition that was lost is back: it is read from what is committed."""
        if place not in self.group.assigned:
            self.group.assigned.add(place)
            self.group.position[place] = self.group.committed[place]

    def step(self, **asked: Any) -> dict[Partition, int]:
        self.commits.advance(**asked)
        return self.group.committed


def test_an_offset_waits_for_a_save_that_began_after_its_record_was_accepted() -> None:
    member = Member()
    member.accept(P, 3)
    assert member.step() == {P: 0, Q: 0}
    member.accept(P, 2)
    member.ledger.save()
    member.accept(P, 4)
    assert member.step() == {P: 3, Q: 0}
    member.ledger.save()
    assert member.step() == {P: 9, Q: 0}


def test_what_was_saved_before_it_was_asked_does_not_wait() -> None:
    member = Member()
    member.accept(Q, 1)
    member.ledger.save()
    assert member.step() == {P: 0, Q: 1}


def test_while_nothing_waits_nobody_asks() -> None:
    member = Member()
    member.accept(P, 1)
    member.ledger.save()
    member.step()
    asked = member.ledger.asked
    for _ in range(3):
        member.step()
    assert member.ledger.asked == asked


def test_a_save_that_fails_lets_nothing_be_committed_and_the_next_that_succeeds_all() -> None:
    member = Member()
    member.ledger.can_save = False
    for _ in range(3):
        member.accept(P, 1)
        assert member.step(save_now=True) == {P: 0, Q: 0}
    member.ledger.can_save = True
    assert member.step(save_now=True) == {P: 3, Q: 0}


def test_a_member_that_leaves_has_it_saved() -> None:
    member = Member()
    member.accept(P, 5)
    assert member.step(save_now=True) == {P: 5, Q: 0}


def test_a_ledger_that_was_started_anew_has_all_that_waits_read_again() -> None:
    member = Member()
    member.accept(P, 1)
    member.ledger.save()
    member.step()
    member.accept(P, 2)
    member.step()
    member.accept(P, 3)
    member.accept(Q, 1)
    member.ledger.killed()
    member.ledger.writes = member.ledger.saved_writes = 99  # however much the new run has saved
    assert member.step() == {P: 1, Q: 0}
    assert member.group.position == {P: 1, Q: 0}


def test_a_ledger_that_dies_between_accepting_and_the_question_has_it_read_again() -> None:
    member = Member()
    member.accept(P, 2)
    member.ledger.killed()
    member.step()
    assert (member.group.position[P], member.group.committed[P]) == (0, 0)


def test_a_ledger_that_did_not_answer_at_the_start_has_the_first_batch_read_twice() -> None:
    ledger = Ledger(is_silent=True)
    member = Member(ledger)
    member.accept(P, 2)
    ledger.is_silent = False
    ledger.save()
    member.step()
    assert (member.group.position[P], member.group.committed[P]) == (0, 0)
    member.accept(P, 2)
    ledger.save()
    assert member.step() == {P: 2, Q: 0}


def test_while_the_ledger_does_not_answer_offsets_wait_and_that_is_said_once() -> None:
    member = Member()
    member.accept(P, 2)
    member.ledger.save()
    member.ledger.is_silent = True
    with patch.object(commits, "logger") as told:
        for _ in range(3):
            assert member.step() == {P: 0, Q: 0}
        told.warning.assert_called_once()
        member.ledger.is_silent = False
        assert member.step() == {P: 2, Q: 0}


def test_a_partition_that_was_taken_away_is_not_committed_when_it_is_back() -> None:
    member = Member()
    member.accept(P, 5)
    member.accept(Q, 1)
    member.step()
    member.accept(P, 5)
    member.lose(P)
    member.group.committed[P] = 20  # by another member
    member.gain(P)
    member.ledger.save()
    assert member.step() == {P: 20, Q: 1}


def test_a_ledger_that_waits_for_no_save_has_all_committed_at_once() -> None:
    group = Group()
    made = Commits(cast(KafkaGroup, group))
    made.begin()
    made.accepted({P: Span(0, 4)})
    made.advance()
    assert group.committed == {P: 4, Q: 0}


PLACES = st.sampled_from([P, Q])
EVENTS = st.one_of(
    st.tuples(st.just("accept"), PLACES, st.integers(1, 3)),
    st.tuples(st.sampled_from(["lose", "gain"]), PLACES),
    st.tuples(st.sampled_from(["step", "save", "killed", "silence", "speech"])),
)


@given(st.lists(EVENTS, max_size=40), st.booleans())
def test_whatever_happens_what_is_committed_is_saved_and_in_the_end_all_is_committed(
    events: list[tuple[Any, ...]], is_silent: bool
) -> None:
    member = Member(Ledger(is_silent=is_silent))
    ledger, group = member.ledger, member.group
    for name, *given_ in events:
        match name:
            case "save" | "killed":
                getattr(ledger, name)()
            case "silence" | "speech":
                ledger.is_silent = name == "silence"
            case "accept" if given_[0] not in group.assigned:
                continue
            case _:
                getattr(member, name)(*given_)
        assert not _lost(member)
    ledger.is_silent = False
    for place in (P, Q):
        member.gain(place)
    for _ in range(2):  # the first may have all of it read again
        member.step()
        for place in (P, Q):
            member.accept(place, 50 - group.position[place])
        ledger.save()
        member.step()
    assert group.committed == {P: 50, Q: 50}
    assert not _lost(member)


def _lost(member: Member) -> set[tuple[Partition, int]]:
    """What Kafka would not deliver again, and a ledger that is killed now would not have."""
    committed = member.group.committed.items()
    return {(place, offset) for place, end in committed for offset in range(end)} - member.ledger.saved
