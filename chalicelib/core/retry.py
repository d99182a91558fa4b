"""When a failed attempt is tried again.

A backoff answers the wait in milliseconds before retry ``n`` (n = 1 for the retry after the first failure).
A backoff is stored with the job as a small document, never as code: a custom one is a function registered
in Python under a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.errors import InvalidInput

DELAY_MAX_MS = 30 * 24 * 3_600_000
BackoffFunction = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Fixed:
    """The same wait every time: 200, 200, 200 ms for ``delay_ms=200``."""

    delay_ms: int

    def wait_ms(self, _retry: int) -> int:
        """The wait before any retry, in milliseconds."""
        return bounded_ms(self.delay_ms)


@dataclass(frozen=True, slots=True)
class Linear:
    """A wait that grows by a step: 5, 10, 15 s for ``step_ms=5000``, at most ``cap_ms``."""

    step_ms: int
    cap_ms: int = 3_600_000

    def wait_ms(self, retry: int) -> int:
        """The wait before retry ``retry`` (from 1), in milliseconds."""
        return bounded_ms(min(self.step_ms * retry, self.cap_ms))


@dataclass(frozen=True, slots=True)
class Exponential:
    """A wait that doubles: 1, 2, 4, 8 s for ``base_ms=1000``, at most ``cap_ms``.

    The schedule of fastify-mq and fastify-task: ``min(base * 2^(n-1), cap)``.
    """

    base_ms: int
    cap_ms: int = 3_600_000

    def wait_ms(self, retry: int) -> int:
        """The wait before retry ``retry`` (from 1), in milliseconds."""
        doublings = min(retry - 1, 64)
        return bounded_ms(min(self.base_ms << doublings, self.cap_ms))


@dataclass(frozen=True, slots=True)
class Named:
    """A function registered with ``@backoff(name)``; it gets the retry's number and answers milliseconds."""

    name: str


Backoff = Fixed | Linear | Exponential | Named

MESSAGE_BACKOFF = Exponential(base_ms=1_000, cap_ms=60_000)  # fastify-mq: retryBaseDelay, retryMaxDelay
TASK_BACKOFF = Exponential(base_ms=5_000, cap_ms=3_600_000)  # fastify-task: 5 s base


def bounded_ms(wait: float) -> int:
    """``wait`` as whole milliseconds between 0 and 30 days."""
    return int(min(max(wait, 0), DELAY_MAX_MS))


def to_document(backoff: Backoff) -> dict[str, Any]:
    """The form in which a backoff is stored with its job."""
    match backoff:
        case Fixed(delay_ms):
            return {"fixed_ms": delay_ms}
        case Linear(step_ms, cap_ms):
            return {"step_ms": step_ms, "cap_ms": cap_ms}
        case Exponential(base_ms, cap_ms):
            return {"base_ms": base_ms, "cap_ms": cap_ms}
        case Named(name):
            return {"named": name}


def from_document(document: Mapping[str, Any]) -> Backoff:
    """The backoff stored as ``document``; raises ``InvalidInput`` for a form that none of them has."""
    match document:
        case {"fixed_ms": int(delay_ms)}:
            return Fixed(delay_ms)
        case {"step_ms": int(step_ms), "cap_ms": int(cap_ms)}:
            return Linear(step_ms, cap_ms)
        case {"base_ms": int(base_ms), "cap_ms": int(cap_ms)}:
            return Exponential(base_ms, cap_ms)
        case {"named": str(name)}:
            return Named(name)
    raise InvalidInput(
        "this is no backoff",
        field="backoff",
        expected="fixed_ms, step_ms and cap_ms, base_ms and cap_ms, or named",
        got=document,
    )
