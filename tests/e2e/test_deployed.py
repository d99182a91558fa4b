"""Deploying: both ways, again, half-way, away, and from a backup as docs/operations.md says; and what it survives."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from chalicelib.core.applications import digest_of, sign
from chalicelib.core.job import Job
from chalicelib.core.states import State
from chalicelib.engine.publish.slots import AHEAD_MS
from chalicelib.local.emulator import Emulator
from chalicelib.settings import Settings
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.insights import Insights
from chalicelib.store.job_items import STATE_PART, decoded
from chalicelib.store.table import Table
from infra.deploy.stages import MACHINES
from infra.functions import SENDING, function_name, functions_of
from tests.e2e.console_drive import Drive, Place
from tests.support.console import Tab, goes_to, opened, sign_in, tab_of
from tests.support.deployed import LEASE_S, STAGE, Checkout, Deployed, checkout
from tests.support.endpoint import client
from tests.support.handlers.hooked import DIED, TOLD
from tests.support.processes import clean_environment, is_running
from tests.support.recording import recording
from tests.support.waiting import DEADLINE_S, becomes, until

CLOCK_DEADLINE_S = 60 + DEADLINE_S  # EventBridge's shortest rate is a minute
STAGED = Settings(stage=STAGE)
FUNCTIONS = {function_name(STAGED, function) for function in functions_of(STAGED)}
QUEUES = 6  # the lanes of `default`, those of `order.created` and the example pool, the dead-letter queue
LATE_HANDLER = """from chalicelib.engine.handlers.declare import subscribe


@subscribe("subscribed.late")
def work_on(payload: dict) -> dict:
    return payload
