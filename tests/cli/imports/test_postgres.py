"""`taskyard import` from a real PostgreSQL, where one is installed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from chalicelib.core.states import Kind
from tests.support.imports import NOW_MS, RECORDED, by_origin, report_of, run_import
from tests.support.servers import postgres_server
from tests.support.yards import Bench


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as found:
        with psycopg.connect(found) as connection:
            connection.execute((RECORDED / "fastify.postgres.sql").read_bytes())
        yield found


def test_messages(bench: Bench, url: str) -> None:
    report = report_of("fastify-mq", url, "--dead-letters")
    assert (report["read"], report["moved"], [each["field"] for each in report["refused"]]) == (7, 6, ["payload"])
    found = by_origin(bench, Kind.MESSAGE)
    job, body = found["385868633672254464"]
    assert (job.trace_id, body["input"]) == ("trace-1", {"orderId": "1", "amount": 99.9, "note": "Grüße 你好"})
    assert body["options"]["importedFrom"]["createdAt"] == "2026-11-30T19:04:11.358Z"
    assert found["385868633802277888"][0].due_at_ms == NOW_MS + 86_400_000
    assert report_of("fastify-mq", url, "--dead-letters")["alreadyThere"] == 6


@pytest.mark.parametrize(("bound", "at"), [("PAGE", 3), ("PAGE_BYTES", 1)])
def test_tasks_by_pages(bench: Bench, url: str, monkeypatch: pytest.MonkeyPatch, bound: str, at: int) -> None:
    monkeypatch.setattr(f"chalicelib.cli.imports.databases.{bound}", at)
    report = report_of("fastify-task", url, "--type", "document.export")
    assert (report["read"], report["moved"], report["left"]) == (8, 6, {"failed tasks, which --dead-letters moves": 1})
    child = by_origin(bench, Kind.TASK)["385868634339148800"][0]
    assert child.parent_id == by_origin(bench, Kind.TASK)["385868634288817152"][0].id


@pytest.mark.usefixtures("bench")
def test_a_time_that_no_calendar_has_costs_its_row_alone(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE t_message SET execute_at = 'infinity' WHERE id = 385868633802277888")
    refused = report_of("fastify-mq", url, "--topic", "order.timeout")["refused"]
    assert [each["field"] for each in refused] == ["execute_at"]


@pytest.mark.usefixtures("bench")
def test_the_source_is_only_read(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    select = "chalicelib.cli.imports.databases.Database.select"
    monkeypatch.setattr(select, lambda *_: "WITH gone AS (DELETE FROM t_user RETURNING 1) SELECT 1 AS id")
    result = run_import("fastify-mq", url)
    assert (result.exit_code, "read-only transaction" in result.output) == (1, True)


@pytest.mark.usefixtures("bench")
def test_a_schema(url: str) -> None:
    assert report_of("fastify-mq", url, "--schema", "public", "--topic", "order.created")["moved"] == 4
    assert run_import("fastify-mq", url, "--schema", "nowhere").exit_code == 1
