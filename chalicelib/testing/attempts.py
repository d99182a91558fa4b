"""What ran, as the ledger's change stream tells it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.projections.project import Change

VANISHED = "LeaseLost: the worker vanished"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job that has ended, or been taken from its worker.

    ``status`` is the job's state right after: success, failed, canceled, waiting, or pending if it runs again.
    ``error`` is ``Class: text`` of what went wrong, ``None`` if nothing did.
    """

    id: int
    type: str
    number: int
    status: str
    error: str | None = None


def attempts_in(changes: Iterable[Change]) -> Iterator[Attempt]:
    """The attempts that end in ``changes`` (of any jobs, oldest first), in the order in which they end."""
    for change in changes:
        before, after = change.before, change.after
        if before is None or before.state is not State.RUNNING or after is None:
            continue
        if after.state is not State.RUNNING or after.attempts > before.attempts:
            taken_over = after.state is State.RUNNING
            yield Attempt(
                before.id,
                before.type,
                before.attempts,
                State.PENDING.value if taken_over else after.state.value,
                VANISHED if taken_over else error_of(after),
            )


def error_of(job: Job) -> str | None:
    """``Class: text`` of what went wrong in a job's newest attempt, ``None`` if nothing did."""
    if job.error is None or job.state in (State.SUCCESS, State.CANCELED):
        return None
    return f"{job.error.type}: {job.error.message}"
