"""`taskyard import fastify-mq`, on the tables that fastify-mq made."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from chalicelib.core.causes import Cause
from chalicelib.core.job import Job
from chalicelib.core.states import Kind, State
from chalicelib.engine.publish import bulk
from chalicelib.engine.publish.send import send_all
from chalicelib.engine.yard import Yard
from chalicelib.services import dead_letters, messages
from tests.support.imports import (
    NOW_MS,
    alter,
    another_first,
    by_origin,
    jobs_of,
    report_of,
    run_import,
    sqlite_url,
)
from tests.support.yards import Bench, Exited

PLAIN, URGENT, LATER, LOCKED, RETRYING, LIST = (
    "385868255241176064", "385868255257953280", "385868255266341888", "385868255278924800", "385868255299896320",
    "385868255425725440",
)  # fmt: skip
DEAD = "385868255375393792"


def test_what_is_unfinished_is_moved_with_all_it_has(bench: Bench, tmp_path: Path) -> None:
    report = report_of("fastify-mq", sqlite_url(tmp_path))
    assert {name: report[name] for name in ("read", "moved", "alreadyThere", "skipped")} == {
        "read": 6, "moved": 5, "alreadyThere": 0, "skipped": {}
    }  # fmt: skip
    assert report["left"] == {"dead letters, which --dead-letters moves": 1}
    found = by_origin(bench, Kind.MESSAGE)
    assert set(found) == {PLAIN, URGENT, LATER, LOCKED, RETRYING}
    job, body = found[PLAIN]
    assert (job.type, job.trace_id, job.max_attempts, job.attempts) == ("order.created", "trace-1", 3, 0)
    assert body["input"] == {"orderId": "1", "amount": 99.9, "note": "Grüße 你好"}
    origin = {"system": "fastify-mq", "id": PLAIN, "createdAt": "2026-11-30T19:02:41.135Z"}
    assert body["options"] == {"source": "shop", "importedFrom": origin}
    assert (found[URGENT][0].priority, found[URGENT][0].max_attempts) == (10, 5)
    assert found[LATER][0].due_at_ms == NOW_MS + 86_400_000
    assert found[LOCKED][0].state is State.PENDING
    assert (found[RETRYING][0].attempts, found[RETRYING][0].due_at_ms) == (2, NOW_MS)


def test_what_fails_after_it_was_moved_has_the_attempts_that_were_left(bench: Bench, tmp_path: Path) -> None:
    run_import("fastify-mq", sqlite_url(tmp_path))
    retrying = by_origin(bench, Kind.MESSAGE)[RETRYING][0]
    polled = {message.id: message for message in messages.poll("order.created")}
    assert polled[retrying.id].retry_count == 2
    messages.fail(polled[retrying.id], "again")
    assert bench.job(retrying.id).state is State.FAILED


def test_a_second_import_moves_nothing_and_refuses_the_same(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    first = report_of("fastify-mq", url, "--dead-letters")
    bench.clock.move(100 * 86_400_000)  # far beyond what an idempotency key of a client lasts
    again = report_of("fastify-mq", url, "--dead-letters")
    assert (first["moved"], again["moved"], again["alreadyThere"]) == (6, 0, 6)
    assert again["refused"] == first["refused"]
    assert len(jobs_of(bench, Kind.MESSAGE)) == 6


def test_what_cannot_be_moved_is_told_and_the_exit_code_says_so(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_message", PLAIN, "payload", '{"secret')
    alter(url, "t_message", URGENT, "max_retries", 1_000)
    alter(url, "t_message", LATER, "execute_at", "soon")
    listed = tmp_path / "refused.jsonl"
    result = run_import("fastify-mq", url, "--refused", str(listed))
    assert result.exit_code == 1
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "WHAT", "read", "moved", "already there", "refused", "left there: dead letters, which --dead-letters moves"
    ]  # fmt: skip
    assert f"{URGENT}: max_retries: this value is out of range; expected a whole number, 0 to 100; got 1000" in (
        result.stderr
    )
    lines = listed.read_text().splitlines()
    assert [line.split('"')[3] for line in lines] == [PLAIN, URGENT, LATER, LIST]
    assert "secret" not in result.output + listed.read_text()
    assert '"field": "execute_at"' in lines[2]
    assert len(jobs_of(bench, Kind.MESSAGE)) == 2


def test_a_dry_run_writes_nothing_and_tells_what_an_import_would(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    told = report_of("fastify-mq", url, "--dry-run", "--dead-letters")
    assert jobs_of(bench, Kind.MESSAGE) == []
    done = report_of("fastify-mq", url, "--dead-letters")
    assert {**told, "dryRun": False} == done


def test_one_topic_and_a_limit(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    assert report_of("fastify-mq", url, "--topic", "order.timeout")["moved"] == 1
    assert report_of("fastify-mq", url, "--limit", "2")["read"] == 2
    assert set(by_origin(bench, Kind.MESSAGE)) == {PLAIN, URGENT, LATER}


def test_dead_letters_are_moved_as_such_and_can_be_replayed(bench: Bench, tmp_path: Path) -> None:
    report_of("fastify-mq", sqlite_url(tmp_path), "--dead-letters")
    (letter,) = dead_letters.list().items
    assert (letter.topic, letter.error_message, letter.payload) == ("order.created", "no stock", {"orderId": "8"})
    job, body = by_origin(bench, Kind.MESSAGE)[DEAD]
    assert (job.cause, job.priority, job.attempts, job.completed_at_ms) == (
        Cause.ATTEMPTS_USED_UP, 3, 3, 1_796_065_361_168
    )  # fmt: skip
    assert body["options"]["importedFrom"]["id"] == DEAD
    assert dead_letters.replay(letter).payload == {"orderId": "8"}


@pytest.mark.usefixtures("bench")
def test_the_source_stays_as_it_was(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    before = Path(url.removeprefix("sqlite:///")).read_bytes()
    report_of("fastify-mq", url, "--dead-letters")
    assert Path(url.removeprefix("sqlite:///")).read_bytes() == before


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://ann:hush@db/mq", "expected sqlite:///FILE or postgres://USER@HOST/NAME; got mysql"),
        ("sqlite:////nowhere/at/all", "name the file of a database that this user may read"),
        ("postgres://ann:hush@127.0.0.1:1/mq", "look at DATABASE_URL and at what it names, and import again"),
    ],
)
def test_a_database_that_cannot_be_read(url: str, told: str) -> None:
    result = run_import("fastify-mq", url)
    assert result.exit_code in (1, 2)
    assert told in result.stderr
    assert "hush" not in result.output


@pytest.mark.usefixtures("bench")
def test_a_database_without_the_table(tmp_path: Path) -> None:
    result = run_import("fastify-mq", sqlite_url(tmp_path), "--table-prefix", "x_")
    assert (result.exit_code, "there is no table x_" in result.stderr, "--table-prefix" in result.stderr) == (
        1, True, True
    )  # fmt: skip


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(("bound", "at"), [("PAGE", 2), ("PAGE_BYTES", 1)])
def test_more_than_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, at: int) -> None:
    monkeypatch.setattr(f"chalicelib.cli.imports.databases.{bound}", at)
    assert report_of("fastify-mq", sqlite_url(tmp_path), "--dead-letters")["moved"] == 6


@pytest.mark.usefixtures("bench")
def test_text_that_is_no_utf_8_costs_its_row_alone(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("UPDATE t_message SET topic = CAST(x'ff' AS TEXT) WHERE id = ?", (PLAIN,))
        connection.commit()
    report = report_of("fastify-mq", url)
    assert [(each["id"], each["field"]) for each in report["refused"]] == [(PLAIN, "topic"), (LIST, "payload")]


def test_an_import_that_dies_goes_on_where_it_was(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_url(tmp_path)
    monkeypatch.setattr("chalicelib.cli.imports.databases.PAGE", 2)
    with monkeypatch.context() as dying:
        dying.setattr(bulk, "send_all", partial(_die_at_the_second, []))
        with pytest.raises(Exited):
            run_import("fastify-mq", url)
    assert len(jobs_of(bench, Kind.MESSAGE)) == 4  # two are sent, and two of the next page recorded
    report = report_of("fastify-mq", url)
    assert (report["moved"], report["alreadyThere"]) == (1, 4)
    assert len(by_origin(bench, Kind.MESSAGE)) == 5
    unsent = [outbox.job_ids for outbox in bench.yard.directory.open_outboxes(NOW_MS + 1)]
    assert len(unsent) == 1  # which the clock will send


def _die_at_the_second(calls: list[int], yard: Yard, jobs: Sequence[Job]) -> bool:
    calls.append(len(jobs))
    if len(calls) == 2:
        raise Exited
    return bool(send_all(yard, jobs))


def test_a_dead_letter_with_the_id_and_the_time_of_a_message_is_another_job(bench: Bench, tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        same = "id = m.id, created_at = m.created_at FROM t_message m WHERE m.id = ? AND d.original_id = ?"
        connection.execute(f"UPDATE t_dead_letter AS d SET {same}", (PLAIN, DEAD))  # noqa: S608  # names of ours
        connection.commit()
    told = report_of("fastify-mq", url, "--dry-run", "--dead-letters")
    done = report_of("fastify-mq", url, "--dead-letters")
    assert (done["moved"], {**told, "dryRun": False}) == (6, done)
    assert len(jobs_of(bench, Kind.MESSAGE)) == 6


def test_two_installations_whose_ids_and_times_are_the_same_are_told_apart_by_name(
    bench: Bench, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path)
    counts = [
        (report["moved"], report["alreadyThere"])
        for name in ("shop", "office", "shop")
        for report in [report_of("fastify-mq", url, "--source", name)]
    ]
    assert counts == [(5, 0), (5, 0), (0, 5)]
    assert len(jobs_of(bench, Kind.MESSAGE)) == 10


def test_what_another_import_moved_at_the_same_time_is_already_there(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_url(tmp_path)
    others = another_first(monkeypatch, lambda: report_of("fastify-mq", url, "--dead-letters"))
    report = report_of("fastify-mq", url, "--dead-letters")
    assert (others[0]["moved"], report["moved"], report["alreadyThere"]) == (6, 0, 6)
    assert len(jobs_of(bench, Kind.MESSAGE)) == 6


@pytest.mark.usefixtures("bench")
def test_what_is_no_json_is_told_as_such(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    alter(url, "t_message", PLAIN, "options", '{key: "hush"}')
    refused = {each["id"]: each for each in report_of("fastify-mq", url)["refused"]}
    assert (refused[PLAIN]["expected"], refused[PLAIN]["got"]) == ("JSON", "key must be a string at line 1 column 2")
