"""Handlers that note each of their runs in the file that ``INSTANCES_LOG`` names, for tests of many instances."""

from __future__ import annotations

import os
import time
from typing import Any

from chalicelib import Context, subscribe, task

RUN_S = 0.02


def noted(given: dict[str, Any], context: Context) -> None:
    """Note the run, at its begin and at its end."""
    _note("begin", given, context)
    time.sleep(RUN_S)
    _note("end", given, context)


def _note(what: str, given: dict[str, Any], context: Context) -> None:
    words = (what, context.job.type, context.job.id, context.attempt, os.getpid(), given.get("slot", "-"))
    line = " ".join(map(str, words)) + "\n"
    descriptor = os.open(os.environ["INSTANCES_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())  # whole, however many write at once
    finally:
        os.close(descriptor)


@task("instances.task", max_attempts=10)
def run_task(given: dict[str, Any], context: Context) -> None:
    """Of the pool that all share."""
    noted(given, context)


@task("instances.own", pool="own", max_attempts=10)
def run_of_own_pool(given: dict[str, Any], context: Context) -> None:
    """Of a pool of its own."""
    noted(given, context)


@subscribe("instances.news", max_attempts=10)
def take_news(given: dict[str, Any], context: Context) -> None:
    """A message."""
    noted(given, context)


@task("instances.slot", pool="slots")
def run_slot(given: dict[str, Any], context: Context) -> None:
    """A schedule's."""
    noted(given, context)
