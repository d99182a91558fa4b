"""Whether everything that a job needs answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from chalicelib.aws import code_of
from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.engine.yard import Yard, build
from chalicelib.logger import logger

CLOCK_LATE_MS = 180_000  # three ticks missed
ANSWER_MAX_S = 1.8  # who has not answered by then is told of as failing
LIMITS: Mapping[str, Any] = MappingProxyType({"connect_timeout_s": 0.8, "read_timeout_s": 0.9, "attempts": 1})

Question = Callable[[], str]  # returns a word about a dependency, raises Unavailable with what is wrong with it

# What a runtime asks beside, by the dependency's name: `taskyard up`, whether its emulator can keep the data.
beside: dict[str, Question] = {}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that was asked: whether it answered well, in how many milliseconds, and a word about it."""

    ok: bool
    took_ms: int
    detail: str = ""


def check(yard: Yard) -> Mapping[str, Dependency]:
    """Ask every dependency, all at once, or tell what was found within the last second; within 2 s in any case."""
    return yard.health.get(check, lambda: _asked(yard), yard.now_ms)


def _asked(yard: Yard) -> Mapping[str, Dependency]:
    questions = _questions(yard)
    askers = ThreadPoolExecutor(len(questions))
    asked = {name: askers.submit(_ask, yard, question) for name, question in questions.items()}
    wait(asked.values(), ANSWER_MAX_S)
    askers.shutdown(wait=False)  # their calls end by themselves, soon
    return {name: _answered(answer) for name, answer in asked.items()}


def _answered(answer: Future[Dependency]) -> Dependency:
    if answer.done():
        return answer.result()
    return Dependency(False, round(ANSWER_MAX_S * 1_000), f"no answer within {ANSWER_MAX_S} s")


def _questions(yard: Yard) -> dict[str, Question]:
    """What to ask, by clients that wait for none of the answers for long."""
    quick = build(yard.handlers, yard.settings, now_ms=yard.now_ms, limits=LIMITS)
    transport, bucket = quick.transport, quick.payloads.bucket
    head_bucket = quick.objects.head_bucket  # the client is made now, as that takes time
    return {
        "ledger": lambda: _said(quick.jobs.find(1)),
        "directory": lambda: _said(quick.directory.last_tick_ms()),
        "insights": lambda: _said(quick.insights.watermark("none")),
        "queue": lambda: _said(transport.depth(transport.source_of(Lane(DEFAULT_POOL, Band.NORMAL)))),
        "bucket": lambda: _said(head_bucket(Bucket=bucket)),
        "clock": lambda: _clock(quick),
        **({"kafka": lambda: _kafka(quick)} if quick.settings.kafka_topics else {}),
        **beside,
    }


def _ask(yard: Yard, question: Question) -> Dependency:
    started_ms = yard.now_ms()
    try:
        detail, ok = question(), True
    except Unavailable as error:
        detail, ok = error.message, False
    except Exception as error:  # whatever is wrong with a dependency, the others are still asked
        logger.warning("a dependency does not answer", extra={"error": str(error)})
        detail, ok = code_of(error), False
    return Dependency(ok, yard.now_ms() - started_ms, detail)


def _said(_answer: object) -> str:
    return ""


def _kafka(yard: Yard) -> str:
    from chalicelib.engine.kafka_members import told_of_members  # imported late: few installations bridge topics

    return told_of_members(yard)


def _clock(yard: Yard) -> str:
    last_ms = yard.directory.last_tick_ms()
    if last_ms is None:
        return "has not run yet"
    late_ms = yard.now_ms() - last_ms
    if late_ms > CLOCK_LATE_MS:
        raise Unavailable(f"the clock last ran {late_ms // 1_000} s ago")
    return f"ran {late_ms // 1_000} s ago"
