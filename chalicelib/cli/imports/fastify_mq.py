"""fastify-mq's tables: ``t_message``, with what is PENDING and PROCESSING, and ``t_dead_letter``.

Rows that were cleaned up stay there with a ``deleted_at``. What is PROCESSING is delivered again, as after its lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import Json

from chalicelib.cli.imports.databases import Columns, Database
from chalicelib.cli.imports.found import (
    Entry,
    Moment,
    Record,
    Unfinished,
    attempts_within,
    entry_of,
    failure_of,
    milliseconds,
    options_of,
    priority_within,
)
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.services import checks

NAME = "fastify-mq"
MESSAGES = Columns(
    required=("id", "topic", "payload", "status", "retry_count", "max_retries", "priority", "created_at", "deleted_at"),
    optional=("execute_at", "next_retry_at", "trace_id", "options"),
    times=("created_at", "execute_at", "next_retry_at"),
)
DEAD_LETTERS = Columns(
    required=("id", "original_id", "topic", "payload", "replayed", "created_at", "deleted_at"),
    optional=("error_message", "options"),
    times=("created_at",),
)
OF_MESSAGE = Columns((), ("priority", "max_retries", "trace_id"))  # what a dead letter no longer has
UNFINISHED = ("m.deleted_at IS NULL", "m.status IN ('PENDING', 'PROCESSING')")
LEFT = "dead letters, which --dead-letters moves"
DEAD = ("d.deleted_at IS NULL", "NOT d.replayed")


class Row(Record):
    """What both tables have, or what a dead letter's message had, if that is still there."""

    id: str
    topic: str
    payload: Json[Any]
    created_at: Moment
    options: Json[Any] | None = None
    priority: int | None = None
    max_retries: int | None = None
    trace_id: str | None = None


class MessageRow(Row):
    """A row of ``t_message``."""

    priority: int
    max_retries: int
    retry_count: int
    execute_at: Moment | None = None
    next_retry_at: Moment | None = None


class DeadLetterRow(Row):
    """A row of ``t_dead_letter``."""

    original_id: str
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class FastifyMq:
    """The tables of one installation, all of them or those of a topic."""

    database: Database
    table_prefix: str
    topic: str | None = None
    dead_letters: bool = False

    @property
    def name(self) -> str:
        """Of the system."""
        return NAME

    def pages(self) -> Iterator[Sequence[Entry]]:
        """The messages, the oldest first; then the dead letters, if they are asked for."""
        for rows in self._messages():
            yield [entry_of(str(row["id"]), MessageRow, row, _message) for row in rows]
        if self.dead_letters:
            for rows in self._dead_letters():
                yield [entry_of(str(row["id"]), DeadLetterRow, row, _dead_letter) for row in rows]

    def left(self) -> Mapping[str, int]:
        """The dead letters, where they are not asked for."""
        if self.dead_letters:
            return {}
        table = self.table_prefix + "dead_letter"
        self.database.expect(table, DEAD_LETTERS)
        return {LEFT: self.database.count(table, "d", self._wanted("d", DEAD), {"topic": self.topic})}

    def _messages(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        database, messages = self.database, self.table_prefix + "message"
        columns = database.selected("m", MESSAGES, database.expect(messages, MESSAGES))
        select = database.select(columns, f"{database.table(messages)} m")
        return database.pages(select, self._wanted("m", UNFINISHED), {"topic": self.topic}, "m.id")

    def _dead_letters(self) -> Iterator[Sequence[Mapping[str, Any]]]:
        database, letters, messages = self.database, self.table_prefix + "dead_letter", self.table_prefix + "message"
        columns = database.selected("d", DEAD_LETTERS, database.expect(letters, DEAD_LETTERS))
        columns += ", " + database.selected("m", OF_MESSAGE, database.expect(messages, OF_MESSAGE))
        join = f"LEFT JOIN {database.table(messages)} m ON {database.text.format('m.id')} = d.original_id"
        select = database.select(columns, f"{database.table(letters)} d {join}")
        return database.pages(select, self._wanted("d", DEAD), {"topic": self.topic}, "d.id")

    def _wanted(self, alias: str, conditions: Sequence[str]) -> Sequence[str]:
        return conditions if self.topic is None else [*conditions, f"{alias}.topic = :topic"]


def _message(row: MessageRow) -> Entry:
    starts: list[datetime] = [at for at in (row.execute_at, row.next_retry_at) if at is not None]
    new_job = replace(
        _new_job(row, row.id),
        due_at_ms=milliseconds(max(starts)) if starts else None,
        attempts_made=min(max(row.retry_count, 0), attempts_within("max_retries", row.max_retries) - 1),
    )
    return Unfinished(table="message", id=row.id, created_at_ms=milliseconds(row.created_at), new_job=new_job)


def _dead_letter(row: DeadLetterRow) -> Entry:
    at_ms = milliseconds(row.created_at)
    return Unfinished(
        table="dead_letter",
        id=row.id,
        created_at_ms=at_ms,
        new_job=_new_job(row, row.original_id),
        failure=failure_of(row.error_message),
        failed_at_ms=at_ms,
    )


def _new_job(row: Row, message_id: str) -> NewJob:
    return NewJob(
        kind=Kind.MESSAGE,
        type=checks.topic(row.topic),
        input=checks.document("payload", row.payload),
        options=options_of(NAME, message_id, row.created_at, row.options),
        priority=priority_within(row.priority or 0),
        max_attempts=None if row.max_retries is None else attempts_within("max_retries", row.max_retries),
        trace_id=checks.maybe_name("trace_id", row.trace_id),
    )
