"""How an exception of user code is recorded and logged, whatever its class does when it is asked."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from itertools import islice
from types import FrameType

from chalicelib.core.decisions import Failed
from chalicelib.core.errors import Reject
from chalicelib.core.job import JobError
from chalicelib.core.texts import readable
from chalicelib.engine.interruptions import Interruption
from chalicelib.logger import logger

MESSAGE_MAX_CHARS = 500
LEAVES_SHOWN = 5  # of a group of exceptions


def failure_of(error: BaseException) -> Failed:
    """How an exception is recorded: its class, its text, and the line of the user's code that raised it.

    ``Reject`` is final, and so is a group of nothing else.
    """
    final = all(isinstance(each, Reject) for each in _leaves(error))
    return Failed(JobError(type(error).__name__, text_of(error)[:MESSAGE_MAX_CHARS], _where(error)), final=final)


def text_of(error: BaseException) -> str:
    """What an exception says, a group with what it groups, whatever its class does when it is asked."""
    try:
        text = str(error)
        if isinstance(error, BaseExceptionGroup):
            text = "; ".join(
                [text, *(f"{type(each).__name__}: {each}" for each in islice(_leaves(error), LEAVES_SHOWN))]
            )
        return readable(text)
    except Interruption:
        raise
    except BaseException:  # user code
        return "the exception has no text: its __str__ raises"


def traceback_of(error: BaseException) -> str:
    """The traceback of an exception as text for the log, as far as its class lets it be written."""
    try:
        return readable("".join(traceback.format_exception(error))).rstrip()
    except Interruption:
        raise
    except BaseException:  # user code
        lines = traceback.format_tb(error.__traceback__)
        return readable("".join([*lines, f"{type(error).__name__}: {text_of(error)}"]))


def log_failure(message: str, error: BaseException, **about: object) -> None:
    """Log what user code has raised, with its traceback."""
    logger.error(message, stacklevel=3, extra={**about, "exception": traceback_of(error)})


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that a group is made of, at any depth; any other is its own."""
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting += reversed(each.exceptions)
        else:
            yield each


def _where(error: BaseException) -> str | None:
    """The innermost line that is not of the service itself; its own where there is no other."""
    places = [
        (frame.f_globals.get("__name__", ""), place_of(frame, line))
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    users = [place for module, place in places if not is_own(module)]
    return next(reversed(users or [place for _, place in places]), None)


def is_own(module: str) -> bool:
    """Whether a module is the service's, not its users'."""
    return module.startswith("chalicelib.") and not module.startswith("chalicelib.tasks.")


def place_of(frame: FrameType, line: int) -> str:
    """A line of code as an error names it: ``file:line function``."""
    return f"{frame.f_code.co_filename.rsplit('/', 1)[-1]}:{line} {frame.f_code.co_name}"
