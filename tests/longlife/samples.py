"""What an installation takes, sampled: of each process memory and handles, of each table how much it holds.

Each sample is appended to a CSV file at once (elapsed_s, who, measure, value), so that a stop loses nothing.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.support.endpoint import client

MIB = 1 << 20


class Sample(NamedTuple):
    """One value: of a process (its role and id) or of a table, at a time since the start."""

    elapsed_s: float
    who: str
    measure: str
    value: float


def of_processes(supervisor: int, elapsed_s: float) -> list[Sample]:
    """Memory (MiB; ``pss``: with its part of what is shared), files, threads, connections and CPU of each process."""
    found: list[Sample] = []
    top = psutil.Process(supervisor)
    for process in (top, *top.children(recursive=True)):
        try:
            who = "supervisor" if process is top else _role(process)
            memory = process.memory_full_info()
            with process.oneshot():
                values = {
                    "rss_mib": memory.rss / MIB,
                    "pss_mib": getattr(memory, "pss", memory.uss) / MIB,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                    "connections": len(process.net_connections()),
                    "cpu_s": sum(process.cpu_times()[:2]),
                }
        except psutil.NoSuchProcess:
            continue  # it ended meanwhile; the next sample shows who took its place
        found += [Sample(elapsed_s, f"{who} {process.pid}", name, value) for name, value in values.items()]
    return found


def of_tables(endpoint_url: str, elapsed_s: float) -> list[Sample]:
    """How many items each table holds, by its own word."""
    dynamodb = client("dynamodb", endpoint_url)
    counts = {
        name: dynamodb.describe_table(TableName=name)["Table"]["ItemCount"]
        for name in dynamodb.list_tables()["TableNames"]
    }
    return [Sample(elapsed_s, f"table {name}", "items", count) for name, count in counts.items()]


def kinds(endpoint_url: str) -> Counter[tuple[str, str]]:
    """How many items of each kind each table holds: all of them are read."""
    dynamodb = client("dynamodb", endpoint_url)
    found: Counter[tuple[str, str]] = Counter()
    for name in dynamodb.list_tables()["TableNames"]:
        for page in dynamodb.get_paginator("scan").paginate(TableName=name):
            found.update((name, kind_of(item)) for item in page["Items"])
    return found


def kind_of(item: dict[str, dict[str, str]]) -> str:
    """What an item is: its part in the ledger, its kind in the directory, its view in insights."""
    values = {name: next(iter(value.values())) for name, value in item.items()}
    if "expires_at_s" in values and values.get("part") == "state":
        return "tombstone"
    return str(values.get("part") or values.get("kind") or values.get("view")).split("#")[0]


class Log:
    """The CSV file of samples."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("w", newline="") as file:
            csv.writer(file).writerow(Sample._fields)

    def add(self, samples: Iterable[Sample]) -> None:
        """Append, and leave nothing in memory."""
        with self._path.open("a", newline="") as file:
            csv.writer(file).writerows(samples)


def read(path: Path) -> Iterator[Sample]:
    """The samples of a file, in their order."""
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield Sample(float(row["elapsed_s"]), row["who"], row["measure"], float(row["value"]))


def _role(process: psutil.Process) -> str:
    """What a process is for: ``worker``, ``api_process``, ..."""
    words = [word for word in process.cmdline() if not word.startswith("-")]
    module = next((word for word in words if word.startswith("chalicelib.")), words[0])
    last = module.rsplit(".", 1)[-1]
    return words[-1] if last == "function_process" else last.removesuffix("_process")
