"""Calls of handlers: with the input of one job, or with those of a batch, and what comes back as outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from chalicelib.core.decisions import Failed, Interrupted, Succeeded
from chalicelib.core.documents import to_json
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import JobError
from chalicelib.engine.awaiting import awaited
from chalicelib.engine.failures import MESSAGE_MAX_CHARS, failure_of, log_failure
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.worker.attempt import JobCanceled, LeaseLost
from chalicelib.engine.worker.context import Context
from chalicelib.engine.worker.deliver import NotDelivered
from chalicelib.logger import logger
from chalicelib.store.payloads import PayloadLost, PayloadUnread

T = TypeVar("T")

Result = Succeeded | Failed | Interrupted
"""What one handler made of one job."""


def call(context: Context, handler: Handler) -> Result:
    """Call a handler with the job's input."""
    if handler.batch is not None:
        return call_together(context, [context], handler)[0]
    parsed = _parsed(context, handler)
    if isinstance(parsed, Failed):
        return parsed

    def do() -> Succeeded:
        given = (*parsed, context) if handler.wants_context else parsed
        return _succeeded(awaited(handler.function(*given), context), "output")

    return contained(context, handler.label, do)


def call_together(lead: Context, contexts: Sequence[Context], handler: Handler) -> list[Result]:
    """Call a handler of batches once with the inputs of several jobs; returns what it made of each, in their order.

    ``lead`` stands for the call: what interrupts it ends the call. Not in it are those whose input cannot be taken, and
    those that are void by now.
    """
    parsed = [_parsed(context, handler) for context in contexts]
    members = [context for context, value in zip(contexts, parsed, strict=True) if not isinstance(value, Failed)]
    values = [value[0] for value in parsed if not isinstance(value, Failed)]

    def do() -> list[Result]:
        given = (values, members) if handler.wants_context else (values,)
        try:
            return _told(handler, members, awaited(handler.function(*given), lead))
        except (JobCanceled, LeaseLost) as error:  # of one of them, which is no fault of the others
            again = Interrupted(JobError(type(error).__name__, f"another one of its batch is void: {error}"))
            return [failure_of(error) if context.cancelled else again for context in members]

    made = contained(lead, handler.label, do) if members else []
    of_members = iter([made] * len(members) if isinstance(made, Failed) else made)
    return [value if isinstance(value, Failed) else next(of_members) for value in parsed]


def _told(handler: Handler, members: Sequence[Context], returned: Any) -> list[Result]:
    """What a handler of batches has returned, for each job: a value, or an exception for a failure."""
    results = [None] * len(members) if returned is None else returned
    if not isinstance(results, list | tuple) or len(results) != len(members):
        raise InvalidInput(
            "a handler of batches returns a result for each input",
            field="output",
            expected=f"a list of {len(members)}, or None",
            got=f"a list of {len(results)}" if isinstance(results, list | tuple) else type(results).__name__,
        )
    return [
        contained(context, handler.label, partial(_told_of_one, result, f"output[{place}]"))
        for place, (context, result) in enumerate(zip(members, results, strict=True))
    ]


def _told_of_one(result: Any, field: str) -> Succeeded:
    if isinstance(result, Exception):
        raise result
    return _succeeded(result, field)


def _succeeded(result: Any, field: str) -> Succeeded:
    return Succeeded(None if result is None else to_json(result, field))


def _parsed(context: Context, handler: Handler) -> tuple[Any] | Failed:
    """The input as the handler takes it. One that it cannot take is a final failure: no retry mends it."""

    def parse() -> tuple[Any] | Failed:
        try:
            return (handler.parse(context.input),)
        except InvalidInput as error:
            text = error.without_value()
            logger.error("input refused", extra={"handler": handler.label, "error": text})
            return Failed(JobError("InvalidInput", text[:MESSAGE_MAX_CHARS]), final=True)

    return contained(context, handler.label, parse)


def contained(context: Context, label: str, do: Callable[[], T]) -> T | Failed:
    """What ``do``, which calls user code, comes to. Whatever that raises is a failure of this job alone.

    What interrupts the run is raised, even if the user's code has swallowed or wrapped it.
    """
    try:
        context.raise_if_void()  # what is canceled or lost starts nothing more
        return do()
    except (Interruption, PayloadLost, PayloadUnread):
        raise
    except (JobCanceled, LeaseLost) as error:
        return failure_of(error)
    except NotDelivered as error:  # it says all that there is to know
        logger.warning("not delivered", extra={"error": str(error)})
        return failure_of(error)
    except BaseException as error:
        log_failure("handler failed", error, handler=label)
        return failure_of(error)
    finally:
        context.raise_if_interrupted()
