"""fastify-task's table ``t_task``: what is pending and running, and what waits for a callback.

What is running begins anew. A callback names the task by its id in fastify-task, which nothing here answers to: what
waits for one is refused, unless it shall begin anew, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from pydantic import Json

from chalicelib.cli.imports.databases import Columns, Database
from chalicelib.cli.imports.found import (
    Entry,
    Moment,
    Parent,
    Record,
    Skipped,
    Unfinished,
    entry_of,
    failure_of,
    milliseconds,
    options_of,
    priority_within,
)
from chalicelib.core.errors import Conflict
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.services import checks, task_orders

NAME = "fastify-task"
TASKS = Columns(
    required=("id", "type", "target_id", "target_type", "runner_type", "status", "created_at", "deleted_at"),
    optional=(
        "script_name", "user_id", "parent_task_id", "priority", "timeout", "retry_count", "max_retries", "start_time",
        "completed_at", "input", "context", "options", "error",
    ),
    times=("created_at", "start_time", "completed_at"),
)  # fmt: skip
PARENT = (("p.status", "parent_status"), ("p.deleted_at", "parent_deleted_at"))
LEFT = "failed tasks, which --dead-letters moves"
UNFINISHED, FAILED = "t.status IN ('pending', 'running', 'waiting')", "t.status = 'failed'"


class TaskRow(Record):
    """A row of ``t_task``, with how its parent stands."""

    id: str
    type: str
    target_id: str
    target_type: str
    runner_type: Literal["manual", "system"]
    status: Literal["pending", "running", "waiting", "failed"]
    created_at: Moment
    script_name: str | None = None
    user_id: str | None = None
    parent_task_id: str | None = None
    priority: int | None = None
    timeout: int | None = None
    retry_count: int | None = None
    max_retries: int | None = None
    start_time: Moment | None = None
    completed_at: Moment | None = None
    input: Json[Any] | None = None
    context: Json[Any] | None = None
    options: Json[Any] | None = None
    error: Json[Any] | None = None
    parent_created_at: Moment | None = None
    parent_status: str | None = None
    parent_deleted_at: str | None = None

    @property
    def waits_for(self) -> Parent | None:
        """The parent without whose success it does not start."""
        if self.parent_task_id is None or self.parent_created_at is None or self.parent_status == "success":
            return None
        return Parent(self.parent_task_id, milliseconds(self.parent_created_at))

    @property
    def starts_never(self) -> bool:
        """Whether its parent has ended in another way, or is deleted."""
        if self.parent_task_id is None or self.parent_status == "success":
            return False
        return self.parent_status in (None, "failed", "canceled") or self.parent_deleted_at is not None


@dataclass(frozen=True, slots=True)
class FastifyTask:
    """The tasks of one installation, all of them or those of a type."""

    database: Database
    table_prefix: str
    type: str | None = None
    dead_letters: bool = False
    waiting_again: bool = False

    @property
    def name(self) -> str:
        """Of the system."""
        return NAME

    def pages(self) -> Iterator[Sequence[Entry]]:
        """The tasks, the oldest first; then those that failed, if they are asked for."""
        database, table = self.database, self.table_prefix + "task"
        present = database.expect(table, TASKS)
        columns, tables = database.selected("t", TASKS, present), f"{database.table(table)} t"
        if "parent_task_id" in present:
            columns += "".join(f", {database.text.format(column)} AS {name}" for column, name in PARENT)
            columns += f", {database.time.format('p.created_at')} AS parent_created_at"
            tables += f" LEFT JOIN {database.table(table)} p ON p.id = t.parent_task_id"
        select = database.select(columns, tables)
        made = partial(_task, waiting_again=self.waiting_again)
        for state in (UNFINISHED, FAILED) if self.dead_letters else (UNFINISHED,):
            for rows in database.pages(select, self._wanted(state), {"type": self.type}, "t.id"):
                yield [entry_of(str(row["id"]), TaskRow, row, made) for row in rows]

    def left(self) -> Mapping[str, int]:
        """The tasks that failed, where they are not asked for."""
        if self.dead_letters:
            return {}
        table = self.table_prefix + "task"
        self.database.expect(table, TASKS)
        count = self.database.count(table, "t", self._wanted(FAILED), {"type": self.type})
        return {LEFT: count}

    def _wanted(self, state: str) -> Sequence[str]:
        conditions = ["t.deleted_at IS NULL", state]
        return conditions if self.type is None else [*conditions, "t.type = :type"]


def _task(row: TaskRow, waiting_again: bool) -> Entry:
    failed = row.status == "failed"
    if row.status == "waiting" and not waiting_again:
        raise Conflict(
            "it waits for a callback that names its id in fastify-task",
            field="status",
            expected="pending or running",
            got="waiting",
            remedy="let it end there, or import with --waiting-again: then it begins anew",
        )
    if row.starts_never and not failed:
        return Skipped(row.id, "its parent failed, was canceled or is gone: it would never have started")
    attempts = task_orders.attempts(row.max_retries or 0)
    new_job = NewJob(
        kind=Kind.TASK,
        type=checks.name("type", row.type),
        input=row.input,
        options=options_of(NAME, row.id, row.created_at, row.options),
        context=task_orders.context(row.context or None),
        priority=priority_within(row.priority or 0),
        due_at_ms=None if row.start_time is None else milliseconds(row.start_time),
        max_attempts=attempts,
        attempts_made=min(max(row.retry_count or 0, 0), attempts - 1),
        timeout_ms=task_orders.timeout_ms(row.timeout),
        runner=row.runner_type,
        script=task_orders.script(row.script_name),
        target_id=checks.name("target_id", row.target_id),
        target_type=checks.name("target_type", row.target_type),
        created_by=checks.maybe_name("user_id", row.user_id),
    )
    return Unfinished(
        table="task",
        id=row.id,
        created_at_ms=milliseconds(row.created_at),
        new_job=new_job,
        parent=None if failed else row.waits_for,
        failure=failure_of(row.error) if failed else None,
        failed_at_ms=milliseconds(row.completed_at or row.created_at) if failed else None,
    )
