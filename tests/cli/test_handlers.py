"""`taskyard handlers`: what is declared, and where."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.cli.main import main

NAME = "handlers_to_list"
CODE = """from chalicelib.core.lanes import Band
from chalicelib.core.retry import Fixed
from chalicelib import Batch, Debounce, PerKey, Rate, backoff, on, on_success, schedule, subscribe, task


@schedule(every_s=90, name="often")
@schedule("0 3 * * *", tz="Asia/Shanghai")
@task("mail.send", pool="mail", lanes=(Band.LOW, Band.HIGH), timeout_s=1.5, max_attempts=5, concurrency=2, size=9)
def send(mail):
    return mail


@subscribe("mail.sent", backoff=Fixed(250), light=True)
def sent(mail):
    pass


@task("mail.count", batch=Batch(25, 5), key="input.box", per_key=PerKey(rate=Rate(9, 60)), debounce=Debounce(1, by=len))
def count(mails):
    pass


@on_success("mail.send")
def done(result):
    pass


@on("failed")
def failed(happening):
    pass


@backoff("patient")
def patient(retry):
    return retry
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("TASKYARD_STAGE", "local")
    monkeypatch.setenv("TASKYARD_INDEX_SHARDS", "1")
    monkeypatch.setenv("TASKYARD_HANDLERS", NAME)
    settings.current.cache_clear()
    yield tmp_path
    settings.current.cache_clear()
    sys.modules.pop(NAME, None)


def listed(*options: str) -> Result:
    return CliRunner().invoke(main, ["handlers", *options])


def test_lists_everything_with_its_place(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text(CODE)
    found = json.loads(listed("--json").stdout)
    assert [(row["kind"], row["name"], row["function"], row["where"]) for row in found] == [
        ("task", "mail.count", f"{NAME}.count", f"{NAME}.py:18"),
        ("task", "mail.send", f"{NAME}.send", f"{NAME}.py:6"),
        ("subscriber", "mail.sent", f"{NAME}.sent", f"{NAME}.py:13"),
        ("on_success", "mail.send", f"{NAME}.done", f"{NAME}.py:23"),
        ("on failed", None, f"{NAME}.failed", f"{NAME}.py:28"),
        ("backoff", "patient", f"{NAME}.patient", f"{NAME}.py:33"),
    ]
    assert [row.get("batch") for row in found] == [{"maxSize": 25, "maxWaitS": 5}, *[None] * 5]
    flow = {
        "key": "input.box",
        "per_key": {"rate": {"count": 9, "per_s": 60, "burst": 1}},
        "debounce": {"wait_s": 1, "by": "a function"},
    }
    assert [row.get("flow") for row in found] == [flow, *[None] * 5]
    found = found[1:]
    assert {key: found[0][key] for key in ("script", "queue", "lanes", "concurrency", "size")} == {
        "script": "index",
        "queue": "mail",
        "lanes": ["high", "low"],
        "concurrency": 2,
        "size": 9,
    }
    assert (found[0]["timeoutMs"], found[0]["maxAttempts"], found[0]["backoff"]) == (1_500, 5, None)
    assert (found[1]["timeoutMs"], found[1]["maxAttempts"]) == (3_600_000, None)
    assert [row.get("light") for row in found] == [False, True, None, None, None]
    assert found[0]["schedules"] == [
        {"name": f"{NAME}.send", "cron": "0 3 * * *", "timezone": "Asia/Shanghai", "everyS": None},
        {"name": "often", "cron": None, "timezone": "UTC", "everyS": 90.0},
    ]
    assert found[1]["schedules"] == []
    assert found[1]["backoff"] == {"type": "fixed", "delay_ms": 250}


def test_shows_people_a_table(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text(CODE)
    rows = [" ".join(line.split()) for line in listed().stdout.splitlines()]
    assert rows[1].endswith(
        "handlers_to_list.py:18 default high, normal, low 3600 s 25 in 5 s "
        "key: input.box; per key: rate count 9, per_s 60, burst 1; debounce: wait_s 1, by a function"
    )
    assert rows[2] == (
        "task mail.send index handlers_to_list.py:6 mail high, low 2 9 1.5 s 5 0 3 * * * Asia/Shanghai; every 90 s"
    )
    assert rows[5] == "on failed * handlers_to_list.py:28"


@pytest.mark.usefixtures("folder")
def test_the_definition_of_a_pool_is_shown_by_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKYARD_HANDLERS", "chalicelib.tasks")
    found = {row["name"]: row for row in json.loads(listed("--json").stdout) if row["kind"] == "task"}
    assert found["pools.csv_summary"]["where"].partition(":")[0].endswith("chalicelib/tasks/scripts/csv_summary.py")
    assert (found["pools.csv_summary"]["concurrency"], found["pools.csv_summary"]["size"]) == (2, 500)


def test_what_cannot_be_loaded_is_told_with_its_line(folder: Path) -> None:
    (folder / f"{NAME}.py").write_text("\nx = 1 +\n")
    result = listed()
    assert result.exit_code == 2
    assert f"{NAME}.py:2: SyntaxError: invalid syntax" in result.stderr
