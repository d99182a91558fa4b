"""What kue's users ask for, ``{type, data, options}``, as a task: for HTTP and Python alike.

As lenient as kue: a number may be text, and what makes no sense as a wait counts as absent. Priorities are kue's, where
smaller is sooner.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN, PRIORITY_OF
from chalicelib.core.naming import is_name
from chalicelib.core.retry import DELAY_MAX_MS, Backoff, Exponential, Fixed, backoff_from
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.http.models import NAME_MAX_CHARS, Target, Tenant
from chalicelib.http.problems import rejected

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

NO_TYPE = "Must provide job type"
DELAY_MAX_MS_OF_A_JOB = 10 * 365 * 86_400_000

_LEADING_INTEGER = re.compile(r"\s*[+-]?\d{1,15}")


def leading_integer(value: object) -> int | None:
    """The whole number that a value begins with, as JavaScript's parseInt reads it; ``None`` if it begins with none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value)
    found = _LEADING_INTEGER.match(value) if isinstance(value, str) else None
    return None if found is None else int(found.group())


def priority_of(value: object) -> int:
    """The engine's priority (larger is sooner) for one of kue's (smaller is sooner), a number or a name.

    Raises ``InvalidInput``.
    """
    if isinstance(value, str) and value in PRIORITY_OF:
        return PRIORITY_OF[value]
    number = leading_integer(value)
    if number is None or not PRIORITY_MIN <= number <= PRIORITY_MAX:
        raise InvalidInput("invalid priority")
    return -number


def _milliseconds(value: object) -> int | None:
    """A wait, as kue takes it: what is no number above 0 counts as absent."""
    number = leading_integer(value)
    return number if number is not None and number > 0 else None


def _attempts(value: object) -> int | None:
    return max(1, leading_integer(value) or 1) if value else None


Milliseconds = Annotated[Annotated[int, Field(le=DELAY_MAX_MS_OF_A_JOB)] | None, BeforeValidator(_milliseconds)]
LENIENT = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class KueBackoff(BaseModel):
    """How long to wait before another attempt."""

    model_config = LENIENT

    type: Literal["fixed", "exponential"] = "fixed"
    delay: Milliseconds = None
    max_delay: Milliseconds = Field(default=None, alias="maxDelay")


class KueOptions(BaseModel):
    """What a job may be told; what kue does not know it passes over."""

    model_config = LENIENT

    attempts: Annotated[int | None, BeforeValidator(_attempts)] = None
    priority: Any = None
    delay: Milliseconds = None
    ttl: Milliseconds = None
    backoff: KueBackoff | bool | str | None = None
    remove_on_complete: Any = Field(default=None, alias="removeOnComplete")
    search_keys: str | list[str] | None = Field(default=None, alias="searchKeys")
    tenant: Tenant | None = None
    flow_key: Target | None = Field(default=None, alias="flowKey")


def new_job(yard: Yard, entry: Any, idempotency_key: str | None = None, tenant: str | None = None) -> NewJob:
    """The task that ``{type, data, options}`` asks for, for a ``tenant`` unless it says. Raises ``InvalidInput``."""
    type_ = _type_in(entry)
    given = entry.get("options") or {}
    try:
        options = KueOptions.model_validate(given)
    except ValidationError as error:
        raise rejected("options", given, error) from None
    handler = yard.handlers.tasks.get(type_)
    return NewJob(
        kind=Kind.TASK,
        type=type_,
        input=entry.get("data") or {},
        options=given or None,
        priority=priority_of(options.priority) if options.priority else 0,
        delay_ms=options.delay,
        max_attempts=options.attempts or (handler and handler.max_attempts) or 1,
        timeout_ms=options.ttl,
        backoff=_backoff(options) if options.backoff or handler is None or handler.backoff is None else None,
        remove_on_complete=bool(options.remove_on_complete),
        waits_for_handler=True,
        idempotency_key=idempotency_key,
        tenant=options.tenant or tenant,
        flow_key=options.flow_key,
    )


def _type_in(entry: Any) -> str:
    given = entry.get("type") if isinstance(entry, dict) else None
    if not given or isinstance(given, dict | list):
        raise InvalidInput(NO_TYPE)
    type_ = given if isinstance(given, str) else str(given).lower() if isinstance(given, bool) else str(given)
    if not is_name(type_, NAME_MAX_CHARS):
        expected = f"1 to {NAME_MAX_CHARS} characters on one line, not all blank"
        raise InvalidInput("this is no job type", field="type", expected=expected, got=type_)
    return type_


def _backoff(options: KueOptions) -> Backoff:
    """What a job waits before another attempt: nothing, unless it asks for a wait; its delay, unless that names one."""
    delay_ms, how = min(options.delay or 0, DELAY_MAX_MS), options.backoff
    if not how:
        return Fixed(0)
    if not isinstance(how, KueBackoff):
        return backoff_from(how, delay_ms)
    found = backoff_from({"delay": min(how.delay or delay_ms, DELAY_MAX_MS), "type": how.type}, delay_ms)
    if isinstance(found, Exponential) and how.max_delay is not None:
        return replace(found, cap_ms=min(how.max_delay, DELAY_MAX_MS))
    return found
