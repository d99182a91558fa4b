"""The commands of the bridge to Kafka: how it stands, and the bridge alone. They work on AWS and Kafka themselves."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import asdict
from typing import Any

import click

from chalicelib.cli.common import UNREACHABLE
from chalicelib.cli.keys import works_on_aws
from chalicelib.cli.numbers import Whole
from chalicelib.cli.output import complain, present, show_record, show_rows, show_text

INWARD = {
    "TOPIC": "topic",
    "FROM": "kafka",
    "GROUP": "group",
    "PARTITION": "partition",
    "COMMITTED": "committed",
    "END": "end",
    "LAG": "lag",
    "READ BY": "member",
    "PAUSED": "paused",
    "ERROR": "error",
}
MEMBERS = {
    "MEMBER": "member",
    "PARTITIONS": "partitions",
    "REPORTED": "reported",
    "COMMITTED": "committed",
    "ERROR": "error",
}
OUTWARD = {"TOPIC": "topic", "TO": "kafka", "WAITING": "waiting"}


@click.group()
def kafka() -> None:
    """The topics that are bridged to Kafka (docs/kafka.md)."""


@kafka.command()
@works_on_aws
def status(as_json: bool) -> None:
    """How far each partition is behind that comes in, who reads them, and what waits to go out."""
    from chalicelib.engine.bridge.status import inward_status, outward_status
    from chalicelib.engine.kafka_members import members_status
    from chalicelib.services import installation

    yard = installation.yard()
    inward, trouble = inward_status(yard)
    rows = {
        "inward": [asdict(each) for each in inward],
        "members": [asdict(each) for each in members_status(yard)],
        "outward": [asdict(each) for each in outward_status(yard)],
        "error": None if trouble is None else str(trouble),
    }
    present(rows, as_json, _show)
    if trouble is not None:
        complain(str(trouble))
        sys.exit(UNREACHABLE)


@kafka.command()
@click.argument("job_id", metavar="ID", type=Whole(1))
@click.option("--most-bytes", type=Whole(1), default=1_024, show_default=True, help="Of its value.")
@works_on_aws
def record(job_id: int, most_bytes: int, as_json: bool) -> None:
    """The record of the dead letter ID, which could not be read: where it stood, and its bytes as base64."""
    from chalicelib.engine.bridge.status import record_of
    from chalicelib.services import installation

    present(record_of(installation.yard(), job_id, most_bytes), as_json, show_record)


@kafka.command()
@works_on_aws
def run(as_json: bool) -> None:
    """Bring records in, and nothing else, until Ctrl-C or SIGTERM; any number of processes share the partitions."""
    from chalicelib.core.errors import InvalidInput
    from chalicelib.engine.bridge.inward import inward_bridges, run_all
    from chalicelib.local.ledger_saves import saves_here
    from chalicelib.services import installation
    from infra.deploy.bucket import choose_bucket

    choose_bucket()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    bridges = inward_bridges(installation.yard(), saves_here())
    if not bridges:
        expected = 'topics with "direction": "in"'
        raise InvalidInput("no topic comes from Kafka", field="TASKYARD_KAFKA_TOPICS", expected=expected)
    topics = [each.topic for bridge in bridges for each in bridge.topics.values()]
    present({"topics": topics}, as_json, lambda _: show_text(f"bringing in {', '.join(topics)}; Ctrl-C ends it"))
    run_all(bridges, stopping)


def _show(rows: Any) -> None:
    if rows["inward"]:
        show_rows(rows["inward"], INWARD)
    if rows["members"]:
        show_rows(rows["members"], MEMBERS)
    if rows["outward"]:
        show_rows(rows["outward"], OUTWARD)
    if not (rows["inward"] or rows["outward"] or rows["error"]):
        show_text("no topic is bridged: TASKYARD_KAFKA_TOPICS names none")
