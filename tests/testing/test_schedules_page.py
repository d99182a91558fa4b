"""The Python of docs/schedules.md, run from top to bottom, does what the page says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chalicelib.services import schedules, tasks
from chalicelib.testing import Workbench

PAGE = Path(__file__).parents[2] / "docs" / "schedules.md"
SUNDAY = datetime(2026, 2, 1, 18, 30, tzinfo=UTC)  # 2:30 on Monday in Shanghai


def test_the_python_of_the_page() -> None:
    declared, by_request = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    page: dict[str, Any] = {"__name__": "shop.reports"}
    exec(compile(declared, str(PAGE), "exec"), page)  # noqa: S102  # the page is this project's own
    with Workbench(page["write_report"], at=SUNDAY) as bench:
        bench.advance(minutes=31)
        (run,) = schedules.history("shop.reports.write_report")
        assert (run.at, run.status) == (SUNDAY + timedelta(minutes=30), "success")
        assert run.job_id is not None
        made = tasks.detail(run.job_id)
        assert (made.output, made.slot_time, made.started_at) == ("written", run.at, run.at)
        exec(compile(by_request, str(PAGE), "exec"), page)  # noqa: S102
        assert page["first"] == datetime(2026, 2, 2, 7, tzinfo=UTC)
        assert page["second"] - page["first"] == timedelta(days=7)
        assert (page["last"].job_id, page["last"].by_request) == (page["task_id"], True)
        assert [ran.id for ran in bench.finish()] == [page["task_id"]]  # it does not wait for the slots to come
        assert bench.now == SUNDAY + timedelta(minutes=31)
        assert tasks.detail(page["task_id"]).input == {"days": 7}
        assert tasks.detail(page["task_id"]).output == "written"
