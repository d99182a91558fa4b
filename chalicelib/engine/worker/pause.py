"""Pausing a task type, a topic or a queue: its jobs do not begin until it is resumed. What runs goes on.

**For the whole deployment** a pause is kept in the directory; workers and polls look there every five seconds. A job
that comes up meanwhile is put on its wait list, and resuming sends those, in order; the clock finishes what a
crashed resume left. **A type without a handler** is paused by the first worker that gets a job of it which may wait for
one; the clock resumes the type once the handler is deployed. **In one process**, for a while (kue's ``ctx.pause``),
messages are handed back to the others.
"""

from __future__ import annotations

from collections.abc import Callable

from chalicelib.core.errors import InvalidInput, NotFound
from chalicelib.core.job import Job
from chalicelib.core.lanes import TOPIC_MAX_CHARS
from chalicelib.core.limits import count_of_key, counted_key
from chalicelib.core.naming import is_name
from chalicelib.core.waking import wake_for_return
from chalicelib.engine.publish.wait_list import defer, send_next
from chalicelib.engine.sweeping import PassedOver, sweep
from chalicelib.engine.worker.claim import ensure_recorded
from chalicelib.engine.worker.gates import pass_on
from chalicelib.engine.yard import Yard
from chalicelib.store.pauses import UNWANTED, Pause
from chalicelib.store.wait_lists import of_pause

FRESH_MS = 5_000  # how long a process may miss that something was paused or resumed
HERE_MAX_MS = 900_000
HANDED_BACK_S = 2  # how long a message is hidden that this process does not take now
TYPE, QUEUE, KEY = "type#", "queue#", "key#"


def type_target(type: str) -> str:  # noqa: A002  # every dialect's word for it
    """What is paused when a task type or topic is; raises ``InvalidInput`` for what can be none."""
    return TYPE + _name("type", type)


def queue_target(queue: str) -> str:
    """What is paused when a queue is: a pool with all its task types, or a topic. Raises ``InvalidInput``."""
    return QUEUE + _name("queue", queue)


def key_target(of_type: str, key: str) -> str:
    """What is paused when a key is, of the task type or topic whose concurrency count is ``of_type``."""
    return KEY + count_of_key(of_type, key)


# -- the whole deployment -----------------------------------------------------------------------------


def pause(yard: Yard, target: str) -> None:
    """Begin no more jobs of a target, from within five seconds on; harmless if it is paused already."""
    yard.pauses.begin(target, yard.now_ms(), yard.actor)
    yard.known_pauses.forget()


def resume(yard: Yard, target: str, enough_time: Callable[[], bool] = lambda: True) -> int:
    """Let the jobs of a target begin again; returns how many were sent that had waited.

    What there is no ``enough_time`` for, or a crash prevents, the clock sends. Raises ``NotFound`` for a target that
    is not paused.
    """
    if not yard.pauses.end(target):
        raise NotFound("this is not paused", field="target", got=_told(target))
    yard.known_pauses.forget()
    return _empty(yard, target, enough_time)


def paused(yard: Yard) -> list[Pause]:
    """What is paused, and what is being resumed, oldest first."""
    return yard.pauses.all(consistent=True)


