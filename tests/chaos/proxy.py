"""The network between the service and AWS: an HTTP proxy that does to a request what its seed says.

    python -m tests.chaos.proxy --upstream 4566 --port 4567 --seed 1 --share 0.03

``GET /_chaos/share/0.1`` lets a tenth of the requests fail, ``/_chaos/fair`` none; ``/_chaos/counts`` tells how many of
each kind there were.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

LATE_S = 4.0  # at most, and a second on average
LIMIT_BYTES = 16 * 1024 * 1024
END = b"\r\n\r\n"


class Fault(StrEnum):
    """What happens to one request."""

    CUT_BEFORE = "cut before"  # the connection ends, and nothing was done
    CUT_AFTER = "cut after"  # it was done, and the connection ends
    SLOW = "slow"  # it takes long to get there
    LATE = "late"  # its answer takes long to come back
    THROTTLED = "throttled"
    BROKEN = "broken"  # AWS answers 500
    CONFLICT = "conflict"  # another transaction holds an item
    DOUBLED = "doubled"  # a message is sent twice


ANY = (Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.SLOW, Fault.LATE, Fault.THROTTLED, Fault.BROKEN)
CONFLICTING = frozenset({"PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"})
SENDING = frozenset({"SendMessage", "SendMessageBatch"})


@dataclass(slots=True)
class Weather:
    """Which faults there are."""

    dice: Random
    share: float  # of requests
    counts: Counter[str] = field(default_factory=Counter)

    def fault(self, operation: str) -> Fault | None:
        """What happens to a request."""
        if not operation or self.dice.random() >= self.share:
            return None
        kinds = [*ANY, *([Fault.CONFLICT] * 2 if operation in CONFLICTING else [])]
        kinds += [Fault.DOUBLED] * 3 if operation in SENDING else []
        fault = self.dice.choice(kinds)
        self.counts[fault.value] += 1
        return fault


@dataclass(slots=True)
class Proxy:
    """Stands at one port and speaks to another."""

    upstream: int
    weather: Weather
    connections: set[object] = field(default_factory=set)  # asyncio itself keeps no task from being collected

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection of a client, with one of its own to AWS."""
        behind: tuple[StreamReader, StreamWriter] | None = None
        self.connections.add(asyncio.current_task())
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head, body = await _request(reader, writer)
                self.weather.counts["requests"] += 1
                if head.startswith(b"GET /_chaos/"):
                    await _answer(writer, self._told(head))
                    continue
                if behind is None or behind[1].is_closing():
                    behind = await asyncio.open_connection("127.0.0.1", self.upstream, limit=LIMIT_BYTES)
                if not await self._pass(head, body, behind, writer):
                    break
        for each in (writer, behind[1] if behind else None):
            if each is not None:
                each.close()
        self.connections.discard(asyncio.current_task())

    def _told(self, head: bytes) -> bytes:
        word = head.split(b" ")[1].rpartition(b"/")
        if word[0] == b"/_chaos/share":
            self.weather.share = float(word[2])
        elif word[2] == b"fair":
            self.weather.share = 0.0
        return json.dumps(self.weather.counts).encode()

    async def _pass(
        self, head: bytes, body: bytes, behind: tuple[StreamReader, StreamWriter], writer: StreamWriter
    ) -> bool:
        """One request and its answer; false where the connection ends."""
        operation = _operation(head)
        fault, dice = self.weather.fault(operation), self.weather.dice
        match fault:
            case Fault.CUT_BEFORE:
                return False
            case Fault.THROTTLED:
                return await _refuse(writer, 400, "ThrottlingException")
            case Fault.BROKEN:
                return await _refuse(writer, 500, "InternalServerError")
            case Fault.CONFLICT if operation == "TransactWriteItems":
                reasons = [{"Code": "TransactionConflict"} for _ in json.loads(body)["TransactItems"]]
                return await _refuse(writer, 400, "TransactionCanceledException", CancellationReasons=reasons)
            case Fault.CONFLICT:
                return await _refuse(writer, 400, "TransactionConflictException")
            case Fault.SLOW:
                await asyncio.sleep(dice.random() ** 3 * LATE_S)
            case Fault.DOUBLED:
                await self._exchange(head, body, behind)
        answer = await self._exchange(head, body, behind)
        if fault is Fault.CUT_AFTER:
            return False
        if fault is Fault.LATE:
            await asyncio.sleep(dice.random() ** 3 * LATE_S)
        writer.write(answer)
        await writer.drain()
        return True

    async def _exchange(self, head: bytes, body: bytes, behind: tuple[StreamReader, StreamWriter]) -> bytes:
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"host:", b"expect:"))]
        lines[1:1] = [f"Host: 127.0.0.1:{self.upstream}".encode()]
        behind[1].write(b"\r\n".join(lines) + body)
        await behind[1].drain()
        head = await behind[0].readuntil(END)
        if head.startswith((b"HTTP/1.1 204", b"HTTP/1.1 304")):
            return head
        length = _length(head)
        if length is None:
            return head + await _chunks(behind[0])
        return head + await behind[0].readexactly(length)


async def _request(reader: StreamReader, writer: StreamWriter) -> tuple[bytes, bytes]:
    head = await reader.readuntil(END)
    if b"\r\nexpect:" in head.lower():
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if b"\r\ntransfer-encoding:" in head.lower():
        return head, await _chunks(reader)
    return head, await reader.readexactly(_length(head) or 0)


async def _chunks(reader: StreamReader) -> bytes:
    whole = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        whole += line + await reader.readexactly(int(line, 16) + 2)
        if int(line, 16) == 0:
            return whole


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":", 1)[1])
    return None if b"\r\ntransfer-encoding:" in head.lower() else 0


def _operation(head: bytes) -> str:
    """The operation of SQS or DynamoDB; empty for any other request."""
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"x-amz-target:"):
            target = line.split(b":", 1)[1].strip().decode()
            service, _, operation = target.partition(".")
            return operation if service in ("AmazonSQS", "DynamoDB_20120810") else ""
    return ""


async def _refuse(writer: StreamWriter, status: int, code: str, **more: object) -> bool:
    await _answer(writer, json.dumps({"__type": f"com.amazonaws#{code}", "message": code, **more}).encode(), status)
    return True


async def _answer(writer: StreamWriter, body: bytes, status: int = 200) -> None:
    head = f"HTTP/1.1 {status} Told\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    for name in ("upstream", "port", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--share", type=float, required=True)
    chosen = parser.parse_args()
    proxy = Proxy(chosen.upstream, Weather(Random(chosen.seed), chosen.share))  # noqa: S311 - to repeat itself
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", chosen.port, limit=LIMIT_BYTES, backlog=512)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
