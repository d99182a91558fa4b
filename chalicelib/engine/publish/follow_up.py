"""Chains: the task that a task's success starts, as its ``next`` says (fastify-task).

The follower is made in the transaction that records the success, so there is one, whoever crashes when.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import Draft, follower_of
from chalicelib.engine.publish.prepare import Prepared, prepare, unsent
from chalicelib.engine.yard import Yard


def follower(yard: Yard, job: Job, output: Any) -> Prepared | None:
    """The new task that the success of ``job`` starts, to be recorded with it; ``None`` for a job that starts none.

    In the same trace, and with ``job`` as its parent. Whether anything can run it is seen when it runs. Raises
    ``TooLarge``.
    """
    if not job.chained:
        return None
    draft = follower_of(_draft(yard, job), output)
    if draft is None:
        return None
    prepared = prepare(yard, draft, yard.handlers.handler(draft.type, draft.script))
    return unsent(replace(prepared, job=replace(prepared.job, parent_id=job.id)), yard.now_ms())


def _draft(yard: Yard, job: Job) -> Draft:
    """What of a job its follower takes over."""
    return Draft(
        kind=Kind.TASK,
        type=job.type,
        priority=job.priority,
        trace_id=job.trace_id,
        target_id=job.target_id,
        target_type=job.target_type,
        created_by=job.created_by,
        next=yard.payloads.body(job).get("next"),
    )
