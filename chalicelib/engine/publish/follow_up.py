"""Chains: the task that a task's success starts, as its ``next`` says (fastify-task).

The follower is made in the transaction that records the success, so there is one, whoever crashes when.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob, follower_of
from chalicelib.engine.publish.prepare import Prepared, prepare_unchecked
from chalicelib.engine.yard import Yard


def follower(yard: Yard, job: Job, output: Any) -> Prepared | None:
    """The new task that the success of ``job`` starts, to be recorded with it; ``None`` for a job that starts none.

    In the same trace, and with ``job`` as its parent. Whether anything can run it is seen when it runs. Raises
    ``TooLarge``.
    """
    if not job.chained:
        return None
    new_job = follower_of(_new_job(yard, job), output)
    if new_job is None:
        return None
    prepared = prepare_unchecked(yard, new_job)
    return replace(prepared, job=replace(prepared.job, parent_id=job.id)).unsent(yard.now_ms())


def _new_job(yard: Yard, job: Job) -> NewJob:
    """What of a job its follower takes over."""
    return NewJob(
        kind=Kind.TASK,
        type=job.type,
        priority=job.priority,
        trace_id=job.trace_id,
        target_id=job.target_id,
        target_type=job.target_type,
        created_by=job.created_by,
        tenant=job.tenant,
        next=yard.payloads.body(job).get("next"),
    )
