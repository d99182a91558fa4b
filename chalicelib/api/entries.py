"""The entries of a batch: each is read for itself, so that one that is wrong costs the others nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from chalicelib.api.shapes import idempotency_key_of, request_tenant_of
from chalicelib.core.errors import TaskyardError, TooLarge, Unavailable
from chalicelib.core.job import Job
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.http.exchange import ANSWER_MAX_BYTES, json_text
from chalicelib.http.problems import rejected

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

BATCH_MAX = 100
QUOTING_MAX_FACTOR = 6  # one character may become \uXXXX

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


def publish_entries(
    yard: Yard,
    entries: Sequence[Any],
    headers: Mapping[str, str],
    new_job: Callable[[Any, str | None, str | None], NewJob],
) -> list[tuple[NewJob | TaskyardError, Job | TaskyardError]]:
    """What each entry of a batch asked for, and what became of it, in order.

    ``new_job`` gets an entry with its key and tenant, its own or the request's.

    Raises ``Unavailable`` if AWS took none.
    """
    batch_key, tenant = idempotency_key_of(None, headers), request_tenant_of(None, headers)

    def asked(place: int, entry: Any) -> NewJob | TaskyardError:
        if isinstance(entry, Unreadable):
            return entry.error
        try:
            return new_job(entry, key_of(entry.idempotency_key, batch_key, place), entry.tenant or tenant)
        except TaskyardError as error:
            return error

    new_jobs = [asked(*each) for each in enumerate(entries)]
    published = [*zip(new_jobs, publish_many(yard, new_jobs), strict=True)]
    require_service([outcome for new_job, outcome in published if isinstance(new_job, NewJob)])
    return published


def key_of(own: str | None, batch_key: str | None, place: int) -> str | None:
    """The idempotency key of the entry at a ``place``, from 0: its ``own``, else one under the batch's: ``key#0``."""
    return own or (None if batch_key is None else f"{batch_key}#{place}")


def require_room_in_answer(field_name: str, written: Sequence[object], record_max_bytes: int) -> None:
    """Raise ``TooLarge`` for entries that the answer could not show, while nothing is done yet.

    ``written`` is what their clients wrote, a value for each; beside it a record takes ``record_max_bytes`` at most.
    """
    text = json_text(written)
    room_bytes = ANSWER_MAX_BYTES - len(written) * record_max_bytes
    if len(text) * QUOTING_MAX_FACTOR > room_bytes and len(json.dumps(text)) > room_bytes:
        raise TooLarge(
            f"these {field_name} are too large together",
            field=field_name,
            expected=f"at most {room_bytes} bytes of JSON, as the answer quotes it",
            remedy="send fewer at once",
        )
