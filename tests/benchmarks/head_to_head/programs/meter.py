"""What a piece of work takes: its time, the CPU of this process, and what the emulator says of itself."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

PATH = "/_head_to_head"  # where the metered emulator answers ``{"cpu_s", "requests": {operation: count}}``
BODY = {"orderId": "123", "amount": 99.9}  # of every job
WARM_UP = 10  # jobs that pay for connections and caches, measured by nobody

Reading = tuple[float, float, float, int]


def reading() -> Reading:
    """The clock, this process's CPU and the emulator's, in seconds, and the requests that it has had."""
    with urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + PATH) as answer:  # noqa: S310  # a loopback address
        emulator = json.load(answer)
    return time.perf_counter(), time.process_time(), emulator["cpu_s"], sum(emulator["requests"].values())


def measured(work: Callable[[], int]) -> dict[str, float]:
    """The figures of ``work``, which returns how many jobs it did."""
    before = reading()
    jobs = work()
    wall_s, cpu_s, emulator_s, requests = (now - then for now, then in zip(reading(), before, strict=True))
    return {
        "rate": jobs / wall_s,
        "cpu_ms": 1_000 * cpu_s / jobs,
        "emulator_cpu_ms": 1_000 * emulator_s / jobs,
        "requests": requests / jobs,
    }


def report(figures: dict[str, Any]) -> None:
    """Say the figures, as the last line of this program."""
    sys.stdout.write(f"\n{json.dumps(figures)}\n")