def finish_resuming(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """What the clock does: send what a resume left on its wait list, and what waited for a handler that is here now."""
    targets = (pause.target for pause in yard.pauses.all() if pause.resuming or _is_over(yard, pause))

    def resumed(target: str) -> int:
        is_over = yard.pauses.end(target, UNWANTED)  # unless somebody has paused it since it was read
        return _empty(yard, target, enough_time) if is_over else 0

    return sweep(
        targets,
        resumed,
        named=of_pause,
        enough_time=enough_time,
        passed=passed,
    )


def keeps_back(yard: Yard, job: Job) -> str | None:
    """The target whose pause defers a job, as this process knows it."""
    return paused_by(yard, job.type, job.queue, "" if job.flow_key is None else job.key_counted_as)


def paused_by(yard: Yard, type: str, queue: str, key_count: str = "") -> str | None:  # noqa: A002
    """The target whose pause defers the jobs of a type or topic in a queue, and of a key, as this process knows it."""
    in_force = yard.known_pauses.get(yard.now_ms(), FRESH_MS, lambda: _in_force(yard))
    return next((target for target in (TYPE + type, QUEUE + queue, KEY + key_count) if target in in_force), None)


def defer_if_paused(yard: Yard, envelope: Job) -> bool:
    """Defer a job whose target is paused, or that waits for a handler; returns whether its message has served.

    Otherwise it may begin.
    """
    target = keeps_back(yard, envelope) or _missed_by(yard, envelope)
    if target is None or not _deferred(yard, envelope, target):
        return False
    if target.startswith(KEY):
        pass_on(yard, envelope)
    return True


def _deferred(yard: Yard, envelope: Job, target: str) -> bool:
    wait_list, reason = of_pause(target), yard.pauses.in_force(target)
    if defer(yard, envelope, wait_list, reason):
        return True
    now_ms = yard.now_ms()
    ensure_recorded(yard, envelope, wake_for_return(now_ms, now_ms))  # its publisher may have died before it could
    return defer(yard, envelope, wait_list, reason)


def _empty(yard: Yard, target: str, enough_time: Callable[[], bool]) -> int:
    def going_on() -> bool:  # not where somebody pauses it anew: what is sent then comes back to the list
        return enough_time() and not yard.pauses.is_in_force(target)

    sent = send_next(yard, of_pause(target), None, going_on)
    if not yard.wait_lists.first(of_pause(target), 1):
        yard.pauses.forget(target)
    return sent


def _told(target: str) -> str | None:
    name = target.partition("#")[2]
    of_key = counted_key(name) if target.startswith(KEY) else None
    return name if of_key is None else of_key[1]


def _in_force(yard: Yard) -> frozenset[str]:
    return frozenset(pause.target for pause in yard.pauses.all() if not (pause.resuming or _is_over(yard, pause)))


def _is_over(yard: Yard, pause: Pause) -> bool:
    """Whether the handler is deployed by now that the jobs of a type wait for."""
    return pause.unhandled and pause.target.removeprefix(TYPE) in yard.handlers.tasks


def _missed_by(yard: Yard, envelope: Job) -> str | None:
    """The target of a job that waits for a handler which is not deployed, paused from now on; of any other none."""
    if not envelope.waits_for_handler or envelope.type in yard.handlers.tasks:
        return None
    yard.pauses.begin_unhandled(TYPE + envelope.type, yard.now_ms())
    yard.known_pauses.forget()
    return TYPE + envelope.type


# -- this process -------------------------------------------------------------------------------------


def pause_here(yard: Yard, target: str, for_ms: int) -> None:
    """Take no jobs of a target in this process for ``for_ms`` (1 ms to 15 minutes). Raises ``InvalidInput``."""
    if isinstance(for_ms, bool) or not isinstance(for_ms, int) or not 1 <= for_ms <= HERE_MAX_MS:
        raise InvalidInput(
            "a process pauses for a while", field="for_ms", expected=f"1 to {HERE_MAX_MS} milliseconds", got=for_ms
        )
    yard.paused_here[target] = yard.now_ms() + for_ms


def resume_here(yard: Yard, target: str) -> None:
    """Take jobs of a target in this process again; harmless if it does."""
    yard.paused_here.pop(target, None)


def is_paused_here(yard: Yard, type: str, queue: str) -> bool:  # noqa: A002
    """Whether this process takes no jobs of a type, or of a queue, now."""
    now_ms = yard.now_ms()
    return any(yard.paused_here.get(target, now_ms) > now_ms for target in (TYPE + type, QUEUE + queue))


def _name(field: str, name: str) -> str:
    if not is_name(name, TOPIC_MAX_CHARS):
        expected = f"1 to {TOPIC_MAX_CHARS} characters on one line, not all blank"
        raise InvalidInput("this cannot be paused", field=field, expected=expected, got=name)
    return name
