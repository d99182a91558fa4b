"""`taskyard kafka` where little or nothing is bridged; with a broker see tests/e2e/test_kafka.py."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result

from chalicelib import aws, settings
from chalicelib.cli.main import main
from chalicelib.core.kafka import Inward, Record, Standing
from chalicelib.core.states import Kind
from chalicelib.engine.bridge import inward, status
from chalicelib.engine.kafka_members import told_of_members
from chalicelib.engine.publish.records import accept_each
from chalicelib.services import installation
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.kafka_members import KafkaMembers, Member
from tests.support.kafka import kafka
from tests.support.yards import Bench, moto_bench

IN = {"topic": "orders", "direction": "in"}
OUT = {"topic": "sent", "direction": "out"}
STAGE = "bridged"  # declared nowhere, so that its settings are those of the environment
HOUR_MS = 3_600_000
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
    assert (ended.exit_code, json.loads(ended.stdout)) == (
        0,
        {"inward": [], "members": [], "outward": [waiting], "error": None},
    )


@pytest.mark.usefixtures("hasty")
def test_while_kafka_is_away_it_shows_what_the_ledger_knows(bench: Bench) -> None:
    standing = Standing("orders", 1, 7, "messages wait", "gone")
    now_ms = time.time_ns() // 1_000_000
    KafkaMembers(bench.yard.directory.table).report(Member("host-1/g", now_ms, (standing,), now_ms - HOUR_MS, "gone"))
    ended = run("status", "--json", topics=[IN, OUT])
    told = json.loads(ended.stdout)
    assert ended.exit_code == 3
    assert "Kafka does not answer" in told["error"]
    assert [each["waiting"] for each in told["outward"]] == [0]
    (row,) = told["inward"]
    assert (row["partition"], row["committed"], row["end"], row["lag"]) == (1, 7, None, None)
    assert (row["member"], row["paused"], row["error"]) == ("host-1", "messages wait", "gone")
    (member,) = told["members"]
    assert (member["member"], member["partitions"], member["error"]) == ("host-1/g", 1, "gone")
    assert member["committed"] == pytest.approx(HOUR_MS // 1_000, abs=600)  # by the ledger's clock


@pytest.mark.usefixtures("hasty")
def test_a_partition_is_read_by_who_reported_it_last(bench: Bench) -> None:
    """Of killed members nothing is known but their last words; names are in no order of time."""
    now_ms = time.time_ns() // 1_000_000
    one, other = (Standing("orders", number) for number in range(2))
    for member in (
        Member("host-3/g", now_ms - 9_000, (one, other), now_ms - 9_000, "gone"),
        Member("host-1/g", now_ms - 6_000, (one, other)),
        Member("host-2/a/b", now_ms - 1_000, (replace(one, offset=7),), now_ms - 4_000),
        Member("host-4/g", now_ms - 1_000, ()),
    ):
        KafkaMembers(bench.yard.directory.table).report(member)
    told = json.loads(run("status", "--json", topics=[IN]).stdout)
    assert [(row["partition"], row["member"], row["committed"]) for row in told["inward"]] == [
        (0, "host-2", 7),
        (1, "host-1", None),
    ]
    assert {each["member"]: each["partitions"] for each in told["members"]} == {
        "host-1/g": 1,
        "host-2/a/b": 1,
        "host-4/g": 0,
    }
    assert told_of_members(bench.yard).startswith("3 members read 2 partitions, last commit ")


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


def test_the_bytes_of_a_record_that_cannot_be_read_are_shown_up_to_a_limit(bench: Bench) -> None:
    odd = Record(
        "orders", 2, 7, 1_790_000_000_000, b"k\xff", b"\xfe\xff" + b"x" * 100, (("h", b"\x00"), ("none", None))
    )
    assert accept_each(bench.yard, Inward(topic="orders", source="orders", cluster="k", group="g"), [odd]) == [None]
    (dead,) = bench.yard.lists.ids(JobQuery(Kind.MESSAGE))
    told = json.loads(run("record", str(dead), "--most-bytes", "2", "--json", topics=[IN]).stdout)
    assert told == {
        "cluster": "k",
        "topic": "orders",
        "partition": 2,
        "offset": 7,
        "timestampMs": 1_790_000_000_000,
        "value": "/v8=",
        "valueBytes": 102,
        "key": "a/8=",
        "headers": [["h", "AA=="], ["none", None]],
    }
    assert "/v8=" in run("record", str(dead), "--most-bytes", "2", topics=[IN]).stdout
    missing = run("record", "99", topics=[IN])
    assert missing.exit_code != 0
    assert "no dead letter of a record" in missing.stderr


def test_what_is_large_goes_to_the_bucket_of_the_stage(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Record("orders", 0, 0, 1_790_000_000_000, None, json.dumps("x" * 300_000).encode())
    monkeypatch.setattr(inward, "run_all", lambda bridges, _: bridges[0].take([large]))
    assert run("run", topics=[IN]).stdout == "bringing in orders; Ctrl-C ends it\n"
    bucket = f"taskyard-{STAGE}-123456789012-{bench.yard.settings.region}"
    (stored,) = aws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert stored["Size"] > 300_000
