"""What may keep a job from its turn, looked up in one read. In the directory table, whose items it only reads.

How they are laid out is said in ``pauses.py``, ``concurrency.py`` and ``applications.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.core.applications import Application
from chalicelib.core.limits import NOTHING, Concurrency, counts_schedule
from chalicelib.store import applications, concurrency, pauses
from chalicelib.store.directory import digest
from chalicelib.store.pauses import Pause
from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True)
class Controls:
    """The pauses that there are, the oldest first, the concurrency count, and the application, if there is one."""

    pauses: tuple[Pause, ...]
    concurrency: Concurrency
    application: Application | None


def find_controls(table: Table, targets: Sequence[str], count: str, app_key: str | None) -> Controls:
    """The pauses of ``targets``, the concurrency count of this name, and an application, as of the last write."""
    of_count = concurrency.KIND_OF_SCHEDULES if counts_schedule(count) else concurrency.KIND
    keys = [*map(pauses.key_of, targets), {"kind": of_count, "name": digest(count)}]
    items = table.get_many(keys if app_key is None else [*keys, applications.key_of(app_key)])
    by_kind = {item["kind"]: item for item in items}
    counted = by_kind.get(of_count)
    application = by_kind.get(applications.KIND)
    return Controls(
        tuple(sorted((pauses.pause_of(i) for i in items if i["kind"] == pauses.KIND), key=lambda each: each.since_ms)),
        NOTHING if counted is None else Concurrency(counted.get("running", 0), counted.get("unfinished", 0)),
        None if application is None else applications.application_of(application),
    )
