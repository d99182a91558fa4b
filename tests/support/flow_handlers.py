"""Handlers whose flow is controlled, for the tests that drive them from outside.

Each writes when it began and ended to the file that ``FLOW_LOG`` names, so that what ran beside what is told by the
handlers alone.
"""

from __future__ import annotations

import os
import time
from typing import Any

from chalicelib import Batch, Context, Debounce, PerKey, Rate, Reject, Unique, subscribe, task


def noted(given: Any, context: Context) -> Any:
    """Note the run, for as long as ``given["ms"]`` says."""
    given = given if isinstance(given, dict) else {"n": given}
    _write("begin", given, context)
    try:
        time.sleep(given.get("ms", 0) / 1_000)
        if given.get("fails"):
            raise Reject("as it was told")
        return given.get("n")
    finally:
        _write("end", given, context)


def _write(what: str, given: dict[str, Any], context: Context, at_ns: int | None = None) -> None:
    path = os.environ.get("FLOW_LOG")
    if path:
        key, n = given.get("k", "-"), given.get("n", "-")
        words = (what, at_ns or time.time_ns(), os.getpid(), context.job.type, key, n, context.job.id)
        with open(path, "a", encoding="utf-8") as log:
            log.write(" ".join(map(str, words)) + "\n")


@task("flow.keyed", key="input.k", per_key=PerKey(concurrency=2), max_attempts=20)
def keyed(given: dict[str, Any], context: Context) -> Any:
    """Two of a key at once."""
    return noted(given, context)


@task("flow.ordered", key="input.k", order="block", max_attempts=20)
def ordered(given: dict[str, Any], context: Context) -> Any:
    """Of a key one at a time, as they were accepted."""
    return noted(given, context)


@task("flow.aside", key="input.k", order="step aside", max_attempts=20)
def aside(given: dict[str, Any], context: Context) -> Any:
    """The same; one that fails lets the next go."""
    return noted(given, context)


@task("flow.paced", rate=Rate(20, per_s=1), max_attempts=20)
def paced(given: dict[str, Any], context: Context) -> Any:
    """Twenty a second."""
    return noted(given, context)


@task("flow.bounded", concurrency=3, max_attempts=20)
def bounded(given: dict[str, Any], context: Context) -> Any:
    """Three at once."""
    return noted(given, context)


@task("flow.free", max_attempts=20)
def free(given: dict[str, Any], context: Context) -> Any:
    """As many as there are workers."""
    return noted(given, context)


@task("flow.wide", concurrency=100, max_attempts=20)
def wide(given: dict[str, Any], context: Context) -> Any:
    """A limit that nobody reaches."""
    return noted(given, context)


@task("flow.fast", rate=Rate(100_000, per_s=1, burst=100_000), max_attempts=20)
def fast(given: dict[str, Any], context: Context) -> Any:
    """A rate that nobody reaches."""
    return noted(given, context)


@task("flow.once", key="input.k", unique=Unique())
def once(given: dict[str, Any], context: Context) -> Any:
    """One of a key that is not done."""
    return noted(given, context)


@task("flow.newest", key="input.k", debounce=Debounce(1, latest_s=3))
def newest(given: dict[str, Any], context: Context) -> Any:
    """The newest of a key within a second."""
    return noted(given, context)


@task("flow.batched", pool="batched", key="input.k", per_key=PerKey(concurrency=1), batch=Batch(5), max_attempts=20)
def batched(given: list[dict[str, Any]], contexts: list[Context]) -> list[Any]:
    """Up to five in one call, one of a key at once. What is in one call begins at the same nanosecond."""
    at_ns = time.time_ns()
    for each, context in zip(given, contexts, strict=True):
        _write("begin", each, context, at_ns)
    time.sleep(max(each.get("ms", 0) for each in given) / 1_000)
    for each, context in zip(given, contexts, strict=True):
        _write("end", each, context)
    return [each.get("n") for each in given]


@subscribe("flow.line", key="input.text", order="block", max_attempts=20)
def line(given: Any, context: Context) -> Any:
    """Of a key one at a time, as they were accepted."""
    return noted(given, context)


@subscribe("flow.single", key="input.text", unique=Unique())
def single(given: Any, context: Context) -> Any:
    """One of a key that is not done."""
    return noted(given, context)


@subscribe("flow.news", key="input.k", per_key=PerKey(concurrency=1, rate=Rate(1, per_s=5)))
def news(given: dict[str, Any], context: Context) -> Any:
    """One of a key at once, and one in five seconds."""
    return noted(given, context)
