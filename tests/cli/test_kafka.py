"""`taskyard kafka` where little or nothing is bridged; with a broker see tests/e2e/test_kafka.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from chalicelib import aws, settings
from chalicelib.cli.main import main
from chalicelib.core.kafka import Record, Standing
from chalicelib.engine.bridge import inward, status
from chalicelib.services import installation
from chalicelib.store.kafka_members import KafkaMembers
from tests.support.kafka import kafka
from tests.support.yards import Bench, moto_bench

IN = {"topic": "orders", "direction": "in"}
OUT = {"topic": "sent", "direction": "out"}
STAGE = "bridged"  # declared nowhere, so that its settings are those of the environment
NOWHERE = "127.0.0.1:1"  # where nothing listens


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("TASKYARD_STAGE", STAGE)
    with moto_bench(chosen=settings.Settings(stage=STAGE, watch="off")) as found:
        forget()
        yield found
    forget()


def forget() -> None:
    installation.use(None)
    settings.current.cache_clear()
    from chalicelib.engine.handlers.registry import registry

    registry.cache_clear()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no broker is, nobody waits for one."""
    monkeypatch.setattr(status, "LIMIT_S", 0.5)


def run(command: str, *options: str, topics: object = None, brokers: str = NOWHERE) -> Result:
    bridged = {} if topics is None else {"TASKYARD_KAFKA": brokers, "TASKYARD_KAFKA_TOPICS": json.dumps(topics)}
    return CliRunner().invoke(main, ["kafka", command, "--stage", STAGE, *options], env=bridged)


@pytest.mark.usefixtures("bench")
def test_where_nothing_is_bridged_it_says_so() -> None:
    ended = run("status")
    assert (ended.exit_code, ended.stdout) == (0, "no topic is bridged: TASKYARD_KAFKA_TOPICS names none\n")


@pytest.mark.usefixtures("bench")
def test_what_waits_to_go_out_is_known_without_kafka() -> None:
    ended = run("status", "--json", topics=[OUT])
    waiting = {"topic": "sent", "kafka": "sent", "waiting": 0, "exact": True}
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, {"inward": [], "outward": [waiting], "error": None})


@pytest.mark.usefixtures("hasty")
def test_while_kafka_is_away_it_shows_what_the_ledger_knows(bench: Bench) -> None:
    standing = Standing("orders", 1, 7, "messages wait", "gone")
    KafkaMembers(bench.yard.directory.table).report("host-1/g", [standing], time.time_ns() // 1_000_000)
    ended = run("status", "--json", topics=[IN, OUT])
    told = json.loads(ended.stdout)
    assert ended.exit_code == 3
    assert "Kafka does not answer" in told["error"]
    assert [each["waiting"] for each in told["outward"]] == [0]
    (row,) = told["inward"]
    assert (row["partition"], row["committed"], row["end"], row["lag"]) == (1, 7, None, None)
    assert (row["member"], row["paused"], row["error"]) == ("host-1", "messages wait", "gone")


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(("start", "lag"), [("earliest", 3), ("latest", None)])
def test_a_topic_that_is_not_there_and_one_that_was_never_read(start: str, lag: int | None) -> None:
    with kafka() as cluster:
        there = cluster.topic(1)
        cluster.write(there, [b"1"] * 3)
        topics = [{**IN, "kafka": "ordres"}, {**IN, "topic": "b", "kafka": there, "start": start}]
        ended = run("status", "--json", topics=topics, brokers=cluster.bootstrap)
    missing, unread = json.loads(ended.stdout)["inward"]
    assert (missing["kafka"], missing["partition"], missing["error"]) == ("ordres", None, status.NO_TOPIC)
    assert (unread["committed"], unread["end"], unread["lag"]) == (None, 3, lag)


@pytest.mark.usefixtures("bench", "hasty")
@pytest.mark.parametrize(
    ("command", "topics", "brokers", "code", "said"),
    [
        ("status", [IN], NOWHERE, 3, "Kafka does not answer"),
        ("status", [IN], "", 2, "TASKYARD_KAFKA: the brokers of Kafka cannot be told"),
        (
            "run",
            [IN],
            '{"bootstrap.servers": "a:1", "security.protocol": "FOO"}',
            2,
            "got another value of security.protocol",
        ),
        ("status", [{"topic": "a"}], NOWHERE, 2, "TASKYARD_KAFKA_TOPICS[0]"),
        ("run", [OUT], NOWHERE, 2, "TASKYARD_KAFKA_TOPICS: no topic comes from Kafka"),
    ],
)
def test_what_is_wrong_is_said(command: str, topics: object, brokers: str, code: int, said: str) -> None:
    ended = run(command, topics=topics, brokers=brokers)
    assert ended.exit_code == code
    assert said in ended.stderr


def test_what_is_large_goes_to_the_bucket_of_the_stage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Record("orders", 0, 0, 1_790_000_000_000, None, json.dumps("x" * 300_000).encode())
    monkeypatch.setattr(inward, "run_all", lambda bridges, _: bridges[0].take([large]))
    assert run("run", topics=[IN]).stdout == "bringing in orders; Ctrl-C ends it\n"
    bucket = f"taskyard-{STAGE}-123456789012-{bench.yard.settings.region}"
    (stored,) = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert stored["Size"] > 300_000
