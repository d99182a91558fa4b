"""`taskyard up` as a program: what it says, whom it feeds, how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from chalicelib.cli.new_project import new_project
from chalicelib.engine.publish.slots import AHEAD_MS
from chalicelib.local.emulator import PROJECT_ROOT, Emulator
from chalicelib.local.save_watch import REFUSED, SAVED_AGAIN
from tests.support.processes import clean_environment, is_running
from tests.support.up import Service, running
from tests.support.waiting import DEADLINE_S, becomes, until

HANDLERS = "chalicelib.tasks,tests.support.handlers"
LOGS = "logs.jsonl"
COUNTING = {"type": "text.statistics", "input": {"text": "{{slot}}"}}
SLOT_LATE_S = 2
FAILURE = "FileExistsError: [Errno 17] File exists"
COMMAND_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One with a single worker, for all tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("up")
    with running(folder, "--workers", "1", "--logs", str(folder / LOGS), TASKYARD_HANDLERS=HANDLERS) as found:
        yield found


@pytest.fixture(scope="module")
def every_ten_seconds(service: Service) -> str:
    """The name of a schedule that runs while other tests do, and is looked at last."""
    made = service.post("/api/schedule/create", {"name": "tens", "cron": "*/10 * * * * *", "task": COUNTING})
    return str(made["name"])


def taskyard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chalicelib.cli.main", *arguments]
    return subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def words(log: Path) -> str:
    return log.read_text()


def raw(service: Service, request: bytes) -> bytes:
    """What is answered to bytes that need not be HTTP, to the end of the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE_S) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def sqs_of(service: Service) -> Any:
    return botocore.session.get_session().create_client(
        "sqs",
        region_name="us-east-1",
        endpoint_url=service.get("/health")["endpoint"],
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - an emulator takes any
    )


class TestWhatItSays:
    def test_where_everything_is_and_how_to_stop(self, service: Service) -> None:
        until(lambda: "Ctrl-C" in words(service.log))
        said = words(service.log)
        assert service.url in said
        assert f"{service.url}/console" in said
        assert f"{service.url}/docs" in said
        assert service.get("/health")["endpoint"] in said
        assert "in memory" in said
        assert "1, on" in said
        assert "\x1b" not in said  # no colours into a file

    def test_health_is_well(self, service: Service) -> None:
        health = service.get("/health")
        assert (health["status"], health["stage"]) == ("ok", "local")
        assert service.get("/api/me")["deployedAt"] is not None

    def test_warnings_in_brief_and_all_logs_in_the_file(self, service: Service) -> None:
        refused = service.post("/mq/message/publish", {"topic": "order.created", "payload": {}, "maxRetries": 1})
        until(lambda: f"worker-1: dead letter (job_id {refused['id']}" in words(service.log))
        logs = [json.loads(line) for line in (service.log.parent / LOGS).read_text().splitlines()]
        records = [line for line in logs if line.get("job_id") == int(refused["id"])]
        assert [line["message"] for line in records] == ["input refused", "input refused", "dead letter"]
        record = records[-1]
        assert (record["process"], record["level"], record["message"]) == ("worker-1", "WARNING", "dead letter")

    def test_a_taken_port_and_what_to_do_before_anything_starts(self, service: Service) -> None:
        second = taskyard("up", "--port", str(service.port))
        assert second.returncode == 1
        assert f"port {service.port} of 127.0.0.1 cannot be had: address already in use" in second.stderr
        assert f"--port {service.port + 1}" in second.stderr
        assert second.stdout == ""

    def test_a_setting_that_cannot_work(self) -> None:
        refused = taskyard("up", "--port", "0", TASKYARD_LEASE_S="0")
        assert refused.returncode == 1
        assert "TASKYARD_LEASE_S" in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_an_endpoint_that_does_not_answer(self) -> None:
        refused = taskyard("up", "--port", "0", "--endpoint-url", "http://127.0.0.1:1")
        assert refused.returncode == 3
        assert "http://127.0.0.1:1" in refused.stderr
        assert "Traceback" not in refused.stderr


