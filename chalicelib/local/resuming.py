"""A data folder that is used again: whether the run before ended in order, and what is made anew where it did not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chalicelib.core.lanes import Band
from chalicelib.local.lane_queues import applied
from chalicelib.settings import Settings

IN_USE_MARK = "up.running"


def resume(
    data_dir: Path, chosen: Settings, queues: Mapping[str, Sequence[Band]], report: Callable[[str], None]
) -> Path:
    """Mark the data as in use; returns the mark. One that is there already is of a run that did not end in order."""
    mark = data_dir / IN_USE_MARK
    if mark.exists():
        applied(chosen, queues)
        report(f"the last run did not end in order: {_count_anew(chosen)} jobs were counted anew")
    mark.touch()
    return mark


def _count_anew(chosen: Settings) -> int:
    """Make counters and search index from the ledger: what the stream held when the last run was killed is lost.

    Returns how many jobs there are.
    """
    # Imported late: an ordinary start needs none of it.
    from chalicelib.engine.handlers.registry import registry
    from chalicelib.engine.projections.rebuild import rebuild_counters
    from chalicelib.engine.projections.search import rebuild_search
    from chalicelib.engine.yard import build

    yard = build(registry())
    jobs = rebuild_counters(yard)
    if chosen.search_is_on:
        rebuild_search(yard)
    return jobs
