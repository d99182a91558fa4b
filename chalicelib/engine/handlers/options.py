"""What the decorators are given, checked; each error says what to write in its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from chalicelib.core.batch import Batch
from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import Flow
from chalicelib.core.job import ATTEMPTS_MAX
from chalicelib.core.job_events import EventType
from chalicelib.core.lanes import TOPIC_MAX_CHARS, Band, soonest_first
from chalicelib.core.limits import CONCURRENCY_MAX, SIZE_MAX, Limit
from chalicelib.core.naming import is_name
from chalicelib.core.retry import Backoff, Named, checked

TIMEOUT_MIN_S = 0.001
TIMEOUT_MAX_S = 86_400  # as of a task's own time-out
WRITE = {
    "task": 'write @task("the.type")',
    "subscribe": 'write @subscribe("the.topic")',
    "on_success": 'write @on_success("the.type")',
    "on": 'write @on("failed"), or @on("failed", "the.type")',
    "backoff": 'write @backoff("the_name")',
}
"""How each decorator is to be written, for the errors of those that are not."""


def checked_options(
    queue: str,
    lanes: Sequence[Band],
    timeout_s: float | None,
    max_attempts: int | None,
    backoff: Backoff | str | None,
    light: bool,
    flow: Flow,
    batch: Batch | None,
) -> dict[str, Any]:
    """The fields of a ``Mark`` that ``task`` and ``subscribe`` share; raises ``InvalidInput``."""
    _expect_batch(batch, flow)
    if not _are_bands(lanes):
        expected = f"one to five of {', '.join(map(str, Band))}"
        remedy = "write lanes=(Band.HIGH, Band.NORMAL)"
        raise InvalidInput("a queue has one to five lanes", field="lanes", expected=expected, got=lanes, remedy=remedy)
    if timeout_s is not None and not _is_timeout(timeout_s):
        expected = f"{TIMEOUT_MIN_S} to {TIMEOUT_MAX_S} seconds"
        raise InvalidInput("this is no time-out", field="timeout_s", expected=expected, got=timeout_s)
    if light and flow:
        expected = "light=True without key, rate, order, unique and debounce"
        raise InvalidInput(
            "jobs whose flow is controlled cannot be light", field="light", expected=expected, got="both"
        )
    return {
        "queue": queue,
        "bands": tuple(soonest_first(lanes)),
        "timeout_ms": None if timeout_s is None else round(timeout_s * 1_000),
        "max_attempts": _whole("max_attempts", max_attempts, ATTEMPTS_MAX),
        "light": _flag("light", light),
        "flow": flow,
        "batch": batch,
        "backoff": None if backoff is None else checked(Named(backoff) if isinstance(backoff, str) else backoff),
    }


def _expect_batch(batch: object, flow: Flow) -> None:
    if batch is None:
        return
    if not isinstance(batch, Batch):
        raise InvalidInput("this is no batch", field="batch", expected="Batch(max_size, max_wait_s)", got=batch)
    if flow.order is not None:
        expected = "batch without order"
        raise InvalidInput("jobs in order run one at a time", field="batch", expected=expected, got="both")


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidInput("this is said with yes or no", field=name, expected="True or False", got=value)


def _are_bands(lanes: Any) -> bool:
    is_list = isinstance(lanes, Collection) and not isinstance(lanes, str) and len(lanes) > 0
    return is_list and all(isinstance(lane, str) and lane in {*Band} for lane in lanes)


def checked_limit(concurrency: int | None, size: int | None) -> Limit | None:
    """The limit of a type, if it has one; raises ``InvalidInput``."""
    _whole("concurrency", concurrency, CONCURRENCY_MAX)
    _whole("size", size, SIZE_MAX)
    return None if concurrency is None and size is None else Limit(concurrency, size)


def _whole(name: str, value: object, most: int) -> int | None:
    """A whole number from 1, if one is given; neither a bool nor a fraction nor a text, which would pass for one."""
    if value is None or (type(value) is int and 1 <= value <= most):
        return value
    raise InvalidInput("this value is out of range", field=name, expected=f"a whole number from 1 to {most}", got=value)


def _is_timeout(value: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and TIMEOUT_MIN_S <= value <= TIMEOUT_MAX_S


def checked_line(decorator: str, name: str, value: object) -> str:
    """What a job can be called: a name that no client could give would be found by none."""
    _refuse_bare(decorator, name, value)
    if not isinstance(value, str) or not is_name(value, TOPIC_MAX_CHARS):
        expected = f"1 to {TOPIC_MAX_CHARS} characters on one line, not all blank"
        raise InvalidInput("this cannot be a name", field=name, expected=expected, got=value, remedy=WRITE[decorator])
    return value


def _refuse_bare(decorator: str, name: str, value: object) -> None:
    """Raise ``InvalidInput`` where a decorator was given the function itself, for want of parentheses."""
    if callable(value) and not isinstance(value, str):
        raise InvalidInput(
            f"@{decorator} stands without its parentheses", field=name, got=f"@{decorator}", remedy=WRITE[decorator]
        )


def checked_event(word: object) -> EventType:
    """The event of which a hook is told; raises ``InvalidInput``."""
    _refuse_bare("on", "what", word)
    if not isinstance(word, str) or word not in {*EventType}:
        raise InvalidInput(
            "nothing of this name happens to a job",
            field="what",
            expected=" or ".join(EventType),
            got=word,
            remedy=WRITE["on"],
        )
    return EventType(word)
