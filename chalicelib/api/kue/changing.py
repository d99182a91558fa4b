"""One job: ``/job/{id}``, its log, its state, its priority, and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from chalicelib.api.kue import records
from chalicelib.api.kue.words import KUE, STATE_OF, JobPath, KueState, find, state_of
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands import by_hand, lifecycle
from chalicelib.engine.commands.complete import Completion, complete
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel, Name
from chalicelib.http.routes import Router
from chalicelib.services.kue_orders import priority_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("kue", style=KUE)


class StatePath(JobPath):
    """A job, and the state that it is to be in."""

    state: Name = Field(description="inactive, active, complete, failed or delayed", examples=["inactive"])


class PriorityPath(JobPath):
    """A job, and its new priority."""

    priority: Name = Field(description="A number, smaller is sooner, or a name", examples=["high"])


class Told(AnswerModel):
    """What was done."""

    message: str = Field(examples=["updated state"])


@router.get("/job/{id}", scope="task")
def job(yard: Yard, path: JobPath) -> dict[str, Any]:
    """Show one job."""
    return records.whole(yard, find(yard, path.id))


@router.get("/job/{id}/log", scope="task")
def job_log(yard: Yard, path: JobPath) -> list[str]:
    """What was logged of a job, and why its attempts failed, oldest first; nothing of a job that there is not."""
    try:
        return records.log_lines(yard, find(yard, path.id))
    except NotFound:
        return []


@router.put("/job/{id}/state/{state}", scope="task")
def put_state(yard: Yard, path: StatePath, caller: Caller) -> Told:
    """Move a job to another state.

    `inactive`: it runs again, or now. `active`: the caller takes it, to work on it elsewhere; nobody else gets it until
    its ttl (default one hour) is over. `complete`, `failed`: it is done. `delayed`: as `inactive`, but a delay stays.
    """
    _move(yard, find(yard, path.id), path.state, caller.name)
    return Told(message="updated state")


@router.put("/job/{id}/priority/{priority}", scope="task")
def put_priority(yard: Yard, path: PriorityPath) -> Told:
    """Change a job's priority; one that waits for a worker takes its new place at once."""
    found = find(yard, path.id)
    by_hand.prioritize(yard, found.id, priority_of(path.priority))
    return Told(message="updated priority")


@router.delete("/job/{id}", scope="task")
def delete_job(yard: Yard, path: JobPath) -> Told:
    """Delete a job in whatever state, with its log and its result; one that runs is canceled first."""
    job_id = find(yard, path.id).id
    lifecycle.delete(yard, job_id, Kind.TASK, force=True)
    return Told(message=f"job {path.id} removed")


@router.get("/inactive/{id}", scope="task", takes=True)
def restart_job(yard: Yard, path: JobPath, caller: Caller) -> Told:
    """Run a job again, or now: as `PUT /job/{id}/state/inactive`."""
    _move(yard, find(yard, path.id), KueState.INACTIVE, caller.name)
    return Told(message=f"job {path.id} inactive")


def _move(yard: Yard, found: Job, state: str, caller: str) -> None:
    match state:
        case KueState.INACTIVE | KueState.DELAYED:
            _restart(yard, found, keep_delay=state == KueState.DELAYED)
        case KueState.ACTIVE:
            _take(yard, found, caller)
        case KueState.COMPLETE | KueState.FAILED:
            complete(yard, found.id, Completion(success=state == KueState.COMPLETE))
        case _:
            expected = "inactive, active, complete, failed or delayed"
            raise InvalidInput(f"a job is not put into the state {state[:40]!r}: expected {expected}")


def _take(yard: Yard, found: Job, caller: str) -> None:
    try:
        by_hand.take(yard, found.id, caller)
    except Conflict as error:
        now = state_of(find(yard, str(found.id)), yard.now_ms())
        raise Conflict(f"only an inactive job can be taken, and this one is {now}") from error


def _restart(yard: Yard, found: Job, *, keep_delay: bool) -> None:
    match found.state:
        case State.PENDING:
            if not keep_delay:
                lifecycle.promote(yard, found.id, Kind.TASK)
        case State.FAILED | State.CANCELED:
            lifecycle.retry(yard, found.id, Kind.TASK)
        case State.RUNNING:
            by_hand.send_back(yard, found.id)
        case _:
            raise Conflict(f"a job that is {STATE_OF[found.state]} is not run again; create another one")
