"""What keeps a job from running whose time has come: it waits for its turn, or is on its way.

``TURNS`` are asked in about the order in which a worker meets them; the first that has something to say is the reason.
Another control is one more function there, and what it looks at a field of ``Facts``. Those of flow control are
``why_flow.py``'s.
"""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote
from typing import Any

from chalicelib.core.job import Job
from chalicelib.core.reasons import (
    Code,
    Facts,
    Reason,
    Target,
    before,
    by,
    family_of,
    in_line,
    latest,
    ready_ms,
    type_word,
)
from chalicelib.core.states import Kind
from chalicelib.core.trace import iso
from chalicelib.core.why_flow import (
    behind_failed,
    key_limit_reached,
    limit_reached,
    not_its_turn,
    of_family,
    rate_reached,
)

Turn = Callable[[Job, Facts, int], Reason | None]


def turn_of(job: Job, facts: Facts, now_ms: int) -> Reason:
    """Why a job does not run whose time has come."""
    return next(reason for turn in TURNS if (reason := turn(job, facts, now_ms)) is not None)


def _previous_run(job: Job, _: Facts, now_ms: int) -> Reason | None:
    """Somebody ended it while it ran, and somebody had it retried, and its worker has noticed neither."""
    if not job.run_goes_on or (until_ms := job.lease_until_ms or 0) < now_ms:
        return None
    return Reason(
        code=Code.PREVIOUS_RUN,
        sentence=f"Worker {job.worker} is still busy with the run before; it starts when that has ended.",
        remedy="wait: the handler learns at its next progress call or heartbeat that it was canceled",
        since_ms=latest(job).at_ms,
        details={"worker": job.worker, "leaseUntil": iso(until_ms)},
    )


def _paused(job: Job, facts: Facts, _: int) -> Reason | None:
    if (pause := facts.pause) is None or pause.unhandled:
        return None
    match pause.target:
        case Target.QUEUE:
            what, name, remedy = "queue", f"queue {job.queue}", f"`taskyard resume --queue {quote(job.queue)}`"
        case Target.KEY:
            what, name, remedy = "key", family_of(job), f"`taskyard flow resume {of_family(job)}`"
        case Target.TYPE:
            what, remedy = type_word(job), f"`taskyard resume {quote(job.type)}`"
            name = f"{what} {job.type}"
    return Reason(
        code=Code.PAUSED,
        sentence=f"The {name} is paused{by(pause.by)} since {iso(pause.since_ms)}{in_line(facts.place)}.",
        remedy=remedy,
        since_ms=max(ready_ms(job), pause.since_ms),
        details={"pausedBy": what, "by": pause.by, "pausedSince": iso(pause.since_ms), **before(facts.place)},
    )


def _no_handler(job: Job, facts: Facts, _: int) -> Reason | None:
    if facts.handled or job.finishing or job.kind is Kind.MESSAGE:
        return None
    which = f"type {job.type}" if job.script is None else f"type {job.type} with the script {job.script}"
    then = "waits until there is one" if job.waits_for_handler else "fails when a worker gets it"
    return Reason(
        code=Code.NO_HANDLER,
        sentence=f"No handler of the {which} is deployed; it {then}.",
        remedy=f"deploy one, or `taskyard tasks cancel {job.id}`",
        since_ms=ready_ms(job) if facts.pause is None else max(ready_ms(job), facts.pause.since_ms),
        details={"waitsForHandler": job.waits_for_handler},
    )


# -- it is on its way ----------------------------------------------------------------------------------


def _not_sent(job: Job, _: Facts, _now_ms: int) -> Reason | None:
    if not job.set_aside or job.wake_at_ms is None:
        return None
    times = "once" if job.set_aside == 1 else f"{job.set_aside} times in a row"
    return Reason(
        code=Code.NOT_SENT,
        sentence=f"The clock could not send it, {times}; it tries again at {iso(job.wake_at_ms)}.",
        remedy="look into the log of the clock function, and run `taskyard doctor`",
        since_ms=ready_ms(job),
        expected_start_ms=job.wake_at_ms,
    )


