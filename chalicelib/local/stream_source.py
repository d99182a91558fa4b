"""A DynamoDB stream as an event source: each shard's records in order, a batch again and again until it succeeds.

Reading begins at the oldest record there is: the projector knows what it has counted. A child shard is read once its
parent is finished. Limits: iterators end after 15 minutes, records after 24 hours.

A batch costs the projector much the same whether it is of one record or of hundreds. So while records come, they are
gathered, the longer the more there are; while none come, the embedded emulator says when to look again.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.local.background import Background
from chalicelib.local.change_watch import ChangeWatch
from chalicelib.local.environments import Environment, InvocationFailed
from chalicelib.local.lambda_events import stream_event

BATCH_MAX = 1_000  # as many as Lambda's event source hands over at once; with 200, light jobs are a fifth slower
READ_MAX = 100  # in one answer: while the embedded emulator writes one of 1,000, 50 ms, it serves nobody else
POLL_PAUSE_S = 0.25  # between two looks: counters lag by about this much
BUSY_PAUSE_S = 1.0  # the same while many records come
BUSY_RECORDS = 50  # in one look
LULL_PAUSE_S = 0.05  # before a look that others' changes may bring about in vain
DISCOVERY_PAUSE_S = 30.0  # between two looks for new shards, while none has ended
FIRST_RETRY_PAUSE_S = 0.2
LONGEST_RETRY_PAUSE_S = 5.0
WINDOW_S = 60  # of the tumbling window, whose only use is that its events name their shard

logger = logging.getLogger(__name__)


def read_records_as_they_are(streams: Any) -> Any:
    """The client, whose ``GetRecords`` answers records as they came: with times as seconds since 1970, bytes in base64.

    So Lambda has them, too, and botocore's parser takes longer over an item than all the rest of its way.
    """
    streams.meta.events.register("before-parse.dynamodb-streams.GetRecords", _keep_records)
    return streams


def _keep_records(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    if response_dict["status_code"] == HTTPStatus.OK:
        answer = json.loads(response_dict["body"])
        customized_response_dict["Records"] = answer.pop("Records", [])
        response_dict["body"] = json.dumps(answer).encode()


class _GivenUp(Exception):
    """The time to stop has come before a batch could be delivered."""


@dataclass(slots=True)
class Shard:
    """How far a shard has been read."""

    parent: str | None
    iterator: str | None = None
    last_sequence: str | None = None
    finished: bool = False


class StreamSource(Background):
    """Feeds the records of a stream to one environment, while it ``leads``.

    ``changes`` tells when there may be more of them.
    """

    def __init__(
        self,
        streams: Any,
        stream_arn: str,
        environment: Environment,
        changes: ChangeWatch | None = None,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._streams = streams
        self._arn = stream_arn
        self._environment = environment
        self._changes = changes
        self._leads = leads
        self._shards: dict[str, Shard] = {}
        self._discover_at_s = 0.0
        self._draining = threading.Event()
        self._deadline_at_s = float("inf")
        self._at_end = False
        super().__init__("stream-feed")

    def drain(self, deadline_at_s: float) -> bool:
        """Read to the stream's end and stop there; false if that is not reached by then (monotonic seconds).

        Where another leads, that one reads it.
        """
        self._deadline_at_s = deadline_at_s
        self._draining.set()
        if self._changes is not None:
            self._changes.close()
        self._thread.join(max(0.0, deadline_at_s - time.monotonic()))
        return self._at_end

    def _run(self) -> None:
        while time.monotonic() < self._deadline_at_s:
            draining = self._draining.is_set()  # then this round sees all that was written before the draining began
            if not self._leads():
                if draining:
                    self._at_end = True
                    return
                self._draining.wait(POLL_PAUSE_S)
                continue
            try:
                read = self._read_round()
            except _GivenUp:
                return
            except (BotoCoreError, ClientError) as error:
                logger.warning("the stream cannot be read: %s", error)
                self._discover_at_s = 0.0
                time.sleep(POLL_PAUSE_S)
                continue
            if draining and not read:
                self._at_end = True
                return
            self._pause_after(read)

    def _pause_after(self, read: int) -> None:
        """Let more records gather; where there were none, wait for the first. Draining ends the wait."""
        if read >= BATCH_MAX:
            return
        if read or self._changes is None:
            self._draining.wait(BUSY_PAUSE_S if read >= BUSY_RECORDS else POLL_PAUSE_S)
        elif not self._draining.wait(LULL_PAUSE_S):
            self._changes.wait()

    def _read_round(self) -> int:
        """Feed one batch of every shard that may be read; how many records that were of the fullest."""
        self._discover()
        return max((self._read(name, shard) for name, shard in self._shards.items() if self._is_next(shard)), default=0)

    def _is_next(self, shard: Shard) -> bool:
        parent = self._shards.get(shard.parent or "")
        return not shard.finished and (parent is None or parent.finished)

    def _discover(self) -> None:
        if time.monotonic() < self._discover_at_s:
            return
        start: dict[str, str] = {}
        while True:
            described = self._streams.describe_stream(StreamArn=self._arn, **start)["StreamDescription"]
            for shard in described["Shards"]:
                self._shards.setdefault(shard["ShardId"], Shard(shard.get("ParentShardId")))
            if "LastEvaluatedShardId" not in described:
                break
            start = {"ExclusiveStartShardId": described["LastEvaluatedShardId"]}
        self._discover_at_s = time.monotonic() + DISCOVERY_PAUSE_S

    def _read(self, name: str, shard: Shard) -> int:
        """Feed the shard's next batch; how many records that were, a full batch where another is to be read at once."""
        records, at_end = self._gathered(name, shard)
        if records:
            self._deliver(name, records)
            shard.last_sequence = records[-1]["dynamodb"]["SequenceNumber"]
        return len(records) if at_end else BATCH_MAX

    def _gathered(self, name: str, shard: Shard) -> tuple[list[Any], bool]:
        """The shard's next records, up to a batch, and whether those are all that there are now."""
        records: list[Any] = []
        while len(records) < BATCH_MAX:
            try:
                if shard.iterator is None:
                    shard.iterator = self._iterator(name, shard)
                answer = self._streams.get_records(ShardIterator=shard.iterator, Limit=READ_MAX)
            except ClientError as error:
                self._restart(shard, error)
                return [], False
            records += answer["Records"]
            shard.iterator = answer.get("NextShardIterator")
            if shard.iterator is None:
                shard.finished = True
                self._discover_at_s = 0.0
                return records, False
            if len(answer["Records"]) < READ_MAX:
                return records, True
        return records, False

    def _iterator(self, name: str, shard: Shard) -> str:
        position: Mapping[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if shard.last_sequence is not None:
            position = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": shard.last_sequence}
        iterator: str = self._streams.get_shard_iterator(StreamArn=self._arn, ShardId=name, **position)["ShardIterator"]
        return iterator

    def _restart(self, shard: Shard, error: ClientError) -> None:
        """Take a new iterator next time: where reading has come to, or from the oldest record if that is gone."""
        code = error.response["Error"]["Code"]
        shard.iterator = None
        if code == "TrimmedDataAccessException":
            shard.last_sequence = None
        elif code != "ExpiredIteratorException":
            raise error

    def _deliver(self, name: str, records: Sequence[Any]) -> None:
        """Invoke the function until it succeeds; raises ``_GivenUp`` if the time to stop comes first."""
        pause_s = FIRST_RETRY_PAUSE_S
        while True:
            event = stream_event(records, self._arn, name, WINDOW_S, time.time())
            try:
                self._environment.invoke(event)
                return
            except InvocationFailed as error:
                logger.warning("the projector failed on %s records and is tried again: %s", len(records), error)
            if time.monotonic() + pause_s >= self._deadline_at_s:
                raise _GivenUp
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_PAUSE_S)
