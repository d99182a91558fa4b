"""Flow control: what a handler declares of how its jobs may follow one another, for all of them or for each key.

A *key* names what jobs have in common, a customer perhaps: a path into what was asked for (``input.customerId``), or a
function of the input. *Slots* bound how many run at once, a *rate* how many begin in a time, an *order* lets them run
one at a time as they were accepted, *unique* answers a second request with the first one's job, *debounce* lets only
the newest of several run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from inspect import iscoroutinefunction
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.limits import CONCURRENCY_MAX, Order
from chalicelib.core.naming import is_name

KEY_MAX_CHARS = 256
KEY_ROOTS = ("input", "options", "context")
RATE_MAX = 1_000_000
PER_MAX_S = 31 * 86_400
WAIT_MAX_S = 7 * 86_400
US_PER_S = 1_000_000
SKEW_US = 60 * US_PER_S  # by how much the clocks of two workers may differ

SUPERSEDED = "superseded by the newer job "

Key = str | Callable[[Any], Any]
"""Where a key is found: a path, steps parted by dots (``input.items.0.sku``), or a function of the input."""


class Until(StrEnum):
    """How long a unique job keeps others away."""

    START = "start"  # while it is pending
    END = "end"  # while it is not done


def expect_rate(field: str, rate: object) -> None:
    """Raise ``InvalidInput`` for what is no rate."""
    if rate is not None and not isinstance(rate, Rate):
        raise _unfit(field, "Rate(count, per_s=...)", rate)


def expect_concurrency(field: str, concurrency: int | None) -> None:
    """Raise ``InvalidInput`` for what is no number of runs at once, 1 to 1,000."""
    if concurrency is not None:
        _expect_whole(field, concurrency, CONCURRENCY_MAX)


def expect_order(order: str | None, *others: str) -> None:
    """Raise ``InvalidInput`` for what is no ``Order``; ``others``: what else there is to choose."""
    if order is not None:
        _expect_one_of("order", order, [*Order, *others])


def _unfit(field: str, expected: str, got: object) -> InvalidInput:
    return InvalidInput("this is no such control", field=field, expected=expected, got=got)


def _expect_whole(field: str, value: object, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        expected = f"a whole number from 1 to {most}"
        raise InvalidInput("this value is out of range", field=field, expected=expected, got=value)


def _expect_seconds(field: str, value: object, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.001 <= value <= most:
        expected = f"0.001 to {most} seconds"
        raise InvalidInput("this value is out of range", field=field, expected=expected, got=value)


def _expect_one_of(field: str, value: object, words: Iterable[str]) -> None:
    if not isinstance(value, str) or value not in {*words}:
        raise InvalidInput("there is no such choice", field=field, expected=" or ".join(words), got=value)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many runs may begin: ``count`` in ``per_s`` seconds, evenly, and up to ``burst`` of them at once.

    A token bucket of ``burst`` tokens, to which one is added every ``per_s / count`` seconds: in any ``t`` seconds at
    most ``burst + t * count / per_s`` begin. ``Rate(10, per_s=60)`` is one every 6 s; with ``burst=10`` the first ten
    begin at once. ``count`` 1 to 1,000,000; ``per_s`` up to 31 days; ``burst`` 1 to 1,000,000; raises ``InvalidInput``.
    """

    count: int
    per_s: float = 1.0
    burst: int = 1

    def __post_init__(self) -> None:
        _expect_whole("rate.count", self.count, RATE_MAX)
        _expect_whole("rate.burst", self.burst, RATE_MAX)
        _expect_seconds("rate.per_s", self.per_s, PER_MAX_S)

    @property
    def interval_us(self) -> int:
        """After how many microseconds a token is added, at least one."""
        return max(1, round(self.per_s * US_PER_S / self.count))

    def latest_us(self, now_us: int) -> int:
        """When a bucket is full again that is empty at ``now_us``."""
        return now_us + self.burst * self.interval_us

    def is_of_another(self, full_at_us: int, now_us: int) -> bool:
        """Whether a bucket is emptier than empty, because tokens were taken from it at a slower rate than this one."""
        return full_at_us > self.latest_us(now_us) + SKEW_US

    def ready_us(self, full_at_us: int, now_us: int) -> int:
        """From when on a run may begin whose bucket is full again at ``full_at_us`` (microseconds since 1970)."""
        if self.is_of_another(full_at_us, now_us):
            return now_us
        return full_at_us - (self.burst - 1) * self.interval_us

    def full_after_us(self, full_at_us: int, now_us: int) -> int:
        """When the bucket is full again once a token was taken at ``now_us``; of another rate's it was the last."""
        if self.is_of_another(full_at_us, now_us):
            return self.latest_us(now_us)
        return max(full_at_us, now_us) + self.interval_us


