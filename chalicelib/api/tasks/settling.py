"""Ending tasks by hand, deleting them, and running them now or again: ``/api/task/complete``, ``cancel``, ``delete``,
``promote``, ``retry``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from chalicelib.api.shapes import FASTIFY
from chalicelib.api.tasks.records import NO_TASK, Done, TaskBody
from chalicelib.core.errors import Conflict, TaskyardError
from chalicelib.core.states import Kind
from chalicelib.engine.commands import lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.http.models import Id, Name, Reason, Target, Text
from chalicelib.http.one_of import OneOf
from chalicelib.http.routes import Router
from chalicelib.services.checks import job_id as job_id_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BULK_MAX = 100
IS_DONE = {**NO_TASK, 409: "The task is success, failed or canceled already"}

router = Router("Tasks", style=FASTIFY)


class CompleteBody(TaskBody):
    """How a task went."""

    status: Literal["success", "failed"]
    error: Reason | None = Field(default=None, description="Why it failed; an object is kept as its JSON text")
    msg: Text | None = Field(default=None, description="What there is to say about it")
    output: Any = Field(default=None, description="What came of it")
    user_id: Name | None = Field(default=None, description="Who completed it: completedUserId")


class CancelBody(OneOf):
    """One task, or all of a type that are about one target."""

    GROUPS = (("id",), ("target_id", "target_type", "type"))

    id: Id | None = None
    target_id: Target | None = None
    target_type: Name | None = None
    type: Name | None = None


class SomeBody(OneOf):
    """One task, or several."""

    GROUPS = (("id",), ("task_ids",))

    id: Id | None = None
    task_ids: list[Id] | None = Field(default=None, min_length=1, max_length=BULK_MAX)


class DeleteBody(SomeBody):
    """One task, or several."""

    force: bool = Field(default=False, description="Cancel first what is not done")


@router.post("/api/task/complete", scope="task", answers=IS_DONE)
def complete_task(yard: Yard, body: CompleteBody) -> Done:
    """Say how a task went that is not done: whether it waits, runs, or is with a person.

    After a success the completion handler of its type is called; if that fails, so does the task.
    """
    completion = Completion(
        success=body.status == "success", output=body.output, error=body.error, msg=body.msg, user=body.user_id
    )
    complete(yard, job_id_of(str(body.id), "task"), completion)
    return Done()


@router.post("/api/task/cancel", scope="task", answers=NO_TASK)
def cancel_task(yard: Yard, body: CancelBody) -> Done:
    """Cancel a task that is not done, or all of a type about one target; what is done stays as it is."""
    if body.target_id is not None and body.target_type is not None and body.type is not None:
        lifecycle.cancel_matching(yard, body.target_id, body.target_type, body.type)
    else:
        lifecycle.cancel(yard, job_id_of(str(body.id), "task"), Kind.TASK)
    return Done()


@router.post("/api/task/promote", scope="task", answers={**NO_TASK, 409: "The task is not pending"})
def promote_task(yard: Yard, body: TaskBody) -> Done:
    """End a task's delay: it starts now. One that is due already stays as it is."""
    lifecycle.promote(yard, job_id_of(str(body.id), "task"), Kind.TASK)
    return Done()


@router.post("/api/task/retry", scope="task", answers={**NO_TASK, 409: "A task is neither failed nor canceled"})
def retry_task(yard: Yard, body: SomeBody) -> Done:
    """Run failed or canceled tasks again. Of several, those that can be retried are, even where others cannot."""
    return _of_each(body, lambda job_id: lifecycle.retry(yard, job_id, Kind.TASK), "retried")


@router.post("/api/task/delete", scope="task", answers={**NO_TASK, 409: "A task is not done, and force is not set"})
def delete_task(yard: Yard, body: DeleteBody) -> Done:
    """Delete tasks that are done, with all they keep. Of several, those that can be deleted are.

    With `force` whatever their state: what is not done is canceled first. A handler that runs learns of it at its next
    progress call or heartbeat; a task of a limited type is shown as canceled until its run is over. Children of a task
    that has not succeeded are canceled.
    """
    return _of_each(body, lambda job_id: lifecycle.delete(yard, job_id, Kind.TASK, force=body.force), "deleted")


def _of_each(body: SomeBody, act: Callable[[int], object], done: str) -> Done:
    """Act on one task, whose error is raised, or on several, each for itself."""
    if body.task_ids is None:
        act(job_id_of(str(body.id), "task"))
        return Done()
    texts = dict.fromkeys(map(str, body.task_ids))
    refused = [reason for text in texts if (reason := _refused(text, act))]
    if refused:
        raise Conflict(f"{len(refused)} of {len(texts)} tasks were not {done}: {'; '.join(refused[:5])}")
    return Done()


def _refused(text: str, act: Callable[[int], object]) -> str | None:
    try:
        act(job_id_of(text, "task"))
    except TaskyardError as error:
        return f"{text[:40]}: {error.message}"
    return None
