"""What a message carries beside its text: the trace of whoever sends it, while tracing is on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import settings
from chalicelib.core.lanes import Band, Lane
from chalicelib.queue.contract import OutgoingMessage
from chalicelib.queue.sqs import TRACE_VARIABLE, SqsTransport
from tests.support.yards import moto_bench

LANE = Lane("default", Band.NORMAL)
HEADER = "Root=1-67891233-abcdef012345678912345678;Parent=463ac35c9f6413ad;Sampled=1"
PARCELS = [OutgoingMessage(LANE, f"text {number}") for number in range(12)]


@pytest.fixture
def transport() -> Iterator[SqsTransport]:
    with moto_bench() as bench:
        made: Any = bench.yard.transport
        yield made


def sent(transport: SqsTransport) -> dict[str, str | None]:
    """The texts and trace headers of what the lane holds."""
    received = transport.receive(transport.source_of(LANE), 10, hide_s=60, wait_s=0)
    return {message.text: message.trace_header for message in received}


def asked(transport: SqsTransport) -> list[dict[str, Any]]:
    """The entries of every batch that SQS is asked to send from now on; moto forgets what a batch says of traces."""
    entries: list[dict[str, Any]] = []

    def hook(params: dict[str, Any], **_: Any) -> None:
        entries.extend(params["Entries"])

    transport.client.meta.events.register("provide-client-params.sqs.SendMessageBatch", hook)
    return entries


@pytest.mark.parametrize("header", [HEADER, None, ""])
def test_a_message_carries_the_header_of_the_invocation(
    transport: SqsTransport, monkeypatch: pytest.MonkeyPatch, header: str | None
) -> None:
    monkeypatch.delenv(TRACE_VARIABLE, raising=False)
    if header is not None:
        monkeypatch.setenv(TRACE_VARIABLE, header)
    transport.tracing = True
    transport.send(PARCELS[0])

    assert sent(transport) == {PARCELS[0].text: header or None}


def test_every_message_of_a_batch_carries_it(transport: SqsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACE_VARIABLE, HEADER)
    transport.tracing = True
    entries = asked(transport)
    assert transport.send_many(PARCELS) == []

    attributes = {"AWSTraceHeader": {"DataType": "String", "StringValue": HEADER}}
    assert [entry["MessageSystemAttributes"] for entry in entries] == [attributes] * 12


def test_without_tracing_a_message_carries_none(transport: SqsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACE_VARIABLE, HEADER)
    entries = asked(transport)
    transport.send(PARCELS[0])
    assert transport.send_many(PARCELS[1:5]) == []

    assert sent(transport) == {outgoing.text: None for outgoing in PARCELS[:5]}
    assert [sorted(entry) for entry in entries] == [["DelaySeconds", "Id", "MessageBody"]] * 4


def test_the_header_counts_for_no_size_limit(transport: SqsTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TRACE_VARIABLE, HEADER)
    transport.tracing = True
    largest = OutgoingMessage(LANE, "x" * 1_048_576)
    transport.send(largest)

    assert sent(transport) == {largest.text: HEADER}


@pytest.mark.parametrize(("chosen", "tracing"), [("on", True), ("off", False), (None, False)])
def test_the_settings_say_whether_messages_are_traced(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, *, tracing: bool
) -> None:
    monkeypatch.delenv("TASKYARD_TRACING", raising=False)
    if chosen is not None:
        monkeypatch.setenv("TASKYARD_TRACING", chosen)
    settings.current.cache_clear()
    try:
        assert SqsTransport(None, "taskyard-dev", LANE).tracing is tracing
    finally:
        settings.current.cache_clear()
