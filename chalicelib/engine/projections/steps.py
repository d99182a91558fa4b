"""What happened lately, by step and by type, from the minutes; and over weeks, from the accounts of days.

Minutes that are over change only while the change stream lags. So those before the newest quarter of an hour or so
are added up once for each step, and only the rest is read again for each answer: a day costs what an hour costs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chalicelib.aws import threads
from chalicelib.core.day_accounts import ACCEPTED, DELETED
from chalicelib.core.errors import InvalidInput
from chalicelib.core.projection import MINUTE_MS, Measure, Quantity, minute_of
from chalicelib.core.states import LIVE, State
from chalicelib.core.statistics import DAY_MS
from chalicelib.engine.yard import Yard

HOUR_MS = 3_600_000
WINDOWS_MS = {
    "15m": 900_000, "1h": HOUR_MS, "6h": 6 * HOUR_MS, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS,
}  # fmt: skip
POINTS_MAX = 120
SETTLED_AFTER_MS = 600_000  # a stream that lags longer is told of by an alarm
CLOCKS_DIFFER_MS = 60_000  # what a worker whose clock is ahead has told of the minutes to come has happened, too
PARALLEL_READS = 8

KindAndType = tuple[str, str]


@dataclass(slots=True)
class Happened:
    """What happened in a span: to all jobs, by the beginning of the step, and to those of each type, in all of it."""

    steps: defaultdict[int, Counter[Quantity]] = field(default_factory=lambda: defaultdict(Counter))
    types: defaultdict[KindAndType, Counter[Quantity]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, step_ms: int, of: KindAndType, quantities: Mapping[Quantity, int]) -> None:
        """Count what happened to jobs of a type in a step."""
        self.steps[step_ms].update(quantities)
        self.types[of].update(quantities)

    @property
    def total(self) -> Counter[Quantity]:
        """All of it."""
        total: Counter[Quantity] = Counter()
        for of_type in self.types.values():
            total.update(of_type)
        return total


@dataclass(frozen=True, slots=True)
class Series:
    """Steps of ``step_ms`` that begin at ``starts``, the newest not over yet, and what happened in them.

    ``of_days``: they are days of UTC. What is counted then is what has become of the jobs that were accepted on each,
    those that were deleted since as succeeded; times are not known.
    """

    step_ms: int
    starts: tuple[int, ...]
    happened: Happened
    of_days: bool = False

    def between(self, since_ms: int, until_ms: int) -> Counter[Quantity]:
        """What happened in the steps that begin within a span; its end is not in it."""
        total: Counter[Quantity] = Counter()
        for start_ms in self.starts:
            if since_ms <= start_ms < until_ms:
                total.update(self.happened.steps[start_ms])
        return total


def series_of(yard: Yard, window: str) -> Series:
    """What happened within a window, one of ``WINDOWS_MS``: at most 120 steps of whole minutes, or days.

    Raises ``InvalidInput``.
    """
    if window not in WINDOWS_MS:
        raise InvalidInput("there is no such window", field="window", expected=" or ".join(WINDOWS_MS), got=window)
    now_ms, window_ms = yard.now_ms(), WINDOWS_MS[window]
    if window_ms > DAY_MS:
        starts = _starts(now_ms, window_ms, DAY_MS)
        of_days = yard.shared_long.get((Series, window, minute_of(now_ms)), lambda: _of_days(yard, starts), yard.now_ms)
        return Series(DAY_MS, starts, of_days, of_days=True)
    step_ms = MINUTE_MS * -(-window_ms // (POINTS_MAX * MINUTE_MS))
    starts = _starts(now_ms, window_ms, step_ms)
    settled_until_ms = max(start for start in starts if start <= max(now_ms - SETTLED_AFTER_MS, starts[0]))
    settled = yard.shared_long.get(
        (Series, step_ms, starts[0], settled_until_ms),
        lambda: _of_minutes(yard, starts[0], settled_until_ms, starts, step_ms),
        yard.now_ms,
    )
    live = _of_minutes(yard, settled_until_ms, now_ms + CLOCKS_DIFFER_MS, starts, step_ms)
    return Series(step_ms, starts, _together((settled, live)))


def _starts(now_ms: int, window_ms: int, step_ms: int) -> tuple[int, ...]:
    newest_ms = now_ms - now_ms % step_ms
    return tuple(newest_ms - back * step_ms for back in reversed(range(window_ms // step_ms)))


def _of_minutes(yard: Yard, since_ms: int, until_ms: int, starts: tuple[int, ...], step_ms: int) -> Happened:
    """What happened in the minutes that begin within a span, hours side by side; later ones belong to the last step."""
    happened = Happened()
    parts = [(start, min(start + HOUR_MS, until_ms)) for start in range(since_ms, until_ms, HOUR_MS)]
    with threads(PARALLEL_READS) as readers:
        for minutes in readers.map(lambda span: yard.insights.minutes(*span), parts):
            for (group, minute_ms), quantities in minutes.items():
                step = min((minute_ms - starts[0]) // step_ms, len(starts) - 1)
                happened.add(starts[step], (group.kind, group.type), quantities)
    return happened


def _of_days(yard: Yard, starts: tuple[int, ...]) -> Happened:
    happened = Happened()
    for account, numbers in yard.insights.accounts.read(starts[0]).items():
        failed = numbers[State.FAILED.value]
        quantities: dict[Quantity, int] = {
            Measure.PUBLISHED: numbers[ACCEPTED],
            Measure.SUCCEEDED: numbers[State.SUCCESS.value] + numbers[DELETED],
            Measure.DEAD: failed,
            Measure.FAILED: max(failed, numbers["failures"]),
            Measure.BACKLOG: sum(numbers[state.value] for state in LIVE),
        }
        happened.add(account.day_ms, (account.kind, account.type), quantities)
    return happened


def _together(parts: Iterable[Happened]) -> Happened:
    total = Happened()
    for part in parts:
        for step_ms, quantities in part.steps.items():
            total.steps[step_ms].update(quantities)
        for of, quantities in part.types.items():
            total.types[of].update(quantities)
    return total
