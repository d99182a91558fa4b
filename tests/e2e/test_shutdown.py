"""SIGTERM during work: what can end ends, what cannot is interrupted, and no job waits for a lease."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.processes import is_running
from tests.support.up import running
from tests.support.waiting import until

HANDLERS = "chalicelib.tasks,tests.support.handlers"
IMPATIENT = ("--shutdown-timeout", "1")
STOP_WITHIN_S = 20
AGAIN_WITHIN_S = 15  # far less than the lease of 60 s


def test_what_runs_ends_or_runs_again_and_what_waits_is_handed_back(tmp_path: Path) -> None:
    data, job_details = tmp_path / "data", tmp_path / "notes"

    def files(name: str) -> dict[str, str]:
        return {"started": str(tmp_path / f"{name}.on"), "until": str(tmp_path / f"{name}.go")}

    with running(tmp_path, "--data-dir", str(data), *IMPATIENT, TASKYARD_HANDLERS=HANDLERS) as service:
        quick, first = (service.create("wait.for.file", files(name)) for name in ("quick", "first"))
        until(lambda: (tmp_path / "quick.on").exists() and (tmp_path / "first.on").exists())
        slow = service.create("wait.for.file", files("slow"), priority=1)  # the first of a batch of ten
        rest = [service.create("note.down", {"file": str(job_details), "word": str(n)}) for n in range(9)]
        (tmp_path / "first.go").touch()
        until((tmp_path / "slow.on").exists)
        pids = [service.process.pid, *service.children()]
        service.process.send_signal(signal.SIGTERM)
        until(lambda: "running handlers have 1 s to end" in service.log.read_text())
        (tmp_path / "quick.go").touch()
        assert service.process.wait(STOP_WITHIN_S) == 0
        assert "did not end in time and is interrupted; its job runs again" in service.log.read_text()
        assert not job_details.exists()
    until(lambda: not any(is_running(pid) for pid in pids))

    with running(tmp_path, "--data-dir", str(data), *IMPATIENT, TASKYARD_HANDLERS=HANDLERS) as service:
        until(lambda: (tmp_path / "slow.on").read_text().endswith(" 2"), AGAIN_WITHIN_S)
        again = service.task(slow)
        assert (again["status"], again["error"]["message"], again["retryCount"]) == ("running", "shutdown", 0)
        worker = int((tmp_path / "slow.on").read_text().split()[0])
        os.kill(worker, signal.SIGTERM)  # a worker alone is asked to end: it ends after its job, and is replaced
        (tmp_path / "slow.go").touch()
        until(lambda: worker not in service.workers() and len(service.workers()) == 2)
        until(lambda: all(service.task(task)["status"] == "success" for task in [slow, *rest]), AGAIN_WITHIN_S)
        assert service.task(slow)["output"] == {"attempt": 2}
        assert (service.task(quick)["status"], service.task(quick)["output"]) == ("success", {"attempt": 1})
        assert service.task(first)["status"] == "success"
        assert sorted(job_details.read_text().split()) == [str(n) for n in range(9)]
