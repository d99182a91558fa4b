"""Why a job is not running: what ``core/why.py`` decides by is gathered here, in at most three reads.

The first is the job's record. The second, of a job whose turn has come, everything in the directory that may keep it
(``store/controls.py``); of a child, its parent. The third is its place on a wait list, or how full its lane is. Beside
them, a process asks SQS once for the address of each queue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chalicelib.core.decisions import runs_unclaimed
from chalicelib.core.errors import NotFound
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.limits import Limit
from chalicelib.core.reasons import IN_LANE, IN_LINE, Code, Facts, LaneState, PauseInForce, Reason
from chalicelib.core.states import Kind, State
from chalicelib.core.why import awaits_turn
from chalicelib.core.why import why as reason_of
from chalicelib.engine.policy import handlers_of, limit_of, timeout_of
from chalicelib.engine.publish.lanes import lane_named
from chalicelib.engine.worker.pause import queue_target, type_target
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import NoQueue
from chalicelib.store.controls import Controls, find_controls
from chalicelib.store.wait_lists import of_pause, of_type


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
        raise NotFound(f"there is no job {job_id}", field="id", got=str(job_id))
    if isinstance(record, Tombstone):
        return Explained(record, reason_of(record, Facts(), yard.now_ms()))
    return Explained(record, _reason(yard, record, yard.now_ms()))


def _reason(yard: Yard, job: Job, now_ms: int) -> Reason:
    """What is decided by the record and one look beside it says at what to look then."""
    facts = _facts(yard, job, now_ms)
    reason = reason_of(job, facts, now_ms)
    if reason.code in IN_LINE:
        place = yard.wait_lists.place_of(_wait_list(job, facts, reason.code), job)
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
    app_key = job.application if job.delivers else None
    controls = find_controls(yard.directory.table, _targets(job), job.counted_as, app_key)
    limit = _limit(yard, job, controls)
    return replace(
        facts,
        pause=_pause(yard, job, controls),
        slots=None if limit is None else limit.concurrency,
        taken=controls.concurrency.running,
        disabled=controls.application is not None and controls.application.disabled,
    )


def _targets(job: Job) -> tuple[str, str]:
    """What may be paused of it: its type, and its queue."""
    return type_target(job.type), queue_target(job.queue)


def _pause(yard: Yard, job: Job, controls: Controls) -> PauseInForce | None:
    """The pause that keeps it; one that ends, or whose handler is deployed by now, keeps nothing."""
    in_force = {
        pause.target: pause
        for pause in controls.pauses
        if not pause.resuming and not (pause.unhandled and job.type in yard.handlers.tasks)
    }
    found = next((in_force[target] for target in _targets(job) if target in in_force), None)
    if found is None:
        return None
    return PauseInForce(found.target == queue_target(job.queue), found.since_ms, found.unhandled)


def _limit(yard: Yard, job: Job, controls: Controls) -> Limit | None:
    if not job.delivers:
        return limit_of(yard, job)
    return None if controls.application is None else Limit(concurrency=controls.application.concurrency)


def _wait_list(job: Job, facts: Facts, code: Code) -> str:
    """The wait list in which it stands, or will once a worker has met what keeps it."""
    if code is Code.PAUSED and facts.pause is not None:
        return of_pause(_targets(job)[facts.pause.of_queue])
    return of_type(job.counted_as)


def _lane_state(yard: Yard, job: Job) -> LaneState:
    lane = lane_named(yard, job.queue, job.priority)
    try:
        return LaneState(lane, yard.transport.depth(yard.transport.source_of(lane)))
    except NoQueue:
        return LaneState(lane, None)
