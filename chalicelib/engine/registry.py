"""The handlers of this installation: everything that the modules of ``chalicelib.tasks`` declare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import chalicelib.tasks
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers import Registry


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The declared handlers, collected at first use."""
    return Registry.of_package(chalicelib.tasks)


def declared_queues() -> Mapping[str, tuple[Band, ...]]:
    """The queues that have consumers here, with their lanes: what infra makes SQS queues for."""
    return registry().queues
