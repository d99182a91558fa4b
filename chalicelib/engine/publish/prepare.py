"""From what a client asked for to a new job: what can never run is refused, what was left open is chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.core.applications import DELIVERY
from chalicelib.core.documents import to_json
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.ids import trace_id_of
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, Job, changed
from chalicelib.core.lanes import priority_of
from chalicelib.core.naming import instead_of
from chalicelib.core.retry import Named, checked
from chalicelib.core.states import Kind
from chalicelib.core.trace import Event, TraceEvent
from chalicelib.core.waking import beyond_sqs, wake_for_send
from chalicelib.engine.failures import log_failure
from chalicelib.engine.handlers.declare import DEFAULT_POOL, Handler
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.new_job import CHAIN_MAX_TASKS, NewJob, follower_of
from chalicelib.engine.policy import attempts_of, handlers_of, stored_backoff_of
from chalicelib.engine.publish.flow import Keys, check_flow, content_of, flow_fields
from chalicelib.engine.yard import Yard

LATEST_START_MS = 366 * 86_400_000 * 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """A new job, and its body's text where that goes beside the record.

    ``waits_in_line``: it runs in order, and is sent when its turn comes.
    """

    job: Job
    body: str | None
    waits_in_line: bool = False

    @property
    def travelling(self) -> Job:
        """The job as its envelope carries it: with the body's text."""
        return self.job if self.body is None else changed(self.job, body=self.body)

    def unsent(self, now_ms: int) -> Prepared:
        """The same, marked for the clock in case its sender dies."""
        wake_at_ms = wake_for_send(self.job.due_at_ms, now_ms) if self.job.travels else None
        return replace(self, job=changed(self.job, wake_at_ms=wake_at_ms))


def prepare(yard: Yard, new_job: NewJob) -> Prepared:
    """The record of what a client asks for.

    Raises ``InvalidInput`` naming the first thing that can never work, in the job or in the chain behind it, and
    ``TooLarge``.
    """
    keys = Keys(new_job)
    return _prepared(yard, new_job, check(yard, new_job, keys), keys)


def prepare_unchecked(yard: Yard, new_job: NewJob) -> Prepared:
    """The record of what the service itself starts; whether anything can run it is seen when it runs."""
    runs = new_job.kind is Kind.TASK and new_job.runner != MANUAL and not delivers(new_job)
    handler = yard.handlers.handler(new_job.type, new_job.script) if runs else None
    prepared = _prepared(yard, new_job, handler, Keys(new_job))
    return replace(prepared, job=changed(prepared.job, unique_as=None))


def check(yard: Yard, new_job: NewJob, keys: Keys | None = None) -> Handler | None:
    """The handler that will run the job, if one function alone does; ``keys``: of the job, where they are needed later.

    Raises ``InvalidInput`` naming the first thing that can never work, in the job or in the chain behind it.
    """
    handler = _check_one(yard, new_job, keys or Keys(new_job))
    follower = follower_of(new_job, None)
    for place in range(1, CHAIN_MAX_TASKS + 1):
        if follower is None:
            return handler
        with within(".".join(["next"] * place)):
            _check_one(yard, follower, Keys(follower))
        follower = follower_of(follower, None)
    raise InvalidInput("this chain is too long", field="next", expected=f"at most {CHAIN_MAX_TASKS} tasks")


def _check_one(yard: Yard, new_job: NewJob, keys: Keys) -> Handler | None:
    priority_of(new_job.priority)
    attempts = new_job.max_attempts
    _expect(
        attempts is None or 1 <= attempts <= ATTEMPTS_MAX, "max_attempts", f"at most {ATTEMPTS_MAX} attempts", attempts
    )
    if new_job.backoff is not None and isinstance(chosen := checked(new_job.backoff), Named):
        yard.handlers.backoff_function(chosen.name)
    check_flow(yard, new_job, keys)
    if new_job.kind is Kind.MESSAGE or new_job.runner == MANUAL or delivers(new_job):
        return None
    handler = yard.handlers.handler(new_job.type, new_job.script)
    if handler is None:
        if new_job.waits_for_handler and new_job.type not in yard.handlers.tasks:
            return None
        raise _nothing_runs(yard, new_job)
    if not new_job.input_follows:
        _expect_input(handler, new_job.input)
    return handler


def _expect_input(handler: Handler, value: Any) -> None:
    """Raise ``InvalidInput`` for an input that the handler cannot take, or that its model breaks on."""
    try:
        handler.parse(value)
    except (InvalidInput, Interruption):
        raise
    except BaseException as error:  # user code: a validator
        log_failure("the model of an input fails", error, handler=handler.label)
        raise InvalidInput(
            f"the model of {handler.name} fails on this input",
            field="input",
            expected="what its validators can check",
            got=type(error).__name__,
            remedy="look into the log, and let the validator raise a ValueError",
        ) from error