class TestFeeding:
    def test_lanes_are_drained_in_strict_order(self, service: Service, tmp_path: Path) -> None:
        started, release, job_details = tmp_path / "on", tmp_path / "go", tmp_path / "notes"
        service.create("wait.for.file", {"started": str(started), "until": str(release)})
        until(started.exists)
        for word, priority in (("low", -1), ("normal", 0), ("high", 10), ("low", -1), ("high", 11)):
            service.create("note.down", {"file": str(job_details), "word": word}, priority=priority)
        release.touch()
        until(lambda: job_details.exists() and len(job_details.read_text().split()) == 5)
        assert job_details.read_text().split() == ["high", "high", "normal", "low", "low"]

    def test_what_is_in_the_dead_letter_queue_becomes_a_dead_letter(self, service: Service) -> None:
        sqs = sqs_of(service)
        url = sqs.get_queue_url(QueueName="taskyard-local-dead-letters")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="nobody can read this")
        until(lambda: "nobody can read this" in json.dumps(service.get("/mq/dlq/list")))
        depth = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        becomes({"0"}, lambda: set(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=depth)["Attributes"].values()))

    def test_the_clock_ticks_soon_after_the_start(self, service: Service) -> None:
        until(lambda: service.get("/health")["dependencies"]["clock"]["detail"].startswith("ran"))

    def test_a_worker_that_is_killed_is_replaced(self, service: Service) -> None:
        (pid,) = service.workers()
        os.kill(pid, signal.SIGKILL)
        (successor,) = until(lambda: [found for found in service.workers() if found != pid])
        assert successor != pid
        task_id = service.create("text.statistics", {"text": "still here"})
        until(lambda: service.task(task_id)["status"] == "success")
        assert f"worker-1 (pid {pid}) was killed by SIGKILL; it is started again at once" in words(service.log)

    def test_a_worker_that_overruns_the_functions_time_is_killed_and_replaced(self, tmp_path: Path) -> None:
        limits = {"TASKYARD_FUNCTION_TIMEOUT_S": "6", "TASKYARD_LEASE_S": "3", "TASKYARD_STOP_GRACE_S": "0.5"}
        with running(tmp_path, "--workers", "2", TASKYARD_HANDLERS=HANDLERS, **limits) as service:
            task_id = service.create("freeze", None)
            becomes({"attempt": 2}, lambda: service.task(task_id)["output"])
            until(lambda: "it took longer than 6 s and was killed" in words(service.log))
            until(lambda: len(service.workers()) == 2)

            file = tmp_path / "runs"
            again = service.create("hold", {"file": str(file), "s": 9})
            becomes("success", lambda: service.task(again)["status"])
            runs = file.read_text().splitlines()
            assert runs[:2] == ["begin 1", "begin 2"]
            assert "end 1" not in runs  # its process had ended before another began
            assert "a handler held the interpreter until its lease was nearly over" in words(service.log)
            last = service.create("hold", {"file": str(tmp_path / "last"), "s": 9}, maxRetries=0)
            becomes("failed", lambda: service.task(last)["status"])
            error = service.task(last)["error"]
            assert (error["type"], error["where"].split(":")[0]) == ("InterpreterHeld", "local_jobs.py")
            assert (tmp_path / "last").read_text() == "begin 1\n"


@pytest.mark.usefixtures("every_ten_seconds")
class TestHttp:
    @pytest.mark.parametrize(
        "request_lines",
        [
            "POST /mq/message/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: many\r\n\r\n{}",
            "POST /mq/message/publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n{}",
            "GET /he alth HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "nonsense\r\n\r\n",
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {'x' * 100_000}\r\n\r\n",
        ],
    )
    def test_what_is_no_request_gets_400_and_no_page(self, service: Service, request_lines: str) -> None:
        reply = raw(service, request_lines.encode())
        assert reply.startswith(b"HTTP/1.1 4")
        assert b"<" not in reply
        assert service.get("/health")["stage"] == "local"

    def test_head_has_no_body(self, service: Service) -> None:
        reply = raw(service, b"HEAD /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b""

    def test_one_connection_serves_many_requests(self, service: Service) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE_S)
        connection.connect()
        its_socket = connection.sock
        for _ in range(20):
            connection.request("POST", "/nowhere", body=b"{}")
            reply = connection.getresponse()
            assert (reply.status, json.loads(reply.read())["error"]) == (404, "Not Found")
        assert connection.sock is its_socket
        connection.close()

    def test_a_path_that_leads_nowhere(self, service: Service) -> None:
        status, answer = service.call("GET", "/no%20where")
        assert (status, answer["statusCode"]) == (404, 404)


