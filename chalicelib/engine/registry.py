"""The handlers of this installation: everything that the modules of ``TASKYARD_HANDLERS`` declare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module

from chalicelib import settings
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers import Registry


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The declared handlers, collected at first use."""
    packages = settings.current().handlers.split(",")
    return Registry.of_packages([import_module(name.strip()) for name in packages])


def declared_queues() -> Mapping[str, tuple[Band, ...]]:
    """The queues that have consumers here, with their lanes: what infra makes SQS queues for."""
    return registry().queues
