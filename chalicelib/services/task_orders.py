"""What a task is told when it is created: by name, checked by the rules of the HTTP dialect."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chalicelib.core.documents import jsonable
from chalicelib.core.errors import InvalidInput, within
from chalicelib.core.job import ATTEMPTS_MAX, MANUAL, SYSTEM
from chalicelib.core.lanes import priority_of
from chalicelib.core.retry import Backoff, backoff_from
from chalicelib.core.signature import check_secret_in
from chalicelib.engine.handlers.script_files import SCRIPT_NAME
from chalicelib.services import checks

DELAY_MAX_S = 10 * 365 * 86_400
TIMEOUT_MAX_MS = 86_400_000


class Follows(Enum):
    """What stands for an input that is not known yet."""

    OUTPUT = "the output of the task before"


@dataclass(frozen=True, slots=True, kw_only=True)
class NextTask:
    """A task that another's success creates. ``None`` means: as the task before, or else the handler, has it.

    Its fields are those of ``tasks.create``.
    """

    type: str
    input: Any = Follows.OUTPUT
    target_id: str | None = None
    target_type: str | None = None
    runner_type: str = SYSTEM
    delay_s: float = 0
    script_name: str | None = None
    options: Mapping[str, Any] | None = None
    context: Mapping[str, Any] | None = None
    priority: int | str | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None
    tenant: str | None = None
    flow_key: str | None = None
    next: NextTask | Mapping[str, Any] | None = None


WORDS = {
    "type": "type",
    "input": "input",
    "targetId": "target_id",
    "targetType": "target_type",
    "runnerType": "runner_type",
    "delay": "delay_s",
    "scriptName": "script_name",
    "options": "options",
    "context": "context",
    "priority": "priority",
    "maxRetries": "max_retries",
    "timeout": "timeout_ms",
    "tenant": "tenant",
    "flowKey": "flow_key",
    "next": "next",
}
"""fastify-task's words for the fields of ``NextTask``."""


def next_request(given: NextTask | Mapping[str, Any]) -> dict[str, Any]:
    """What follows a task, as the engine keeps it. Raises ``InvalidInput``, whose field begins with ``next``."""
    return task_request("next", given)


def task_request(field_name: str, given: NextTask | Mapping[str, Any]) -> dict[str, Any]:
    """A task that something else will create, as the engine keeps it.

    Raises ``InvalidInput``, whose field begins with ``field_name``.
    """
    if not isinstance(given, NextTask | Mapping):
        expected = "a NextTask, or a dict in the words of fastify-task"
        raise InvalidInput("this is no task", field=field_name, expected=expected, got=type(given).__name__)
    with within(field_name):
        return _request_of(given if isinstance(given, NextTask) else _next_task(given))


def _request_of(task: NextTask) -> dict[str, Any]:
    told = {
        "type": checks.name("type", task.type),
        "targetId": checks.maybe_name("target_id", task.target_id),
        "targetType": checks.maybe_name("target_type", task.target_type),
        "runnerType": runner(task.runner_type),
        "delay": delay_ms(task.delay_s) / 1_000 or None,
        "scriptName": script(task.script_name),
        "options": maybe_document("options", task.options),
        "context": context(task.context),
        "priority": None if task.priority is None else priority_of(task.priority),
        "maxRetries": None if task.max_retries is None else attempts(task.max_retries) - 1,
        "timeout": timeout_ms(task.timeout_ms),
        "tenant": checks.maybe_tenant(task.tenant),
        "flowKey": checks.maybe_name("flow_key", task.flow_key),
        "next": None if task.next is None else next_request(task.next),
    }
    request = {name: value for name, value in told.items() if value is not None}
    return request if task.input is Follows.OUTPUT else {**request, "input": jsonable(task.input, "input")}


def _next_task(given: Mapping[str, Any]) -> NextTask:
    """What a mapping in fastify-task's words describes; of them, only the input may be ``None`` and count."""
    checks.known_names(given, WORDS)
    if given.get("type") is None:
        raise InvalidInput("the task needs a type", field="type", expected="a name", got=None)
    return NextTask(**{WORDS[word]: value for word, value in given.items() if value is not None or word == "input"})


def flag(field_name: str, given: object) -> bool:
    """Yes or no. Raises ``InvalidInput``."""
    if not isinstance(given, bool):
        raise InvalidInput("this is neither yes nor no", field=field_name, expected="True or False", got=given)
    return given


def maybe_text(field_name: str, given: object) -> str | None:
    """A text, if one is given. Raises ``InvalidInput``."""
    return None if given is None else checks.text(field_name, given)


def code(given: object) -> float:
    """How what was called back went: 0 is well. Raises ``InvalidInput``."""
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise InvalidInput("this is no code", field="code", expected="a number, 0 for a success", got=given)
    return given


def runner(given: str) -> str:
    """Who runs a task. Raises ``InvalidInput``."""
    if given not in (MANUAL, SYSTEM):
        raise InvalidInput(
            "nobody of this name runs tasks", field="runner_type", expected="manual or system", got=given
        )
    return given


def script(given: str | None) -> str | None:
    """The name of a script, if one is given. Raises ``InvalidInput``."""
    if given is not None and re.fullmatch(SCRIPT_NAME, given) is None:
        expected = "1 to 64 letters, digits, _ and -"
        raise InvalidInput("no script has such a name", field="script_name", expected=expected, got=given)
    return given


def delay_ms(delay_s: float) -> int:
    """A delay of 0 to ten years, in milliseconds. Raises ``InvalidInput``."""
    if isinstance(delay_s, bool) or not isinstance(delay_s, int | float) or not 0 <= delay_s <= DELAY_MAX_S:
        expected = f"0 to {DELAY_MAX_S} seconds"
        raise InvalidInput("this is no delay", field="delay_s", expected=expected, got=delay_s)
    return round(delay_s * 1_000)


def timeout_ms(given: int | None) -> int | None:
    """A time-out of 0 (none) to a day, if one is given. Raises ``InvalidInput``."""
    return None if given is None else checks.whole("timeout_ms", given, 0, TIMEOUT_MAX_MS)


def attempts(max_retries: int) -> int:
    """How many attempts 0 to 99 retries make. Raises ``InvalidInput``."""
    return checks.whole("max_retries", max_retries, 0, ATTEMPTS_MAX - 1) + 1


def backoff(given: object, delay_s: float) -> Backoff | None:
    """What a requested backoff means for a task with a delay, if there is one. Raises ``InvalidInput``."""
    if given is None:
        return None
    return backoff_from(checks.name("backoff", given) if isinstance(given, str) else given, delay_ms(delay_s))


def maybe_document(field_name: str, given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A JSON object, if one is given. Raises ``InvalidInput``."""
    return None if given is None else checks.document(field_name, given)


def context(given: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """A context, if one is given. Raises ``InvalidInput``, also for a secret that nobody could sign with."""
    document = maybe_document("context", given)
    check_secret_in(document)
    return document
