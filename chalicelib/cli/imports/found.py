"""What a source finds: jobs that can be moved, and records of which none can be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from chalicelib.core.errors import InvalidInput, TaskyardError
from chalicelib.core.expectations import fault_of, place_of
from chalicelib.core.job import ATTEMPTS_MAX, JobError
from chalicelib.core.lanes import PRIORITY_MAX, PRIORITY_MIN
from chalicelib.engine.failures import MESSAGE_MAX_CHARS
from chalicelib.engine.new_job import NewJob
from chalicelib.services import checks

ORIGIN = "importedFrom"  # in a job's options: where it comes from
NOT_SHOWN = frozenset({"payload", "input", "options", "context", "data"})  # of what is wrong in these no value is shown


@dataclass(frozen=True, slots=True)
class Parent:
    """The task that another one waits for, by what it is in the same table."""

    id: str
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A job as its source has it, in a table of its. ``failure`` and ``failed_at_ms``: of a dead letter."""

    table: str
    id: str
    created_at_ms: int
    new_job: NewJob
    parent: Parent | None = None
    failure: JobError | None = None
    failed_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A record of what has nothing left to be done."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A record of which no job can be made."""

    id: str
    error: TaskyardError


Entry: TypeAlias = Unfinished | Skipped | Refused


class Source(Protocol):
    """Another system's jobs."""

    @property
    def name(self) -> str:
        """Of the system."""

    def pages(self) -> Iterator[Sequence[Entry]]:
        """What is unfinished, parents before their children where both are."""

    def left(self) -> Mapping[str, int]:
        """What was not asked for and stays there: how many, by what they are."""


def moment(value: object) -> object:
    """A time as pydantic reads it, from SQLite's text of it."""
    return value.replace(" +", "+") if isinstance(value, str) else value


def aware(value: datetime) -> datetime:
    """A time without a zone is UTC's: Sequelize writes no other."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(moment), AfterValidator(aware)]


class Record(BaseModel):
    """A record of a source, as it is stored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Read = TypeVar("Read", bound=Record)


def entry_of(id_: str, model: type[Read], stored: Mapping[str, Any], made: Callable[[Read], Entry]) -> Entry:
    """What is ``made`` of a stored record; ``Refused`` where that cannot be read, or can never be a job here."""
    try:
        return made(model.model_validate(stored))
    except ValidationError as error:
        return Refused(id_, _unread(error.errors(include_url=False)[0]))
    except TaskyardError as error:
        return Refused(id_, _discreet(error))


def key_of(system: str, source_name: str, table: str, row: Parent | Unfinished) -> str:
    """What makes one job of a record, however often it is read: its table, its id, and when it was made.

    Without the time the ids of two databases that count from 1 would be taken for one another. ``source_name`` tells
    those apart whose ids and times may be the same, too.
    """
    return json.dumps(["import", system, source_name, table, row.id, row.created_at_ms])


def options_of(source: str, id_: str, created_at: datetime, options: object) -> dict[str, Any]:
    """A job's options with where it comes from. Raises ``InvalidInput`` for what is no object."""
    told = checks.document("options", {} if options is None else options)
    made = aware(created_at).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {**told, ORIGIN: {"system": source, "id": id_, "createdAt": made}}


def priority_within(priority: int) -> int:
    """The nearest priority that there is here."""
    return max(PRIORITY_MIN, min(PRIORITY_MAX, priority))


def attempts_within(field: str, attempts: int) -> int:
    """How many attempts a job may have. Raises ``InvalidInput``."""
    return max(1, checks.whole(field, attempts, 0, ATTEMPTS_MAX))


def milliseconds(value: datetime) -> int:
    """A time, in milliseconds since 1970."""
    return round(value.timestamp() * 1_000)


def failure_of(text: object) -> JobError:
    """The error of a dead letter: the first line of what the source keeps, which may be a whole stack."""
    lines = str(text or "").strip().splitlines()
    return JobError("Imported", (lines[0] if lines else "no reason was given")[:MESSAGE_MAX_CHARS])


def _unread(told: ErrorDetails) -> TaskyardError:
    """Why a column cannot be read: what it should be, or what is wrong with its JSON."""
    expected, got = fault_of(told)
    remedy = "mend it in the source, and import again"
    if told["type"] == "json_invalid":
        return InvalidInput(
            "this cannot be read", field=place_of(told), expected=expected, got=told["ctx"]["error"], remedy=remedy
        )
    return _discreet(
        InvalidInput("this cannot be read", field=place_of(told), expected=expected, got=got, remedy=remedy)
    )


def _discreet(error: TaskyardError) -> TaskyardError:
    """The error without a value that may hold a secret, or what somebody wrote to somebody."""
    if (error.field or "").split(".")[0] in NOT_SHOWN:
        error.got = None
    return error
