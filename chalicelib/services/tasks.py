"""Create tasks, follow how they go, and say how they went.

    from chalicelib.services import tasks

    task = tasks.create("text.statistics", target_id="readme", target_type="document", input={"text": "to be"},
                        runner_type="system")
    tasks.wait_complete(task)  # the handler's output

**Creating tasks from a handler.** A handler may run more than once for one job. With ``once`` and ``within=context``
all its attempts create one task between them; see ``messages.publish``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeAlias

from chalicelib.core.documents import jsonable
from chalicelib.core.errors import Conflict, InvalidInput, TaskyardError, Unavailable
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import MANUAL, Job
from chalicelib.core.lanes import priority_of
from chalicelib.core.retry import Backoff
from chalicelib.core.signature import secret_in, verify
from chalicelib.core.states import Kind, State
from chalicelib.engine import logbook
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands import complete as completing
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion
from chalicelib.engine.commands.run_now import run_now
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish import bulk, publish
from chalicelib.engine.worker import console
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.run import running_here
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation, task_orders
from chalicelib.services.current import at_work
from chalicelib.services.lists import page_of
from chalicelib.services.once import Once
from chalicelib.services.records import ConsoleLine, LogEntry, Page, Task, context_of, moment_of, task_of
from chalicelib.services.task_lists import SORT_KEYS, Span, TaskFilters, page_of_one, task_query
from chalicelib.services.task_orders import NextTask
from chalicelib.services.task_statistics import statistics as statistics
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX

Which: TypeAlias = Task | int | str
"""A task, or its id as a number or as digits."""

POLL_INTERVAL_MS = 1_000  # fastify-task's pollInterval
POLL_TIMES = 20  # fastify-task's maxPollTimes
POLL_INTERVAL_MAX_MS = 3_600_000
POLL_TIMES_MAX = 1_000_000


class TaskFailed(Conflict):
    """The task that was waited for has failed."""


class TaskCanceled(Conflict):
    """The task that was waited for was canceled."""


class TaskUnfinished(Unavailable):
    """The task that was waited for is not done yet."""


class WrongSignature(TaskyardError):
    """A task with a secret was told something without the signature that belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task to be created; see ``create`` for what its fields mean."""

    type: str
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
    idempotency_key: str | None = None
    once: str | None = None
    within: Context | None = None


def create(
    type: str,  # noqa: A002  # every dialect's word for it
    *,
    target_id: str,
    target_type: str,
    input: Any = None,  # noqa: A002  # likewise
    user_id: str | None = None,
    runner_type: str = MANUAL,
    delay_s: float = 0,
    script_name: str | None = None,
    options: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    priority: int | str = 0,
    max_retries: int | None = None,
    backoff: Backoff | str | bool | Mapping[str, Any] | None = None,
    timeout_ms: int | None = None,
    parent: Which | None = None,
    next: NextTask | Mapping[str, Any] | None = None,  # noqa: A002  # fastify-task's word for it
    remove_on_complete: bool = False,
    idempotency_key: str | None = None,
    once: str | None = None,
    within: Context | None = None,
) -> Task:
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
    ``NextTask`` or a dict in fastify-task's words (``{"type": ..., "targetId": ...}``).
    ``idempotency_key``, ``once`` and ``within``: as for ``messages.publish``.

    Raises ``InvalidInput``, ``TooLarge``, ``Conflict`` for an idempotency key used with another task, and
    ``Unavailable`` when AWS does not answer (the task may or may not be created).
    """
    wanted = NewTask(
        type=type,
        target_id=target_id,
        target_type=target_type,
        input=input,
        user_id=user_id,
        runner_type=runner_type,
        delay_s=delay_s,
        script_name=script_name,
        options=options,
        context=context,
        priority=priority,
        max_retries=max_retries,
        backoff=backoff,
        timeout_ms=timeout_ms,
        parent=parent,
        next=next,
        remove_on_complete=remove_on_complete,
        idempotency_key=idempotency_key,
        once=once,
        within=within,
    )
    yard = installation.yard()
    new_job = _new_job(wanted)
    try:
        return _record(yard, publish.publish(yard, new_job))
    except BaseException:
        _take_back(wanted)
        raise


