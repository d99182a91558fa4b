"""What a job has used, as its record tells: counted on the way, by writes that are made anyway."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chalicelib.core.job import Job


@dataclass(frozen=True, slots=True)
class Usage:
    """What jobs have used so far, in all their lives.

    ``sends`` are to SQS; ``polls`` of a job that waits for something elsewhere; ``run_ms`` is how long attempts ran
    that ended, of a lost worker until its lease ended, of a job that somebody else ended until then. ``payload_bytes``
    is the body as JSON, and ``output_bytes`` the output where the record holds it (up to some 300 bytes).
    """

    attempts: int = 0
    failures: int = 0
    sends: int = 0
    polls: int = 0
    run_ms: int = 0
    payload_bytes: int = 0
    output_bytes: int = 0


USED = tuple(field.name for field in fields(Usage))


def usage_of(job: Job) -> Usage:
    """What a job has used so far. A failure before an explicit retry is no more told by the record."""
    return Usage(*amounts_used(job))


def amounts_used(job: Job) -> tuple[int, ...]:
    """The same, in the order of ``USED``."""
    return (
        job.attempts,
        job.failures,
        job.delivery if job.travels else job.delivery - 1,
        job.poll_count,
        job.run_ms,
        len(job.body) if job.body is not None else job.body_bytes or 0,
        len(job.output or ""),
    )