def _nothing_runs(yard: Yard, new_job: NewJob) -> InvalidInput:
    if new_job.type not in yard.handlers.tasks:
        return InvalidInput(
            "no handler is registered for this task type",
            field="type",
            expected=instead_of(new_job.type, sorted(yard.handlers.tasks)),
            got=new_job.type,
            remedy=f"declare it with @task in {yard.settings.handlers}, or create it with runnerType manual",
        )
    known = sorted(script for kind, script in yard.handlers.scripts if kind == new_job.type)
    return InvalidInput(
        f"{new_job.type} has no such script",
        field="script_name",
        expected=instead_of(new_job.script, known),
        got=new_job.script,
    )


def _prepared(yard: Yard, new_job: NewJob, handler: Handler | None, keys: Keys) -> Prepared:
    """The record of a new job, its body put where it belongs if that is the bucket."""
    job_id, uid = new_job.id or yard.ids.new(), yard.token()
    now_ms = yard.now_ms()  # behind the first call of a process, whose answer has set a clock that is wrong
    content = {**content_of(new_job), "next": new_job.next}
    members = [f'"{name}":{to_json(value, name)}' for name, value in content.items() if value is not None]
    text = f"{{{','.join(members)}}}"
    body = yard.payloads.place_body(job_id, uid, text)
    asked_ms = _asked_ms(new_job, now_ms)
    if new_job.kind is Kind.TASK or beyond_sqs(due_at_ms(new_job, now_ms), now_ms):
        yard.job_types.note(new_job.kind, new_job.type)  # a message that is sent now opens its topic's lane, which does
    handlers = handlers_of(yard, new_job) if handler or new_job.kind is Kind.MESSAGE else ()
    max_attempts = attempts_of(yard, new_job, handlers)
    job = Job(
        id=job_id,
        uid=uid,
        kind=new_job.kind,
        type=new_job.type,
        queue=new_job.type if new_job.kind is Kind.MESSAGE else handler.queue if handler else DEFAULT_POOL,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        due_at_ms=due_at_ms(new_job, now_ms),
        trace_id=new_job.trace_id or trace_id_of(job_id, yard.random_bytes),
        priority=new_job.priority,
        start_at_ms=asked_ms,
        max_attempts=max_attempts,
        attempt_limit=max_attempts,
        attempts=new_job.attempts_made or 0,
        failures=new_job.attempts_made or 0,
        timeout_ms=new_job.timeout_ms,
        backoff=stored_backoff_of(yard, new_job, handlers),
        body=body.text if body.place is None else None,
        body_at=body.place,
        body_bytes=body.bytes,
        target_id=new_job.target_id,
        target_type=new_job.target_type,
        runner=new_job.runner,
        script=new_job.script,
        parent_id=new_job.parent_id,
        replay_of=new_job.replay_of,
        created_by=new_job.created_by,
        chained=new_job.next is not None,
        remove_on_complete=new_job.remove_on_complete,
        waits_for_handler=new_job.waits_for_handler,
        limited=is_limited(yard, new_job),
        schedule=new_job.schedule,
        slot_at_ms=new_job.slot_at_ms,
        overlap=new_job.overlap,
        application=new_job.application,
        graph=new_job.graph,
        node=new_job.node,
        edges=new_job.edges,
        tenant=new_job.tenant,
        **flow_fields(yard, new_job, keys),
        trace=((new_job.first_event or TraceEvent(Event.PUBLISHED, now_ms)).to_line(),),
    )
    return Prepared(job, body.text if body.place is not None else None)


def is_limited(yard: Yard, new_job: NewJob) -> bool:
    """Whether the job counts in a concurrency: its schedule's, its application's, or that of a type with a limit.

    A slot that is handed over ahead takes no room in a type with a size yet (``worker/concurrency.py``).
    """
    if new_job.overlap is not None or delivers(new_job):
        return True
    if new_job.kind is not Kind.TASK or new_job.runner == MANUAL:
        return False
    limit = yard.handlers.limit_of(new_job.type)
    return limit is not None and (new_job.slot_at_ms is None or limit.size is None)


def delivers(new_job: NewJob) -> bool:
    """Whether the job is posted to its application."""
    return new_job.application is not None and new_job.type == DELIVERY


def _asked_ms(new_job: NewJob, now_ms: int) -> int | None:
    """The start that was asked for, in the past perhaps."""
    if new_job.due_at_ms is not None:
        return new_job.due_at_ms
    return None if new_job.delay_ms is None else now_ms + new_job.delay_ms


def due_at_ms(new_job: NewJob, now_ms: int) -> int:
    """When the job may start, in milliseconds since 1970; raises ``InvalidInput`` for a start beyond ten years."""
    asked_ms = _asked_ms(new_job, now_ms)
    if asked_ms is not None and asked_ms - now_ms > LATEST_START_MS:
        told = _moment(new_job.due_at_ms) if new_job.due_at_ms is not None else f"a delay of {new_job.delay_ms} ms"
        _expect(False, "execute_at", "a start within ten years", told)
    return max(asked_ms or now_ms, now_ms)


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")


def _expect(holds: bool, field_name: str, expected: str, got: object) -> None:
    if not holds:
        raise InvalidInput("this value is out of range", field=field_name, expected=expected, got=got)
