"""How the installation is doing, in one answer for a whole refresh: ``/api/overview``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from chalicelib.api.console.overview_records import (
    AuditRecord,
    ChangedRecord,
    ClockRecord,
    DeadLettersRecord,
    FailureRecord,
    HealthRecord,
    InWindow,
    LeasesRecord,
    OldestRecord,
    OverviewAnswer,
    PausedRecord,
    ProjectorRecord,
    QueueRecord,
    SeriesRecord,
    Status,
    Times,
    Totals,
)
from chalicelib.api.scopes import SEE
from chalicelib.core.job import Job
from chalicelib.core.projection import Measure
from chalicelib.core.states import Kind, State
from chalicelib.core.trace import iso
from chalicelib.engine.health import CLOCK_LATE_MS
from chalicelib.engine.projections.overview import QUEUES_MAX, Overview, QueueState, Window, overview_of, window_of
from chalicelib.engine.projections.situation import ready_since_ms
from chalicelib.engine.worker.pause import QUEUE
from chalicelib.http.models import ApiModel
from chalicelib.http.routes import Router
from chalicelib.services.job_records import first_line
from chalicelib.store.pauses import Pause

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

DECIMALS = 6
PROJECTOR_LATE_MS = 60_000
router = Router("Console")  # a section of the documentation that me.py describes


class OverviewQuery(ApiModel):
    """Which time to look at."""

    window: Literal["15m", "1h", "6h", "24h", "7d", "30d"] = Field(
        default="1h", description="7d and 30d come from the accounts of days: by the day of the acceptance"
    )


@router.get("/api/overview", scope=SEE)
def show_overview(yard: Yard, query: OverviewQuery) -> OverviewAnswer:
    """Show how the installation is doing: one answer for a whole refresh.

    It is worked out once a second for all viewers; numbers are as of the change stream, about a second old.
    """
    return yard.shared.get(
        (OverviewAnswer, query.window),
        lambda: _answer(overview_of(yard, query.window), query.window),
        yard.now_ms,
    )


def _answer(seen: Overview, window: str) -> OverviewAnswer:
    situation, deployed_at_ms = seen.situation, seen.situation.deployed_at_ms
    return OverviewAnswer(
        now=iso(seen.at_ms),
        window=window,
        step_ms=seen.series.step_ms,
        totals=_totals(seen),
        in_window=_in_window(seen.window),
        series=_series(seen),
        queues=[_queue(each) for each in seen.queues[:QUEUES_MAX]],
        queues_left_out=max(0, len(seen.queues) - QUEUES_MAX),
        oldest=None if seen.oldest is None else _oldest(seen.oldest, seen.at_ms),
        dead_letters=DeadLettersRecord(total=situation.dead_letters, new=seen.window.failed),
        health=_health(seen),
        changed=ChangedRecord(
            since=None if deployed_at_ms is None else iso(deployed_at_ms),
            new_failure_groups=situation.new_groups,
            failure_ratio_before=_failure_ratio(seen.before_deployment),
            failure_ratio_after=_failure_ratio(seen.since_deployment),
        ),
        newest_failures=[_failure(job) for job in situation.failures],
    )


def _totals(seen: Overview) -> Totals:
    return Totals(
        pending=seen.states[State.PENDING],
        running=seen.states[State.RUNNING],
        waiting=seen.states[State.WAITING],
        success=seen.ended[State.SUCCESS],
        failed=seen.ended[State.FAILED],
        canceled=seen.ended[State.CANCELED],
    )


def _in_window(window: Window) -> InWindow:
    return InWindow(
        accepted=window.accepted,
        succeeded=window.succeeded,
        failed=window.failed,
        retried=window.retried,
        success_ratio=_rounded(window.success_ratio),
        wait_ms=_times(window, Measure.WAIT_MS),
        run_ms=_times(window, Measure.RUN_MS),
    )


def _times(window: Window, measure: Measure) -> Times | None:
    p50, p95 = (window.percentile_ms(measure, share) for share in (0.5, 0.95))
    return None if p50 is None or p95 is None else Times(p50=round(p50, DECIMALS), p95=round(p95, DECIMALS))


def _series(seen: Overview) -> SeriesRecord:
    steps = [window_of(seen.series.happened.steps[start_ms]) for start_ms in seen.series.starts]
    return SeriesRecord(
        at=list(seen.series.starts),
        accepted=[step.accepted for step in steps],
        succeeded=[step.succeeded for step in steps],
        failed=[step.failed for step in steps],
        retried=[step.retried for step in steps],
        pending=list(seen.pending),
    )


def _queue(queue: QueueState) -> QueueRecord:
    return QueueRecord(
        kind=Kind(queue.kind),
        type=queue.type,
        pending=queue.pending,
        running=queue.running,
        failed_in_window=queue.window.failed,
        succeeded_in_window=queue.window.succeeded,
        per_second=round(queue.per_second, DECIMALS),
        oldest_ready_ms=queue.oldest_ready_ms,
        p95_run_ms=_rounded(queue.window.percentile_ms(Measure.RUN_MS, 0.95)),
        paused=None if queue.pause is None else _paused(queue.pause),
    )


def _paused(pause: Pause) -> PausedRecord:
    queue = pause.target.removeprefix(QUEUE) if pause.target.startswith(QUEUE) else None
    return PausedRecord(since=iso(pause.since_ms), by=pause.by, queue=queue)


def _oldest(job: Job, now_ms: int) -> OldestRecord:
    return OldestRecord(id=str(job.id), kind=job.kind, type=job.type, ready_for_ms=now_ms - ready_since_ms(job))


def _health(seen: Overview) -> HealthRecord:
    situation = seen.situation
    tick_ms, audit = situation.last_tick_ms, situation.audit
    late_ms, lag_ms = None if tick_ms is None else max(0, seen.at_ms - tick_ms), situation.lag_ms
    return HealthRecord(
        clock=ClockRecord(
            last_tick_at=None if tick_ms is None else iso(tick_ms),
            late_ms=late_ms,
            status=_status(late_ms, CLOCK_LATE_MS),
        ),
        projector=ProjectorRecord(lag_ms=lag_ms, status=_status(lag_ms, PROJECTOR_LATE_MS)),
        leases=LeasesRecord(expired=situation.expired),
        audit=AuditRecord(
            at=None if audit is None else iso(audit.at_ms),
            status=Status.UNKNOWN if audit is None else Status.MISSING if audit.unaccounted else Status.OK,
            missing=0 if audit is None else audit.unaccounted,
        ),
    )


def _status(late_ms: int | None, allowed_ms: int) -> Status:
    if late_ms is None:
        return Status.UNKNOWN
    return Status.LATE if late_ms > allowed_ms else Status.OK


def _failure(job: Job) -> FailureRecord:
    return FailureRecord(
        id=str(job.id),
        kind=job.kind,
        type=job.type,
        error=first_line(job),
        cause=job.cause,
        at=iso(job.completed_at_ms or job.updated_at_ms),
    )


def _failure_ratio(window: Window | None) -> float | None:
    ratio = None if window is None else window.success_ratio
    return None if ratio is None else round(1 - ratio, DECIMALS)


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, DECIMALS)