"""
TEST_LANES = 7  # of the topics that the tests' handlers subscribe to


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with Emulator.start(log_path=tmp_path / "emulator.log") as running:
        yield running


@pytest.fixture(scope="class")
def scheduled(installation: Deployed) -> list[str]:
    """Two schedules, by name: one runs soon, the other is so far off yet that the clock is to hand it over."""
    for name, in_s in (("soon", 1), ("later", AHEAD_MS / 1_000 + 5)):
        at = datetime.now(UTC) + timedelta(seconds=in_s)
        order = {"type": "text.statistics", "input": {"text": "one two {{slot}}"}}
        installation.post("/api/schedule/create", {"name": name, "at": at.isoformat(), "task": order})
    return ["soon", "later"]


@pytest.mark.usefixtures("scheduled")
class TestTheDeployedForm:
    def test_killing_workers_in_mid_job_loses_nothing(self, installation: Deployed, tmp_path: Path) -> None:
        release = tmp_path / "go"
        files = [tmp_path / f"on-{n}" for n in range(3)]
        before = _ids(installation, "count.me", "COMPLETED")  # the newest, of which new ones take the place
        waiting = [  # three workers are busy with them: what comes in one batch is shared out
            installation.create("wait.for.file", {"started": str(file), "until": str(release)}) for file in files
        ]
        messages = [{"topic": "count.me", "payload": {"n": n}, "maxRetries": 5} for n in range(60)]
        results = installation.post("/mq/message/publish-batch", {"messages": messages})["results"]
        accepted = {result["message"]["id"] for result in results}
        killed = []
        for file in files:
            pid = int(until(lambda file=file: file.exists() and file.read_text().split()[:1])[0])
            assert pid in installation.children()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        until(lambda: not any(is_running(pid) for pid in killed))
        for file in files:
            until(lambda file=file: int(file.read_text().split()[1]) >= 2, LEASE_S + DEADLINE_S)
        release.touch()
        for task_id in waiting:
            task = until(lambda task_id=task_id: _when(installation.task(task_id), "success"))
            assert task["attempts"] >= 2
            assert task["output"] == {"attempt": task["attempts"]}
        becomes(accepted, lambda: _ids(installation, "count.me", "COMPLETED") - before)

    def test_hooks_are_told_in_order(self, installation: Deployed, tmp_path: Path) -> None:
        (tmp_path / DIED).touch()
        installation.create("hooked", {"n": 1}, targetId=str(tmp_path))
        told = ["create: None", "enqueue: None", "start: None", "progress: None", "complete: {'n': 1}"]
        becomes(told, lambda: (tmp_path / TOLD).read_text().splitlines() if (tmp_path / TOLD).exists() else [])

    def test_the_rule_runs_the_clock(self, installation: Deployed) -> None:
        until(lambda: "has not run" not in _clock(installation), CLOCK_DEADLINE_S)
        assert installation.get("/health")["dependencies"]["clock"]["status"] == "ok"

        def run(name: str) -> dict[str, Any]:
            (found,) = until(
                lambda: installation.get(f"/api/schedule/history?name={name}")["pageData"], CLOCK_DEADLINE_S
            )
            return installation.task(found["id"])

        becomes("success", lambda: run("soon")["status"])
        assert run("soon")["output"]["words"] == 3
        later = run("later")
        assert later["status"] == "pending" or later["output"]["words"] == 3

    def test_the_doctor_finds_what_is_wrong_and_deploying_again_changes_nothing_else(
        self, installation: Deployed
    ) -> None:
        source = Checkout(installation.project, installation.endpoint_url)
        assert source.taskyard("doctor", "--stage", STAGE).returncode == 0
        awslambda = client("lambda", installation.endpoint_url)
        awslambda.put_function_recursion_config(FunctionName="taskyard-dev-worker", RecursiveLoop="Terminate")
        sick = source.taskyard("doctor", "--stage", STAGE, check=False)
        assert sick.returncode == 1
        assert "aws lambda put-function-recursion-config --function-name taskyard-dev-worker" in sick.stdout
        before = _everything(installation.endpoint_url)
        assert "nothing to change" in source.deploy("--way", "stack").stdout
        assert _everything(installation.endpoint_url) == before
        assert source.taskyard("doctor", "--stage", STAGE).returncode == 0

    def test_without_a_key_it_refuses(self, installation: Deployed) -> None:
        stranger = Deployed(
            installation.url, installation.endpoint_url, installation.emulator, installation.project, headers={}
        )
        assert stranger.call("GET", "/api/task/list")[0] == 401
        assert stranger.call("GET", "/health")[0] == 200

    def test_an_application_is_known_by_its_headers(self, installation: Deployed) -> None:
        """API Gateway lets the name with an underscore through, and the one for proxies that do not."""
        order = {"appName": "n", "linkUrl": "https://inside.invalid/"}
        made = installation.post("/application/create", order)["data"]
        for number, name in enumerate(("app_key", "app-key")):
            body = json.dumps({"taskNo": str(number), "content": {}, "timeout": 1_000, "name": "n"}).encode()
            now_ms = round(time.time() * 1_000)
            headers = sign(made["appKey"], made["secretKey"], digest_of(body), now_ms, os.urandom).to_send()
            kept = {key: value for key, value in headers.items() if key not in ("app_key", "app-key") or key == name}
            request = Request(  # noqa: S310  # a loopback address
                f"{installation.url}/task/create", body, {**kept, "Content-Type": "application/json"}
            )
            with urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310
                assert json.load(answer)["code"] == 0

    def test_the_other_way_is_refused(self, installation: Deployed) -> None:
        source = Checkout(installation.project, installation.endpoint_url)
        before = _everything(installation.endpoint_url)
        refused = source.deploy("--way", "chalice", check=False)
        assert refused.returncode == 1
        assert "expected --way stack" in refused.stderr
        assert _everything(installation.endpoint_url) == before


class TestTheConsole(Drive):
    """Behind the stage's path and an access key."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, installation: Deployed) -> Place:
        source = Checkout(installation.project, installation.endpoint_url)

        def entering(label: str, *scopes: str) -> Callable[[Tab], None]:
            options = [option for scope in scopes for option in ("--scope", scope)]
            key = source.taskyard("keys", "create", "--stage", STAGE, "--label", label, *options).stdout.strip()

            def enter(tab: Tab) -> None:
                opened(tab.page, "", "Taskyard")
                sign_in(tab.page, key)
                expect(tab.page.locator("h1")).to_have_text("Overview")
                expect(tab.page.get_by_text(label)).to_be_visible()
                tab.only_refusals()  # of all that was asked without a key, however late they came
                assert key not in tab.page.content()

            return enter

        operators = entering("operates", "console", "console:manage")
        return Place(installation, operators, entering("looks", "console"))

    def test_a_key_that_it_does_not_know_is_refused(self, browser: Browser, place: Place) -> None:
        with tab_of(browser, place.service) as tab:
            opened(tab.page, "jobs", "Taskyard")
            sign_in(tab.page, "ty_" + "0" * 43)
            expect(tab.page.get_by_role("alert")).to_contain_text("does not know this key")
            tab.only_refusals()

    def test_the_installation_says_what_it_costs(self, page: Page) -> None:
        goes_to(page, "installation", "Installation")
        expect(page.get_by_text("A month without a job costs $")).to_be_visible()


