"""Whether everything that a job needs answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chalicelib.core.errors import Unavailable
from chalicelib.core.lanes import Band, Lane
from chalicelib.engine.handlers import DEFAULT_POOL
from chalicelib.engine.yard import Yard, logger

CLOCK_LATE_MS = 180_000  # three ticks missed

Question = Callable[[], str]  # returns a word about a dependency, raises Unavailable with what is wrong with it

# What a runtime asks beside, by the dependency's name: `taskyard up`, whether its emulator can keep the data.
beside: dict[str, Question] = {}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing that was asked: whether it answered well, in how many milliseconds, and a word about it."""

    ok: bool
    took_ms: int
    detail: str = ""


def examine(yard: Yard) -> dict[str, Dependency]:
    """Ask every dependency, all at once."""
    questions: dict[str, Question] = {
        "ledger": lambda: _said(yard.jobs.find(1)),
        "directory": lambda: _said(yard.directory.last_tick_ms()),
        "insights": lambda: _said(yard.insights.watermark("none")),
        "queue": lambda: _said(yard.transport.depth(yard.transport.source_of(Lane(DEFAULT_POOL, Band.NORMAL)))),
        "bucket": lambda: _said(yard.objects.head_bucket(Bucket=yard.payloads.bucket)),
        "clock": lambda: _clock(yard),
        **beside,
    }
    with ThreadPoolExecutor(len(questions)) as askers:
        return dict(zip(questions, askers.map(lambda ask: _ask(yard, ask), questions.values()), strict=True))


def _ask(yard: Yard, question: Question) -> Dependency:
    started_ms = yard.now_ms()
    try:
        detail, ok = question(), True
    except Unavailable as error:
        detail, ok = error.message, False
    except Exception as error:  # whatever is wrong with a dependency, the others are still asked
        logger.warning("a dependency does not answer", extra={"error": str(error)})
        detail, ok = type(error).__name__, False
    return Dependency(ok, yard.now_ms() - started_ms, detail)


def _said(_answer: object) -> str:
    return ""


def _clock(yard: Yard) -> str:
    last_ms = yard.directory.last_tick_ms()
    if last_ms is None:
        return "has not run yet"
    late_ms = yard.now_ms() - last_ms
    if late_ms > CLOCK_LATE_MS:
        raise Unavailable(f"the clock last ran {late_ms // 1_000} s ago")
    return f"ran {late_ms // 1_000} s ago"