@dataclass(frozen=True, slots=True)
class Unique:
    """A job like one that is there is not made: who asks for it gets the one that is there.

    ``until``: while that one is pending (``start``), or not done (``end``); ``for_s``: for so many seconds from its
    acceptance, whatever became of it. ``by``: what makes two jobs alike; ``None``: their key, or where there is none
    their whole input. Raises ``InvalidInput``.
    """

    until: str | None = Until.END
    for_s: float | None = None
    by: Key | None = None

    def __post_init__(self) -> None:
        if self.until is not None:
            _expect_one_of("unique.until", self.until, Until)
        if self.for_s is not None:
            _expect_seconds("unique.for_s", self.for_s, PER_MAX_S)
        if self.until is None and self.for_s is None:
            raise InvalidInput(
                "this keeps nothing away", field="unique", expected="until, for_s or both", got="neither"
            )
        if self.by is not None:
            check_key("unique.by", self.by)

    def keeps_away(self, *, pending: bool, terminal: bool, accepted_at_ms: int, now_ms: int) -> bool:
        """Whether a job, as it stands, keeps another one away."""
        if self.for_s is not None and now_ms < accepted_at_ms + round(self.for_s * 1_000):
            return True
        return (self.until == Until.END and not terminal) or (self.until == Until.START and pending)


