"""`taskyard handlers`: everything that the handler packages declare, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import click

from chalicelib import settings
from chalicelib.cli.common import explained, json_option
from chalicelib.cli.output import present, show_rows
from chalicelib.core.batch import Batch
from chalicelib.core.flow import Flow, PerKey
from chalicelib.core.limits import Limit
from chalicelib.core.retry import Backoff
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.handlers.registry import Registry, registry_of
from chalicelib.engine.handlers.schedules import schedules_of
from chalicelib.engine.handlers.signatures import label_of, place_of
from chalicelib.settings import Settings
from infra.deploy import target
from infra.deploy.stages import choose_local_stage, choose_stage

COLUMNS = {
    "KIND": "kind",
    "NAME": "name",
    "SCRIPT": "script",
    "WHERE": "where",
    "QUEUE": "queue",
    "LANES": "lanes",
    "AT ONCE": "concurrency",
    "UNFINISHED": "size",
    "TIMEOUT": "timeout",
    "ATTEMPTS": "maxAttempts",
    "BACKOFF": "backoff",
    "LIGHT": "light",
    "BATCH": "batch",
    "FLOW": "flow",
    "SCHEDULES": "schedules",
}

Row = dict[str, Any]


@click.command()
@click.option("--stage", help="A stage of .chalice/config.json; by default what `taskyard up` runs here.")
@json_option
def handlers(stage: str | None, as_json: bool) -> None:
    """List what the packages of TASKYARD_HANDLERS declare: each with file, line, queue, limits and schedules.

    Nothing needs to run for it, and no AWS is asked. What stands here holds where a job says nothing else; what is
    empty is the default of its kind.
    """
    with explained():
        if stage is None:
            choose_local_stage()
        else:
            choose_stage(stage)
        target.work_from_here()
        chosen = settings.current()
        present(list(rows_of(registry_of(chosen), chosen)), as_json, lambda rows: show_rows(_for_people(rows), COLUMNS))


def rows_of(declared: Registry, chosen: Settings) -> Iterator[Row]:
    """What is declared, a row each: tasks, subscribers, completion handlers, hooks and backoffs, each by name."""
    for _, handler in sorted(declared.scripts.items()):
        yield _row("task", handler.name, handler.function, script=handler.script, **_runs(handler, chosen))
    for topic, subscribers in sorted(declared.subscribers.items()):
        yield from (_row("subscriber", topic, each.function, **_runs(each, chosen)) for each in subscribers)
    for name, function in sorted(declared.completions.items()):
        yield _row("on_success", name, function)
    for hook in sorted(declared.hooks, key=lambda each: (each.type or "", each.what)):
        yield _row(f"on {hook.what}", hook.type, hook.function)
    for name, function in sorted(declared.backoffs.items()):
        yield _row("backoff", name, function)


def _scheduled(handler: Handler) -> list[Row]:
    """When a handler is run by the clock."""
    return [
        {
            "name": each.name,
            "cron": each.cron,
            "timezone": each.zone,
            "everyS": None if each.every_ms is None else each.every_ms / 1_000,
        }
        for each in schedules_of(handler.function)
    ]


def _row(kind: str, name: str | None, function: Callable[..., Any], **more: Any) -> Row:
    return {"kind": kind, "name": name, "function": label_of(function), "where": place_of(function), **more}


def _runs(handler: Handler, chosen: Settings) -> Row:
    """How the jobs of a handler run where they say nothing themselves."""
    limit = handler.limit or Limit()
    return {
        "queue": handler.queue,
        "lanes": list(handler.bands),
        "concurrency": limit.concurrency,
        "size": limit.size,
        "timeoutMs": handler.timeout_ms or chosen.default_timeout_ms or None,
        "maxAttempts": handler.max_attempts,
        "backoff": None if handler.backoff is None else _rendered(handler.backoff),
        "light": handler.light,
        "batch": None if handler.batch is None else _of_batch(handler.batch),
        "flow": _of_flow(handler.flow) or None,
        "schedules": _scheduled(handler),
    }


def _of_batch(batch: Batch) -> Row:
    return {"maxSize": batch.max_size, "maxWaitS": batch.max_wait_s}


def _of_flow(flow: Flow) -> Row:
    """What is declared of how jobs may follow one another, in the words of the decorators; without what is not."""
    declared = {each.name: getattr(flow, each.name) for each in fields(flow)}
    return {name: _of_control(value) for name, value in declared.items() if value not in (None, PerKey())}


def _of_control(value: Any) -> Any:
    if callable(value):
        return "a function"
    return {name: _of_control(each) for name, each in _members(value)} if is_dataclass(value) else value


def _members(control: Any) -> Iterator[tuple[str, Any]]:
    return ((each.name, value) for each in fields(control) if (value := getattr(control, each.name)) is not None)


def _rendered(backoff: Backoff) -> Row:
    return {"type": type(backoff).__name__.lower(), **asdict(backoff)}


def _for_people(rows: Sequence[Row]) -> list[Row]:
    """The rows as a table has room for them."""
    return [
        {
            **row,
            "name": row["name"] or "*",
            "lanes": ", ".join(row.get("lanes", ())) or None,
            "timeout": f"{row['timeoutMs'] / 1_000:g} s" if row.get("timeoutMs") else None,
            "backoff": ", ".join(str(value) for value in (row.get("backoff") or {}).values()) or None,
            "light": "yes" if row.get("light") else None,
            "batch": "{maxSize} in {maxWaitS} s".format(**row["batch"]) if row.get("batch") else None,
            "flow": "; ".join(_in_words(name, value) for name, value in (row.get("flow") or {}).items()) or None,
            "schedules": "; ".join(_when(each) for each in row.get("schedules", ())) or None,
        }
        for row in rows
    ]


def _in_words(name: str, value: Any) -> str:
    """A control as a table has room for it: ``rate: count 10, per_s 60, burst 1``."""
    members = ((key, _in_words("", each)) for key, each in value.items()) if isinstance(value, dict) else ()
    told = ", ".join(f"{key} {each}" for key, each in members) if isinstance(value, dict) else str(value)
    return f"{name.replace('_', ' ')}: {told}" if name else told


def _when(schedule: Row) -> str:
    return f"{schedule['cron']} {schedule['timezone']}" if schedule["cron"] else f"every {schedule['everyS']:g} s"
