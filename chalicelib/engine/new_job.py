"""What a client asks for: a job, and the chain of tasks that its success shall start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.core.job import MANUAL, SYSTEM
from chalicelib.core.retry import Backoff
from chalicelib.core.states import Kind
from chalicelib.core.trace import TraceEvent

CHAIN_MAX_TASKS = 20  # behind one another, as the first is created

NextRequest = Mapping[str, Any]
"""A task in a chain, in fastify-task's words: ``type``, and of ``input``, ``targetId``, ``targetType``, ``runnerType``,
``priority``, ``maxRetries``, ``timeout`` (ms), ``delay`` (s), ``options``, ``context``, ``scriptName``, ``tenant``,
``flowKey`` and ``next`` whatever is not to be as by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a client asks for. ``None`` means: as the handler, or else the kind, has it by default."""

    kind: Kind
    type: str
    input: Any = None
    options: Any = None
    context: Any = None
    priority: int = 0
    due_at_ms: int | None = None
    delay_ms: int | None = None
    max_attempts: int | None = None
    attempts_made: int | None = None  # of them, how many failed elsewhere before it came here; recorded ledger first
    timeout_ms: int | None = None
    backoff: Backoff | None = None
    trace_id: str | None = None
    runner: str = SYSTEM
    script: str | None = None
    target_id: str | None = None
    target_type: str | None = None
    parent_id: int | None = None
    created_by: str | None = None
    remove_on_complete: bool = False
    waits_for_handler: bool = False  # its type may have no handler yet
    next: NextRequest | None = None  # the task that its success starts
    alias: int | str | None = None  # by which the users of its type, or its application, know it; no other job's
    idempotency_key: str | None = None
    record: str | None = None  # the record of Kafka that it is made of (core.kafka.identity); no other job is
    first_wins: bool = False  # another request under its idempotency key is answered with the first one's job
    replay_of: int | None = None
    first_event: TraceEvent | None = field(default=None)
    schedule: str | None = None  # the schedule that makes it
    slot_at_ms: int | None = None  # for which of its slots; None: by request
    overlap: str | None = None  # as of the job
    application: str | None = None  # the key of the application that asks for it
    id: int | None = None  # chosen before
    graph: int | None = None  # the graph of which it is a node, and as of the job
    node: str | None = None
    edges: str | None = None
    tenant: str | None = None  # on whose behalf
    flow_key: str | None = None  # what it has in common with others; None: as its handler finds it
    input_follows: bool = False  # its input is the output of the task before it, which nobody knows yet


def follower_of(new_job: NewJob, output: Any) -> NewJob | None:
    """The task that the success of ``new_job`` starts: about the same target, for the same user and tenant.

    Where it names no input it gets the ``output``.
    """
    return None if new_job.next is None else task_in(new_job.next, new_job, output)


def task_in(request: NextRequest, before: NewJob, output: Any) -> NewJob:
    """The task that a request describes; what it does not name is as of the job ``before``, or its ``output``."""
    retries = request.get("maxRetries")
    return NewJob(
        kind=Kind.TASK,
        type=request["type"],
        input=request.get("input", output),
        input_follows="input" not in request,
        options=request.get("options"),
        context=request.get("context"),
        priority=request.get("priority", before.priority),
        delay_ms=round(request["delay"] * 1_000) if request.get("delay") else None,
        max_attempts=None if retries is None else retries + 1,
        timeout_ms=request.get("timeout"),
        trace_id=before.trace_id,
        runner=MANUAL if request.get("runnerType") == "manual" else SYSTEM,
        script=request.get("scriptName"),
        target_id=request.get("targetId", before.target_id),
        target_type=request.get("targetType", before.target_type),
        created_by=before.created_by,
        tenant=request.get("tenant", before.tenant),
        flow_key=request.get("flowKey"),
        next=request.get("next"),
    )
