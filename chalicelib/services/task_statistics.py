"""How tasks went, for Python: what ``/api/task/statistics`` tells."""

from __future__ import annotations

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import MANUAL, SYSTEM
from chalicelib.core.statistics import Span, Statistics
from chalicelib.core.zones import zone_named
from chalicelib.engine.projections import statistics as engine
from chalicelib.services import checks, installation


def statistics(
    range: Span | str = Span.WEEK,  # noqa: A002 - the name of the documented parameter
    timezone: str = "UTC",
    type: str | None = None,  # noqa: A002 - the same
    runner_type: str | None = None,
) -> Statistics:
    """The tasks that were created in a range, by status, type, runner, local day and local hour, and their times.

    ``range``: ``7d`` (today and the six days before), ``1m``, ``3m`` or ``1y``, each from the local midnight of
    ``timezone``, a name of the IANA database. A task counts for when it was created, by its present status, deleted
    ones included; numbers are about a second old. Raises ``InvalidInput``.
    """
    if range not in list(Span):
        raise InvalidInput("this is no range", field="range", expected=", ".join(Span), got=range)
    if runner_type not in (None, MANUAL, SYSTEM):
        raise InvalidInput("this is no runner", field="runner_type", expected=f"{MANUAL} or {SYSTEM}", got=runner_type)
    zone = zone_named(timezone)
    return engine.statistics(installation.yard(), Span(range), zone, checks.maybe_name("type", type), runner_type)
