"""Restoring the ledger from a backup, as docs/operations.md says, under an installation that has gone on since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib import aws
from chalicelib.cli.rebuild import expect_at_rest
from chalicelib.core.errors import Conflict
from chalicelib.core.states import State
from chalicelib.settings import Settings
from chalicelib.store.insights import Insights
from chalicelib.store.table import Table
from tests.support.deployed import STAGE, Checkout, Deployed, deployed
from tests.support.endpoint import client
from tests.support.patient import SETTINGS, healthy, shared_clients
from tests.support.waiting import becomes, until

STAGED = Settings(stage=STAGE)


def test_an_installation_goes_on_from_a_restored_ledger(tmp_path: Path) -> None:
    with deployed(tmp_path) as found:
        source = Checkout(found.project, found.endpoint_url)
        dynamodb = client("dynamodb", found.endpoint_url)
        before = found.create("text.statistics", {"text": "one two"})
        until(lambda: found.task(before)["status"] == "success")
        backup = dynamodb.create_backup(TableName=STAGED.jobs_table, BackupName="before")["BackupDetails"]["BackupArn"]
        since = found.create("text.statistics", {"text": "one two three"})
        until(lambda: found.task(since)["status"] == "success")
        waiting = found.post("/mq/message/publish", {"topic": "polled.only", "payload": {"n": 1}})["id"]

        source.taskyard("destroy", "--stage", STAGE, "--release", "--yes")
        restore(dynamodb, STAGED.jobs_table, backup)
        assert source.taskyard("rebuild", "--stage", STAGE).stdout == "jobs counted anew: 1\n"
        url = source.deploy("--way", "stack").stdout.split()[-1]  # which examines what it has made

        again = Deployed(url, found.endpoint_url, found.emulator, found.project, headers=found.headers)
        assert again.task(before)["output"]["words"] == 2
        assert again.call("GET", f"/api/task/detail?id={since}")[0] == 404
        (polled,) = again.get("/mq/message/poll?topic=polled.only")  # what waited on its lane is recorded anew
        assert polled["id"] == waiting
        renewed = again.create("text.statistics", {"text": "one"})
        until(lambda: again.task(renewed)["status"] == "success")
        becomes({State.SUCCESS: 2}, lambda: counters_of(dynamodb, "text.statistics"))


@pytest.mark.usefixtures("deployed_on_moto")
class TestRebuilding:
    def test_is_refused_until_nothing_calls_the_functions(self) -> None:
        awslambda, events = aws.client("lambda"), aws.client("events")
        sources = awslambda.list_event_source_mappings()["EventSourceMappings"]
        assert callers() == f"{len(sources)} event sources, the rule taskyard-dev-clock, the API taskyard-dev"
        for mapping in sources:
            awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        assert callers() == "the rule taskyard-dev-clock, the API taskyard-dev"
        events.disable_rule(Name="taskyard-dev-clock")
        assert callers() == "the API taskyard-dev"
        awslambda.put_function_concurrency(FunctionName="taskyard-dev", ReservedConcurrentExecutions=0)
        assert callers() is None

    def test_an_installation_that_is_not_there_is_at_rest(self) -> None:
        assert callers(replace(SETTINGS, stage="other")) is None


@pytest.fixture
def deployed_on_moto() -> Iterator[None]:
    with shared_clients(), healthy():
        yield


def callers(settings: Settings = SETTINGS) -> str | None:
    """What stands in the way of a rebuild."""
    try:
        expect_at_rest(settings)
    except Conflict as refused:
        return str(refused.got)
    return None


def restore(dynamodb: Any, table: str, backup: str) -> None:
    """Put the table of a backup in the place of ``table``, and set up what a restored table lacks."""
    dynamodb.delete_table(TableName=table)
    dynamodb.get_waiter("table_not_exists").wait(TableName=table)
    dynamodb.restore_table_from_backup(TargetTableName=table, BackupArn=backup)
    dynamodb.get_waiter("table_exists").wait(TableName=table)
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    dynamodb.update_table(TableName=table, StreamSpecification=stream)
    expiry = {"Enabled": True, "AttributeName": "expires_at_s"}
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=expiry)
    recovery = {"PointInTimeRecoveryEnabled": True}
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=recovery)


def counters_of(dynamodb: Any, task_type: str) -> Mapping[State, int]:
    """How many jobs of a type the counters tell in each state."""
    insights = Insights(Table(dynamodb, STAGED.insights_table, ("view", "key")))
    totals = [states for group, states in insights.counters().items() if group.type == task_type]
    return {state: number for states in totals for state, number in states.items() if number}
