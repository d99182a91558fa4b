"""Publishing one or many: what messages and tasks have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.job import Job
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.worker.context import Context
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation
from chalicelib.services.once import Once


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is to be published, once for each key or name, and for whom."""

    idempotency_key: str | None = None
    once: str | None = None
    within: Context | None = None
    tenant: str | None = None
    flow_key: str | None = None

    def key(self) -> str | None:
        """Its idempotency key, or the one that its name stands for, which is reserved. Raises ``InvalidInput``."""
        if self.once is None:
            return checks.maybe_name("idempotency_key", self.idempotency_key)
        if self.idempotency_key is not None:
            raise InvalidInput(
                "once makes an idempotency key of its own",
                field="once",
                expected="one of them, not both",
                got="both",
                remedy="leave out idempotency_key",
            )
        return Once(checks.name("once", self.once), self.within).reserve()

    def take_back(self) -> None:
        """Nothing was published: its name, if it has one, may be used again."""
        if self.once is not None:
            Once(self.once, self.within).release()


Asked = TypeVar("Asked", bound=Publication)
Record = TypeVar("Record")
Shape = Callable[[Yard, NewJob, Job], Record]
"""The record of a job that was asked for as that new job, and accepted as that job."""


def publish_one(wanted: Asked, new_job_of: Callable[[Asked], NewJob], record_of: Shape[Record]) -> Record:
    """Publish, and return the record."""
    yard = installation.yard()
    new_job = new_job_of(wanted)
    try:
        return record_of(yard, new_job, publish(yard, new_job))
    except BaseException:
        wanted.take_back()
        raise


def publish_each(
    wanted: Iterable[Asked], kind: type[Asked], new_job_of: Callable[[Asked], NewJob], record_of: Shape[Record]
) -> Sequence[Record | TaskyardError]:
    """Publish many in few calls; returns, in order, each one's record or why it was not accepted."""
    yard, publications = installation.yard(), [*checks.many("wanted", wanted)]

    def asked(each: Asked) -> NewJob | TaskyardError:
        if not isinstance(each, kind):
            return InvalidInput("this cannot be published", expected=f"a {kind.__name__}", got=type(each).__name__)
        try:
            return new_job_of(each)
        except TaskyardError as error:
            return error

    def outcome(each: Asked, new_job: NewJob | TaskyardError, job: Job | TaskyardError) -> Record | TaskyardError:
        if isinstance(new_job, TaskyardError):
            return new_job
        if isinstance(job, Job):
            return record_of(yard, new_job, job)
        each.take_back()
        return job

    new_jobs = [asked(each) for each in publications]
    return [outcome(*each) for each in zip(publications, new_jobs, publish_many(yard, new_jobs), strict=True)]
