"""What the emulator does when its data cannot be saved, and how others learn of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.core.errors import Unavailable
from chalicelib.local import emulator_saving, save_watch
from chalicelib.local.emulator import Emulator
from chalicelib.local.emulator_saving import (
    INSUFFICIENT_STORAGE,
    LONGEST_PAUSE_S,
    NEWS_WAIT_S,
    REFUSE_AFTER_S,
    SAVE_PAUSE_S,
    STATUS_PATH,
    SaveGate,
    Saving,
    StateSaver,
)
from chalicelib.local.emulator_state import Snapshot
from chalicelib.local.guard import Receive, Scope, Send, WriteCounter
from chalicelib.local.save_watch import REFUSED, SAVED_AGAIN, SaveWatch, expect_saved
from tests.support.endpoint import client
from tests.support.waiting import becomes, until

NO_SPACE = OSError(28, "No space left on device")
PUT = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}


class Disk:
    """Stands for MiniStack's state: what each attempt to write it meets, the last for all that follow."""

    def __init__(self, *attempts: Exception | dict[str, str]) -> None:
        self._attempts = list(attempts)

    def __call__(self) -> dict[str, str]:
        met = self._attempts.pop(0) if len(self._attempts) > 1 else self._attempts[0]
        if isinstance(met, Exception):
            raise met
        return met


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic time that the saver reads."""
    moments = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: moments[0])
    return moments


async def answers_well(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def saver_on(monkeypatch: pytest.MonkeyPatch, folder: Path, *attempts: Exception | dict[str, str]) -> StateSaver:
    monkeypatch.setattr(emulator_saving, "state_files", Disk(*attempts))
    return StateSaver(Snapshot(folder), WriteCounter(answers_well))


def asked(app: Any, **scope: Any) -> tuple[int, bytes]:
    """The status and body that an ASGI application answers a request with."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({**PUT, **scope}, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