class TestOneStack:
    """The last to use the installation, of which nothing is left then."""

    def test_a_change_reaches_the_functions_and_the_data_stays_or_is_restored_when_all_else_goes(
        self, installation: Deployed
    ) -> None:
        found = installation
        source = Checkout(found.project, found.endpoint_url)
        done = found.create("text.statistics", {"text": "one two"})
        until(lambda: found.task(done)["status"] == "success")
        early = found.post("/mq/message/publish", {"topic": "subscribed.late", "payload": {"n": 1}})["id"]
        (found.project / "test_handlers" / "late.py").write_text(LATE_HANDLER)
        _rename_a_result(source)
        told = source.deploy("--way", "stack").stdout
        assert "updated" in told
        assert "took over taskyard-dev-subscribed-late" in told
        becomes({early}, lambda: _ids(found, "subscribed.late", "COMPLETED"))
        changed = found.create("text.statistics", {"text": "one two"})
        task = until(lambda: _when(found.task(changed), "success"))
        assert task["output"]["wordsCounted"] == 2

        source.taskyard("destroy", "--stage", STAGE, "--yes")
        assert _everything(found.endpoint_url)["functions"] == {}
        assert _everything(found.endpoint_url)["sources"] == {}
        url = _url(source.deploy("--way", "stack").stdout)
        again = Deployed(url, found.endpoint_url, found.emulator, found.project, headers=found.headers)
        assert again.task(done)["output"]["words"] == 2

        dynamodb = client("dynamodb", found.endpoint_url)
        backup = dynamodb.create_backup(TableName=STAGED.jobs_table, BackupName="now")["BackupDetails"]["BackupArn"]
        since = again.create("text.statistics", {"text": "one two three"})
        until(lambda: again.task(since)["status"] == "success")
        waiting = again.post("/mq/message/publish", {"topic": "polled.only", "payload": {"n": 1}})["id"]

        source.taskyard("destroy", "--stage", STAGE, "--yes", "--release")
        assert set(_everything(found.endpoint_url)["stacks"]) == {"taskyard-dev-code"}
        restore(dynamodb, STAGED.jobs_table, backup)
        jobs = jobs_of(dynamodb)
        assert source.taskyard("rebuild", "--stage", STAGE).stdout == f"jobs counted anew: {len(jobs)}\n"
        told = source.deploy("--way", "stack").stdout  # which examines what it has made
        assert "took over taskyard-dev-" in told
        again = Deployed(_url(told), found.endpoint_url, found.emulator, found.project, headers=found.headers)
        assert again.task(done)["output"]["words"] == 2
        assert again.call("GET", f"/api/task/detail?id={since}")[0] == 404
        (polled,) = again.get("/mq/message/poll?topic=polled.only")  # what waited on its lane is recorded anew
        assert polled["id"] == waiting
        renewed = again.create("text.statistics", {"text": "one two three"})
        until(lambda: again.task(renewed)["status"] == "success")
        until(lambda: counters_of(dynamodb, "text.statistics") == states_of(dynamodb, "text.statistics"))

        source.taskyard("destroy", "--stage", STAGE, "--yes", "--data")
        assert _everything(found.endpoint_url) == {"functions": {}, "sources": {}, "stacks": {}, "tables": []}
        source.taskyard("destroy", "--stage", STAGE, "--yes", "--data")