def create_many(wanted: Iterable[NewTask]) -> Sequence[Task | TaskyardError]:
    """Create many tasks in few calls; returns, in order, each one's record or why it was not accepted."""
    yard = installation.yard()
    tasks = [*wanted]
    new_jobs = [_new_job_or_error(each) for each in tasks]
    outcomes = bulk.publish_many(yard, new_jobs)
    return [_created_or_error(yard, *each) for each in zip(tasks, new_jobs, outcomes, strict=True)]


def detail(task: Which) -> Task:
    """A task as it stands now, with its log, what its polls found and its handler printed. Raises ``NotFound``."""
    yard = installation.yard()
    job = _find(yard, task)
    polls = tuple({**found, "time": moment_of(found["time"])} for found in yard.job_details.poll_results(job))
    return replace(_record(yard, job), poll_results=polls, log=_log(yard, job), console=_console(yard, job))


def list(  # noqa: A001  # fastify-task's word for it
    *,
    id: int | str | None = None,  # noqa: A002  # likewise
    target_id: str | None = None,
    target_type: str | None = None,
    target_name: str | None = None,
    type: str | None = None,  # noqa: A002  # likewise
    status: State | str | None = None,
    runner_type: str | None = None,
    search: str | None = None,
    created_from: datetime | None = None,
    created_until: datetime | None = None,
    completed_from: datetime | None = None,
    completed_until: datetime | None = None,
    sort: str = "createdAt",
    descending: bool = True,
    page: int = 1,
    per_page: int = 20,
    cursor: str | None = None,
) -> Page[Task]:
    """Tasks, newest first unless another order is asked for; all conditions hold together, spans include their ends.

    ``target_name``: part of ``input["name"]``, upper and lower case alike. ``search``: words that are all in the input
    (docs/search.md). ``sort``: id, targetId, targetType, type,
    status, runnerType, createdAt, updatedAt, startTime or completedAt. An index answers for ``id``, ``type``,
    ``status``, ``target_id`` (by itself) and the creation; other conditions and orders look at the newest 10,000, with
    a ``target_id`` at those about it. For ``page`` and ``cursor`` see ``messages.list``. Raises ``InvalidInput``.
    """
    if sort not in SORT_KEYS:
        raise InvalidInput("this is no sort key", field="sort", expected=" or ".join(SORT_KEYS), got=sort)
    yard = installation.yard()
    filters = TaskFilters(
        target_id=checks.maybe_name("target_id", target_id),
        target_type=checks.maybe_name("target_type", target_type),
        target_name=checks.maybe_name("target_name", target_name),
        type=checks.maybe_name("type", type),
        status=None if status is None else _state(status),
        runner=None if runner_type is None else task_orders.runner(runner_type),
        search=checks.maybe_name("search", search),
        created=_span("created", created_from, created_until),
        completed=None
        if completed_from is None and completed_until is None
        else _span("completed", completed_from, completed_until),
    )
    wanted = task_query(yard, filters, [(sort, descending)])
    if id is not None:
        size = checks.whole("per_page", per_page, 1, PER_PAGE_MAX)
        found = page_of_one(yard, parse_job_id(id), wanted, (checks.whole("page", page, 1, OFFSET_MAX) - 1) * size)
        bodies = yard.payloads.bodies(found.jobs)
        items = [_listed(yard, job, bodies[job.id]) for job in found.jobs]
        return Page(items=items, total_count=found.total, total_is_exact=True, next_cursor=None)
    return page_of(
        yard, wanted, lambda job, body: _listed(yard, job, body), page=page, per_page=per_page, cursor=cursor
    )


def complete(
    task: Which,
    status: State | str = State.SUCCESS,
    *,
    output: Any = None,
    error: str | None = None,
    msg: str | None = None,
    user_id: str | None = None,
) -> Task:
    """Say how a task went that is not done, with ``success`` or ``failed``.

    After a success the completion handler of its type is called; if that raises, the task becomes failed. Raises
    ``NotFound``, ``Conflict`` for a task that is done, ``InvalidInput`` and ``TooLarge``.
    """
    if status not in (State.SUCCESS, State.FAILED):
        raise InvalidInput("a task ends in one of two ways", field="status", expected="success or failed", got=status)
    user = checks.maybe_name("user_id", user_id)
    remark = task_orders.maybe_text("msg", msg)
    completion = Completion(success=status == State.SUCCESS, output=output, error=error, msg=remark, user=user)
    yard = installation.yard()
    return _record(yard, completing.complete(yard, _id(task), completion))


