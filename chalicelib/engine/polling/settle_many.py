"""How it went with many polled messages at once: each is settled for itself, in few calls.

One read of all records, one conditional write each (several at a time), and the SQS messages ten a call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chalicelib.aws import threads
from chalicelib.core.decisions import Disposition, Outcome
from chalicelib.core.errors import Conflict, TaskyardError, Unavailable, unknown
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.polling.poll import settle_for_holder, settle_messages
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger

PARALLEL_WRITES = 8


@dataclass(frozen=True, slots=True)
class Report:
    """How it went with one message; ``lock_token`` as for ``polling.complete``."""

    job_id: int
    outcome: Outcome
    lock_token: str | None = field(default=None, repr=False)


def settle_batch(yard: Yard, reports: Sequence[Report]) -> list[Job | TaskyardError]:
    """Record many reports; answers, in order, each message's record or why its report was refused.

    A second report about one message is refused, whatever it says. Raises what DynamoDB raises when the records
    cannot be read; nothing is settled then.
    """
    jobs = {job.id: job for job in yard.jobs.find_many(list(dict.fromkeys(report.job_id for report in reports)))}
    firsts = {report.job_id: position for position, report in reversed(list(enumerate(reports)))}
    dispositions: list[tuple[Job, Disposition]] = []

    def settled(position: int) -> Job | TaskyardError:
        report = reports[position]
        if firsts[report.job_id] != position:
            return Conflict("an earlier entry of this batch is about the same message", field="id", got=report.job_id)
        try:
            found = _found(jobs, report.job_id)
            job, record, disposition = settle_for_holder(yard, found, report.outcome, report.lock_token)
        except TaskyardError as refused:
            return refused
        except AWS_FAILURES as error:
            logger.warning("a report was not recorded", extra={"job_id": report.job_id, "error": str(error)})
            return Unavailable("AWS did not take the report", remedy="try again")
        dispositions.append((job, disposition))
        return record

    with threads(PARALLEL_WRITES) as writers:
        answers = list(writers.map(settled, range(len(reports))))
    settle_messages(yard, dispositions)
    return answers


def _found(jobs: Mapping[int, Job], job_id: int) -> Job:
    job = jobs.get(job_id)
    if job is None or job.kind is not Kind.MESSAGE:
        raise unknown(Kind.MESSAGE, job_id)
    return job