class TestByChalice:
    def test_every_resource_and_routes_that_answer_and_change(self, emulator: Emulator, tmp_path: Path) -> None:
        with recording(emulator.endpoint_url) as proxy:
            source = checkout(tmp_path / "project", proxy.url)
            source.deploy()
        found = _everything(emulator.endpoint_url)
        assert set(found["functions"]) == FUNCTIONS
        assert set(found["stacks"]) == {f"taskyard-dev-{part}" for part in ("code", "infra", "events")}
        _assert_functions(emulator.endpoint_url)
        _assert_sources(emulator.endpoint_url)
        ((sent,),) = [bodies for path, bodies in proxy.bodies.items() if path.startswith("POST /restapis?")]
        _assert_routes(json.loads(sent), source)

        direct = Checkout(source.project, emulator.endpoint_url)
        told = direct.deploy().stdout
        assert "nothing to change" in told
        assert _everything(emulator.endpoint_url) == found

        key = direct.taskyard("keys", "create", "--stage", STAGE, "--label", "tests", "--scope", "*").stdout.strip()
        headers = {"Authorization": f"Bearer {key}"}
        installation = Deployed(_url(told), emulator.endpoint_url, emulator, source.project, headers=headers)
        assert _counted(installation) == {"words": 2}
        _rename_a_result(source)
        assert _url(direct.deploy().stdout) == installation.url
        assert _counted(installation) == {"wordsCounted": 2}

        direct.taskyard("destroy", "--stage", STAGE, "--yes", "--data")
        assert _everything(emulator.endpoint_url) == {"functions": {}, "sources": {}, "stacks": {}, "tables": []}

    def test_what_ended_half_way_is_finished_by_deploying_again(self, emulator: Emulator, tmp_path: Path) -> None:
        source = checkout(tmp_path / "project", emulator.endpoint_url)
        awslambda = client("lambda", emulator.endpoint_url)
        command = source.command("deploy", "--stage", STAGE)
        with subprocess.Popen(command, cwd=source.project, env=clean_environment(), start_new_session=True) as first:
            until(lambda: awslambda.list_functions()["Functions"], longest_pause_s=0.05)
            os.killpg(first.pid, signal.SIGKILL)
        assert set(_everything(emulator.endpoint_url)["functions"]) < FUNCTIONS
        source.deploy()
        assert set(_everything(emulator.endpoint_url)["functions"]) == FUNCTIONS
        _assert_functions(emulator.endpoint_url)
        _assert_sources(emulator.endpoint_url)
        assert len(client("apigateway", emulator.endpoint_url).get_rest_apis()["items"]) == 1


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


def jobs_of(dynamodb: Any) -> list[Job]:
    """What is on the ledger."""
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=STAGED.jobs_table,
        FilterExpression="part = :state",
        ExpressionAttributeValues={":state": {"S": STATE_PART}},
    )
    records = [decoded(from_attribute_values(item)) for page in pages for item in page["Items"]]
    return [record for record in records if isinstance(record, Job)]


def states_of(dynamodb: Any, task_type: str) -> Counter[State]:
    """In which states the jobs of a type are."""
    return Counter(job.state for job in jobs_of(dynamodb) if job.type == task_type)


def counters_of(dynamodb: Any, task_type: str) -> Counter[State]:
    """How many jobs of a type the counters tell in each state."""
    insights = Insights(Table(dynamodb, STAGED.insights_table, ("view", "key")))
    totals = [states for group, states in insights.counters().items() if group.type == task_type]
    return +sum(map(Counter, totals), Counter())


def _assert_functions(endpoint_url: str) -> None:
    """Each function has the size, role and environment that the configuration says, and leave to feed the worker."""
    awslambda, iam = client("lambda", endpoint_url), client("iam", endpoint_url)
    sizes = {
        "taskyard-dev": (512, 29),
        "taskyard-dev-worker": (512, 300),
        **{f"taskyard-dev-{name}": (256, 60) for name in ("dead_letters", "clock")},
        **{f"taskyard-dev-{name}": (512, 60) for name in ("projector", "hooks")},
    }
    roles = set()
    for function in functions_of(STAGED):
        name = function_name(STAGED, function)
        found = awslambda.get_function_configuration(FunctionName=name)
        assert (found["MemorySize"], found["Timeout"]) == sizes[name]
        assert found["Architectures"] == [MACHINES[platform.machine()]]  # the configuration asks AWS for arm64
        assert found["Environment"]["Variables"]["TASKYARD_STAGE"] == STAGE
        assert found["Environment"]["Variables"]["TASKYARD_BUCKET"] == "taskyard-dev-000000000000-us-east-1"
        loop = awslambda.get_function_recursion_config(FunctionName=name)["RecursiveLoop"]
        assert loop == ("Allow" if function in SENDING else "Terminate")
        role = found["Role"].rsplit("/", 1)[-1]
        assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["taskyard"]
        roles.add(role)
    assert len(roles) == len(functions_of(STAGED))


