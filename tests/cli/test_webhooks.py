"""`taskyard webhooks` on a deployed stage; over `taskyard up` see tests/e2e/test_hooks.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import datetime
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from chalicelib import settings
from chalicelib.cli.main import main
from chalicelib.core.job_events import EventType
from chalicelib.core.webhooks import Format
from chalicelib.settings import Settings
from tests.support.yards import Bench, moto_bench

URL = "https://hooks.example/in?key=t0ken"


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with moto_bench(chosen=Settings(stage="dev")) as found, patch.dict(os.environ):
        settings.current.cache_clear()
        yield found
    settings.current.cache_clear()


def webhooks(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["webhooks", *arguments, "--stage", "dev"])


def test_one_is_added_shown_and_removed_and_its_secret_is_told_once(bench: Bench) -> None:
    added = webhooks("add", URL, "--events", "complete, failed attempt", "--type", "resize")
    assert added.exit_code == 0, added.output
    webhook_id, secret = added.stdout.split()
    (kept,) = bench.yard.directory.webhooks()
    assert (kept.id, kept.url, kept.secret) == (webhook_id, URL, secret)
    assert (kept.events, kept.types) == ({EventType.COMPLETE, EventType.FAILED_ATTEMPT}, {"resize"})
    assert added.stderr.splitlines() == [
        "Keep the secret: it is never shown again.",
        "It is told only where code declares hooks, or TASKYARD_HOOKS=on is deployed.",
    ]
    (row,) = json.loads(webhooks("list", "--json").stdout)
    assert row.pop("created").startswith("20")
    assert row == {
        "id": webhook_id,
        "url": "https://hooks.example/in",
        "events": "complete, failed attempt",
        "types": "resize",
        "format": "taskyard",
    }
    shown = webhooks("list").output
    assert webhook_id in shown
    assert secret not in shown
    assert webhooks("remove", webhook_id).output == f"{webhook_id} is removed\n"
    again = webhooks("remove", webhook_id)
    assert (again.exit_code, "there is no such webhook" in again.output) == (1, True)


def test_one_gets_another_secret_and_the_former_ends_by_itself(bench: Bench) -> None:
    webhook_id, first = webhooks("add", URL, "--format", "cloudevents").stdout.split()
    began_ms = time.time_ns() // 1_000_000
    rotated = json.loads(webhooks("rotate", webhook_id, "--overlap-h", "2", "--json").stdout)
    (kept,) = bench.yard.directory.webhooks()
    assert (kept.secret, kept.former_secret) == (rotated["secret"], first)
    assert kept.secret != first
    assert 0 <= kept.former_until_ms - began_ms - 2 * 3_600_000 < 60_000
    assert datetime.fromisoformat(rotated["formerSecretEnds"]).timestamp() == kept.former_until_ms // 1_000
    assert (kept.url, kept.format) == (URL, Format.CLOUDEVENTS)
    again = webhooks("rotate", webhook_id)
    assert again.stdout.split()[0] == webhook_id
    assert again.stderr.splitlines()[0] == "Keep the secret: it is never shown again."
    (kept,) = bench.yard.directory.webhooks()
    assert [kept.secret, kept.former_secret] == [again.stdout.split()[1], rotated["secret"]]
    shown = webhooks("list", "--json").stdout
    assert json.loads(shown)[0]["format"] == "cloudevents"
    assert not any(secret in shown for secret in (first, kept.secret, kept.former_secret))
    webhooks("remove", webhook_id)
    unknown = webhooks("rotate", webhook_id)
    assert (unknown.exit_code, "there is no such webhook" in unknown.output) == (1, True)
    assert bench.yard.directory.webhooks() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["http://hooks.example/"], "expected https://; got http:"),
        (["https://192.168.0.1/"], "expected a public address; got 192.168.0.1"),
        ([URL, "--events", "finished"], "expected create, promotion, enqueue, start"),
        ([" "], "expected a name, got an empty text"),
    ],
)
@pytest.mark.usefixtures("bench")
def test_what_cannot_work_is_refused(arguments: list[str], told: str) -> None:
    refused = webhooks("add", *arguments)
    assert refused.exit_code == 2
    assert told in refused.output
    assert "t0ken" not in refused.output
