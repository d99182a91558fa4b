"""Yao's pools under `taskyard up` with four workers: the limits as the processes see them, events, a worker's death."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from chalicelib.core.limits import NOTHING, Concurrency
from chalicelib.settings import Settings
from chalicelib.store.concurrency import ConcurrencyCounts
from chalicelib.store.table import Table
from tests.support.pool_handlers.scripts.witness import NOTES
from tests.support.up import Service, running
from tests.support.waiting import becomes, until

JOBS = 200
WORKERS = "4"


@pytest.fixture(scope="module")
def job_details(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which processes note what happens."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, job_details: Path) -> Iterator[Service]:
    variables = {
        "TASKYARD_HANDLERS": "chalicelib.tasks,tests.support.pool_handlers",
        "TASKYARD_LEASE_S": "3",
        "TASKYARD_CLOCK_INTERVAL_S": "1",
        NOTES: str(job_details),
    }
    with running(tmp_path_factory.mktemp("up"), "--workers", WORKERS, **variables) as found:
        yield found


def concurrency_share(service: Service, pool: str) -> Concurrency:
    """What the ledger counts of a pool."""
    client = botocore.session.get_session().create_client(
        "dynamodb",
        region_name="us-east-1",
        endpoint_url=service.endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - an emulator takes any
    )
    return ConcurrencyCounts(Table(client, Settings().directory_table, ("kind", "name"))).of(f"pools.{pool}")


def add(service: Service, pool: str, *args: Any) -> int:
    job_id: int = service.post(f"/pools/{pool}/add", {"args": list(args)})["id"]
    return job_id


def test_one_worker_is_never_two_under_four_workers_and_200_jobs(service: Service, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(lambda _: add(service, "lone", str(tmp_path)), range(JOBS)))
    assert len(set(ids)) == JOBS
    until(lambda: len(list(tmp_path.glob("ran-*"))) == JOBS)
    becomes(NOTHING, lambda: concurrency_share(service, "lone"))
    runs = {file.name: file.read_text().split() for file in tmp_path.glob("ran-*")}
    assert sorted(runs) == sorted(f"ran-{job_id}" for job_id in ids)
    assert {len(pids) for pids in runs.values()} == {1}
    assert list(tmp_path.glob("met-another-*")) == []
    assert len({pids[0] for pids in runs.values()}) > 1, "one worker did it all, which proves nothing"
    found = service.get(f"/pools/lone/jobs/{ids[0]}")
    assert found == {
        "id": ids[0],
        "status": "SUCCESS",
        "current": 0,
        "total": 0,
        "message": "",
        "response": int(runs[f"ran-{ids[0]}"][0]),
    }


def test_size_events_and_the_death_of_a_worker_with_a_slot(service: Service, job_details: Path) -> None:
    assert [add(service, "five", word) for word in ("a", "b", "bad", "d", "e", "f")] == [
        1001,
        1002,
        1003,
        1004,
        1005,
        0,
    ]
    until(lambda: len(list(job_details.glob("runs-*"))) == 2)
    assert concurrency_share(service, "five") == Concurrency(running=2, unfinished=5)
    states = [service.get(f"/pools/five/jobs/{number}")["status"] for number in range(1001, 1006)]
    assert sorted(states) == ["RUNNING", "RUNNING", "WAITING", "WAITING", "WAITING"]

    held = next(iter(job_details.glob("runs-*")))
    pid = held.read_text()
    os.kill(int(pid), signal.SIGKILL)
    until(lambda: held.read_text() not in ("", pid))
    assert concurrency_share(service, "five") == Concurrency(running=2, unfinished=5)

    waiting = next(number for number, state in enumerate(states, start=1001) if state == "WAITING")
    progress = {"id": waiting, "current": 1, "total": 2, "message": "too early"}
    assert service.call("POST", "/pools/five/progress", progress)[0] == 409
    assert service.call("GET", "/pools/five/jobs/1006")[0] == 404
    assert service.call("POST", "/pools/six/add", {"args": []})[0] == 404

    (job_details / "go").touch()
    becomes(NOTHING, lambda: concurrency_share(service, "five"))
    found = {number: service.get(f"/pools/five/jobs/{number}") for number in range(1001, 1006)}
    assert [job["status"] for job in found.values()] == ["SUCCESS", "SUCCESS", "FAILURE", "SUCCESS", "SUCCESS"]
    assert found[1001]["response"] == {"word": "a"}
    assert found[1003] == {
        "id": 1003,
        "status": "FAILURE",
        "current": 1,
        "total": 2,
        "message": "half of bad",
        "response": "a bad word",
    }
    until(lambda: reported(job_details, 1003)[-1:] == [["error", 1003, "a bad word"]])
    assert reported(job_details, 1003) == [
        ["add", 1003],
        ["progress", 1003, 1, 2, "half of bad"],
        ["error", 1003, "a bad word"],
    ]
    until(lambda: reported(job_details, 1001)[-1:] == [["success", 1001, {"word": "a"}]])
    assert add(service, "five", "g") == 1007  # the number before it went to the job that found no room


def reported(job_details: Path, number: int) -> list[Any]:
    """What the events' processes were told of a job, each once, in order."""
    lines = (job_details / "told").read_text().splitlines() if (job_details / "told").exists() else []
    found = [json.loads(line) for line in dict.fromkeys(lines)]
    return [entry for entry in found if entry[1] == number]


def test_the_example_summarises_a_csv_text(service: Service) -> None:
    job_id = add(service, "csv_summary", "city,people\nBerlin,3700000\nBonn,\n")
    becomes("SUCCESS", lambda: service.get(f"/pools/csv_summary/jobs/{job_id}")["status"])
    found = service.get(f"/pools/csv_summary/jobs/{job_id}")
    assert found["response"] == {
        "rows": 2,
        "columns": {
            "city": {"filled": 2, "numbers": 0},
            "people": {"filled": 1, "numbers": 1, "min": 3_700_000, "max": 3_700_000},
        },
    }
    assert (found["current"], found["total"], found["message"]) == (2, 2, "2 rows read")
