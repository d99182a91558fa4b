"""Serendipity-Job's words: its answers, its states, and how it says what is wrong."""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from typing import Any, Generic, TypeVar

from pydantic import Field

from chalicelib.core.states import State
from chalicelib.http.exchange import Answer
from chalicelib.http.models import AnswerModel
from chalicelib.http.problems import Problem, ProblemStyle


class Status(IntEnum):
    """Where a task stands."""

    WAITING = 0
    RUNNING = 1
    DONE = 2
    CANCELED = 3
    FAILED = 4


STATUS_OF = {
    State.PENDING: Status.WAITING,
    State.RUNNING: Status.RUNNING,
    State.WAITING: Status.RUNNING,
    State.SUCCESS: Status.DONE,
    State.CANCELED: Status.CANCELED,
    State.FAILED: Status.FAILED,
}
Data = TypeVar("Data")
AS_OK = frozenset({404, 409})  # is said with status 200 and code 1
FIELD_NAMES = {
    "link_url": "linkUrl",
    "tz": "timezone",
    "execute_at": "runtime",
    "alias": "taskNo",
    "input": "content",
    "idempotency_key": "workflowNo",
}


class Ok(AnswerModel, Generic[Data]):
    """It was done."""

    code: int = 0
    msg: str = "Ok!"
    data: Data


class Refusal(AnswerModel):
    """What is wrong: code 1 with status 200, otherwise the status."""

    code: int = Field(examples=[1])
    msg: str = Field(examples=["Unknown!"])
    data: Any = Field(default_factory=list)


def refused(msg: str, **data: Any) -> Answer:
    """What is asked for was not done."""
    return Answer(200, {"code": 1, "msg": msg, "data": data or []})


def _render(problem: Problem) -> Answer:
    wrong = [(each.field, f"expected {each.expected}, got {each.got}") for each in problem.details]
    news = [f"{field}: {text}" for field, text in wrong if text not in problem.message]
    msg = "; ".join([problem.message, *news, *([problem.remedy] if problem.remedy else [])])
    if problem.status in AS_OK:
        return refused(msg)
    return Answer(problem.status, {"code": problem.status, "msg": msg, "data": []}, problem.headers)


def _render_signed(problem: Problem) -> Answer:
    """The same of a route that wants a signature, and no access key."""
    headers = {"WWW-Authenticate": 'Signature realm="taskyard"'} if problem.status == 401 else problem.headers
    return _render(replace(problem, headers=headers))


STYLE = ProblemStyle(_render, Refusal, FIELD_NAMES)
SIGNED = ProblemStyle(_render_signed, Refusal, FIELD_NAMES)