class TestSaving:
    def test_that_fails_is_known_with_its_reason_until_it_succeeds(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        saver = saver_on(monkeypatch, tmp_path / "state", NO_SPACE, {"a.json": "saved"})
        assert saver.save() is False
        assert saver.state() == Saving("OSError: [Errno 28] No space left on device", refusing=False)
        assert "No space left" in caplog.text
        assert saver.save() is True
        assert saver.state() == Saving(None, refusing=False)
        assert (tmp_path / "state" / "a.json").read_text() == "saved"

    def test_that_goes_on_failing_refuses_changes_from_a_moment_on(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: list[float]
    ) -> None:
        saver = saver_on(monkeypatch, tmp_path / "state", NO_SPACE)
        saver.save()
        now[0] += REFUSE_AFTER_S - 0.1
        saver.save()
        assert saver.state().refusing is False
        now[0] += 0.1
        assert saver.state().refusing is True

    def test_is_tried_at_once_again_when_the_state_changed_meanwhile(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        changed = RuntimeError("dictionary changed size during iteration")
        saver = saver_on(monkeypatch, tmp_path / "state", changed, changed, {"a.json": "saved"})
        assert saver.save() is True

    @pytest.mark.parametrize(("saving_s", "pause_s"), [(0.0, SAVE_PAUSE_S), (0.2, 1.8), (30.0, LONGEST_PAUSE_S)])
    def test_pauses_by_how_long_it_takes_but_never_long(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        now: list[float],
        saving_s: float,
        pause_s: float,
    ) -> None:
        slept = []

        def takes_its_time() -> dict[str, str]:
            now[0] += saving_s
            return {}

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2:
                raise asyncio.CancelledError

        saver = saver_on(monkeypatch, tmp_path / "state", {})
        monkeypatch.setattr(emulator_saving, "state_files", takes_its_time)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        saver.save()
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(saver.save_periodically())
        assert slept == [pytest.approx(pause_s)] * 2


class TestTheGate:
    @pytest.fixture
    def gate(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, now: list[float]) -> SaveGate:
        """One that refuses."""
        saver = saver_on(monkeypatch, tmp_path / "state", NO_SPACE)
        saver.save()
        now[0] += REFUSE_AFTER_S
        return SaveGate(answers_well, saver)

    def test_tells_how_saving_goes(self, gate: SaveGate) -> None:
        status, body = asked(gate, method="GET", path=STATUS_PATH)
        assert (status, {**json.loads(body), "run": "any"}) == (
            200,
            {
                "failure": "OSError: [Errno 28] No space left on device",
                "refusing": True,
                "run": "any",
                "writes": 0,
                "saved_writes": 0,
            },
        )

    def test_saves_what_has_changed_when_it_is_asked_to(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        saver = saver_on(monkeypatch, tmp_path / "state", NO_SPACE, {"a.json": "saved"})
        counter = saver._counter
        gate = SaveGate(counter, saver)
        assert asked(gate, method="POST", path=STATUS_PATH)[0] == 200
        assert not (tmp_path / "state").exists()  # nothing has changed
        asked(gate, method="PUT")
        progress = [json.loads(asked(gate, method="POST", path=STATUS_PATH)[1]) for _ in range(3)]
        assert [(each["writes"], each["saved_writes"]) for each in progress] == [(1, 0), (1, 1), (1, 1)]
        assert len({each["run"] for each in progress}) == 1

    def test_refuses_changes_with_the_reason(self, gate: SaveGate) -> None:
        status, body = asked(gate, headers=[(b"x-amz-target", b"AmazonSQS.SendMessage")])
        assert (status, json.loads(body)) == (
            INSUFFICIENT_STORAGE,
            {
                "__type": "InsufficientStorage",
                "message": "the data cannot be saved: OSError: [Errno 28] No space left on device",
            },
        )

    def test_lets_reads_pass(self, gate: SaveGate) -> None:
        assert asked(gate, headers=[(b"x-amz-target", b"DynamoDB_20120810.GetItem")]) == (200, b"done")

    def test_shows_every_queue_empty(self, gate: SaveGate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(emulator_saving, "EMPTY_RECEIVE_PAUSE_S", 0)
        assert asked(gate, headers=[(b"x-amz-target", b"AmazonSQS.ReceiveMessage")]) == (200, b"{}")


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator.start(tmp_path / "data") as running:
        yield running


def test_an_object_that_does_not_get_to_disk_is_not_accepted(emulator: Emulator, tmp_path: Path) -> None:
    s3 = client("s3", emulator.endpoint_url)
    s3.create_bucket(Bucket="objects")
    s3.put_object(Bucket="objects", Key="kept", Body=b"1")
    objects = tmp_path / "data" / "s3"
    shutil.rmtree(objects)
    objects.write_text("a file where the folder was")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="objects", Key="lost", Body=b"2")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == INSUFFICIENT_STORAGE
    objects.unlink()
    s3.put_object(Bucket="objects", Key="lost", Body=b"3")
    assert s3.get_object(Bucket="objects", Key="lost")["Body"].read() == b"3"


def test_a_folder_that_goes_and_comes_back(emulator: Emulator, tmp_path: Path) -> None:
    sqs = client("sqs", emulator.endpoint_url)
    told: list[str] = []
    watch = SaveWatch(emulator.endpoint_url, told.append)
    watch.look()
    assert (told, expect_saved(emulator.endpoint_url)) == ([], "saved")
    with ThreadPoolExecutor(1) as thread:
        heard = thread.submit(save_watch.saving, emulator.endpoint_url, Saving(None, refusing=False))
        _lose_the_folder(emulator, tmp_path / "data" / "state")
        assert heard.result(NEWS_WAIT_S / 2).failure
    state = tmp_path / "data" / "state"
    watch.look()
    watch.look()
    assert told == [
        f"the data cannot be saved, what is accepted now is in memory only: FileExistsError: [Errno 17] "
        f"File exists: '{state}'"
    ]
    with pytest.raises(Unavailable, match="File exists"):
        expect_saved(emulator.endpoint_url)
    until(lambda: save_watch.saving(emulator.endpoint_url).refusing)
    watch.look()
    with pytest.raises(ClientError, match="the data cannot be saved"):
        sqs.create_queue(QueueName="late")
    state.unlink()
    state.with_name("away").rename(state)
    becomes(Saving(None, refusing=False), lambda: save_watch.saving(emulator.endpoint_url))
    watch.look()
    assert told[1:] == [REFUSED, SAVED_AGAIN]
    sqs.create_queue(QueueName="late")


def _lose_the_folder(emulator: Emulator, state: Path) -> None:
    state.rename(state.with_name("away"))
    state.write_text("a file where the folder was")
    client("sqs", emulator.endpoint_url).create_queue(QueueName="early")


def test_an_emulator_that_does_not_answer_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_url: str, _known: Saving | None = None) -> Saving:
        checks.append("looked")
        if len(checks) == 3:
            watch.stop()
        raise (ConnectionRefusedError, HTTPException)[len(checks) % 2]

    checks: list[str] = []
    told: list[str] = []
    monkeypatch.setattr(save_watch, "saving", silent)
    monkeypatch.setattr(save_watch, "LOOK_PAUSE_S", 0)
    watch = SaveWatch("http://127.0.0.1:1", told.append)
    watch.start()
    becomes(3, lambda: len(checks))
    assert told == []