def cancel(task: Which) -> Task:
    """Cancel a task that is not done; one that is done stays as it is. Raises ``NotFound``.

    A running handler learns of it at its next progress call or heartbeat.
    """
    yard = installation.yard()
    return _record(yard, lifecycle.cancel(yard, _id(task), Kind.TASK))


def cancel_matching(*, target_id: str, target_type: str, type: str) -> int:  # noqa: A002  # every dialect's word
    """Cancel all tasks of a type about one target that are not done; returns how many. Raises ``InvalidInput``."""
    return lifecycle.cancel_matching(
        installation.yard(),
        checks.name("target_id", target_id),
        checks.name("target_type", target_type),
        checks.name("type", type),
    )


def delete(task: Which, *, force: bool = False) -> None:
    """Delete a task that is done, with all it keeps.

    ``force``: whatever its state; what is not done is canceled first. A task of a limited type that runs is deleted
    once its run is over. Raises ``NotFound``, and without ``force`` ``Conflict`` for a task that is not done.
    """
    chosen = task_orders.flag("force", force)
    lifecycle.delete(installation.yard(), _id(task), Kind.TASK, force=chosen)


def promote(task: Which) -> Task:
    """End a task's delay: it starts now. One that is due already stays as it is.

    Raises ``NotFound``, and ``Conflict`` for a task that is not pending.
    """
    yard = installation.yard()
    return _record(yard, lifecycle.promote(yard, _id(task), Kind.TASK))


def retry(task: Which) -> Task:
    """Run a failed or canceled task again, with as many attempts as at first.

    Raises ``NotFound``, and ``Conflict`` for a task in another state.
    """
    yard = installation.yard()
    return _record(yard, lifecycle.retry(yard, _id(task), Kind.TASK))


def retry_many(tasks: Sequence[Which]) -> Sequence[Task | TaskyardError]:
    """Run several again, each for itself; answers, in order, each one's record or why it was not retried."""
    return [_retried(task) for task in tasks]


def log(task: Which, message: str = "", data: Any = None) -> None:
    """Add an entry to a task's log, of which the newest 100 are kept.

    Raises ``NotFound``, ``InvalidInput`` and ``TooLarge``.
    """
    text = checks.text("message", message)
    yard = installation.yard()
    logbook.write(yard, _find(yard, task).id, text, data)


def log_with_signature(task: Which, signature: str | None, *, message: str = "", data: Any = None) -> None:
    """The same for an entry that came from elsewhere.

    If the task's context has a secret, ``signature`` must be that of ``{data, message}``, without a ``data`` of
    ``None`` (``core.signature.sign``). Raises ``WrongSignature``.
    """
    text = checks.text("message", message)
    told = {"message": text} if data is None else {"data": data, "message": text}
    logbook.write(installation.yard(), _signed(task, signature, told), text, data)


def callback(
    task: Which, code: float, *, data: Any = None, message: str | None = None, user_id: str | None = None
) -> Task:
    """Say how a task went that is not done: code 0 is a success with ``data`` as its output.

    Any other is a failure with the message as its error. What is told is logged first. Raises what ``complete`` does.
    """
    checked, text = task_orders.code(code), task_orders.maybe_text("message", message)
    user = checks.maybe_name("user_id", user_id)
    yard = installation.yard()
    return _record(yard, completing.callback(yard, _id(task), checked, data, text, user))


def callback_with_signature(
    task: Which, signature: str | None, code: float, *, data: Any = None, message: str | None = None
) -> Task:
    """The same for what came from elsewhere.

    If the task's context has a secret, ``signature`` must be that of ``{code, data, message}``, without what is
    ``None``. Raises ``WrongSignature``, too.
    """
    told = {"code": code, "data": data, "message": message}
    job_id = _signed(task, signature, {name: value for name, value in told.items() if value is not None})
    return callback(job_id, code, data=data, message=message)


