"""`taskyard up --kafka`: subscribers written for SQS run on topics of Kafka; whatever is killed, no record is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kafka import Kafka, kafka
from tests.support.kafka_deaths import POINTS
from tests.support.processes import clean_environment
from tests.support.up import Service, running
from tests.support.waiting import becomes, until

EACH = 12  # records before each death


@pytest.fixture(scope="module")
def cluster() -> Iterator[Kafka]:
    with kafka(session_ms=4_000) as found:
        yield found


@pytest.fixture(scope="module")
def topics(cluster: Kafka) -> dict[str, str]:
    """The topics on Kafka, by those here."""
    return {name: cluster.topic(2) for name in ("order.created", "invoice.sent", "deadly")}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, cluster: Kafka, topics: dict[str, str]) -> Iterator[Service]:
    bridged = [
        {"topic": "order.created", "direction": "in", "kafka": topics["order.created"]},
        {"topic": "invoice.sent", "direction": "out", "kafka": topics["invoice.sent"], "mapping": {"key": "input.id"}},
    ]
    environment = {
        "TASKYARD_KAFKA_TOPICS": json.dumps(bridged),
        "TASKYARD_HANDLERS": "chalicelib.tasks",
        "TASKYARD_LEASE_S": "2",
    }
    options = ("--kafka", cluster.bootstrap, "--workers", "1")
    with running(tmp_path_factory.mktemp("kafka"), *options, **environment) as found:
        yield found


def program(service: Service, *command: str, topics: list[dict[str, Any]], bootstrap: str) -> list[Any]:
    """The arguments of a process that works on the same installation and other topics."""
    environment = {
        **clean_environment(),
        "AWS_ENDPOINT_URL": service.endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "TASKYARD_INDEX_SHARDS": "1",
        "TASKYARD_KAFKA": bootstrap,
        "TASKYARD_KAFKA_TOPICS": json.dumps(topics),
    }
    return [[sys.executable, "-m", *command], environment]


def messages(service: Service, topic: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"/mq/message/list?topic={topic}&perPage=100")["pageData"]
    return found


def orders(start: int, count: int) -> list[bytes]:
    return [b'{"orderId": "o-%d", "amount": 7}' % number for number in range(start, start + count)]


def finish_once(service: Service, start: int, count: int) -> None:
    """Wait until those orders, whatever others there are, are done: each is one message."""
    wanted = {f"o-{number}": 1 for number in range(start, start + count)}

    def finished() -> Counter[str]:
        done = (each for each in messages(service, "order.created") if each["status"] == "COMPLETED")
        return Counter(each["payload"]["orderId"] for each in done if each["payload"]["orderId"] in wanted)

    becomes(Counter(wanted), finished)


def test_a_subscriber_written_for_sqs_runs_on_records(service: Service, cluster: Kafka, topics: dict[str, str]) -> None:
    cluster.write(topics["order.created"], orders(0, 10), headers=[("taskyard-trace-id", b"t-of-kafka")])
    finish_once(service, 0, 10)
    assert [event["event"] for event in service.events("t-of-kafka")].count("COMPLETED") == 10


def test_a_bridge_that_is_killed_is_started_again(service: Service, cluster: Kafka, topics: dict[str, str]) -> None:
    (bridge,) = (pid for pid, command in service.children().items() if "kafka_process" in command)
    os.kill(bridge, signal.SIGKILL)
    cluster.write(topics["order.created"], orders(10, 10))
    finish_once(service, 10, 10)


def test_what_is_published_goes_to_kafka(service: Service, cluster: Kafka, topics: dict[str, str]) -> None:
    body = {"topic": "invoice.sent", "payload": {"id": "i-1"}}
    published = service.post("/mq/message/publish", body)
    (record,) = until(lambda: [each for each in cluster.read(topics["invoice.sent"], 2) if each.key() == b"i-1"])
    assert json.loads(record.value()) == {"id": "i-1"}
    assert dict(record.headers())["taskyard-id"].decode() == published["id"]


def test_what_is_published_arrives_though_workers_are_killed(
    service: Service, cluster: Kafka, topics: dict[str, str]
) -> None:
    sent = [f"k-{number}" for number in range(40)]
    entries = [{"topic": "invoice.sent", "payload": {"id": each}} for each in sent]
    service.post("/mq/message/publish-batch", {"messages": entries})

    def arrived() -> set[str]:
        return {json.loads(each.value())["id"] for each in cluster.read(topics["invoice.sent"], 2)}

    for share in (1, 10, 20):
        until(lambda least=share: len(arrived() & {*sent}) >= least)
        for worker in service.workers():
            os.kill(worker, signal.SIGKILL)
    until(lambda: arrived() >= {*sent})
    becomes({"COMPLETED"}, lambda: {each["status"] for each in messages(service, "invoice.sent")})


def test_the_status_tells_the_lag_and_what_waits(service: Service, cluster: Kafka, topics: dict[str, str]) -> None:
    bridged = [
        {"topic": "order.created", "direction": "in", "kafka": topics["order.created"]},
        {"topic": "invoice.sent", "direction": "out", "kafka": topics["invoice.sent"]},
    ]
    command = ("chalicelib.cli.main", "kafka", "status", "--json", "--url", service.url)
    arguments, environment = program(service, *command, topics=bridged, bootstrap=cluster.bootstrap)

    def status() -> Any:
        """What it tells once everything is committed."""
        told = json.loads(subprocess.run(arguments, env=environment, capture_output=True, check=True).stdout)
        return told if all(not each["lag"] for each in told["inward"]) else None

    cluster.write(topics["order.created"], orders(20, 10))
    finish_once(service, 20, 10)
    told = until(status)
    assert told["outward"] == [{"topic": "invoice.sent", "kafka": topics["invoice.sent"], "waiting": 0, "exact": True}]
    assert [each["partition"] for each in told["inward"]] == [0, 1]
    assert sum(each["end"] for each in told["inward"]) == len(cluster.read(topics["order.created"], 2)) >= 10


def test_a_member_that_is_killed_at_any_step_loses_and_doubles_nothing(
    service: Service, cluster: Kafka, topics: dict[str, str]
) -> None:
    bridged = [{"topic": "deadly", "direction": "in", "kafka": topics["deadly"], "group": "deadly"}]
    module = "tests.support.kafka_deaths"
    arguments, environment = program(service, module, *POINTS, topics=bridged, bootstrap=cluster.bootstrap)
    written = 0
    with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, text=True) as dying:
        assert dying.stdout is not None
        for point in POINTS:
            cluster.write(topics["deadly"], [b"%d" % number for number in range(written, written + EACH)])
            written += EACH
            assert dying.stdout.readline() == f"{point}\n"
        becomes(Counter(range(written)), lambda: Counter(each["payload"] for each in messages(service, "deadly")))
        becomes(written, lambda: sum(offset or 0 for offset in cluster.committed("deadly", topics["deadly"], 2)))
        dying.send_signal(signal.SIGTERM)
    assert dying.returncode == 0


def test_kill_9_of_the_emulator_and_of_all_else_loses_and_doubles_no_record(tmp_path: Path, cluster: Kafka) -> None:
    topic = cluster.topic(2)
    bridged = [{"topic": "order.created", "direction": "in", "kafka": topic, "group": "lasting"}]
    options = ("--data-dir", str(tmp_path / "data"), "--kafka", cluster.bootstrap, "--workers", "1")
    environment = {
        "TASKYARD_KAFKA_TOPICS": json.dumps(bridged),
        "TASKYARD_HANDLERS": "chalicelib.tasks",
        "TASKYARD_LEASE_S": "2",
    }
    with running(tmp_path, *options, **environment) as service:
        for deaths in range(3):
            cluster.write(topic, orders(EACH * deaths, EACH))
            until(lambda least=EACH * deaths: len(messages(service, "order.created")) > least)
            (emulator,) = (pid for pid, command in service.children().items() if "emulator_process" in command)
            os.kill(emulator, signal.SIGKILL)  # first: its parent's end would let it save
            service.kill()
            service.start_again()
        finish_once(service, 0, EACH * 3)
        becomes(EACH * 3, lambda: sum(offset or 0 for offset in cluster.committed("lasting", topic, 2)))