def _assert_sources(endpoint_url: str) -> None:
    """Each lane, the dead letters and the stream feed their function; the rule calls the clock, and may."""
    awslambda, events = client("lambda", endpoint_url), client("events", endpoint_url)
    mappings = awslambda.list_event_source_mappings()["EventSourceMappings"]
    fed = [mapping["FunctionArn"].rsplit(":", 1)[-1] for mapping in mappings]
    assert sorted(fed) == sorted(
        ["taskyard-dev-projector", "taskyard-dev-dead_letters", "taskyard-dev-hooks"]
        + ["taskyard-dev-worker"] * (QUEUES - 1 + TEST_LANES)
    )
    assert len({mapping["EventSourceArn"] for mapping in mappings}) == len(mappings)
    for mapping in mappings:
        if ":sqs:" in mapping["EventSourceArn"]:
            assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    (target,) = events.list_targets_by_rule(Rule="taskyard-dev-clock")["Targets"]
    assert target["Arn"].endswith(":function:taskyard-dev-clock")
    assert events.describe_rule(Name="taskyard-dev-clock")["ScheduleExpression"] == "rate(1 minute)"
    for name, principal in (("taskyard-dev", "apigateway"), ("taskyard-dev-clock", "events")):
        (statement,) = json.loads(awslambda.get_policy(FunctionName=name)["Policy"])["Statement"]
        assert statement["Principal"] == {"Service": f"{principal}.amazonaws.com"}


def _assert_routes(swagger: dict[str, Any], source: Checkout) -> None:
    """What `chalice deploy` sends is what the proven way deploys: the same routes, to the API's function."""
    source.taskyard("package", "built", "--stage", STAGE, at_endpoint=False)
    template = json.loads((source.project / "built" / "sam.json").read_text())
    proven = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert swagger["info"]["title"] == "taskyard-dev"
    assert _methods(swagger["paths"]) == _methods(proven)
    assert "/mq/trace/{traceId}" in swagger["paths"]
    arn = "arn:aws:lambda:us-east-1:000000000000:function:taskyard-dev"
    for path, operations in swagger["paths"].items():
        for method, operation in operations.items():
            uri = operation["x-amazon-apigateway-integration"]["uri"]
            assert method == "options" or f"functions/{arn}/invocations" in uri, path


def _methods(paths: dict[str, Any]) -> dict[str, list[str]]:
    return {path: sorted(operations) for path, operations in paths.items()}


def _everything(endpoint_url: str) -> dict[str, Any]:
    """What an installation consists of, with what tells that a part was changed."""
    awslambda, cloudformation = client("lambda", endpoint_url), client("cloudformation", endpoint_url)
    live = ["CREATE_COMPLETE", "UPDATE_COMPLETE"]
    return {
        "functions": {
            found["FunctionName"]: (found["LastModified"], found["CodeSha256"])
            for found in awslambda.list_functions()["Functions"]
        },
        "sources": {
            found["UUID"]: (found["EventSourceArn"], str(found["LastModified"]))
            for found in awslambda.list_event_source_mappings()["EventSourceMappings"]
        },
        "stacks": {
            found["StackName"]: str(found.get("LastUpdatedTime"))
            for found in cloudformation.list_stacks(StackStatusFilter=live)["StackSummaries"]
        },
        "tables": client("dynamodb", endpoint_url).list_tables()["TableNames"],
    }


def _rename_a_result(source: Checkout) -> None:
    """Change the code of a handler, so that it tells the number of words by another name."""
    statistics = source.project / "chalicelib" / "tasks" / "text_statistics.py"
    statistics.write_text(statistics.read_text().replace('"words": ', '"wordsCounted": '))


def _counted(installation: Deployed) -> dict[str, Any]:
    """How the handler tells the number of words, of a task that has been to every part of the installation."""
    task_id = installation.create("text.statistics", {"text": "one two"})
    output = until(lambda: _when(installation.task(task_id), "success"))["output"]
    return {name: value for name, value in output.items() if name.startswith("words")}


def _url(told: str) -> str:
    """The API's URL, with which what a deployment says ends."""
    return told.split()[-1]


def _clock(installation: Deployed) -> str:
    return str(installation.get("/health")["dependencies"]["clock"]["detail"])


def _when(record: dict[str, Any], status: str) -> dict[str, Any] | None:
    return record if record["status"] == status else None


def _ids(installation: Deployed, topic: str, status: str) -> set[str]:
    page = installation.get(f"/mq/message/list?topic={topic}&status={status}&perPage=100")["pageData"]
    return {entry["id"] for entry in page}
