"""What may be wrong with a request, told as: what was expected, what came, what to do about it.

The edge maps each class to one HTTP status (see ``http/problems.py``); nothing below the edge knows of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SHOWN_VALUE_CHARS = 120


class Reject(Exception):
    """Raise it from a handler when no retry can help: the job becomes a dead letter at once."""


class TaskyardError(Exception):
    """An error whose text is meant for the caller.

    ``message`` is one sentence; ``field`` names the offending input in the caller's own words; ``expected``,
    ``got`` and ``remedy`` complete the explanation where they help. None of them may carry a secret.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        expected: str | None = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.expected = expected
        self.got = None if got is None else shown(got)
        self.remedy = remedy

    def __str__(self) -> str:
        return self._text(self.got)

    def without_value(self) -> str:
        """What is wrong, but not what came instead: errors of jobs are listed and logged, and payloads hold secrets."""
        return self._text(None)

    def _text(self, got: str | None) -> str:
        parts = [self.message if self.field is None else f"{self.field}: {self.message}"]
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if got is not None:
            parts.append(f"got {got}")
        if self.remedy is not None:
            parts.append(self.remedy)
        return "; ".join(parts)


class InvalidInput(TaskyardError):
    """The request can never succeed as it is."""


class NotFound(TaskyardError):
    """There is no such job, key or dead letter."""


class Conflict(TaskyardError):
    """The job's state, or another job, stands in the way."""


class Full(TaskyardError):
    """As many jobs are unfinished as may be; the same request succeeds once one of them is done."""


class TooLarge(TaskyardError):
    """A payload or output exceeds the one size limit."""


class Unavailable(TaskyardError):
    """AWS did not answer in time; the same request may succeed later."""


@contextmanager
def within(place: str) -> Iterator[None]:
    """Let an error be told by where its field stands: ``next.type`` for the ``type`` of what is within ``next``."""
    try:
        yield
    except TaskyardError as error:
        if error.field is not None:
            error.field = f"{place}.{error.field}"
        raise


def unknown(what: str, job_id: int) -> NotFound:
    """The error of who asks for a job, or a graph, that there is not."""
    return NotFound(
        f"there is no {what} {job_id}",
        field="id",
        got=str(job_id),
        remedy="list those there are; what was done may have been deleted",
    )


def shown(value: object) -> str:
    """``value`` as text of at most 120 characters, for an error message."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_VALUE_CHARS else f"{text[:SHOWN_VALUE_CHARS]}…"