def process_next(task: Which, result: str) -> Task:
    """End a task that waits, with the result that it waits for: JSON text of an object with a ``code``.

    With code 0 it succeeds and the whole object is its output; with any other it fails. Raises ``NotFound``,
    ``Conflict`` for a task that does not wait, and ``InvalidInput`` for a text that is no such object (the task has
    failed then) and for what is no text (it still waits).
    """
    text = checks.text("result", result)
    yard = installation.yard()
    return _record(yard, completing.process_next(yard, _id(task), text))


def process_next_with_signature(task: Which, signature: str | None, result: str) -> Task:
    """The same for a result that came from elsewhere: the signature is over that very text.

    Raises ``WrongSignature``, too.
    """
    return process_next(_signed(task, signature, result), result)


def wait_complete(
    task: Which,
    poll_interval_ms: int = POLL_INTERVAL_MS,
    max_poll_times: int = POLL_TIMES,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Any:
    """The output of a task, once it is done; a pending one that a handler runs is run here, at once.

    It looks ``max_poll_times`` times (1 to 1,000,000), with ``poll_interval_ms`` (0 to an hour) between two looks.
    Raises ``TaskFailed``, ``TaskCanceled`` and ``TaskUnfinished``, and ``NotFound`` for a task that was removed.
    """
    interval_ms = checks.whole("poll_interval_ms", poll_interval_ms, 0, POLL_INTERVAL_MAX_MS)
    looks = checks.whole("max_poll_times", max_poll_times, 1, POLL_TIMES_MAX)
    yard, job_id = installation.yard(), _id(task)
    with at_work(yard):
        job = run_now(yard, job_id)
    for _ in range(looks - 1):
        if job.state.terminal:
            break
        sleep(interval_ms / 1_000)
        job = lifecycle.find(yard, job_id, Kind.TASK)
    return _outcome(yard, job)


def runner(going_on: Callable[[], bool] = lambda: True) -> Mapping[str, int]:
    """What the clock does every minute: send what is due or unsent, recover what was abandoned.

    Where the clock function is deployed, nobody needs to call it. It goes on until nothing is left or ``going_on``
    says no; returns how many jobs each step touched.
    """
    return tick(installation.yard(), going_on)


def reset_all(*, stale_only: bool = False, before: datetime | None = None) -> int:
    """Send every running task back to be run again, whoever runs it; returns how many.

    ``stale_only``: only those whose run began at ``before`` or earlier, by default ``TASKYARD_RECOVER_RUNNING_AFTER_S``
    (30 minutes) ago. Raises ``InvalidInput`` for ``before`` without it.

    What their workers still do is not recorded. A task whose worker died comes back by itself; this is for workers
    that are known to be gone. So what the calling process runs, such as the handler that calls this, goes on.
    """
    begun_by_ms = None if before is None else checks.at_ms("before", before)
    stale_only = task_orders.flag("stale_only", stale_only)
    if before is not None and not stale_only:
        raise InvalidInput(
            "before is of stale tasks",
            field="before",
            expected="stale_only=True beside it",
            got=before,
            remedy="without before, all that runs is reset",
        )
    yard = installation.yard()
    if stale_only and begun_by_ms is None:
        begun_by_ms = yard.now_ms() - yard.settings.recover_running_after_s * 1_000
    return lifecycle.reset_running(yard, frozenset(running_here), begun_by_ms)


def _new_job(wanted: NewTask) -> NewJob:
    if wanted.once is not None and wanted.idempotency_key is not None:
        raise InvalidInput("once makes an idempotency key of its own", field="once", expected="one of them, not both")
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
        parent_id=None if wanted.parent is None else _id(wanted.parent),
        created_by=checks.maybe_name("user_id", wanted.user_id),
        remove_on_complete=task_orders.flag("remove_on_complete", wanted.remove_on_complete),
        next=None if wanted.next is None else task_orders.next_request(wanted.next),
        idempotency_key=_key(wanted),
        first_wins=wanted.once is not None,
    )


def _new_job_or_error(wanted: NewTask) -> NewJob | TaskyardError:
    if not isinstance(wanted, NewTask):
        return InvalidInput("this is no task to be created", expected="a NewTask", got=type(wanted).__name__)
    try:
        return _new_job(wanted)
    except TaskyardError as error:
        return error


