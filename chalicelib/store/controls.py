"""What may keep a job from its turn, looked up in one read. In the directory table, whose items it only reads.

How they are laid out is said in ``pauses.py``, ``concurrency.py``, ``rates.py``, ``flow_settings.py`` and
``applications.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.core.applications import Application
from chalicelib.store import applications, concurrency, flow_settings, pauses, rates
from chalicelib.store.concurrency import Census
from chalicelib.store.flow_settings import UNCHANGED, FlowSetting
from chalicelib.store.pauses import Pause
from chalicelib.store.table import Table


@dataclass(frozen=True, slots=True)
class CountControls:
    """Who runs of a concurrency count, what was changed of its limits, and when its bucket is full (microseconds)."""

    census: Census
    changed: FlowSetting
    full_at_us: int


@dataclass(frozen=True, slots=True)
class Controls:
    """The pauses that there are, the oldest first, what holds for each count, and the application, if there is one."""

    pauses: tuple[Pause, ...]
    counts: tuple[CountControls, ...]
    application: Application | None


def find_controls(table: Table, targets: Sequence[str], counts: Sequence[str], app_key: str | None) -> Controls:
    """The pauses of ``targets``, what holds for these concurrency counts, and an application, as of the last write."""
    keys_of = (concurrency.key_of, flow_settings.key_of, rates.key_of)
    keys = [*map(pauses.key_of, targets), *(key_of(count) for count in counts for key_of in keys_of)]
    items = table.get_many(keys if app_key is None else [*keys, applications.key_of(app_key)])
    found = {(item["kind"], item["name"]): item for item in items}

    def item_of(key: dict[str, str]) -> dict[str, Any]:
        return found.get((key["kind"], key["name"]), {})

    def controls_of(count: str) -> CountControls:
        changed = item_of(flow_settings.key_of(count))
        return CountControls(
            concurrency.census_of(item_of(concurrency.key_of(count))),
            flow_settings.setting_of(changed) if changed else UNCHANGED,
            rates.bucket_of(item_of(rates.key_of(count)))[0],
        )

    application = None if app_key is None else item_of(applications.key_of(app_key))
    return Controls(
        tuple(sorted((pauses.pause_of(i) for i in items if i["kind"] == pauses.KIND), key=lambda each: each.since_ms)),
        tuple(map(controls_of, counts)),
        applications.application_of(application) if application else None,
    )
