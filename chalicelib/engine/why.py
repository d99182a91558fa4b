"""Why a job is not running: what ``core/why.py`` decides by is gathered here, in at most three reads.

The first is the job's record. The second, of a job whose turn has come, everything in the directory that may keep it
(``store/controls.py``); of a child, its parent. The third is its place on a wait list, how full its lane is, or the
job that it may not pass where one that failed blocks. Beside them, a process asks SQS once for the address of each
queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from chalicelib.core.decisions import runs_unclaimed
from chalicelib.core.errors import unknown
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.limits import Limit, Order
from chalicelib.core.reasons import (
    IN_LANE,
    IN_LINE,
    Code,
    Facts,
    LaneState,
    PauseInForce,
    Reason,
    Slots,
    Target,
    Tokens,
)
from chalicelib.core.states import Kind, State
from chalicelib.core.why import awaits_turn
from chalicelib.core.why import why as reason_of
from chalicelib.core.why_flow import ahead_of, missing_token
from chalicelib.engine.policy import handlers_of, limit_of, limit_of_count, rate_of_bucket, timeout_of
from chalicelib.engine.publish.lanes import lane_of
from chalicelib.engine.worker.pause import KEY, queue_target, type_target
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import NoQueue
from chalicelib.store.controls import Controls, CountControls, find_controls
from chalicelib.store.wait_lists import of_key, of_order, of_pause, of_rate, of_type


@dataclass(frozen=True, slots=True)
class Explained:
    """A job as it was found, and the reason."""

    record: Job | Tombstone
    reason: Reason

    @property
    def state(self) -> str:
        """The job's state, or ``deleted``."""
        return self.record.state.value if isinstance(self.record, Job) else Code.DELETED.value

    @property
    def kind(self) -> Kind:
        """The job's kind; of a deleted one, too, as only messages leave a story."""
        if isinstance(self.record, Job):
            return self.record.kind
        return Kind.TASK if self.record.story is None else self.record.story.kind


def why(yard: Yard, job_id: int) -> Explained:
    """Why a job is not running, or what has become of it. Raises ``NotFound`` for what never was."""
    record = yard.jobs.ledger(job_id)
    if record is None:
        raise unknown("job", job_id)
    if isinstance(record, Tombstone):
        return Explained(record, reason_of(record, Facts(), yard.now_ms()))
    return Explained(record, _reason(yard, record, yard.now_ms()))


def _reason(yard: Yard, job: Job, now_ms: int) -> Reason:
    """What is decided by the record and one look beside it says at what to look then."""
    facts = _facts(yard, job, now_ms)
    reason = reason_of(job, facts, now_ms)
    ahead = ahead_of(job, facts)
    if reason.code is Code.NOT_ITS_TURN and job.order == Order.BLOCK and ahead is not None:
        return reason_of(job, replace(facts, ahead=yard.jobs.ledger(ahead)), now_ms)
    if reason.code in IN_LINE:
        place = yard.wait_lists.place_of(_wait_list(job, facts, reason.code, now_ms), job)
        return reason_of(job, replace(facts, place=place), now_ms)
    if reason.code in IN_LANE:
        return reason_of(job, replace(facts, lane=_lane_state(yard, job)), now_ms)
    return reason


def _facts(yard: Yard, job: Job, now_ms: int) -> Facts:
    handlers = handlers_of(yard, job)
    facts = Facts(
        handled=bool(handlers) or job.delivers,
        light=bool(handlers) and all(each.light for each in handlers) and runs_unclaimed(job, job, now_ms),
        timeout_ms=timeout_of(yard, job),
    )
    if job.state is State.PENDING and job.blocked and job.parent_id is not None:
        return replace(facts, parent=yard.jobs.ledger(job.parent_id))
    if awaits_turn(job, now_ms) or (job.state is State.PENDING and job.delivers):
        return _controlled(yard, job, facts)
    return facts