class TestCommands:
    def test_keys(self, service: Service) -> None:
        url = ["--url", service.url]
        made = json.loads(taskyard("keys", "create", "--label", "ci", "--scope", "dlq", "--json", *url).stdout)
        assert made["key"].startswith("ty_")
        assert taskyard("keys", "revoke", "ci", *url).returncode == 0
        (key,) = json.loads(taskyard("keys", "list", "--json", *url).stdout)
        assert (key["label"], key["scopes"]) == ("ci", "dlq")
        assert key["revoked"] is not None
        assert made["key"] not in json.dumps(key)
        assert taskyard("keys", "revoke", "ci", *url).returncode == 1

    @pytest.mark.parametrize(
        ("function", "event", "answer"),
        [
            ("worker", "sqs-batch.json", {"batchItemFailures": []}),
            ("projector", "dynamodb-stream.json", {"state": {}}),
            ("hooks", "sqs-hooks.json", {"batchItemFailures": []}),
        ],
    )
    def test_invoke(self, service: Service, function: str, event: str, answer: Any) -> None:
        invoked = taskyard("invoke", function, f"events/{event}", "--url", service.url)
        assert invoked.returncode == 0, invoked.stderr
        assert json.loads(invoked.stdout) == answer

    def test_invoke_the_clock(self, service: Service) -> None:
        begin = datetime.now(UTC) + timedelta(milliseconds=AHEAD_MS + 500)  # what the next tick hands over
        each_second = {"name": "seconds", "everyS": 1, "startAt": begin.isoformat(), "task": COUNTING}
        service.post("/api/schedule/create", each_second)

        def touched() -> Any:
            return json.loads(taskyard("invoke", "clock", "events/schedule.json", "--url", service.url).stdout)

        found = until(lambda: (now := touched())["slots_handed_over"] and now)
        assert (found["due_sent"], found["passed_over"]) == (0, 0)
        service.post("/api/schedule/delete", {"name": "seconds"})

    def test_invoke_the_api(self, service: Service) -> None:
        invoked = taskyard("invoke", "api", "events/api-gateway-publish.json", "--url", service.url)
        answer = json.loads(invoked.stdout)
        assert answer["statusCode"] == 200
        assert json.loads(answer["body"])["topic"] == "order.created"

    def test_publish_and_list(self, service: Service) -> None:
        published = taskyard("publish", "order.created", '{"orderId": "77"}', "--json", TASKYARD_URL=service.url)
        message_id = json.loads(published.stdout)["id"]
        until(lambda: _listed(service, message_id)["status"] == "COMPLETED")

    def test_runs_start_when_their_time_comes(self, service: Service, every_ten_seconds: str) -> None:
        def in_time() -> list[float]:
            """How late those runs were that were hardly late, oldest first."""
            runs = service.get(f"/api/schedule/history?name={every_ten_seconds}&perPage=100")["pageData"]
            done = {run["at"]: service.task(run["id"]) for run in reversed(runs) if run["status"] == "success"}
            late = [_seconds(task["startedAt"]) - _seconds(at) for at, task in done.items()]
            assert {int(_seconds(at)) % 10 for at in done} <= {0}
            assert min(late, default=0) >= 0
            return [each for each in late if each <= SLOT_LATE_S]

        until(lambda: len(in_time()) >= 5, 50 + DEADLINE_S)
        service.post("/api/schedule/delete", {"name": every_ten_seconds})


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _listed(service: Service, message_id: str) -> dict[str, Any]:
    page = json.loads(taskyard("messages", "list", "--json", "--url", service.url).stdout)["pageData"]
    return next((entry for entry in page if entry["id"] == message_id), {"status": None})


