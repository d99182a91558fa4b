"""`taskyard top`: one frame in 80 columns, nothing that steers the terminal, and following until somebody ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chalicelib.cli import top as command
from chalicelib.cli.http_client import Service
from chalicelib.cli.main import main
from chalicelib.cli.top_frame import sparks
from tests.support.stub_service import StubService, stub_service

QUEUE = {
    "kind": "task",
    "type": "image.resize of a very long name",
    "pending": 12,
    "running": 3,
    "failedInWindow": 5,
    "succeededInWindow": 95,
    "perSecond": 0.0263,
    "oldestReadyMs": 125_000,
    "p95RunMs": 1_234.5,
    "paused": None,
}
SEEN: dict[str, Any] = {
    "now": "2030-01-01T12:00:01.000Z",
    "window": "1h",
    "stepMs": 60_000,
    "totals": {"pending": 12, "running": 3, "waiting": 0, "success": 900, "failed": 7, "canceled": 0},
    "inWindow": {
        "accepted": 100, "succeeded": 95, "failed": 5, "retried": 2, "successRatio": 0.95, "waitMs": None, "runMs": None
    },
    "series": {
        "at": [0] * 4, "accepted": [1] * 4, "succeeded": [0, 1, 2, 8], "failed": [0, 0, 0, 5], "retried": [0] * 4,
        "pending": [None] * 4,
    },
    "queues": [
        QUEUE,
        {
            **QUEUE, "type": "mail\x1b[31m", "pending": 0, "paused": {"since": "x"}, "p95RunMs": None,
            "oldestReadyMs": 900,
        },
    ],
    "queuesLeftOut": 3,
    "oldest": {"id": "1", "kind": "task", "type": "resize", "readyForMs": 125_000},
    "deadLetters": {"total": 7, "new": 5},
    "health": {
        "clock": {"lastTickAt": None, "lateMs": None, "status": "unknown"},
        "projector": {"lagMs": 900, "status": "ok"},
        "leases": {"expired": 1},
        "audit": {"at": None, "status": "missing", "missing": 1},
    },
    "changed": {"since": "2030-01-01T11:00:00.000Z", "newFailureGroups": 2, "failureRatioBefore": None,
                "failureRatioAfter": None},
    "newestFailures": [
        {"id": "12345", "kind": "task", "type": "image.resize", "error": "[red]no\x07[/red] paper", "cause": "rejected",
         "at": "2030-01-01T11:59:00.000Z"}
    ],
}  # fmt: skip


@pytest.fixture
def service() -> Iterator[StubService]:
    with stub_service() as stub:
        stub.answers["GET /api/overview"] = (200, SEEN)
        yield stub


def run(service: StubService, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["top", "--url", service.url, *arguments])


def test_one_frame_fits_into_80_columns_and_steers_no_terminal(service: StubService) -> None:
    shown = run(service, "--once", "--window", "24h")
    assert (shown.exit_code, service.asked[0].query) == (0, {"window": ["24h"]})
    assert [line.rstrip() for line in shown.stdout.splitlines()] == [
        f"taskyard {service.url}  12:00:01 UTC, last 1h, deployed 11:00:00",
        "pending  running  waiting  accepted  succeeded  failed  retried  success  dead",
        "12       3        0        100       95         5       2        95.0 %   7",
        "succeeded   ▁▂█  most 8",
        "failed        █  most 5",
        "pending          most 0",
        "TYPE                    PENDING  RUNNING  A SECOND  FAILED  P95 RUN  OLDEST",
        "image.resize of a ver…       12        3      0.03       5    1.2 s   2 min",
        "‖ mail\\x1b[31m                0        3      0.03       5        -  900 ms",
        "and 3 more",
        "clock unknown  projector ok  audit missing  lost leases 1  oldest resize 2 min",
        "2 new kinds of failures since the deployment",
        "FAILED AT  ID     TYPE          ERROR",
        "11:59:00   12345  image.resize  [red]no\\x07[/red] paper",
    ]
    assert all(len(line) <= 80 for line in shown.stdout.splitlines())


def test_nothing_has_happened_yet(service: StubService) -> None:
    service.answers["GET /api/overview"] = (200, {**SEEN, "queues": [], "queuesLeftOut": 0, "newestFailures": []})
    lines = [line.rstrip() for line in run(service).stdout.splitlines()]
    assert lines[7] == "no job yet"
    assert lines[-1] == "none"


def test_programs_get_it_as_json(service: StubService) -> None:
    assert json.loads(run(service, "--json").stdout) == SEEN


def test_a_key_without_the_scope_is_told(service: StubService) -> None:
    service.answers["GET /api/overview"] = (403, {"message": "this access key lacks the scope console"})
    refused = run(service, "--once")
    assert (refused.exit_code, refused.stderr) == (1, "this access key lacks the scope console\n")


def test_without_rich_it_says_how_to_get_it_and_still_serves_programs(
    service: StubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    refused = run(service, "--once")
    assert (refused.exit_code, service.asked) == (1, [])
    assert "'.[local,top]'" in refused.stderr
    assert run(service, "--json").exit_code == 0


def test_it_follows_until_q_and_asks_less_often_while_nobody_answers(service: StubService) -> None:
    failing = (503, {"message": "AWS does not serve this now"})
    service.answers["GET /api/overview"] = [failing, failing, (200, SEEN)]
    waited: list[float] = []

    def pressed(wait_s: float) -> str:
        waited.append(wait_s)
        return "q" if len(waited) == 4 else ""

    command._follow(Service(service.url), "1h", 2.0, SEEN, pressed)
    assert waited == [2.0, 4.0, 8.0, 2.0]
    assert len(service.asked) == 3


def test_a_row_of_bars_has_the_largest_of_what_shares_one() -> None:
    assert sparks([0, 4, 8]) == " ▄█"
    assert sparks([]) == ""
    assert sparks([0] * 119 + [1]) == " " * 39 + "█"
