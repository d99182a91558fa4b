"""The entries of a batch: each is read for itself, so that one that is wrong costs the others nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from chalicelib.core.errors import TaskyardError, Unavailable
from chalicelib.http.problems import rejected

BATCH_MAX = 100

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry that is not what it must be, as it came, and why."""

    value: Any = field(repr=False)
    error: TaskyardError


def _read(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        return Unreadable(value, rejected("entry", value, error))


Entry = Annotated[_Item, WrapValidator(_read)]
"""An entry, or ``Unreadable`` in its place; ``entries_of`` says so to the type checker."""


def entries_of(batch: Sequence[_Item]) -> list[_Item | Unreadable]:
    """A batch as it was read."""
    return list(batch)


def require_service(outcomes: Sequence[object]) -> None:
    """Raise ``Unavailable`` if that is what became of every entry: then the whole batch is to be sent again."""
    if outcomes and all(isinstance(outcome, Unavailable) for outcome in outcomes):
        raise next(outcome for outcome in outcomes if isinstance(outcome, Unavailable))
