"""What a system elsewhere tells of a task it works on: ``/api/task/next``, ``log`` and ``callback``.

A task whose context has a secret listens to whoever signs with it, and to nobody else. One without a secret listens
to whoever has an access key. Who has neither learns nothing: not even whether there is such a task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chalicelib.api.shapes import FASTIFY
from chalicelib.api.tasks.records import NO_TASK, Done
from chalicelib.core import access
from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.ids import parse_job_id
from chalicelib.core.job import Job
from chalicelib.core.signature import secret_in, verify
from chalicelib.core.states import Kind
from chalicelib.engine import logbook
from chalicelib.engine.commands import complete
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, ApiModel, Id, TextAsSent
from chalicelib.http.problems import Unauthorized
from chalicelib.http.routes import Router
from chalicelib.store.payloads import PayloadLost

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

SCOPE = "task"
NOBODYS_SECRET = "of a task that is not there"  # noqa: S105  # so that its refusal takes as long as another's

router = Router("Tasks", style=FASTIFY)


class AliasQuery(ApiModel):
    """The task's id, in the query instead of the body."""

    task_id: str | None = Field(default=None, description="The task, where the body names none")


class SignedBody(ApiModel):
    """What every signed request names."""

    id: Id | None = Field(default=None, description="The task; may be in the query, as taskId", examples=["1024"])
    task_id: Id | None = Field(default=None, description="The same as id")
    signature: str | None = Field(
        default=None,
        description="Hex HMAC-SHA256, with context.secret as its key, over id, | and what is told; needed where the "
        "task has a secret",
        repr=False,
    )


class NextBody(SignedBody):
    """How it went elsewhere."""

    result: TextAsSent = Field(
        description="JSON text {code, data, message}; code 0 is success. It is signed as it is",
        examples=['{"code":0,"data":{"output":"done"}}'],
    )


class LogBody(SignedBody):
    """Something to remember. Signed as `JSON.stringify({data, message})`, without what is absent."""

    data: Any = None
    message: TextAsSent | None = Field(
        default="", description="Signed as it is, and as an empty text where it is absent"
    )


class CallbackBody(SignedBody):
    """How it went elsewhere. Signed as `JSON.stringify({code, data, message})`, without what is absent."""

    code: Annotated[int | float, NOT_BOOLEAN] = Field(description="0 is success")
    data: Any = None
    message: TextAsSent | None = None


@router.post("/api/task/next", scope=SCOPE, signed=True, answers={**NO_TASK, 409: "The task does not wait"})
def process_next(yard: Yard, body: NextBody, query: AliasQuery, caller: Caller) -> Done:
    """End a task that waits, with the result that it waits for.

    With code 0 it succeeds and the whole result is its output; with any other it fails, and so it does if the result
    is no JSON.
    """
    complete.process_next(yard, _admitted(yard, body, query, caller, body.result).id, body.result)
    return Done()


@router.post("/api/task/log", scope=SCOPE, signed=True, answers=NO_TASK)
def log(yard: Yard, body: LogBody, query: AliasQuery, caller: Caller) -> Done:
    """Add an entry to a task's log, which keeps the newest 100."""
    told = {**_sent(body, "data"), "message": body.message}
    job = _admitted(yard, body, query, caller, told)
    logbook.write(yard, job.id, body.message or "", body.data)
    return Done()


@router.post("/api/task/callback", scope=SCOPE, signed=True, answers={**NO_TASK, 409: "The task is done already"})
def callback(yard: Yard, body: CallbackBody, query: AliasQuery, caller: Caller) -> Done:
    """Say how a task went that is not done: code 0 is success, any other a failure with the message as its error.

    What is told is logged first.
    """
    job = _admitted(yard, body, query, caller, _sent(body, "code", "data", "message"))
    complete.callback(yard, job.id, body.code, body.data, body.message)
    return Done()


def _sent(body: SignedBody, *names: str) -> dict[str, Any]:
    """What was sent under ``names``, in their order: null was, what is absent was not."""
    return {name: getattr(body, name) for name in names if name in body.model_fields_set}


def _admitted(yard: Yard, body: SignedBody, query: AliasQuery, caller: Caller, told: Any) -> Job:
    """The task that a request names, if it may be told something by this request.

    Raises ``Unauthorized``, always in the same words, and ``NotFound`` for those alone who may see every task.
    """
    named = _named(body, query)
    job_id = parse_job_id(named)
    found = None if job_id is None else yard.jobs.find(job_id)
    job = found if found is not None and found.kind is Kind.TASK else None
    secret = None if job is None else _secret_of(yard, job)
    fits = verify(body.signature, secret or NOBODYS_SECRET, named if job is None else job.id, told)
    has_key = access.allows(caller.scopes, SCOPE)
    if job is not None and (has_key if secret is None else fits):
        return job
    if job is None and has_key:
        raise NotFound(f"there is no task {named[:40]!r}", field="id", got=named)
    raise Unauthorized(
        "this needs a valid signature or, for a task without a secret, an access key with the scope task",
        remedy="sign with the task's own secret, or send the header Authorization: Bearer <key> if it has none",
    )


def _secret_of(yard: Yard, job: Job) -> str | None:
    """The secret of a task; a new one, which nobody has, where its context is lost: it may have had one."""
    try:
        return secret_in(yard.payloads.context(job))
    except PayloadLost:
        return yard.token()


def _named(body: SignedBody, query: AliasQuery) -> str:
    """The id as the request names it. Raises ``InvalidInput`` where it names none, or two."""
    given = {str(name) for name in (body.id, body.task_id, query.task_id) if name is not None}
    if len(given) == 1:
        return given.pop()
    raise InvalidInput(
        "the request must name one task",
        field="id",
        expected="id or taskId in the body, or taskId in the query",
        got="two of them" if given else "neither",
    )