def _no_lane(job: Job, facts: Facts, _: int) -> Reason | None:
    if (state := facts.lane) is None or state.depth is not None:
        return None
    remedy = "deploy what consumes this queue" if facts.handled else "publish to the topic anew, which makes its queue"
    return Reason(
        code=Code.NO_LANE,
        sentence=f"There is no SQS queue for its lane {state.lane.queue}, {state.lane.label}; nothing can take it.",
        remedy=remedy,
        since_ms=ready_ms(job),
        details=_lane(facts),
    )


def _waits_for_client(job: Job, facts: Facts, _: int) -> Reason | None:
    if facts.handled or job.kind is Kind.TASK:
        return None
    return Reason(
        code=Code.WAITS_FOR_CLIENT,
        sentence=f"Nothing subscribes to the topic {job.type}; it waits for a client to poll it{_way(job, facts)}.",
        remedy=f"`taskyard messages poll {quote(job.type)}`, or subscribe a handler to the topic",
        since_ms=ready_ms(job),
        details=_lane(facts),
    )


def _finishing(job: Job, facts: Facts, _: int) -> Reason | None:
    if not job.finishing:
        return None
    return Reason(
        code=Code.FINISHING,
        sentence=f"It is completed, and on its way to the completion handler of its type{_way(job, facts)}.",
        since_ms=latest(job).at_ms,
        details=_lane(facts),
    )


def _unsent(job: Job, _: Facts, _now_ms: int) -> Reason | None:
    """Nothing says that it was sent since something last happened to it, and the clock looks after it."""
    if job.wake_at_ms is None or (job.sent_at_ms is not None and job.sent_at_ms >= latest(job).at_ms):
        return None
    return Reason(
        code=Code.NOT_SENT,
        sentence=f"No message of it is known to be on its way; unless one comes, the clock sends it at "
        f"{iso(job.wake_at_ms)}.",
        remedy="wait; if this lasts, `taskyard doctor` says whether the clock runs",
        since_ms=ready_ms(job),
        expected_start_ms=job.wake_at_ms,
    )


def _light(job: Job, facts: Facts, _: int) -> Reason | None:
    if not facts.light:
        return None
    return Reason(
        code=Code.LIGHT,
        sentence=f"Its handler is light, so it may be running already; or it is on its way{_way(job, facts)}.",
        since_ms=ready_ms(job),
        details=_lane(facts),
    )


def _on_its_way(job: Job, facts: Facts, _: int) -> Reason:
    return Reason(
        code=Code.ON_ITS_WAY,
        sentence=f"It is on its way to a worker{_way(job, facts)}.",
        remedy="wait; if this lasts, `taskyard doctor` says whether workers come",
        since_ms=ready_ms(job),
        details=_lane(facts),
    )


TURNS: tuple[Turn, ...] = (
    _previous_run,
    _paused,
    _no_handler,
    behind_failed,
    not_its_turn,
    limit_reached,
    key_limit_reached,
    rate_reached,
    _not_sent,
    _no_lane,
    _waits_for_client,
    _finishing,
    _unsent,
    _light,
    _on_its_way,
)


# -- words ---------------------------------------------------------------------------------------------


def _way(job: Job, facts: Facts) -> str:
    """How full its lane is; and that the clock sends it, where it is not known to have been sent, or to come back."""
    way = ""
    if facts.lane is not None:
        messages = "1 message" if facts.lane.depth == 1 else f"{facts.lane.depth} messages"
        way = f"; its lane {facts.lane.lane.queue}, {facts.lane.lane.label} holds about {messages}"
    if job.wake_at_ms is not None:
        way += f"; if it does not come, the clock sends it at {iso(job.wake_at_ms)}"
    return way


def _lane(facts: Facts) -> dict[str, Any]:
    if facts.lane is None:
        return {}
    return {"lane": {"queue": facts.lane.lane.queue, "name": facts.lane.lane.label, "depth": facts.lane.depth}}
