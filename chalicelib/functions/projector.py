"""The projector: a batch of the jobs table's change stream.

The event source mapping sets a tumbling window, because only then do its events name their shard; the state that
such a window carries from batch to batch is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.engine.projecting import project
from chalicelib.engine.yard import Yard
from chalicelib.functions.events import LambdaContext, changes_by_shard


def handle(yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Count the changes of a stream event; answers the (empty) state of the tumbling window."""
    del context  # one transaction for an ordinary batch
    for shard, changes in changes_by_shard(event).items():
        project(yard, shard, changes)
    return {"state": {}}