def _controlled(yard: Yard, job: Job, facts: Facts) -> Facts:
    """With all that may keep it from its turn."""
    counts = (job.counted_as, job.key_counted_as) if _has_key_count(job) else (job.counted_as,)
    app_key = job.application if job.delivers else None
    controls = find_controls(yard.directory.table, [*_targets(job)], counts, app_key)
    own, *of_key = controls.counts
    facts = replace(
        facts,
        pause=_pause(yard, job, controls),
        slots=_slots(_limit(yard, job, controls), own),
        tokens=tuple(_tokens(yard, job, controls.counts)),
        disabled=controls.application is not None and controls.application.disabled,
    )
    if not of_key:
        return facts
    return replace(facts, key_slots=_slots(limit_of_count(yard, job.key_counted_as, of_key[0].changed), of_key[0]))


def _has_key_count(job: Job) -> bool:
    return job.flow_key is not None or job.order is not None


def _targets(job: Job) -> dict[str, Target]:
    """What may be paused of it, in the order in which a worker looks."""
    targets = {type_target(job.type): Target.TYPE, queue_target(job.queue): Target.QUEUE}
    return targets if job.flow_key is None else targets | {KEY + job.key_counted_as: Target.KEY}


def _pause(yard: Yard, job: Job, controls: Controls) -> PauseInForce | None:
    """The pause that keeps it; one that ends, or whose handler is deployed by now, keeps nothing."""
    in_force = {
        pause.target: pause
        for pause in controls.pauses
        if not pause.resuming and not (pause.unhandled and job.type in yard.handlers.tasks)
    }
    targets = _targets(job)
    found = next((in_force[target] for target in targets if target in in_force), None)
    return None if found is None else PauseInForce(targets[found.target], found.since_ms, found.unhandled, found.by)


def _limit(yard: Yard, job: Job, controls: Controls) -> Limit | None:
    if not job.delivers:
        return limit_of(yard, job, controls.counts[0].changed)
    return None if controls.application is None else Limit(concurrency=controls.application.concurrency)


def _slots(limit: Limit | None, found: CountControls) -> Slots:
    return Slots(
        limit=None if limit is None else limit.concurrency,
        taken=found.census.count.running,
        holders=tuple(sorted(found.census.holders)),
        set_at_ms=None if found.changed.controls.concurrency is None else found.changed.at_ms,
        set_by=found.changed.by,
    )


def _tokens(yard: Yard, job: Job, found: Sequence[CountControls]) -> Iterator[Tokens]:
    """Of each rate that bounds it (those of ``worker/gates.py``) when the next token is there."""
    buckets = [(job.counted_as, found[0])] if job.overlap is None else []
    buckets += [(job.key_counted_as, found[1])] if job.flow_key is not None else []
    for bucket, controls in buckets:
        rate = rate_of_bucket(yard, bucket, controls.changed)
        if rate is not None:
            ready_ms = -(-rate.ready_us(controls.full_at_us, yard.now_ms() * 1_000) // 1_000)
            set_at_ms = None if controls.changed.controls.rate is None else controls.changed.at_ms
            yield Tokens(rate, bucket == job.key_counted_as, ready_ms, set_at_ms, controls.changed.by)


def _wait_list(job: Job, facts: Facts, code: Code, now_ms: int) -> str:
    """The wait list in which it stands, or will once a worker has met what keeps it."""
    match code:
        case Code.PAUSED if facts.pause is not None:
            paused = facts.pause.target
            return of_pause(next(target for target, what in _targets(job).items() if what is paused))
        case Code.NOT_ITS_TURN:
            return of_order(job.key_counted_as)
        case Code.KEY_LIMIT_REACHED:
            return of_key(job.key_counted_as)
        case Code.RATE_REACHED:
            tokens = missing_token(facts, now_ms)
            return of_rate(job.key_counted_as if tokens is not None and tokens.of_key else job.counted_as)
        case _:
            return of_type(job.counted_as)


def _lane_state(yard: Yard, job: Job) -> LaneState:
    lane = lane_of(yard, job)
    try:
        return LaneState(lane, yard.transport.depth(yard.transport.source_of(lane)))
    except NoQueue:
        return LaneState(lane, None)
