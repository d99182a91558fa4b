"""Yao's task pools for Python: what ``tasks.<name>.add``, ``.progress`` and ``.get`` are there.

    from chalicelib.services import pools

    job_id = pools.pool("csv_summary").add("city,people\\nBerlin,3700000\\n")
    pools.pool("csv_summary").get(job_id)["status"]  # WAITING, RUNNING, SUCCESS or FAILURE

How pools are defined: ``chalicelib/engine/handlers/pool_files.py``, and ``docs/yao-pools.md``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from chalicelib.engine.commands import pools
from chalicelib.services import checks, installation


@dataclass(frozen=True, slots=True)
class PoolOfTasks:
    """A pool, by its name."""

    name: str

    def add(self, *args: Any, tenant: str | None = None, flow_key: str | None = None) -> int:
        """Add a job whose process is called with its id and ``args``; returns the id, or 0 where the pool is full.

        ``args`` are plain JSON values. ``tenant``: on whose behalf (docs/fairness.md). ``flow_key``: what it has in
        common with others (docs/flow-control.md). Raises ``InvalidInput`` for what is none of these, ``TooLarge``,
        ``Conflict`` where ``event.next`` gave an id that is taken, and ``Unavailable``.
        """
        told = checks.maybe_tenant(tenant), checks.maybe_name("flow_key", flow_key)
        return pools.add(installation.yard(), self.name, args, *told)

    def progress(self, id: int, current: float, total: float, message: str = "") -> None:  # noqa: A002  # Yao's word
        """Tell that a running job is at ``current`` of ``total``; ``event.progress`` is told.

        In the job's own process it raises ``JobCanceled`` or ``LeaseLost`` once the run is void, as
        ``Context.progress`` does. Elsewhere ``Conflict`` for a job that is not running. Raises ``NotFound`` and
        ``InvalidInput``, too.
        """
        pools.report(installation.yard(), self.name, checks.job_id(id, "job"), current, total, message)

    def get(self, id: int) -> dict[str, Any]:  # noqa: A002  # as above
        """A job as ``{id, status, current, total, message, response}``; raises ``NotFound``.

        ``status`` is WAITING, RUNNING, SUCCESS or FAILURE; ``response`` what the process returned, the error's text
        after a failure, ``None`` before either.
        """
        return dataclasses.asdict(pools.find(installation.yard(), self.name, checks.job_id(id, "job")))


def pool(name: str) -> PoolOfTasks:
    """The pool that ``pools/<name>.json`` defines; raises ``NotFound`` naming those there are."""
    return PoolOfTasks(pools.pool_of(installation.yard(), checks.text("name", name)).name)