@dataclass(frozen=True, slots=True)
class Debounce:
    """Of several jobs with one key, each asked for within ``wait_s`` seconds of the one before, the newest alone runs.

    It begins ``wait_s`` seconds after it was asked for, or ``latest_s`` after the first of them, if that is sooner.
    The others are canceled as superseded. ``by`` as of ``Unique``, but a key or ``None`` for the type. Seconds up to
    seven days, ``latest_s`` at least ``wait_s``. Raises ``InvalidInput``.
    """

    wait_s: float
    latest_s: float | None = None
    by: Key | None = None

    def __post_init__(self) -> None:
        _expect_seconds("debounce.wait_s", self.wait_s, WAIT_MAX_S)
        if self.latest_s is not None:
            _expect_seconds("debounce.latest_s", self.latest_s, WAIT_MAX_S)
            if self.latest_s < self.wait_s:
                expected = f"at least wait_s, {self.wait_s:g} seconds"
                raise InvalidInput(
                    "this is over before the wait", field="debounce.latest_s", expected=expected, got=self.latest_s
                )
        if self.by is not None:
            check_key("debounce.by", self.by)

    def due_at_ms(self, first_at_ms: int, now_ms: int) -> int:
        """When the newest job begins that was asked for now, the first one at ``first_at_ms``.

        Up to a second before the latest time, rather than after it: a message is delayed by whole seconds.
        """
        due_at_ms = now_ms + round(self.wait_s * 1_000)
        if self.latest_s is None:
            return due_at_ms
        left_ms = max(0, first_at_ms + round(self.latest_s * 1_000) - now_ms)
        return min(due_at_ms, now_ms + left_ms // 1_000 * 1_000)


@dataclass(frozen=True, slots=True)
class PerKey:
    """What bounds the jobs of each key: how many run at once (1 to 1,000), how many begin. Raises ``InvalidInput``."""

    concurrency: int | None = None
    rate: Rate | None = None

    def __post_init__(self) -> None:
        expect_concurrency("per_key.concurrency", self.concurrency)
        expect_rate("per_key.rate", self.rate)


@dataclass(frozen=True, slots=True)
class Flow:
    """All that is declared for the jobs of a type or topic; ``None`` is no control."""

    key: Key | None = None
    per_key: PerKey = PerKey()
    rate: Rate | None = None  # of all of them together
    order: str | None = None  # an ``Order``
    unique: Unique | None = None
    debounce: Debounce | None = None

    def __bool__(self) -> bool:
        return self is not NO_FLOW and self != NO_FLOW

    @property
    def collapses(self) -> bool:
        """Whether a request may be answered with another one's job, or supersede it."""
        return self.unique is not None or self.debounce is not None


NO_FLOW = Flow()


def checked_flow(
    key: Key | None,
    per_key: PerKey | None,
    rate: Rate | None,
    order: str | None,
    unique: Unique | None,
    debounce: Debounce | None,
) -> Flow:
    """What a decorator was given. Raises ``InvalidInput`` naming what cannot be, or not together."""
    if key is not None:
        check_key("key", key)
    if per_key is not None and not isinstance(per_key, PerKey):
        raise _unfit("per_key", "PerKey(concurrency=..., rate=...)", per_key)
    if per_key is not None and key is None:
        raise InvalidInput(
            "jobs without a key cannot be bounded by it", field="per_key", expected='key="input...."', got="no key"
        )
    if per_key == PerKey():
        raise InvalidInput("this bounds nothing", field="per_key", expected="concurrency, rate or both", got="neither")
    expect_rate("rate", rate)
    expect_order(order)
    if unique is not None and not isinstance(unique, Unique):
        raise _unfit("unique", "Unique(...)", unique)
    if debounce is not None and not isinstance(debounce, Debounce):
        raise _unfit("debounce", "Debounce(wait_s)", debounce)
    flow = Flow(key, per_key or PerKey(), rate, order, unique, debounce)
    expect_one_to_stay(flow)
    return NO_FLOW if flow == NO_FLOW else flow


def expect_one_to_stay(flow: Flow) -> None:
    """Raise ``InvalidInput`` where of jobs that are alike both the first and the newest is to stay."""
    if flow.unique is not None and flow.debounce is not None:
        raise InvalidInput(
            "the first job is to stay, and the newest as well",
            field="debounce",
            expected="unique or debounce",
            got="both",
        )


def superseded_by(job_id: int) -> str:
    """Why a debounced job was canceled: a newer one has come."""
    return f"{SUPERSEDED}{job_id}"


def newer_in(reason: str | None) -> str | None:
    """The id of the newer job, as ``superseded_by`` told it; ``None`` where a job was canceled for another reason."""
    return reason.removeprefix(SUPERSEDED) if reason is not None and reason.startswith(SUPERSEDED) else None


# -- keys ---------------------------------------------------------------------------------------------


def check_key(field: str, key: object) -> None:
    """Raise ``InvalidInput`` for what can be no key: neither a function nor a path from one of the roots."""
    if iscoroutinefunction(key):
        raise InvalidInput("a key is told at once", field=field, expected="a plain function", got="async def")
    if callable(key):
        return
    if isinstance(key, str) and key.split(".")[0] in KEY_ROOTS and all(key.split(".")):
        return
    expected = f"a path that begins with {' or '.join(KEY_ROOTS)}, or a function"
    raise InvalidInput("this is no key", field=field, expected=expected, got=key)


def key_in(key: Key, content: Mapping[str, Any]) -> str | None:
    """The key of a job whose ``input``, ``options`` and ``context`` are given; ``None`` where it has none.

    A text stays what it is; any other value is written as JSON. What is too long, or not one line, is told by its hash.
    """
    return key_text(key(content.get("input")) if callable(key) else value_at(key, content))


def key_text(value: Any) -> str | None:
    """A value as a key: ``None`` for nothing. Raises ``TypeError`` for what is no JSON."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return (
        text if is_name(text, KEY_MAX_CHARS) else f"sha256:{hashlib.sha256(text.encode(errors='replace')).hexdigest()}"
    )


def stands_at(path: str, content: Mapping[str, Any]) -> bool:
    """Whether anything stands at a path, be it null."""
    above, _, last = path.rpartition(".")
    holder = value_at(above, content) if above else content
    if isinstance(holder, Mapping):
        return last in holder
    return isinstance(holder, list) and last.isascii() and last.isdigit() and int(last) < len(holder)


def value_at(path: str, content: Mapping[str, Any]) -> Any:
    """What stands at a path; ``None`` where there is nothing."""
    value: Any = content
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
