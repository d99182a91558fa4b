"""``@schedule``: a handler says itself when it runs. ``engine/clock/schedules.py`` keeps what is declared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeVar

from chalicelib.core.documents import jsonable
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import priority_of
from chalicelib.core.schedule_checks import check_size, checked, moment_to_ms, normalised, seconds_to_ms
from chalicelib.core.schedules import Missed, Overlap, Schedule, Source
from chalicelib.core.states import Kind
from chalicelib.core.tenants import tenant_of
from chalicelib.engine.handlers.declare import Handler, Mark, handler_of, marking, marks_of
from chalicelib.engine.handlers.signatures import label_of

ROLE = "schedule"
IN_LAMBDA = "AWS_LAMBDA_FUNCTION_NAME"  # what is deployed was read before: a cold start does without croniter
UNKNOWN_YET = ""  # the uid of a schedule that is declared; it gets one when it is made

Function = TypeVar("Function", bound=Callable[..., Any])


def schedule(
    cron: str | None = None,
    *,
    tz: str = "UTC",
    every_s: float | None = None,
    name: str | None = None,
    input: Any = None,  # noqa: A002  # every dialect's word for it
    priority: int | str = 0,
    missed: str = Missed.LAST,
    missed_max: int = 100,
    overlap: str = Overlap.ALLOW,
    jitter_s: float = 0,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
    max_runs: int | None = None,
    tenant: str | None = None,
) -> Callable[[Function], Function]:
    """Declare when a handler runs, beside ``@task`` or ``@subscribe``.

    ``cron`` (five fields, or six with the second first) by the clocks of the zone ``tz``, or ``every_s`` seconds.
    ``name`` is the schedule's, default the function's (``module.function``); a function may have several schedules of
    different names. ``input`` is what the task gets, or the payload of the message; a text ``{{slot}}`` in it stands
    for the time that it runs for. ``tenant``: on whose behalf it runs. The others are as for
    ``services.schedules.create``.

    The clock makes, changes and deletes schedules as the deployed code declares them, within a minute. They may be
    paused by request; all else is changed in the code.
    """
    if callable(cron):
        raise InvalidInput(
            "@schedule stands without its parentheses",
            field="cron",
            got="@schedule",
            remedy='write @schedule("0 3 * * *")',
        )
    definition = {
        "cron": cron,
        "zone": tz,
        "every_ms": seconds_to_ms("every_s", every_s),
        "missed": missed,
        "missed_max": missed_max,
        "overlap": overlap,
        "jitter_ms": seconds_to_ms("jitter_s", jitter_s) or 0,
        "start_ms": moment_to_ms("start_at", start_at),
        "end_ms": moment_to_ms("end_at", end_at),
        "max_runs": max_runs,
    }
    work = {"input": jsonable(input, "input"), "priority": priority_of(priority)}
    if tenant is not None:
        work["tenant"] = tenant_of("tenant", tenant)
    return marking(Mark(ROLE, name or "", {"definition": definition, "work": work}))


def schedules_of(function: Any) -> Iterator[Schedule]:
    """The schedules that are declared beside a handler.

    Raises ``InvalidInput`` and ``TooLarge`` for one that could never be made, or whose input the handler cannot take.
    """
    marks = marks_of(function)
    handlers = [mark for mark in marks if mark.role in ("task", "subscriber")]
    for mark in (mark for mark in marks if mark.role == ROLE):
        if len(handlers) != 1:
            raise InvalidInput(
                "a schedule stands beside one handler",
                field="schedule",
                expected="one @task or @subscribe on the same function",
                got=f"{len(handlers)} on {label_of(function)}",
            )
        yield _declared(function, mark, handlers[0])


def _declared(function: Any, mark: Mark, handler: Mark) -> Schedule:
    work = dict(mark.options["work"])
    if handler.role == "task":
        kind, work = Kind.TASK, {"type": handler.name, "scriptName": handler.options["script"], **work}
    else:
        payload = work.pop("input")
        kind, work = Kind.MESSAGE, {"topic": handler.name, "payload": {} if payload is None else payload, **work}
    declared = Schedule(
        name=mark.name or label_of(function),
        uid=UNKNOWN_YET,
        kind=kind,
        work=work,
        source=Source.CODE,
        created_at_ms=0,
        updated_at_ms=0,
        **mark.options["definition"],
    )
    if IN_LAMBDA in os.environ:
        return normalised(declared)
    check_size(declared)
    made = declared.work_at(0)
    _check_input(handler_of(function, handler), made["input"] if kind is Kind.TASK else made["payload"])
    return checked(declared)


def _check_input(handler: Handler, value: Any) -> None:
    """Raise ``InvalidInput`` for an input that the handler cannot take, or that its model breaks on."""
    try:
        handler.parse(value)
    except InvalidInput:
        raise
    except Exception as error:  # user code: a validator
        raise InvalidInput(
            f"the model of {handler.name} fails on this input",
            field="input",
            expected="what its validators can check",
            got=type(error).__name__,
        ) from error
