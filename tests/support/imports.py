"""What fastify-mq, fastify-task and kue left, as `tests/cli/imports` recorded it, and `taskyard import` on it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from chalicelib import Context, task
from chalicelib.cli import keys
from chalicelib.cli.imports import moving
from chalicelib.cli.main import main
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import Outcome
from chalicelib.engine.yard import Yard
from chalicelib.services import installation
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery
from tests.support.yards import Bench, moto_bench

NOW_MS = 1_893_542_400_000  # 2030-01-02: a day before what was recorded is due, and after all the rest
RECORDED = Path(__file__).parents[1] / "cli" / "imports"


@task("document.export")
def export(_input: Any, _context: Context) -> str:
    return "exported"


@contextmanager
def import_bench() -> Iterator[Bench]:
    """A bench on moto, on which `taskyard import` acts."""
    with moto_bench([export]) as bench, installation.using(bench.yard), patch.object(keys, "choose_installation"):
        bench.clock.move(NOW_MS - bench.clock())
        yield bench


def run_import(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["import", *arguments])


def report_of(*arguments: str) -> dict[str, Any]:
    """What an import tells a program."""
    found: dict[str, Any] = json.loads(run_import(*arguments, "--json").stdout)
    return found


def another_first(monkeypatch: pytest.MonkeyPatch, another: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Let another import come between a look at what is there and the first write; its report is in the list then."""
    reports: list[dict[str, Any]] = []
    publish_many = moving.publish_many

    def late(yard: Yard, new_jobs: Sequence[NewJob]) -> list[Outcome]:
        monkeypatch.setattr(moving, "publish_many", publish_many)
        reports.append(another())
        return publish_many(yard, new_jobs)

    monkeypatch.setattr(moving, "publish_many", late)
    return reports


def sqlite_url(folder: Path) -> str:
    """The recorded tables in a file."""
    path = folder / "original.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((RECORDED / "fastify.sqlite.sql").read_text())
    return f"sqlite:///{path}"


def alter(url: str, table: str, id_: str, column: str, value: object) -> None:
    """Give a column of a recorded row another value."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (value, id_))  # noqa: S608  # names of ours
        connection.commit()


def load_kue(redis: Redis, prefix: str = "q") -> None:
    """Write the recorded keys, below another prefix perhaps."""
    for key, stored in json.loads((RECORDED / "kue.json").read_text()).items():
        name = prefix + key.removeprefix("q")
        match stored:
            case {"hash": fields}:
                redis.hset(name, mapping=fields)
            case {"zset": members}:
                redis.zadd(name, dict(members))
            case {"list": items}:
                redis.rpush(name, *items)
            case {"set": items}:
                redis.sadd(name, *items)
            case {"string": text}:
                redis.set(name, text)


def jobs_of(bench: Bench, kind: Kind) -> list[Job]:
    """Every job there is, the first one first."""
    page = bench.yard.lists.cursor_page(JobQuery(kind, None, INDEX_KEYS, descending=False), 100)
    return sorted((bench.job(job.id) for job in page.jobs), key=lambda job: job.id)


def by_origin(bench: Bench, kind: Kind) -> dict[str, tuple[Job, dict[str, Any]]]:
    """Every job with its body, by its id in the original; each there once."""
    found: dict[str, tuple[Job, dict[str, Any]]] = {}
    for job in jobs_of(bench, kind):
        body = bench.yard.payloads.body(job)
        origin = body["options"]["importedFrom"]["id"]
        assert origin not in found
        found[origin] = job, body
    return found


def work_all(bench: Bench, jobs: list[Job]) -> None:
    """Let the worker run ``jobs`` until all are done."""
    for _ in range(20):
        pending = [job for job in jobs if not bench.job(job.id).state.terminal]
        for job in pending:
            bench.work(bench.lane(job))
    assert pending == []
