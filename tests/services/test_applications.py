"""Applications in Python: the documented calls, what they return, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.core.applications import DELIVERY, digest_of, signature_of
from chalicelib.core.errors import Conflict, InvalidInput, NotFound
from chalicelib.services import applications, tasks
from tests.support.yards import START_MS, Bench

URL = "https://billing.example.com/tasks"


@pytest.mark.usefixtures("bench")
class TestApplications:
    def test_one_is_made_with_a_secret_that_is_shown_once(self) -> None:
        made = applications.create("billing", URL, step_s=5, tz="Asia/Shanghai")
        assert (made.name, made.link_url, made.step_s, made.retry_total) == ("billing", URL, 5, 5)
        assert (made.replay_protection, made.concurrency, made.zone) == (True, 1, "Asia/Shanghai")
        assert (made.created_at_ms, made.remark) == (START_MS, "2025-06-15 15:06:40")
        assert (len(made.app_key), len(made.secret), made.secret in repr(made)) == (16, 32, False)
        (listed,) = [each for each in applications.list() if each.app_key == made.app_key]
        assert (listed.secret, listed.old_secret, listed.name) == ("", None, "billing")

    def test_it_is_disabled_and_enabled(self) -> None:
        made = applications.create("billing", URL)
        assert applications.disable(made.app_key).disabled is True
        assert applications.enable(made.app_key).disabled is False

    def test_its_secret_is_rotated(self, bench: Bench) -> None:
        made = applications.create("billing", URL)
        after = applications.rotate(made.app_key, grace_s=60)
        assert after.secret not in ("", made.secret)
        stored = bench.yard.applications.find(made.app_key)
        assert stored is not None
        assert stored.secrets(bench.clock.ms) == (after.secret, made.secret)
        assert applications.finish_rotation(made.app_key).secret == ""
        stored = bench.yard.applications.find(made.app_key)
        assert stored is not None
        assert stored.secrets(bench.clock.ms) == (after.secret,)

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            ({"step_s": 3_601}, "step_s in the application: expected"),
            ({"retry_total": 11}, "retry_total in the application: expected"),
            ({"concurrency": 0}, "concurrency in the application: expected"),
            ({"tz": 7}, "tz in the application: expected"),
            ({"tz": "Mars/Olympus"}, "tz: "),
            ({"link_url": ""}, "link_url in the application: expected"),
            ({"link_url": "ftp://127.0.0.1"}, "link_url: nothing can be delivered there; expected http or https://"),
        ],
    )
    def test_what_can_be_none_is_told_by_the_names_of_python(self, wrong: dict[str, Any], told: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            applications.create("billing", **{"link_url": URL, **wrong})
        assert str(refused.value).startswith(told)

    def test_what_there_is_not(self) -> None:
        for act in (applications.disable, applications.enable, applications.rotate, applications.finish_rotation):
            with pytest.raises(NotFound):
                act("A" * 16)
        with pytest.raises(InvalidInput):
            applications.rotate("A" * 16, grace_s=-1)


@pytest.mark.usefixtures("bench")
class TestTasks:
    def test_a_task_is_created_for_it(self) -> None:
        key = applications.create("billing", URL, retry_total=2).app_key
        at = datetime.fromtimestamp(START_MS / 1_000, UTC) + timedelta(hours=1)
        task = applications.create_task(key, "order-82", {"amount": 5}, name="charge", timeout_ms=60_000, run_at=at)
        assert (task.type, task.input, task.target_id, task.target_type) == (
            DELIVERY,
            {"amount": 5},
            "order-82",
            "application",
        )
        assert task.max_retries == 2
        assert tasks.detail(task.id) == task

    def test_its_number_is_taken_once(self) -> None:
        key = applications.create("billing", URL).app_key
        applications.create_task(key, "1", {}, name="n", timeout_ms=1)
        with pytest.raises(Conflict):
            applications.create_task(key, "1", {}, name="n", timeout_ms=1)
        with pytest.raises(InvalidInput, match="timeout_ms in the application: expected"):
            applications.create_task(key, "2", {}, name="n", timeout_ms=0)
        with pytest.raises(NotFound):
            applications.create_task("A" * 16, "1", {}, name="n", timeout_ms=1)


def test_headers_for_a_body() -> None:
    made = applications.sign("A" * 16, "s" * 32, '{"task_id": 1}')
    assert made["timestamps"].isdigit()
    assert made["payload"] == digest_of(b'{"task_id": 1}')
    assert made["signature"] == signature_of("s" * 32, made["timestamps"], made["nonce"], made["payload"])
