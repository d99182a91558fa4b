"""What a search takes with few and with many tasks stored, on DynamoDB Local.

    python -m tests.benchmarks.search                1,000 and 100,000 tasks
    python -m tests.benchmarks.search 1000 10000     other numbers

Every task has one word, every tenth another, ten of the first thousand a third. Prints figures; asserts nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from chalicelib.api.tasks import listing
from chalicelib.core.cursors import Cursor
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard
from chalicelib.services.task_lists import search_ids
from chalicelib.store.job_items import position_of
from chalicelib.store.table import chunks
from tests.benchmarks import lists
from tests.benchmarks.aws_calls import out
from tests.benchmarks.lists import Figures, Scenario, Store

STORED = (1_000, 100_000)
COMMON, TENTH, RARE = "common", "tenth", "rare"
CHUNK = 500
WRITERS = 4


class Searched(Store):
    """Stored tasks, and their words in the index."""

    def __init__(self, yard: Yard) -> None:
        super().__init__(yard, Kind.TASK)
        self._unindexed: dict[str, list[str]] = {}

    def fill(self, number: int) -> None:
        """Store and index tasks until there are ``number``."""
        super().fill(number)
        with ThreadPoolExecutor(WRITERS) as writers:
            for _ in writers.map(
                lambda some: self._yard.search.add(dict(some)), chunks([*self._unindexed.items()], CHUNK)
            ):
                continue
        self._unindexed.clear()

    def _made(self, number: int) -> Job:
        job = super()._made(number)
        rare = number < STORED[0] and number % 100 == 7
        self._unindexed[position_of(job)] = [COMMON, *([TENTH] if number % 10 == 0 else []), *([RARE] if rare else [])]
        return job


def scenarios(yard: Yard, store: Store) -> dict[str, Scenario]:
    """What is measured, by name."""

    def listed(text: str, position: str | None = None) -> Scenario:
        query = listing.ListQuery(filter={"search": text})
        if position is not None:
            query = query.model_copy(update={"cursor": Cursor(position, 0, exact=False).to_text(query.filters)})
        return lambda: listing.list_tasks(yard, query)

    return {
        "ten tasks of one word": listed(RARE),
        "ten tasks of two, one of which all have": listed(f"{COMMON} {RARE}"),
        "none of two, one of which all have": listed(f"{COMMON} nobody"),
        "a page of what all have, counted": listed(COMMON),
        "a page of what all have, 90 % deep": listed(COMMON, store.deep_position),
        "a page of a tenth, of two words, counted": listed(f"{COMMON} {TENTH}"),
        "a page of a tenth, of two words, 90 % deep": listed(f"{COMMON} {TENTH}", store.deep_position),
        "1,000 ids of what all have": lambda: search_ids(yard, COMMON),
    }


def main(arguments: Sequence[str]) -> None:
    """Print the figures for each number of stored tasks, and how they grow."""
    numbers = [int(text) for text in arguments] or list(STORED)
    found: dict[str, list[Figures]] = {}
    with lists.installation(search="on") as (bench, meter):
        store = Searched(bench.yard)
        for number in numbers:
            began_s = time.monotonic()
            store.fill(number)
            out(f"{number} tasks stored and indexed after {time.monotonic() - began_s:.0f} s")
            for name, scenario in scenarios(bench.yard, store).items():
                found.setdefault(name, []).append(lists.measured(meter, scenario))
    lists.report(numbers, found)


if __name__ == "__main__":
    main(sys.argv[1:])
