"""Completing a task from outside: by a person, by a callback, or by the answer that a parked task waits for.

The task may be in any state but done. Where its type has a completion handler (``@on_success``), a success hands the
task back to a worker with its output, and is recorded once that handler has succeeded.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from chalicelib.core.documents import jsonable, to_json
from chalicelib.core.errors import Conflict, InvalidInput
from chalicelib.core.job import Job, JobError
from chalicelib.core.states import LIVE, Kind, State
from chalicelib.core.texts import readable
from chalicelib.core.waking import wake_for_send
from chalicelib.engine import logbook
from chalicelib.engine.commands.lifecycle import find
from chalicelib.engine.publish.follow_up import follower
from chalicelib.engine.publish.send import send_marked
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.settle import after_success, recording
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import JobRefused
from chalicelib.store.settled import Completed, StoredOutput

RACE_TRIES = 4
ERROR_MAX_CHARS = 500
MSG_MAX_CHARS = 1_000
LOGGED_MAX_BYTES = 16 * 1024
NO_REASON = "no reason was given"
COMPLETED_ERROR = "Failed"  # the type of an error that somebody names, as against an exception's class


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How a task went, by the word of whoever did it. ``error`` is kept where it failed (a text, or any JSON value)."""

    success: bool
    output: Any = None
    error: Any = None
    msg: str | None = None
    user: str | None = None


def complete(yard: Yard, job_id: int, completion: Completion, kind: Kind = Kind.TASK) -> Job:
    """Record how a task that is not done went; returns its record.

    Raises ``NotFound``, ``Conflict`` for a task that is done, ``InvalidInput`` for what is no JSON, and ``TooLarge``.
    """
    return _complete(yard, job_id, completion, kind, LIVE)


def process_next(yard: Yard, job_id: int, result: str) -> Job:
    """Take the answer that a parked task waits for: JSON text of an object with a ``code``.

    Code 0 is success, any other failure; the whole object is the output, and the error, too. A text that
    is no such object fails the task, too, and raises ``InvalidInput``. Raises ``NotFound``, and ``Conflict`` for a
    task that does not wait.
    """
    try:
        answer = json.loads(result, parse_constant=_no_number, parse_float=_finite)
        if not isinstance(answer, dict):
            raise ValueError("it is no object")
        success = answer.get("code") == 0 and not isinstance(answer.get("code"), bool)
    except (ValueError, RecursionError) as error:
        refusal = Completion(success=False, error="the result is no JSON object")
        _complete(yard, job_id, refusal, Kind.TASK, frozenset({State.WAITING}))
        raise InvalidInput(
            "the result cannot be read; the task has failed",
            field="result",
            expected="the JSON text of an object with code, data and message",
            got=result,
        ) from error
    completion = Completion(success=success, output=answer, error=None if success else answer)
    return _complete(yard, job_id, completion, Kind.TASK, frozenset({State.WAITING}))


def callback(
    yard: Yard, job_id: int, code: float, data: Any = None, message: str | None = None, user: str | None = None
) -> Job:
    """Log what a task's work elsewhere has come to, then complete the task: code 0 is success, with ``data`` as output.

    Any other fails it, with the message as error. Raises what ``complete`` raises.
    """
    _expect_live(find(yard, job_id, Kind.TASK), LIVE)
    _log(yard, job_id, code, data, message)
    success = code == 0
    completion = Completion(
        success=success,
        output=data if success else None,
        error=None if success else (message or f"the callback came with code {code:g}"),
        msg=message,
        user=user,
    )
    return complete(yard, job_id, completion)


def _log(yard: Yard, job_id: int, code: float, data: Any, message: str | None) -> None:
    """Log a callback; of data that no entry holds, how much it was: the output has all of it."""
    size_bytes = len(to_json(data, "data"))
    if size_bytes > LOGGED_MAX_BYTES:
        data = {"omitted": f"{size_bytes} bytes"}
    logbook.write(yard, job_id, (message or "")[:MSG_MAX_CHARS], {"code": code, "data": data})


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def _complete(yard: Yard, job_id: int, completion: Completion, kind: Kind, from_states: frozenset[State]) -> Job:
    msg = None if completion.msg is None else readable(completion.msg, MSG_MAX_CHARS)
    by = Completed(yard.token(), completion.user, msg)
    output = None if completion.output is None else to_json(completion.output, "output")
    for _ in range(RACE_TRIES):
        job = find(yard, job_id, kind)
        _expect_live(job, from_states)
        stored = StoredOutput() if output is None else yard.payloads.store_output(job, output, by.settle_token)
        try:
            if not completion.success:
                failed = yard.jobs.complete(job, by, _error(completion.error), stored, yard.now_ms())
                return follow_through(yard, job, failed)
            if kind is Kind.TASK and job.type in yard.handlers.completions:
                return _finish_later(yard, job, by, stored)
            return _succeed(yard, job, by, stored, jsonable(completion.output, "output"))
        except JobRefused:
            continue  # it moved in between: look again
    raise Conflict("the job keeps changing", field="id", got=str(job_id), remedy="try again")


def _succeed(yard: Yard, job: Job, by: Completed, stored: StoredOutput, output: Any) -> Job:
    following = follower(yard, job, output)
    settled = yard.jobs.complete(job, by, None, stored, yard.now_ms(), *recording(yard, following))
    after_success(yard, settled, following)
    return follow_through(yard, job, settled)


def _finish_later(yard: Yard, job: Job, by: Completed, stored: StoredOutput) -> Job:
    now_ms = yard.now_ms()
    handed_over = yard.jobs.finish_later(job, by, stored, wake_for_send(now_ms, now_ms), now_ms)
    send_marked(yard, handed_over)
    return handed_over


def _expect_live(job: Job, states: frozenset[State]) -> None:
    if job.state not in states or job.finishing:
        raise Conflict(
            f"only a task that is {'waiting' if states == {State.WAITING} else 'not done'} can be completed",
            field="id",
            expected=" or ".join(state for state in State if state in states),
            got="being completed" if job.finishing else job.state.value,
        )


def _error(error: Any) -> JobError:
    text = (
        error
        if isinstance(error, str)
        else json.dumps(jsonable(error, "error"), ensure_ascii=False)
        if error is not None
        else NO_REASON
    )
    text = readable(text)
    return JobError(COMPLETED_ERROR, text if len(text) <= ERROR_MAX_CHARS else f"{text[: ERROR_MAX_CHARS - 1]}…")
