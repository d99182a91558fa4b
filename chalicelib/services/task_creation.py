"""Creating tasks: ``tasks.create`` and ``tasks.create_many``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from chalicelib.core.documents import jsonable
from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.lanes import priority_of
from chalicelib.core.retry import Backoff
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, task_orders
from chalicelib.services.parameters import takes
from chalicelib.services.publications import Publication, publish_each, publish_one
from chalicelib.services.records import Task
from chalicelib.services.task_orders import NextTask
from chalicelib.services.task_records import Which, id_of, listed, whole


@dataclass(frozen=True, slots=True)
class NewTask(Publication):
    """A task to be created; see ``create`` for what its fields mean."""

    type: str
    _: KW_ONLY
    target_id: str
    target_type: str
    input: Any = None
    user_id: str | None = None
    runner_type: str = MANUAL
    delay_s: float = 0
    script_name: str | None = None
    options: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    priority: int | str = 0
    max_retries: int | None = None
    backoff: Backoff | str | bool | Mapping[str, Any] | None = None
    timeout_ms: int | None = None
    parent: Which | None = None
    next: NextTask | Mapping[str, Any] | None = None
    remove_on_complete: bool = False
    trace_id: str | None = None


@takes(NewTask)
def create(wanted: NewTask) -> Task:
    """Create a task and answer its record.

    ``runner_type``: ``system``, run by the handler of its type and ``script_name`` (default ``index``), or
    ``manual``, completed by a person. ``input``: any value that JSON has a form for (docs/handlers.md). ``delay_s``
    (0 to ten years): not before so many seconds from now. ``context``: kept with it; its ``secret`` is what
    ``callback_with_signature`` and the like are signed with, and is never shown. ``priority``: larger
    is sooner, -1000 to 1000, or low, normal, medium, high or critical. ``max_retries`` (0 to 99), ``backoff`` and
    ``timeout_ms`` (of an attempt, or of the wait of a parked task; 0: none) default to those of the handler; the
    backoff may be one of kue's forms, too: ``True`` (``delay_s`` again before each retry),
    ``{"delay": ms, "type": "fixed"}`` or ``"exponential"``, or the name of a function declared with ``@backoff``.
    ``parent``: it starts only after that task has succeeded. ``next``: the task that its success creates, a
    ``NextTask`` or a dict in fastify-task's words (``{"type": ..., "targetId": ...}``). ``trace_id``: your own;
    default a new one.
    ``idempotency_key``, ``once``, ``within``, ``tenant`` and ``flow_key``: as for ``messages.publish``; a task with a
    parent is on behalf of whom that is, unless it says.

    Raises ``InvalidInput``, ``TooLarge``, ``Conflict`` for an idempotency key used with another task, and
    ``Unavailable`` when AWS does not answer (the task may or may not be created).
    """
    return publish_one(wanted, _new_job, lambda yard, _, job: whole(yard, job))


def create_many(wanted: Iterable[NewTask]) -> Sequence[Task | TaskyardError]:
    """Create many tasks in few calls; returns, in order, each one's record or why it was not accepted."""
    return publish_each(wanted, NewTask, _new_job, _created)


def _new_job(wanted: NewTask) -> NewJob:
    return NewJob(
        kind=Kind.TASK,
        type=checks.name("type", wanted.type),
        input=jsonable(wanted.input, "input"),
        options=task_orders.maybe_document("options", wanted.options),
        context=task_orders.context(wanted.context),
        priority=priority_of(wanted.priority),
        delay_ms=task_orders.delay_ms(wanted.delay_s) or None,
        max_attempts=None if wanted.max_retries is None else task_orders.attempts(wanted.max_retries),
        timeout_ms=task_orders.timeout_ms(wanted.timeout_ms),
        backoff=task_orders.backoff(wanted.backoff, wanted.delay_s),
        runner=task_orders.runner(wanted.runner_type),
        script=task_orders.script(wanted.script_name),
        target_id=checks.name("target_id", wanted.target_id),
        target_type=checks.name("target_type", wanted.target_type),
        parent_id=None if wanted.parent is None else id_of(wanted.parent),
        created_by=checks.maybe_name("user_id", wanted.user_id),
        remove_on_complete=task_orders.flag("remove_on_complete", wanted.remove_on_complete),
        trace_id=checks.maybe_name("trace_id", wanted.trace_id),
        next=None if wanted.next is None else task_orders.next_request(wanted.next),
        idempotency_key=wanted.key(),
        first_wins=wanted.once is not None,
        tenant=checks.maybe_tenant(wanted.tenant),
        flow_key=checks.maybe_name("flow_key", wanted.flow_key),
    )


def _created(yard: Yard, asked: NewJob, job: Job) -> Task:
    """The record of what was created: its body as asked for, under ``once`` perhaps an earlier one's."""
    if asked.first_wins:
        return whole(yard, job)
    body = {"input": asked.input, "options": asked.options, "context": asked.context, "next": asked.next}
    return listed(yard, job, body)
