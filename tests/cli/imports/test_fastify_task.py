"""`taskyard import fastify-task`, on the table that fastify-task made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from chalicelib import Context, task
from chalicelib.core.causes import Cause
from chalicelib.core.flow import Debounce, Unique
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.registry import Registry
from tests.support.imports import (
    NOW_MS,
    alter,
    another_first,
    by_origin,
    jobs_of,
    report_of,
    run_import,
    sqlite_url,
    work_all,
)
from tests.support.yards import Bench

PARENT, CHILD, LATER, RUNNING, WAITING, MANUAL, FAILED, ORPHAN, HEIR, UNKNOWN, URGENT = (
    "385868255467668480", "385868255476057088", "385868255484445696", "385868255492834304", "385868255505417216",
    "385868255551554560", "385868255572526080", "385868255593497600", "385868255639634944", "385868255689966592",
    "385868255706743808",
)  # fmt: skip
NEVER = "its parent failed, was canceled or is gone: it would never have started"


def test_what_is_unfinished_is_moved_with_all_it_has(bench: Bench, tmp_path: Path) -> None:
    report = report_of("fastify-task", sqlite_url(tmp_path))
    assert (report["read"], report["moved"], report["skipped"]) == (10, 7, {NEVER: 1})
    assert report["left"] == {"failed tasks, which --dead-letters moves": 1}
    assert [(each["id"], each["field"]) for each in report["refused"]] == [(WAITING, "status"), (UNKNOWN, "type")]
    found = by_origin(bench, Kind.TASK)
    assert set(found) == {PARENT, CHILD, LATER, RUNNING, MANUAL, HEIR, URGENT}
    job, body = found[PARENT]
    assert (job.type, job.target_id, job.target_type, job.created_by) == (
        "document.export", "100", "document", "385868255455085568"
    )  # fmt: skip
    assert (job.priority, job.max_attempts, job.timeout_ms, job.script) == (7, 5, 60_000, "index")
    assert body["input"] == {"name": "report"}
    assert body["options"]["notify"] is True
    assert found[LATER][0].due_at_ms == NOW_MS + 86_400_000
    assert (found[RUNNING][0].state, found[RUNNING][0].attempts, found[RUNNING][0].max_attempts) == (
        State.PENDING, 1, 4
    )  # fmt: skip
    assert (found[MANUAL][0].runner, found[MANUAL][0].state) == ("manual", State.PENDING)
    assert found[URGENT][0].priority == 1_000
    assert (found[CHILD][0].parent_id, found[CHILD][0].blocked) == (job.id, True)
    assert (found[HEIR][0].parent_id, found[HEIR][0].blocked) == (None, False)


def test_a_child_runs_once_its_parent_has(bench: Bench, tmp_path: Path) -> None:
    report_of("fastify-task", sqlite_url(tmp_path))
    found = by_origin(bench, Kind.TASK)
    work_all(bench, [found[PARENT][0], found[URGENT][0]])
    assert bench.job(found[PARENT][0].id).state is State.SUCCESS
    assert bench.job(found[CHILD][0].id).blocked is False
    work_all(bench, [found[CHILD][0]])
    assert bench.job(found[CHILD][0].id).state is State.SUCCESS


def test_a_child_whose_parent_was_refused_is_refused_until_that_is_mended(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_task", PARENT, "timeout", -1)
    first = {each["id"]: each["field"] for each in report_of("fastify-task", url)["refused"]}
    assert (first[PARENT], first[CHILD]) == ("timeout_ms", "parent_task_id")
    alter(url, "t_task", PARENT, "timeout", 0)
    again = report_of("fastify-task", url)
    assert (again["moved"], again["alreadyThere"]) == (2, 5)
    assert len(jobs_of(bench, Kind.TASK)) == 7


def test_what_waits_for_a_callback_begins_anew_if_asked(bench: Bench, tmp_path: Path) -> None:
    report_of("fastify-task", sqlite_url(tmp_path), "--waiting-again")
    job, body = by_origin(bench, Kind.TASK)[WAITING]
    assert (job.state, body["context"]) == (State.PENDING, {"secret": "not-a-real-secret"})


def test_no_secret_of_a_context_is_told(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_task", PARENT, "context", '{"secret": "hush-hush", ')
    result = run_import("fastify-task", url)
    assert f"{PARENT}: context: this cannot be read" in result.stderr
    assert "hush" not in result.output
    assert len(jobs_of(bench, Kind.TASK)) == 5  # without its child, too


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (
            "context",
            '{"a": ',
            "context: this cannot be read; expected JSON, got EOF while parsing a value at line 1 column 6",
        ),
        ("timeout", 1.5, "timeout: this cannot be read; expected a whole number, got 1.5"),
        ("timeout", "soon", "timeout: this cannot be read; expected a whole number, got soon"),
    ],
)
def test_what_is_wrong_with_a_column_is_told_in_the_words_of_every_other_error(
    bench: Bench, tmp_path: Path, column: str, value: object, told: str
) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_task", PARENT, column, value)
    assert f"{PARENT}: {told}" in run_import("fastify-task", url).stderr.replace("; got", ", got")
    assert len(jobs_of(bench, Kind.TASK)) == 5  # without its child, too


def test_one_type(bench: Bench, tmp_path: Path) -> None:
    assert report_of("fastify-task", sqlite_url(tmp_path), "--type", "contract.sign")["read"] == 1
    assert set(by_origin(bench, Kind.TASK)) == {MANUAL}


def test_tasks_that_failed_are_moved_as_such(bench: Bench, tmp_path: Path) -> None:
    report_of("fastify-task", sqlite_url(tmp_path), "--dead-letters")
    job, _ = by_origin(bench, Kind.TASK)[FAILED]
    assert (job.state, job.cause, job.attempts, job.max_attempts) == (State.FAILED, Cause.ATTEMPTS_USED_UP, 2, 2)
    assert job.error is not None
    assert job.error.message == "Error: no disk"


def test_a_dry_run_writes_nothing_and_tells_the_same(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    told = report_of("fastify-task", url, "--dry-run")
    assert jobs_of(bench, Kind.TASK) == []
    assert told["refused"] == report_of("fastify-task", url)["refused"]
    assert told["moved"] == 7


def test_what_another_import_moved_at_the_same_time_is_already_there(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_url(tmp_path)
    others = another_first(monkeypatch, lambda: report_of("fastify-task", url, "--dead-letters"))
    report = report_of("fastify-task", url, "--dead-letters")
    assert (others[0]["moved"], report["moved"], report["alreadyThere"]) == (8, 0, 8)
    assert len(jobs_of(bench, Kind.TASK)) == 8


@pytest.mark.parametrize(
    "flow",
    [{"unique": Unique(by="input.name")}, {"debounce": Debounce(60, by="input.name")}],
    ids=["unique", "debounce"],
)
def test_what_was_collapsed_into_another_is_not_counted_as_moved(
    bench: Bench, tmp_path: Path, flow: dict[str, Any]
) -> None:
    url = sqlite_url(tmp_path)
    for id_ in (PARENT, LATER, RUNNING, URGENT):
        alter(url, "t_task", id_, "input", '{"name": "report"}')

    @task("document.export", **flow)
    def collapsing(_input: Any, _context: Context) -> None: ...

    yard = replace(bench.yard, handlers=Registry.of([collapsing]))
    with patch("chalicelib.services.installation.yard", return_value=yard):
        told = report_of("fastify-task", url, "--dry-run", "--type", "document.export")
        done = report_of("fastify-task", url, "--type", "document.export")
        again = report_of("fastify-task", url, "--type", "document.export")
        named = report_of("fastify-task", url, "--type", "document.export", "--source", "other", "--dry-run")
    assert {**told, "dryRun": False} == done
    assert done["collapsed"] == (3 if "unique" in flow else 2)  # what has begun is not superseded
    alive = [job for job in jobs_of(bench, Kind.TASK) if job.state is State.PENDING]
    assert len(alive) == done["moved"]
    assert (again["moved"], again["collapsed"]) == (0, 0)
    assert named["collapsed"] == (5 if "unique" in flow else 2)


@pytest.mark.usefixtures("bench")
def test_a_database_without_the_table(tmp_path: Path) -> None:
    result = run_import("fastify-task", sqlite_url(tmp_path), "--table-prefix", "t_task_")
    assert (result.exit_code, "there is no table t_task_task" in result.stderr) == (1, True)
    assert "--table-prefix" in result.stderr
