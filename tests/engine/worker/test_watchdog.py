"""What a process that its watchdog has ended leaves, and how the next worker charges it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.job import Job, JobError
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.lifecycle import cancel
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.worker import watchdog
from chalicelib.engine.worker.claim import claim
from chalicelib.store.transitions.running import Lease
from tests.support.steps import LEASE_MS, a_task, using, work
from tests.support.worlds import World
from tests.support.yards import events_of

LEASE = "0123456789abcdef"
DUMP = """Timeout (0:00:54)!
Thread 0x00007f1 (most recent call first):
  File "/usr/lib/python3.12/threading.py", line 355 in wait
  File "/srv/app/chalicelib/engine/worker/heartbeat.py", line 101 in _beat

Thread 0x00007f2 (most recent call first):
  File "/srv/app/shop/sums.py", line 12 in add_up
  File "/srv/app/shop/tasks.py", line 7 in total
  File "/srv/app/chalicelib/engine/worker/run.py", line 152 in call
  File "/srv/app/chalicelib/engine/worker/run.py", line 165 in _contained
"""
TEXT = (
    "the handler held the interpreter for nearly its lease of 60 s, so its process was ended; "
    "let it release the interpreter, split the work, or raise TASKYARD_LEASE_S"
)


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where processes leave word, all of this test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    watchdog.folder().mkdir()
    return watchdog.folder()


def an_ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def leave(folder: Path, pid: int, job_id: int, dump: str = DUMP) -> Path:
    header = f"{json.dumps([[job_id, LEASE]])}\n".ljust(watchdog.HEADER_BYTES)
    path = folder / str(pid)
    path.write_text(header + dump)
    return path


def a_running_task(w: World, **more: Any) -> Job:
    @task("t", backoff=Fixed(0))
    def handler(_: Any) -> str:
        return "done"

    using(w, handler)
    claimed = claim(w.yard, a_task(w, **more), Lease(LEASE, w.clock.ms + LEASE_MS, "gone"))
    assert isinstance(claimed, Job)
    return claimed


def charge(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch, of a process that is watched."""
    with monkeypatch.context() as patched:
        patched.setattr(watchdog, "_watchdog", watchdog.Watchdog())
        work(w)


def test_a_run_whose_process_was_ended_is_charged_with_its_reason_and_place(
    w: World, left: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = a_running_task(w, max_attempts=1)
    path = leave(left, an_ended_process(), job.id)
    charge(w, monkeypatch)
    dead = w.job(job.id)
    assert (dead.state, dead.failures) == (State.FAILED, 1)
    assert dead.error == JobError("InterpreterHeld", TEXT, "sums.py:12 add_up")
    assert not path.exists()
    (line,) = [vars(record) for record in caplog.records if "held the interpreter" in record.message]
    assert (line["job_id"], line["where"], line["dump"]) == (job.id, "sums.py:12 add_up", DUMP.strip())


def test_it_runs_again_if_it_has_attempts_left(w: World, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = a_running_task(w)
    leave(left, an_ended_process(), job.id)
    charge(w, monkeypatch)
    w.go_on()
    assert events_of(w.job(job.id)) == ["published", "started", "failed", "started", "succeeded"]


@pytest.mark.parametrize("since", ["canceled", "taken over"])
def test_what_moved_on_since_stays_as_it_is(w: World, left: Path, monkeypatch: pytest.MonkeyPatch, since: str) -> None:
    job = a_running_task(w)
    leave(left, an_ended_process(), job.id)
    if since == "canceled":
        cancel(w.yard, job.id, Kind.TASK)
    else:
        w.clock.move(LEASE_MS + 1)
        assert isinstance(claim(w.yard, w.job(job.id), Lease("f" * 16, w.clock.ms + LEASE_MS, "other")), Job)
    seen = w.job(job.id)
    charge(w, monkeypatch)
    assert (w.job(job.id).state, w.job(job.id).error) == (seen.state, None)


def test_a_successor_with_the_same_number_finds_the_word(left: Path) -> None:
    leave(left, os.getpid(), 7)
    watchdog.Watchdog()
    assert [(word.job_id, word.lease) for word in watchdog.last_words()] == [(7, LEASE)]
    assert [path.name for path in left.iterdir()] == [str(os.getpid())]


def test_a_word_is_for_workers_of_the_same_installation(left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(left, an_ended_process(), 7)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        watchdog.Watchdog()
        assert list(watchdog.last_words()) == []
    assert [word.job_id for word in watchdog.last_words()] == [7]


def test_what_runs_or_ended_otherwise_leaves_no_word(left: Path) -> None:
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        kept, gone = leave(left, running.pid, 7), leave(left, an_ended_process(), 8, dump="")
        assert list(watchdog.last_words()) == []
        assert (kept.exists(), gone.exists()) == (True, False)
    finally:
        running.communicate()
