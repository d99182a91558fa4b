"""`taskyard kafka` where little or nothing is bridged; with a broker see tests/e2e/test_kafka.py."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from chalicelib import aws, settings
from chalicelib.cli.main import main
from chalicelib.core.kafka import Record
from chalicelib.engine.bridge import inward, status
from chalicelib.services import installation
from tests.support.yards import Bench, moto_bench

IN = {"topic": "orders", "direction": "in"}
OUT = {"topic": "sent", "direction": "out"}
STAGE = "bridged"  # declared nowhere, so that its settings are those of the environment
NOWHERE = "127.0.0.1:1"  # where nothing listens


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("TASKYARD_STAGE", STAGE)
    monkeypatch.setattr(status, "LIMIT_S", 0.2)
    with moto_bench(chosen=settings.Settings(stage=STAGE, watch="off")) as found:
        forget()
        yield found
    forget()


def forget() -> None:
    installation.use(None)
    settings.current.cache_clear()
    from chalicelib.engine.handlers.registry import registry

    registry.cache_clear()


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
    assert (ended.exit_code, json.loads(ended.stdout)) == (0, {"inward": [], "outward": [waiting]})


@pytest.mark.usefixtures("bench")
@pytest.mark.parametrize(
    ("command", "topics", "brokers", "code", "said"),
    [
        ("status", [IN], NOWHERE, 1, "Kafka does not answer"),
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
