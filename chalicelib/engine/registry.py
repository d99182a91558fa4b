"""The handlers of this installation: everything that the modules of ``TASKYARD_HANDLERS`` declare."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module

from chalicelib import settings
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import Band
from chalicelib.engine.handlers import Registry
from chalicelib.settings import Settings


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The declared handlers, collected at first use."""
    return registry_of(settings.current())


def registry_of(chosen: Settings) -> Registry:
    """The handlers that the packages of some settings declare; imports them.

    Raises ``InvalidInput`` where one cannot be imported, or two contradict each other.
    """
    try:
        return Registry.of_packages([import_module(name.strip()) for name in chosen.handlers.split(",")])
    except (ImportError, SyntaxError) as error:
        raise InvalidInput(
            "a handler module does not import",
            field="TASKYARD_HANDLERS",
            got=f"{type(error).__name__}: {error}",
            remedy="mend the module, or what it imports",
        ) from error


def declared_queues() -> Mapping[str, tuple[Band, ...]]:
    """The queues that have consumers here, with their lanes: what infra makes SQS queues for."""
    return registry().queues
