"""When an offset is committed: once what was made of its record outlives the death of what keeps the ledger.

On AWS that is as soon as the ledger has accepted it. The embedded emulator keeps its tables in memory and saves them
now and then; killed, it goes on from the last save, and Kafka delivers nothing anew that is committed. So there an
offset waits for a save that began after the record was accepted:

    ledger   40 writes, 35 of them saved ......... saves ......... 44 writes, 42 of them saved
    member   accepts and asks: this waits for 40 ................. asks: 42 are saved, commits

An emulator that was started anew may have lost what waited. It says that it is another run; then all that waits is read
again, and is the same job where it is there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from chalicelib.core.errors import Unavailable
from chalicelib.logger import logger
from chalicelib.queue.kafka_group import KafkaGroup, Partition


class Saved(NamedTuple):
    """How far a ledger is saved."""

    run: str  # of the process that keeps it, which counts from 0 on
    writes: int  # changes that it has made
    saved_writes: int  # of them, those that the last complete save has


class Saves(Protocol):
    """How to ask a ledger how far it is saved."""

    def __call__(self, *, save_now: bool = False) -> Saved:
        """With ``save_now`` it saves first, if it can. Raises ``Unavailable`` where it does not answer in seconds."""
        ...


DURABLE = Saved("", 0, 0)
"""The answer of a ledger that waits for no save."""


def durable(*, save_now: bool = False) -> Saved:
    """How a ledger answers that waits for no save: nobody asks it."""
    del save_now
    return DURABLE


class Span(NamedTuple):
    """Records of a partition that follow one another: from the offset ``first`` to the one before ``end``."""

    first: int
    end: int


Spans = dict[Partition, Span]


@dataclass(slots=True)
class Commits:
    """The commits of one member of a group, on a ledger that ``saves`` asks."""

    group: KafkaGroup
    saves: Saves = durable
    _accepted: Spans = field(default_factory=dict)  # since the ledger was last asked
    _waiting: deque[tuple[int, Spans]] = field(default_factory=deque)  # with the writes that must be saved before
    _last: Saved = DURABLE
    _trouble: str | None = None

    def begin(self) -> None:
        """Learn which run the ledger is in, before it accepts anything."""
        self._ask(save_now=False)

    def accepted(self, spans: Spans) -> None:
        """The ledger has accepted these records, each span the next one of its partition."""
        for each in spans.keys() & self.group.assigned:
            self._accepted[each] = Span(self._accepted.get(each, spans[each]).first, spans[each].end)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """These were taken away: who has them now begins at what is committed."""
        for each in partitions:
            for spans in self._uncommitted():
                spans.pop(each, None)

    def advance(self, *, save_now: bool = False) -> None:
        """Commit what may be, and anew what Kafka has not acknowledged; go back to what may be lost.

        With ``save_now`` the ledger is asked to save what waits. Raises ``Unavailable`` where a partition cannot go
        back.
        """
        if any(self._uncommitted()):
            self._ask(save_now)
        self.group.commit(self._saved_ends())

    def _uncommitted(self) -> list[Spans]:
        return [*(spans for _, spans in self._waiting), self._accepted]

    def _ask(self, save_now: bool) -> None:
        try:
            answer = self.saves(save_now=save_now)
        except Unavailable as error:
            self._note(str(error))
            return
        self._note(None)
        if answer.run != self._last.run:
            self._go_back()
        elif self._accepted:
            self._waiting.append((answer.writes, self._accepted))
            self._accepted = {}
        self._last = answer

    def _go_back(self) -> None:
        """Read again what is not committed: the ledger has begun another run since, and may have lost it."""
        firsts: dict[Partition, int] = {}
        for spans in self._uncommitted():
            firsts = {each: span.first for each, span in spans.items()} | firsts
        self._waiting.clear()
        self._accepted = {}
        if firsts:
            logger.warning("the ledger was started anew; what it may have lost is read again")
        for each, first in firsts.items():
            self.group.go_back(each, first)

    def _saved_ends(self) -> dict[Partition, int]:
        ends: dict[Partition, int] = {}
        while self._waiting and self._waiting[0][0] <= self._last.saved_writes:
            _, spans = self._waiting.popleft()
            ends |= {each: span.end for each, span in spans.items()}
        return ends

    def _note(self, trouble: str | None) -> None:
        """Tell once that nobody knows what is saved."""
        if trouble is not None and self._trouble is None:
            logger.warning("offsets wait: nobody knows what is saved", extra={"error": trouble})
        self._trouble = trouble
