"""The queues: as declared, and nothing left in lanes that are declared no longer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from chalicelib import aws
from chalicelib.core.lanes import DIGEST_CHARS, LABELS, Lane, sqs_name
from chalicelib.queue.sqs import DEPTH_ATTRIBUTES
from chalicelib.store.directory import Directory
from chalicelib.store.table import Table
from infra.deploy.stack import QUEUE_TYPE
from infra.doctor.findings import Check, Level, Observation, about, compared, ok
from infra.doctor.installation import Installation, as_json
from infra.queues import DEAD_LETTER_QUEUE

AREA = "queues"
PAGE = 1_000  # queues; without it, SQS tells no more than these and not that there are more
UNDECLARED_LOOKED_AT_MAX = 200  # queues; each costs a call


def checks(installation: Installation) -> Iterator[Check]:
    """A check of each declared queue, and one of all others of this installation."""
    for logical_id in installation.of_type(QUEUE_TYPE):
        properties = {**installation.properties(logical_id)}
        name = properties.pop("QueueName")
        create = installation.aws(
            "sqs",
            "create-queue",
            queue_name=name,
            attributes={key: attribute_text(value) for key, value in properties.items()},
        )
        yield Check(
            area=AREA,
            subject=name,
            question=partial(_queue, installation, name, properties),
            when_missing=installation.remake(logical_id, create),
        )
    yield Check(area=AREA, subject="lanes of old", question=partial(_left_behind, installation))


def attribute_text(value: object) -> str:
    """A property of a template as SQS writes the attribute."""
    return value if isinstance(value, str) else as_json(value)


def _queue(installation: Installation, name: str, properties: Mapping[str, Any]) -> Iterator[Observation]:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    for attribute, wanted in properties.items():
        command = installation.aws(
            "sqs", "set-queue-attributes", queue_url=url, attributes={attribute: attribute_text(wanted)}
        )
        there = found.get(attribute)
        if attribute == "RedrivePolicy" and there is not None:
            there = _redrive(there)
            wanted = {**wanted, "maxReceiveCount": int(wanted["maxReceiveCount"])}
        else:
            wanted = attribute_text(wanted)
        # SQS tells a redrive policy where there is one, emulators do too.
        emulated = installation.emulated and attribute != "RedrivePolicy"
        yield compared(attribute, wanted, there, command, emulated=emulated)


def _redrive(policy: str) -> dict[str, Any]:
    parsed = json.loads(policy)
    return {**parsed, "maxReceiveCount": int(parsed["maxReceiveCount"])}  # moto and old queues write a text


def _left_behind(installation: Installation) -> Iterator[Observation]:
    """Lanes that no code declares and no client polls, but which hold messages."""
    left = _undeclared(installation)
    for url, name in left[:UNDECLARED_LOOKED_AT_MAX]:
        yield from about(name, _orphaned(installation, url))
    if len(left) > UNDECLARED_LOOKED_AT_MAX:
        yield Observation(
            level=Level.UNKNOWN,
            what="lanes that are declared no longer",
            expected=f"at most {UNDECLARED_LOOKED_AT_MAX}",
            found=f"{len(left)}",
            remedy="delete those that are empty",
        )
    if not left:
        yield ok("lanes that are declared no longer", "none")


def _undeclared(installation: Installation) -> list[tuple[str, str]]:
    """URL and name of the lanes of this installation that are neither declared nor a polled topic's."""
    base = installation.settings.base_name
    table = Table(aws.client("dynamodb"), installation.settings.directory_table, ("kind", "name"))
    known = {installation.facts[logical_id] for logical_id in installation.of_type(QUEUE_TYPE)}
    known |= {sqs_name(base, Lane.labelled(topic, label)) for topic in Directory(table).topics() for label in LABELS}
    lane = re.compile(rf"{re.escape(base)}-.+-[0-9a-f]{{{DIGEST_CHARS}}}-({'|'.join(LABELS)})")
    found = []
    pages = aws.client("sqs").get_paginator("list_queues")
    for page in pages.paginate(QueueNamePrefix=f"{base}-", PaginationConfig={"PageSize": PAGE}):
        for url in page.get("QueueUrls", ()):
            name = url.rpartition("/")[2]
            if name not in known and lane.fullmatch(name):
                found.append((url, name))
    return found


def _orphaned(installation: Installation, url: str) -> Iterator[Observation]:
    attributes = aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    target = json.loads(attributes.get("RedrivePolicy", "{}")).get("deadLetterTargetArn")
    if target != installation.facts[f"{DEAD_LETTER_QUEUE}.Arn"]:
        return  # of another installation, whose name begins as this one's
    messages = sum(int(attributes.get(depth, 0)) for depth in DEPTH_ATTRIBUTES)
    if not messages:
        yield ok("undeclared lane", "no messages")
        return
    yield Observation(
        level=Level.WARN,
        what="undeclared lane",
        expected="no messages",
        found=f"{messages} messages that nobody consumes",
        remedy=f"declare its handler again and {installation.deploy}, or poll its topic",
    )
