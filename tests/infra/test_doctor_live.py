"""What the doctor finds at an installation that is made well and does not move."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.core.audit import AuditReport, Difference
from chalicelib.core.canary import LATE_MS
from chalicelib.core.day_accounts import Account
from chalicelib.engine.health import CLOCK_LATE_MS
from chalicelib.store.canaries import Canaries
from chalicelib.store.day_accounts import DayAccounts
from chalicelib.store.table import Table
from infra.doctor.findings import Level
from tests.support.patient import BASE, SETTINGS, Patient, rendered
from tests.support.yards import environment


def log_of(function: str) -> str:
    return f"aws logs tail /aws/lambda/{BASE}-{function} --since 1h --region us-east-1"


# -- the clock ------------------------------------------------------------------------------------


def test_a_clock_that_stopped(patient: Patient) -> None:
    patient.now_ms += CLOCK_LATE_MS + 1_000
    found = patient.problem(alive=True)
    assert rendered(found) == ("wrong", "clock", "last run", "181 s ago")
    assert found.remedy.endswith(log_of("clock"))


def test_a_clock_that_is_just_in_time(patient: Patient) -> None:
    patient.now_ms += CLOCK_LATE_MS
    assert patient.problems(alive=True) == []


def forget_tick() -> None:
    key = {"kind": {"S": "clock"}, "name": {"S": "tick"}}
    aws.client("dynamodb").delete_item(TableName=SETTINGS.directory_table, Key=key)


def test_a_clock_that_has_not_run_yet(patient: Patient) -> None:
    forget_tick()
    found = patient.problem(alive=True)
    assert rendered(found) == ("warn", "clock", "last run", "never")
    assert found.remedy == "look again in three minutes"


def test_a_clock_that_should_have_run_by_now(patient: Patient) -> None:
    forget_tick()
    patient.now_ms += CLOCK_LATE_MS + 10_000
    assert rendered(patient.problem(alive=True)) == ("wrong", "clock", "last run", "never")


# -- the projector --------------------------------------------------------------------------------


def iterator_age(monkeypatch: pytest.MonkeyPatch, *ages_ms: float) -> list[dict[str, Any]]:
    """Let CloudWatch tell these ages, one a period, the last being the newest; returns what it is asked."""
    asked: list[dict[str, Any]] = []
    points = [{"Timestamp": datetime.fromtimestamp(number, UTC), "Maximum": age} for number, age in enumerate(ages_ms)]

    def statistics(**parameters: Any) -> dict[str, Any]:
        asked.append(parameters)
        return {"Datapoints": points[::-1]}

    monkeypatch.setattr(aws.client("cloudwatch"), "get_metric_statistics", statistics)
    return asked


def test_a_projector_that_is_late(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = iterator_age(monkeypatch, 0.0, 301_000.0)
    found = patient.problem(alive=True)
    assert rendered(found) == ("wrong", "projector", "stream lag", "301 s")
    assert found.remedy.endswith(log_of("projector"))
    assert asked[0]["Dimensions"] == [{"Name": "FunctionName", "Value": f"{BASE}-projector"}]


def test_a_projector_that_caught_up(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    iterator_age(monkeypatch, 301_000.0, 300_000.0)
    assert patient.problems(alive=True) == []


def test_an_emulator_without_metrics_does_not_tell_the_lag(patient: Patient) -> None:
    with environment({"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}):  # the clients are made: moto still answers
        assert rendered(patient.problem(alive=True))[:3] == ("unknown", "projector", "stream lag")


# -- queues, jobs, keys ---------------------------------------------------------------------------


def test_messages_in_the_dead_letter_queue(patient: Patient) -> None:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=SETTINGS.dead_letter_queue)["QueueUrl"]
    for _ in range(2):
        sqs.send_message(QueueUrl=url, MessageBody="{}")
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)  # one of them is in hand, and counts
    found = patient.problem(alive=True)
    assert rendered(found) == ("warn", "dead-letter queue", "messages", "2")
    assert found.remedy.endswith(log_of("dead_letters"))


def put_waiting_job(job: int, wake_at_ms: int, key: str = "due#0") -> None:
    item = {
        "job": {"N": str(job)},
        "part": {"S": "state"},
        "wake_key": {"S": key},
        "wake_at_ms": {"N": str(wake_at_ms)},
    }
    aws.client("dynamodb").put_item(TableName=SETTINGS.jobs_table, Item=item)


def test_a_job_that_the_clock_does_not_come_to(patient: Patient) -> None:
    put_waiting_job(7, patient.now_ms - CLOCK_LATE_MS - 1_000)
    put_waiting_job(8, patient.now_ms - CLOCK_LATE_MS - 500)
    found = patient.problem(alive=True)
    assert rendered(found) == ("warn", "jobs to send", "longest overdue", "job 7, for 181 s")
    assert found.remedy.endswith(log_of("clock"))


def test_jobs_that_the_clock_could_not_send(patient: Patient) -> None:
    for job in range(7):
        put_waiting_job(job, patient.now_ms + job, "aside")
    found = patient.problem(alive=True)
    assert rendered(found) == ("warn", "jobs set aside", "jobs", "job 0, job 1, job 2, job 3, job 4")
    assert found.remedy.endswith(log_of("clock"))


def test_jobs_that_wait_for_the_next_tick(patient: Patient) -> None:
    put_waiting_job(7, patient.now_ms - CLOCK_LATE_MS)
    put_waiting_job(8, patient.now_ms + 3_600_000)
    assert patient.problems(alive=True) == []


def test_a_stage_whose_keys_are_revoked(patient: Patient) -> None:
    patient.directory.revoke_access_key("d" * 64, patient.now_ms)
    found = patient.problem(alive=True)
    assert (found.level, found.subject, found.found) == (
        Level.WARN,
        "access keys",
        "none: nobody can call the API",
    )
    assert found.remedy == "taskyard keys create --stage dev --label NAME --scope '*'"


def test_a_canary_that_does_not_come_back(patient: Patient) -> None:
    canaries = Canaries(patient.directory.table)
    canaries.set_out("orders high", patient.now_ms - LATE_MS - 1_000)
    assert patient.problems(alive=True) == []  # none flies any more
    patient.checkout = replace(patient.checkout, settings=replace(SETTINGS, canary_every_s=300))
    (found,) = [each for each in patient.problems(alive=True) if each.subject == "canaries"]
    assert rendered(found) == ("wrong", "canaries", "missing", "orders high (since 301 s)")
    assert found.remedy.endswith(log_of("worker"))


# -- alarms ---------------------------------------------------------------------------------------


def test_an_alarm_that_rings_tells_what_to_do_first(patient: Patient) -> None:
    alarm = f"{BASE}-stream-lag"
    aws.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="threshold crossed")
    found = patient.problem(alive=True)
    assert rendered(found) == ("wrong", alarm, "state", "ALARM: threshold crossed")
    assert f"First: read the log of {BASE}-projector" in found.remedy
    assert patient.problems(alive=False) == []


# -- the audit ------------------------------------------------------------------------------------


def test_jobs_that_do_not_add_up(patient: Patient) -> None:
    accounts = DayAccounts(Table(aws.client("dynamodb"), SETTINGS.insights_table, ("view", "key")))
    account = Account(1_750_032_000_000, "task", "mail.send")
    suspected = Difference(account, "pending", 1, 0, (7,))
    accounts.note_audit(AuditReport(patient.now_ms, 0, 0, (suspected,)))
    assert patient.problems(alive=True) == []  # it may be the stream's lag
    certain = Difference(account, "pending", 1, 0, (7,), confirmed=True)
    accounts.note_audit(AuditReport(patient.now_ms, 0, 1, (certain, suspected)))
    found = patient.problem(alive=True)
    assert rendered(found) == (
        "wrong",
        "conservation",
        "unaccounted jobs",
        "1: task mail.send of 2025-06-16: 1 counted as pending, 0 on the ledger (ids 7)",
    )
    assert found.remedy.endswith("taskyard rebuild --stage dev")