class TestEnds:
    def test_sigterm_lets_handlers_end_and_keeps_the_data_and_like_kill_9_leaves_no_process(
        self, tmp_path: Path
    ) -> None:
        started, release, data = tmp_path / "on", tmp_path / "go", tmp_path / "data"
        with running(tmp_path, "--data-dir", str(data), TASKYARD_HANDLERS=HANDLERS) as service:
            task_id = service.create("wait.for.file", {"started": str(started), "until": str(release)})
            until(started.exists)
            pids = [service.process.pid, *service.children()]
            service.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in words(service.log))
            assert service.process.poll() is None  # it waits for the handler
            release.touch()
            assert service.process.wait(COMMAND_TIMEOUT_S) == 0
        until(lambda: not any(is_running(pid) for pid in pids))
        with running(tmp_path, "--data-dir", str(data), TASKYARD_HANDLERS=HANDLERS) as service:
            assert service.task(task_id)["status"] == "success"
            _accepts_nothing_without_its_folder(service, data / "state")
            pids = until(lambda: len(found := service.children()) >= 7 and list(found))
            service.process.kill()
            service.process.wait(COMMAND_TIMEOUT_S)
            until(lambda: not any(is_running(pid) for pid in pids))

    def test_a_second_ctrl_c_ends_it_at_once(self, tmp_path: Path) -> None:
        started = tmp_path / "on"
        with running(tmp_path, TASKYARD_HANDLERS=HANDLERS) as service:
            service.create("wait.for.file", {"started": str(started), "until": str(tmp_path / "never")})
            until(started.exists)
            pids = list(service.children())
            service.process.send_signal(signal.SIGINT)
            until(lambda: "stopping" in words(service.log))
            service.process.send_signal(signal.SIGINT)
            assert service.process.wait(COMMAND_TIMEOUT_S) == 130
            until(lambda: not any(is_running(pid) for pid in pids))

    def test_without_its_emulator_it_says_so_and_ends(self, tmp_path: Path) -> None:
        with running(tmp_path) as service:
            pids = service.children()
            (emulator,) = [pid for pid, command in pids.items() if "emulator_process" in command]
            os.kill(emulator, signal.SIGKILL)
            assert service.process.wait(COMMAND_TIMEOUT_S) == 1
            assert "the emulator has ended unasked" in words(service.log)
            until(lambda: not any(is_running(pid) for pid in pids))

    def test_another_endpoint_is_used_and_left_running(self, tmp_path: Path) -> None:
        with Emulator.start() as emulator:
            with running(tmp_path, "--endpoint-url", emulator.endpoint_url) as service:
                assert service.get("/health")["endpoint"] == emulator.endpoint_url
                task_id = service.create("text.statistics", {"text": "elsewhere"})
                until(lambda: service.task(task_id)["status"] == "success")
                assert not any("emulator_process" in command for command in service.children().values())
            assert emulator.alive()

    def test_handlers_of_a_new_project_are_found_and_found_again_when_they_are_saved(self, tmp_path: Path) -> None:
        project = tmp_path / "project"
        new_project("my_handlers", project)
        package = project / "my_handlers"
        go_on = tmp_path / "go-on"
        greeting = """
import time
from pathlib import Path
from chalicelib import schedule, subscribe, task


@schedule(every_s=3600, name="hello", input="all")
@task("greet")
def greet(name):
    while name == "slow" and not Path({go_on!r}).exists():
        time.sleep(0.01)
    return "WORD " + name
"""
        more = """
@subscribe("greeted")
def greeted(name):
    print("heard of", name)
"""

        def save(text: str) -> None:
            (package / "greeting.py").write_text(text.replace("{go_on!r}", repr(str(go_on))))

        save(greeting)
        with running(tmp_path, "--reload", folder=project, PYTHONPATH=str(PROJECT_ROOT)) as service:

            def greets(word: str) -> None:
                task_id = service.create("greet", "Ada")
                becomes(f"{word} Ada", lambda: service.task(task_id)["output"])

            def greets_all(every_s: int) -> None:
                becomes((200, every_s, "code"), lambda: _timed(service, "hello"))

            greets("WORD")
            greets_all(3600)
            slow = service.create("greet", "slow")
            becomes("running", lambda: service.task(slow)["status"])

            service.post("/mq/message/publish", {"topic": "greeted", "payload": {"name": "Eve"}})  # to be polled, yet
            save(greeting.replace("WORD", "hello").replace("3600", "7200") + more)
            until(lambda: "the saved handlers have taken over" in words(service.log))
            greets("hello")
            greets_all(7200)
            service.post("/mq/message/publish", {"topic": "greeted", "payload": {"name": "Ada"}})
            for name in ("Ada", "Eve"):
                until(lambda name=name: f"heard of {{'name': {name!r}}}" in words(service.log))

            save("x = (\n")
            until(lambda: "the handlers go on as they were" in words(service.log))
            assert "my_handlers/greeting.py:1: SyntaxError" in words(service.log)
            greets("hello")
            go_on.touch()
            becomes("WORD slow", lambda: service.task(slow)["output"])


def _timed(service: Service, name: str) -> tuple[int, Any, Any]:
    status, found = service.call("GET", f"/api/schedule/detail?name={name}")
    return status, found.get("everyS"), found.get("source")


def _accepts_nothing_without_its_folder(service: Service, state: Path) -> None:
    """Data that cannot be saved is told, refused after a while, and accepted again once it can be."""
    away = state.rename(state.with_name("away"))
    state.write_text("a file where the folder was")
    until(lambda: _publish(service)[0] == 503)
    health, dependencies = service.call("GET", "/health")
    assert (health, dependencies["dependencies"]["data"]["status"]) == (503, "failing")
    assert f"File exists: '{state}'" in dependencies["dependencies"]["data"]["detail"]
    until(lambda: REFUSED in words(service.log))
    assert f"up: the data cannot be saved, what is accepted now is in memory only: {FAILURE}" in words(service.log)
    state.unlink()
    away.rename(state)
    until(lambda: SAVED_AGAIN in words(service.log))
    becomes("saved", lambda: service.call("GET", "/health")[1]["dependencies"]["data"]["detail"])
    accepted = _publish(service)[1]["id"]
    until(lambda: f'"{accepted}"' in _saved_tables(state.parent))


def _publish(service: Service) -> tuple[int, Any]:
    return service.call("POST", "/mq/message/publish", {"topic": "polled.only", "payload": {}})


def _saved_tables(data: Path) -> str:
    file = data / "state" / "dynamodb.json"
    return file.read_text() if file.exists() else ""
