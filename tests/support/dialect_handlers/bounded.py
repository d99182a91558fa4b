"""Tasks and a topic with flow control, for the tests of its surface."""

from __future__ import annotations

from typing import Any

from chalicelib.core.flow import Debounce, PerKey, Rate, Unique
from chalicelib.engine.handlers.declare import subscribe, task
from chalicelib.engine.worker.context import Reject


@task("bounded", pool="bounded", key="input.k", per_key=PerKey(concurrency=1, rate=Rate(10, per_s=60, burst=10)))
def bounded(given: dict[str, Any]) -> Any:
    """Of each key one at a time."""
    return given


@task("bounded.ordered", pool="bounded", key="input.k", order="block", max_attempts=1)
def ordered(given: dict[str, Any]) -> Any:
    """Of each key in order; ``{"reject": "why"}`` fails for good."""
    if "reject" in given:
        raise Reject(given["reject"])
    return given


@task("bounded.alike", pool="bounded", concurrency=3, rate=Rate(1, per_s=0.5), unique=Unique(by="input.k"))
def alike(given: dict[str, Any]) -> Any:
    """One of many that are alike."""
    return given


@subscribe("bounded.news", key=lambda payload: payload["k"], debounce=Debounce(5, latest_s=12, by="input.k"))
def news(given: dict[str, Any]) -> Any:
    """The newest of each key."""
    return given
