"""The projector: a batch of the jobs table's change stream.

The event source mapping sets a tumbling window, because only then do its events name their shard; the state that
such a window carries from batch to batch is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from chalicelib.engine.projections.events import send
from chalicelib.engine.projections.project import Change, Notify, project, report_nothing
from chalicelib.engine.projections.search import index
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext, changes_by_shard
from chalicelib.functions.logs import logged
from chalicelib.settings import Settings


@logged
def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Count the changes of a stream event, tell CloudWatch, index tasks, and send what hooks and webhooks are told.

    Returns the (empty) state of the tumbling window.
    """
    del context  # one transaction for an ordinary batch
    report = _reporter(yard.settings)
    for shard, changes in changes_by_shard(event).items():
        project(yard, shard, changes, report, partial(_announce, yard))
    return {"state": {}}


def _announce(yard: Yard, changes: Sequence[Change]) -> None:
    index(yard, changes)
    send(yard, changes)


def _reporter(settings: Settings) -> Notify:
    """Who hears of counted changes: CloudWatch, unless this is one machine or nobody wants metrics."""
    if settings.local or settings.told_metrics == "off":
        return report_nothing
    from chalicelib.functions import metrics  # imported late: no other function tells

    return partial(metrics.report, settings)
