"""Making the counters anew from the ledger, where the change stream was lost."""

from __future__ import annotations

from chalicelib.core.projection import Effects, counted
from chalicelib.core.states import Kind
from chalicelib.engine.yard import Yard
from chalicelib.store.job_lists import Wanted
from chalicelib.store.table import chunks

REBUILT_SHARD = "rebuilt"
READ_CHUNK = 100


def rebuild_counters(yard: Yard) -> int:
    """Count every job of the ledger and let the counters say just that; answers how many there are.

    Nothing may be published, worked on or projected meanwhile.
    """
    totals: Effects = Effects()
    for kind in Kind:
        for chunk in chunks(list(yard.lists.ids(Wanted(kind), page_size=1_000)), READ_CHUNK):
            totals.update(counted(job) for job in yard.jobs.find_many(chunk))
    yard.insights.replace_counters(REBUILT_SHARD, totals)
    return sum(totals.values())
