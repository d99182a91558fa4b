"""Making a job like another one: of a dead letter, or because somebody wants to see it run once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.core.documents import jsonable
from chalicelib.core.job import Job
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.publish import publish
from chalicelib.engine.yard import Yard


def request_like(yard: Yard, job: Job) -> NewJob:
    """What would be asked for to have a job as ``job`` was at first, now: on its own, in no graph and under no parent.

    Raises ``PayloadLost`` and ``PayloadUnread``.
    """
    body: dict[str, Any] = yard.payloads.body(job)
    return NewJob(
        kind=job.kind,
        type=job.type,
        priority=job.priority,
        max_attempts=job.max_attempts,
        timeout_ms=job.timeout_ms,
        backoff=job.backoff,
        runner=job.runner,
        script=job.script,
        target_id=job.target_id,
        target_type=job.target_type,
        created_by=job.created_by,
        tenant=job.tenant,
        remove_on_complete=job.remove_on_complete,
        application=job.application,
        flow_key=job.flow_key,
        **body,
    )


def rerun(yard: Yard, job: Job, by: str, instead: Mapping[str, Any]) -> Job:
    """Accept a new job like ``job``, asked for ``by`` somebody. Raises what publishing does.

    With an ``input`` ``instead`` of its own; the key is then found anew, as it may be in the input.
    """
    request = replace(request_like(yard, job), created_by=by)
    if "input" in instead:
        request = replace(request, input=jsonable(instead["input"], "input"), flow_key=None)
    return publish(yard, request)
