"""Create tasks, follow how they go, and say how they went.

    from chalicelib.services import tasks

    task = tasks.create("text.statistics", target_id="readme", target_type="document", input={"text": "to be"},
                        runner_type="system")
    tasks.wait_complete(task)  # the handler's output

**Creating tasks from a handler.** A handler may run more than once for one job. With ``once`` and ``within=context``
all its attempts create one task between them; see ``messages.publish``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Job
from chalicelib.core.signature import secret_in, verify
from chalicelib.core.states import Kind, State
from chalicelib.engine import logbook
from chalicelib.engine.clock.tick import tick
from chalicelib.engine.commands import complete as completing
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion
from chalicelib.engine.worker.run import running_here
from chalicelib.engine.yard import Yard
from chalicelib.services import checks, installation, task_orders
from chalicelib.services.lists import page_of
from chalicelib.services.records import Page, Task
from chalicelib.services.task_creation import NewTask as NewTask
from chalicelib.services.task_creation import create as create
from chalicelib.services.task_creation import create_many as create_many
from chalicelib.services.task_lists import SORT_KEYS, Span, TaskFilters, page_of_one, task_query
from chalicelib.services.task_orders import NextTask as NextTask
from chalicelib.services.task_records import Which, detailed, id_of, listed, whole
from chalicelib.services.task_statistics import statistics as statistics
from chalicelib.services.task_waiting import TaskCanceled as TaskCanceled
from chalicelib.services.task_waiting import TaskFailed as TaskFailed
from chalicelib.services.task_waiting import TaskUnfinished as TaskUnfinished
from chalicelib.services.task_waiting import wait_complete as wait_complete
from chalicelib.store.job_lists import OFFSET_MAX, PER_PAGE_MAX


class WrongSignature(TaskyardError):
    """A task with a secret was told something without the signature that belongs to it."""


def detail(task: Which) -> Task:
    """A task as it stands now, with its log, what its polls found and its handler printed. Raises ``NotFound``."""
    yard = installation.yard()
    return detailed(yard, _find(yard, task))


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
    if sort not in [*SORT_KEYS]:
        raise InvalidInput("this is no sort key", field="sort", expected=" or ".join(SORT_KEYS), got=sort)
    yard = installation.yard()
    filters = TaskFilters(
        target_id=checks.maybe_name("target_id", target_id),
        target_type=checks.maybe_name("target_type", target_type),
        target_name=checks.maybe_name("target_name", target_name),
        type=checks.maybe_name("type", type),
        status=None if status is None else checks.word("status", status, State),
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
        asked = parse_job_id(checks.expect_id(id))
        found = page_of_one(yard, asked, wanted, (checks.whole("page", page, 1, OFFSET_MAX) - 1) * size)
        bodies = yard.payloads.bodies(found.jobs)
        items = [listed(yard, job, bodies[job.id]) for job in found.jobs]
        return Page(items=items, total_count=found.total, total_is_exact=True, next_cursor=None)
    return page_of(yard, wanted, lambda job, body: listed(yard, job, body), page=page, per_page=per_page, cursor=cursor)


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
    return whole(yard, completing.complete(yard, id_of(task), completion))


def cancel(task: Which) -> Task:
    """Cancel a task that is not done; one that is done stays as it is. Raises ``NotFound``.

    A running handler learns of it at its next progress call or heartbeat.
    """
    yard = installation.yard()
    return whole(yard, lifecycle.cancel(yard, id_of(task), Kind.TASK))


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
    lifecycle.delete(installation.yard(), id_of(task), Kind.TASK, force=chosen)


def promote(task: Which) -> Task:
    """End a task's delay: it starts now. One that is due already stays as it is.

    Raises ``NotFound``, and ``Conflict`` for a task that is not pending.
    """
    yard = installation.yard()
    return whole(yard, lifecycle.promote(yard, id_of(task), Kind.TASK))


def retry(task: Which) -> Task:
    """Run a failed or canceled task again, with as many attempts as at first.

    Raises ``NotFound``, and ``Conflict`` for a task in another state.
    """
    yard = installation.yard()
    return whole(yard, lifecycle.retry(yard, id_of(task), Kind.TASK))


def retry_many(tasks: Sequence[Which]) -> Sequence[Task | TaskyardError]:
    """Run several again, each for itself; answers, in order, each one's record or why it was not retried."""
    return [_retried(task) for task in checks.many("tasks", tasks)]


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
    return whole(yard, completing.callback(yard, id_of(task), checked, data, text, user))


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
    return whole(yard, completing.process_next(yard, id_of(task), text))


def process_next_with_signature(task: Which, signature: str | None, result: str) -> Task:
    """The same for a result that came from elsewhere: the signature is over that very text.

    Raises ``WrongSignature``, too.
    """
    return process_next(_signed(task, signature, result), result)


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


def _find(yard: Yard, task: Which) -> Job:
    return lifecycle.find(yard, id_of(task), Kind.TASK)


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


def _span(name: str, since: datetime | None, until: datetime | None) -> Span:
    since_ms = None if since is None else checks.at_ms(f"{name}_from", since)
    until_ms = None if until is None else checks.at_ms(f"{name}_until", until)
    if since_ms is not None and until_ms is not None and until_ms < since_ms:
        raise InvalidInput("a span cannot end before it begins", field=f"{name}_until", expected=f"{since}", got=until)
    return Span(since_ms, until_ms)
