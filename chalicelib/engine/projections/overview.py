"""How an installation is doing, in one answer: numbers now and lately, by type, and what wants attention.

Numbers come from the projections, so they cost the same however many jobs are stored, and are as old as the change
stream's lag (usually about a second).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.core.histogram import percentile_ms
from chalicelib.core.job import Job
from chalicelib.core.projection import Measure, Quantity
from chalicelib.core.states import State
from chalicelib.engine.projections.dashboard import buckets_of
from chalicelib.engine.projections.situation import Situation, ready_since_ms, situation_of
from chalicelib.engine.projections.steps import KindAndType, Series, series_of
from chalicelib.engine.worker.pause import queue_target, type_target
from chalicelib.engine.yard import Yard
from chalicelib.store.insights import Standing
from chalicelib.store.pauses import Pause

QUEUES_MAX = 100


@dataclass(frozen=True, slots=True)
class Window:
    """What happened within the window. Jobs are counted once they end; ``retried`` are attempts that others follow."""

    accepted: int
    succeeded: int
    failed: int
    retried: int
    quantities: Mapping[Quantity, int]

    @property
    def success_ratio(self) -> float | None:
        """Which share of the jobs that ended has succeeded; ``None`` if none ended."""
        ended = self.succeeded + self.failed
        return self.succeeded / ended if ended else None

    def percentile_ms(self, measure: Measure, share: float) -> float | None:
        """The time that ``share`` of the waits or runs did not exceed; ``None`` without any."""
        return percentile_ms(buckets_of(self.quantities, measure), share)


@dataclass(frozen=True, slots=True)
class QueueState:
    """How the jobs of a task type or a topic are doing."""

    kind: str
    type: str
    pending: int
    running: int
    window: Window
    per_second: float  # jobs that ended in the window
    oldest_ready_ms: int | None  # for how long a job could have been started; None: not looked for, or not found
    pause: Pause | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that is shown. Times are in milliseconds since 1970.

    ``ended``: how often jobs came to each final state since ever; what is deleted since counts, too. ``pending`` of the
    series: how many jobs were pending at the end of each step; of days ``None``.
    """

    at_ms: int
    states: Mapping[State, int]
    ended: Mapping[State, int]
    series: Series
    pending: Sequence[int | None]
    window: Window
    queues: Sequence[QueueState]  # the busiest first
    situation: Situation
    oldest: Job | None
    before_deployment: Window | None
    since_deployment: Window | None


def overview_of(yard: Yard, window: str) -> Overview:
    """How the installation is doing, over one of ``steps.WINDOWS_MS``; viewers within a second share an answer."""
    return yard.shared.get((Overview, window), lambda: _overview(yard, window), yard.now_ms)


def window_of(quantities: Mapping[Quantity, int]) -> Window:
    """What happened, in the words of an overview."""
    dead = quantities.get(Measure.DEAD, 0)
    return Window(
        accepted=quantities.get(Measure.PUBLISHED, 0),
        succeeded=quantities.get(Measure.SUCCEEDED, 0),
        failed=dead,
        retried=max(0, quantities.get(Measure.FAILED, 0) - dead),
        quantities=quantities,
    )


def _overview(yard: Yard, window: str) -> Overview:
    standings = _by_type(yard)
    series = series_of(yard, window)
    pending, running = (_in_state(standings, state) for state in (State.PENDING, State.RUNNING))
    situation = situation_of(yard, pending, running)
    before, since = _around_deployment(series, situation.deployed_at_ms)
    return Overview(
        at_ms=yard.now_ms(),
        states=_states(standings),
        ended=_ended(standings),
        series=series,
        pending=_depths(series, sum(pending.values())),
        window=window_of(series.happened.total),
        queues=_queues(yard, standings, series, situation),
        situation=situation,
        oldest=min(situation.oldest_ready.values(), key=ready_since_ms, default=None),
        before_deployment=before,
        since_deployment=since,
    )


def _by_type(yard: Yard) -> dict[KindAndType, Standing]:
    """Where each type stands, whatever queues its jobs went through."""
    found: defaultdict[KindAndType, Standing] = defaultdict(Standing)
    for group, standing in yard.insights.standings().items():
        found[group.kind, group.type].states.update(standing.states)
        found[group.kind, group.type].totals.update(standing.totals)
    return dict(found)


def _in_state(standings: Mapping[KindAndType, Standing], state: State) -> dict[KindAndType, int]:
    """How many jobs of each type are in a state."""
    return {of: max(0, standing.states[state]) for of, standing in standings.items()}


def _states(standings: Mapping[KindAndType, Standing]) -> Mapping[State, int]:
    total: Counter[State] = Counter()
    for standing in standings.values():
        total.update(standing.states)
    return {state: max(0, total[state]) for state in State}


def _ended(standings: Mapping[KindAndType, Standing]) -> Mapping[State, int]:
    measures = {State.SUCCESS: Measure.SUCCEEDED, State.FAILED: Measure.DEAD, State.CANCELED: Measure.CANCELED}
    return {
        state: sum(standing.totals[measure] for standing in standings.values()) for state, measure in measures.items()
    }


def _depths(series: Series, depth: int) -> list[int | None]:
    """How many jobs were pending at the end of each step: those now, less what each step since has added."""
    if series.of_days:
        return [None] * len(series.starts)
    depths: list[int | None] = []
    for start_ms in reversed(series.starts):
        depths.append(max(0, depth))
        depth -= series.happened.steps[start_ms][Measure.BACKLOG]
    return depths[::-1]


def _queues(
    yard: Yard, standings: Mapping[KindAndType, Standing], series: Series, situation: Situation
) -> list[QueueState]:
    now_ms = yard.now_ms()
    seconds = max(1.0, (now_ms - series.starts[0]) / 1_000)
    paused = {pause.target: pause for pause in situation.pauses if not pause.resuming}
    states: list[QueueState] = []
    for kind, type_ in standings.keys() | series.happened.types.keys():
        standing = standings.get((kind, type_), Standing())
        happened = window_of(series.happened.types[kind, type_])
        oldest = situation.oldest_ready.get((kind, type_))
        states.append(
            QueueState(
                kind=kind,
                type=type_,
                pending=max(0, standing.states[State.PENDING]),
                running=max(0, standing.states[State.RUNNING]),
                window=happened,
                per_second=(happened.succeeded + happened.failed) / seconds,
                oldest_ready_ms=None if oldest is None else now_ms - ready_since_ms(oldest),
                pause=paused.get(type_target(type_), paused.get(queue_target(_queue_of(yard, kind, type_)))),
            )
        )
    return sorted(states, key=_busiest_first)


def _queue_of(yard: Yard, kind: str, type_: str) -> str:
    handler = yard.handlers.tasks.get(type_) if kind == "task" else None
    return type_ if handler is None else handler.queue


def _busiest_first(queue: QueueState) -> tuple[int, int, str, str]:
    happened = queue.window
    return (
        -(queue.pending + queue.running),
        -(happened.accepted + happened.succeeded + happened.failed),
        queue.type,
        queue.kind,
    )


def _around_deployment(series: Series, deployed_at_ms: int | None) -> tuple[Window | None, Window | None]:
    """What happened before and since the newest deployment, where the window has it; its step counts as since."""
    first_ms, end_ms = series.starts[0], series.starts[-1] + series.step_ms
    if deployed_at_ms is None or not first_ms < deployed_at_ms < end_ms:
        return None, None
    since_ms = deployed_at_ms - (deployed_at_ms - first_ms) % series.step_ms
    return window_of(series.between(first_ms, since_ms)), window_of(series.between(since_ms, end_ms))
