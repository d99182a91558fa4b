"""What changes of the ledger mean for the groups of failures: jobs of a type that failed alike.

Counted is what is a dead letter: failed for good, and neither replayed, nor retried, nor deleted. What was one is
counted on in the total.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from chalicelib.core.fingerprints import failure_of, fingerprint_of
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.core.texts import shortened

ERROR_MAX_CHARS = 200


@dataclass(frozen=True, slots=True, order=True)
class FailureGroup:
    """Jobs of a kind and type whose failures have one fingerprint."""

    kind: str
    type: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One failure of a group: its job, its error as it was told, and when, in milliseconds since 1970."""

    job: int
    error: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Failures:
    """What is known of a group, or what some changes add to it.

    ``failed`` are dead letters now, ``total`` all that there ever were. ``newest`` is ``None`` where only such have
    left as were counted before, and ``first_at_ms`` with it. Times are in milliseconds since 1970.
    """

    cause: str | None
    error: str  # normalised
    changed_at_ms: int
    failed: int = 0
    total: int = 0
    first_at_ms: int | None = None
    newest: Sample | None = None

    def __add__(self, other: Failures) -> Failures:
        """Both together; in any order the same, unless two samples are of the same moment."""
        firsts = [each.first_at_ms for each in (self, other) if each.first_at_ms is not None]
        samples = [each.newest for each in (self, other) if each.newest is not None]
        return replace(
            self,
            changed_at_ms=max(self.changed_at_ms, other.changed_at_ms),
            failed=self.failed + other.failed,
            total=self.total + other.total,
            first_at_ms=min(firsts, default=None),
            newest=max(samples, key=lambda sample: (sample.at_ms, sample.job), default=None),
        )


def failures_in(changes: Iterable[tuple[Job | None, Job | None]]) -> dict[FailureGroup, Failures]:
    """What a run of changes (the record before, the record after) adds to groups; nothing where none has changed."""
    found: dict[FailureGroup, Failures] = {}
    for before, after in changes:
        was, now = is_dead_letter(before), is_dead_letter(after)
        if after is not None and now and not was:
            _add(found, group_of(after), standing(after))
        elif before is not None and was and not now:
            _add(found, group_of(before), _leaving(before))
    return found


def standing(job: Job) -> Failures:
    """What a dead letter adds to its group."""
    at_ms = job.updated_at_ms if job.completed_at_ms is None else job.completed_at_ms
    return Failures(_cause(job), failure_of(job), at_ms, 1, 1, at_ms, Sample(job.id, _error(job), at_ms))


def rebuilt(ledger: Failures | None, known: Failures) -> Failures:
    """A group by what the ledger has of it, and what was known before: of totals and first times it forgets none."""
    if ledger is None:
        return replace(known, failed=0)
    return replace(ledger + known, failed=ledger.failed, total=max(ledger.total, known.total))


def is_dead_letter(job: Job | None) -> bool:
    """Whether a job is in a group."""
    return job is not None and job.state is State.FAILED and job.replayed_at_ms is None


def group_of(job: Job) -> FailureGroup:
    """The group of a job that failed."""
    return FailureGroup(job.kind.value, job.type, fingerprint_of(job))


def shown_of(groups: Mapping[FailureGroup, Failures]) -> list[tuple[FailureGroup, Failures, Sample]]:
    """The groups that a list shows, each with its newest failure: those that ever had one, the newest first."""
    seen = [(group, found, found.newest) for group, found in groups.items() if found.newest is not None]
    return sorted(seen, key=lambda each: (-each[2].at_ms, each[0]))


def _add(found: dict[FailureGroup, Failures], group: FailureGroup, more: Failures) -> None:
    found[group] = found[group] + more if group in found else more


def _leaving(job: Job) -> Failures:
    """What a dead letter that is one no more adds to its group."""
    return Failures(_cause(job), failure_of(job), job.updated_at_ms, failed=-1)


def _cause(job: Job) -> str | None:
    return None if job.cause is None else job.cause.value


def _error(job: Job) -> str:
    if job.error is None:
        return failure_of(job)
    return shortened(f"{job.error.type}: {job.error.message}".split("\n", 1)[0], ERROR_MAX_CHARS)
