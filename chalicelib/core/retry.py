"""When a failed attempt is tried again.

A backoff answers the wait in milliseconds before retry ``n`` (n = 1 for the retry after the first failure).
A backoff is stored with the job as a small document, never as code: a custom one is a function registered
in Python under a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from chalicelib.core.errors import InvalidInput, shown
from chalicelib.core.naming import instead_of

DELAY_MAX_MS = 30 * 24 * 3_600_000
AMOUNT_MAX_MS = 2**53 - 1  # what JSON and DynamoDB hold exactly; no wait is longer than DELAY_MAX_MS
BackoffFunction = Callable[[int], float] | Callable[[int, int], float]


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
    """A function registered with ``@backoff(name)``; it gets the retry's number and answers milliseconds.

    If it has a second parameter, it gets the job's own delay in milliseconds, too.
    """

    name: str


Backoff = Fixed | Linear | Exponential | Named

MESSAGE_BACKOFF = Exponential(base_ms=1_000, cap_ms=60_000)  # fastify-mq: retryBaseDelay, retryMaxDelay
TASK_BACKOFF = Exponential(base_ms=5_000, cap_ms=3_600_000)  # fastify-task: 5 s base


def bounded_ms(wait: float) -> int:
    """``wait`` as whole milliseconds between 0 and 30 days; raises ``TypeError`` or ``ValueError`` for no number."""
    if isinstance(wait, bool) or not isinstance(wait, int | float):
        raise TypeError(f"a wait is a number of milliseconds, not {type(wait).__name__}")
    return int(min(max(wait, 0), DELAY_MAX_MS))


def checked(backoff: object) -> Backoff:
    """``backoff``, if a record can hold it; raises ``InvalidInput`` for what is none, or has a wrong amount in it."""
    if isinstance(backoff, Fixed | Linear | Exponential) and all(map(_is_amount, astuple(backoff))):
        return backoff
    if isinstance(backoff, Named) and isinstance(backoff.name, str):
        return backoff
    raise _no_backoff("Fixed, Linear or Exponential with whole milliseconds from 0, or Named", backoff)


def backoff_from(request: object, delay_ms: int) -> Backoff:
    """What a client asks for means for a job with a delay: a backoff, or one of kue's forms.

    ``True``: the job's delay before each retry. ``{"delay": ms, "type": "fixed" or "exponential"}``: both may be left
    out, for the job's delay and for fixed. A text: the function registered under this name. Kue's exponential wait
    before retry n is delay * 2^n: 2, 4, 8 s for a delay of one second, at most 30 days. Raises ``InvalidInput``.
    """
    if request is True:
        return Fixed(delay_ms)
    if isinstance(request, str):
        return Named(request)
    if isinstance(request, Fixed | Linear | Exponential | Named):
        return checked(request)
    if not isinstance(request, Mapping):
        raise _no_backoff("a Backoff, True, a dict with delay and type, or the name of a function", request)
    for name in request.keys() - {"delay", "type"}:
        expected = instead_of(name, ("delay", "type"))
        raise InvalidInput("there is no such field", field=f"backoff.{shown(name)}", expected=expected, got=name)
    own_ms, kind = request.get("delay"), request.get("type", "fixed")
    if own_ms is not None and not (_is_amount(own_ms) and own_ms <= DELAY_MAX_MS):
        raise _no_backoff(f"a delay of whole milliseconds, 0 to {DELAY_MAX_MS}", request)
    if kind not in ("fixed", "exponential"):
        raise _no_backoff("the type fixed or exponential", request)
    wait_ms = delay_ms if own_ms is None else own_ms
    return Fixed(wait_ms) if kind == "fixed" else Exponential(2 * wait_ms, cap_ms=DELAY_MAX_MS)


def to_document(backoff: Backoff) -> dict[str, Any]:
    """The form in which a backoff is stored with its job; raises ``InvalidInput`` for what could not be read back."""
    match backoff:
        case Fixed(int(delay_ms)):
            return {"fixed_ms": delay_ms}
        case Linear(int(step_ms), int(cap_ms)):
            return {"step_ms": step_ms, "cap_ms": cap_ms}
        case Exponential(int(base_ms), int(cap_ms)):
            return {"base_ms": base_ms, "cap_ms": cap_ms}
        case Named(str(name)):
            return {"named": name}
    raise _no_backoff("Fixed, Linear or Exponential with whole milliseconds, or Named", backoff)


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
    raise _no_backoff("fixed_ms, step_ms and cap_ms, base_ms and cap_ms, or named", document)


def _is_amount(value: object) -> bool:
    return type(value) is int and 0 <= value <= AMOUNT_MAX_MS


def _no_backoff(expected: str, got: object) -> InvalidInput:
    return InvalidInput("this is no backoff", field="backoff", expected=expected, got=got)