def _key(wanted: NewTask) -> str | None:
    if wanted.once is not None:
        return Once(checks.name("once", wanted.once), wanted.within).reserve()
    return checks.maybe_name("idempotency_key", wanted.idempotency_key)


def _take_back(wanted: NewTask) -> None:
    """Nothing was created: its name may be used again."""
    if wanted.once is not None:
        Once(wanted.once, wanted.within).release()


def _created_or_error(
    yard: Yard, wanted: NewTask, asked: NewJob | TaskyardError, outcome: Job | TaskyardError
) -> Task | TaskyardError:
    """The record of what was created: its body as asked for, under ``once`` perhaps an earlier one's."""
    if isinstance(asked, TaskyardError):
        return asked
    if isinstance(outcome, TaskyardError):
        _take_back(wanted)
        return outcome
    if asked.first_wins:
        return _record(yard, outcome)
    body = {"input": asked.input, "options": asked.options, "context": asked.context, "next": asked.next}
    return _listed(yard, outcome, body)


def _find(yard: Yard, task: Which) -> Job:
    return lifecycle.find(yard, _id(task), Kind.TASK)


def _id(task: Which) -> int:
    return task.id if isinstance(task, Task) else checks.job_id(task, "task")


def _record(yard: Yard, job: Job) -> Task:
    body = yard.payloads.body(job)
    return task_of(job, body, context_of(yard.payloads, job, body), yard.payloads.output(job))


def _listed(yard: Yard, job: Job, body: Mapping[str, Any] | None) -> Task:
    """A task with what its record and its ``body`` hold."""
    context = context_of(yard.payloads, job, body or {}, in_list=True)
    return task_of(job, body, context, yard.payloads.inline_output(job))


def _log(yard: Yard, job: Job) -> tuple[LogEntry, ...]:
    entries = logbook.read(yard, job.id)
    return tuple(LogEntry(time=moment_of(e.time_ms), message=e.message, data=e.data) for e in entries)


def _console(yard: Yard, job: Job) -> tuple[ConsoleLine, ...]:
    return tuple(
        ConsoleLine(time=moment_of(line.time_ms), attempt=line.attempt, source=line.source, text=line.text)
        for line in console.read(yard, job)
    )


def _retried(task: Which) -> Task | TaskyardError:
    try:
        return retry(task)
    except TaskyardError as error:
        return error


def _signed(task: Which, signature: str | None, told: Any) -> int:
    """The id of a task that may be told something under a signature. Raises ``NotFound`` and ``WrongSignature``."""
    yard = installation.yard()
    job = _find(yard, task)
    secret = secret_in(yard.payloads.context(job))
    if secret is not None and not verify(signature, secret, job.id, told):
        raise WrongSignature(
            "this is not the signature of what is told",
            field="signature",
            expected="HMAC-SHA256 with the secret of the task's context, in hex",
        )
    return job.id


def _outcome(yard: Yard, job: Job) -> Any:
    told = f"task {job.id} ({job.type})"
    match job.state:
        case State.SUCCESS:
            return yard.payloads.output(job)
        case State.FAILED:
            reason = "no reason was given" if job.error is None else f"{job.error.type}: {job.error.message}"
            raise TaskFailed(f"{told} has failed: {reason}")
        case State.CANCELED:
            raise TaskCanceled(f"{told} was canceled")
    raise TaskUnfinished(f"{told} is not done yet", expected="success", got=job.state.value, remedy="wait for longer")


def _state(given: State | str) -> State:
    try:
        return State(given)
    except ValueError as error:
        raise InvalidInput("there is no such status", field="status", expected=" or ".join(State), got=given) from error


def _span(name: str, since: datetime | None, until: datetime | None) -> Span:
    since_ms = None if since is None else checks.at_ms(f"{name}_from", since)
    until_ms = None if until is None else checks.at_ms(f"{name}_until", until)
    if since_ms is not None and until_ms is not None and until_ms < since_ms:
        raise InvalidInput("a span cannot end before it begins", field=f"{name}_until", expected=f"{since}", got=until)
    return Span(since_ms, until_ms)
