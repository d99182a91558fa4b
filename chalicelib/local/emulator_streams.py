"""The embedded emulator's change streams: a long answer is made in slices, with others served in between.

MiniStack makes an answer of a hundred records in 5 to 10 ms, writing each twice, and serves nobody else meanwhile: not
the worker that the next job waits for, either.

What is replaced is private to MiniStack and holds for the version that pyproject.toml pins.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from chalicelib.local.emulator_apis import Handler, Reply

GET_RECORDS = "DynamoDBStreams_20120810.GetRecords"
SLICE = 20  # records, in about a millisecond
MOST = 1_000  # records in an answer (GetRecords, Amazon DynamoDB API reference)
MOST_BYTES = 1_000_000  # in an answer of several slices
HEAD, NEXT = b'{"Records": [', b'], "NextShardIterator": '


def install() -> None:
    """Let MiniStack's change streams, in this process, answer so; once."""
    from ministack.services import dynamodb_streams

    dynamodb_streams._cap_page_bytes = lambda page: page  # what writes all records once more, to measure them
    dynamodb_streams.handle_request = _in_slices(dynamodb_streams.handle_request)


def _in_slices(handle: Handler) -> Handler:
    async def handle_request(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Reply:
        if headers.get("x-amz-target") != GET_RECORDS or not body:
            return await handle(method, path, headers, body, query)
        asked = json.loads(body)
        left = min(int(asked.get("Limit", MOST)), MOST)
        read: list[bytes] = []
        while True:
            slice_of = {**asked, "Limit": min(left, SLICE)}
            status, answered, text = await handle(method, path, headers, json.dumps(slice_of).encode(), query)
            if status != 200:
                return status, answered, text
            records, asked["ShardIterator"] = _parted(text)
            read += [records] if records else []
            left -= SLICE
            is_long = sum(map(len, read)) + len(records) > MOST_BYTES
            if left <= 0 or is_long or not records or asked["ShardIterator"] is None:
                return status, answered, _joined(read, asked["ShardIterator"])
            await asyncio.sleep(0)

    return handle_request


def _parted(text: bytes) -> tuple[bytes, str | None]:
    """The records of an answer, as they are written, and where the next ones begin; None: there will be none."""
    end = text.rfind(NEXT)
    if end < 0:
        return text[len(HEAD) : -len(b"]}")], None
    return text[len(HEAD) : end], json.loads(text[end + len(NEXT) : -len(b"}")])


def _joined(read: list[bytes], iterator: str | None) -> bytes:
    end = b"]}" if iterator is None else NEXT + json.dumps(iterator).encode() + b"}"
    return HEAD + b", ".join(read) + end
