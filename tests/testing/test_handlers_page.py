"""The Python of docs/handlers.md, run from top to bottom, does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from chalicelib.testing import Workbench

PAGE = Path(__file__).parents[2] / "docs" / "handlers.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page declares."""
    declared: dict[str, Any] = {"__name__": "handlers_page"}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(block, str(PAGE), "exec"), declared)  # noqa: S102  # the page is this project's own
    return declared


def test_the_handlers_of_the_page(page: dict[str, Any]) -> None:
    names = ("render", "fetch", "collect", "rendered", "gave_up")
    with Workbench(*(page[name] for name in names)) as bench:
        report = bench.create("report.render", {"id": 7}, user_id="ann")
        export = bench.create("export.fetch", {"year": 2026})
        payment = bench.create("payment.collect", {})
        bench.run()
        assert bench.task(report).output == {"key": "reports/7.pdf", "attempt": 1}
        assert [entry.message for entry in bench.task(report).log] == [f"page {n} rendered" for n in (3, 2, 1)]
        assert page["DONE"] == [("reports/7.pdf", "ann")]
        assert bench.task(payment).status == "waiting"
        assert (bench.task(export).status, page["EXPORTS"]) == ("pending", {"export-2026": 1})
        bench.advance(seconds=25)
        done = bench.task(export)
        assert (done.status, done.output) == ("success", {"url": "https://x/export-2026"})
        assert (done.poll_count, page["EXPORTS"]) == (3, {"export-2026": 3})
        assert page["FAILED"] == []


def test_the_subscribers_of_the_page(page: dict[str, Any]) -> None:
    with Workbench(page["keep_receipt"], page["notify_warehouse"]) as bench:
        message = bench.publish("order.paid", {"id": "7"})
        bench.run()
        assert bench.message(message).status == "PENDING"
        bench.advance(seconds=1)
        assert bench.message(message).status == "COMPLETED"
        assert page["RECEIPTS"] == ["7"]  # the retry ran the other subscriber alone


def test_the_batch_of_the_page(page: dict[str, Any]) -> None:
    with Workbench(page["send_mails"]) as bench:
        mails = [bench.create("mail.batch", {"to": to}) for to in ("ada@example.org", "nobody@example.org")]
        assert [(attempt.number, attempt.status) for attempt in bench.run()] == [(1, "success"), (1, "failed")]
        assert bench.task(mails[0]).output == {"sent": "ada@example.org", "attempt": 1}
        assert bench.call(page["send_mails"], {"to": "bob"}).output == {"sent": "bob", "attempt": 1}


def test_as_many_as_a_batch_takes_are_one_call(page: dict[str, Any]) -> None:
    calls: list[int] = []

    @page["task"]("many", batch=page["Batch"](25))
    def many(inputs: list[int]) -> None:
        calls.append(len(inputs))

    with Workbench(many) as bench:
        for number in range(30):
            bench.create("many", number)
        bench.run()
    assert calls == [25, 5]
