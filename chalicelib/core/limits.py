"""Limits of a task type: how many of its tasks run at the same time, and how many may be unfinished.

What is kept is the *concurrency count* of the type; a topic has one, too, a key (``core/flow.py``), a schedule whose
runs may not overlap, and an application that tasks are delivered to. A job's shares in the counts follow from its
record alone (the slot of a schedule not before it is due, where the type has a size), and each change of a record moves
the counts by the difference of the shares, in the same transaction. So however a job travels, a count is the sum of the
shares of all records: nothing leaks, nothing is freed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core.lanes import PRIORITY_MAX
from chalicelib.core.states import Kind, State

CONCURRENCY_MAX = 1_000
SIZE_MAX = 1_000_000


class Order(StrEnum):
    """What becomes of the jobs behind one that has failed for good, where they run in order."""

    BLOCK = "block"  # they wait until it succeeds, is replayed, deleted or passed over
    STEP_ASIDE = "step aside"  # the next one runs


@dataclass(frozen=True, slots=True)
class Limit:
    """``concurrency``: how many run at once in the whole deployment; ``size``: how many may be unfinished.

    ``None`` is no limit.
    """

    concurrency: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many jobs of a type hold a running slot, and how many are not done; also a change of these numbers."""

    running: int = 0
    unfinished: int = 0

    def __add__(self, other: Concurrency) -> Concurrency:
        return Concurrency(self.running + other.running, self.unfinished + other.unfinished)

    def __sub__(self, other: Concurrency) -> Concurrency:
        return Concurrency(self.running - other.running, self.unfinished - other.unfinished)

    def __bool__(self) -> bool:
        return bool(self.running or self.unfinished)

    def free(self, limit: Limit | None) -> int | None:
        """How many more may begin to run under ``limit``; ``None``: any number."""
        if limit is None or limit.concurrency is None:
            return None
        return max(0, limit.concurrency - self.running)


NOTHING = Concurrency()
ONE_AT_A_TIME = Limit(concurrency=1)
_SCHEDULE = "schedule\n"  # no type has a line break
_APPLICATION = "application\n"
_TOPIC = "topic\n"
_KEY = "key\n"


def count_of_schedule(schedule: str) -> str:
    """The name of the concurrency count of a schedule whose runs may not overlap."""
    return f"{_SCHEDULE}{schedule}"


def counts_schedule(name: str) -> bool:
    """Whether a concurrency count is a schedule's; any other is a task type's."""
    return name.startswith(_SCHEDULE)


def count_of_application(app_key: str) -> str:
    """The name of the concurrency count of what is delivered to an application."""
    return f"{_APPLICATION}{app_key}"


def counted_application(name: str) -> str | None:
    """The key of the application whose concurrency count has this name; ``None`` where it is another's."""
    return name.removeprefix(_APPLICATION) if name.startswith(_APPLICATION) else None


def count_of_topic(topic: str) -> str:
    """The name of the concurrency count of a topic; that of a task type is the type itself."""
    return f"{_TOPIC}{topic}"


def count_of_type(kind: Kind, type: str) -> str:  # noqa: A002  # every dialect's word for it
    """The name of the concurrency count of a task type, or of a topic."""
    return type if kind is Kind.TASK else count_of_topic(type)


def counted_topic(name: str) -> str | None:
    """The topic whose concurrency count has this name; ``None`` where it is another's."""
    return name.removeprefix(_TOPIC) if name.startswith(_TOPIC) else None


def count_of_key(of_type: str, key: str | None) -> str:
    """The name of the concurrency count of a key among the jobs whose own count is ``of_type``; ``None``: of them all.

    It counts those that run, and where they run in order the one whose turn it is.
    """
    return f"{_KEY}{len(of_type)}\n{of_type}\n{key or ''}"


def counted_key(name: str) -> tuple[str, str | None] | None:
    """What ``count_of_key`` was given for this name; ``None`` where it is another's."""
    if not name.startswith(_KEY):
        return None
    length, _, rest = name.removeprefix(_KEY).partition("\n")
    return rest[: int(length)], rest[int(length) + 1 :] or None


def share(state: State, *, limited: bool, slot: bool) -> Concurrency:
    """What one job adds to the concurrency count of its type. Only of a ``limited`` one is it counted that it is there.

    A job that is done may hold its slot still: its worker has not noticed yet that somebody else ended it.
    """
    return Concurrency(running=int(slot), unfinished=int(limited and not state.terminal))


def order_of(priority: int, created_at_ms: int, job_id: int) -> str:
    """Where a job stands among those that wait for a slot: larger priorities first, then older ones.

    ``0990-1750000000000-0000000000000042`` for job 42 of priority 10.
    """
    return f"{PRIORITY_MAX - priority:04d}-{created_at_ms:013d}-{job_id:016d}"
