"""A DynamoDB stream as an event source: each shard's records in order, a batch again and again until it succeeds.

Reading begins at the oldest record there is: the projector knows what it has counted. A child shard is read once its
parent is finished. The process that is called with a batch reads it, too: taking in a thousand records, and writing
them down for another process, would keep this one from all else for 20 to 50 ms, and a worker from its next job.

A batch costs the projector much the same whether it is of one record or of hundreds. So while records come, they are
let gather, the longer the more there are; while none come, the embedded emulator says when to look again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.local.background import Background
from chalicelib.local.change_watch import ChangeWatch
from chalicelib.local.environments import Environment, InvocationFailed
from chalicelib.local.stream_batches import BATCH_MAX, Place

POLL_PAUSE_S = 0.25  # between two looks: counters lag by about this much
BUSY_PAUSE_S = 1.0  # the same while many records come
BUSY_RECORDS = 50  # in one look
LULL_PAUSE_S = 0.05  # before a look that others' changes may bring about in vain
DISCOVERY_PAUSE_S = 30.0  # between two looks for new shards, while none has ended
FIRST_RETRY_PAUSE_S = 0.2
LONGEST_RETRY_PAUSE_S = 5.0

Answer = Mapping[str, Any]

logger = logging.getLogger(__name__)


class _GivenUp(Exception):
    """The time to stop has come before a batch could be delivered."""


class _Unread(Exception):
    """AWS does not let a batch be read; its text says why."""


@dataclass(slots=True)
class Shard:
    """How far a shard has been read."""

    place: Place
    parent: str | None
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
            except (BotoCoreError, ClientError, _Unread) as error:
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
        return max((self._read(shard) for shard in self._shards.values() if self._is_next(shard)), default=0)

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
                name = shard["ShardId"]
                self._shards.setdefault(name, Shard(Place(name), shard.get("ParentShardId")))
            if "LastEvaluatedShardId" not in described:
                break
            start = {"ExclusiveStartShardId": described["LastEvaluatedShardId"]}
        self._discover_at_s = time.monotonic() + DISCOVERY_PAUSE_S

    def _read(self, shard: Shard) -> int:
        """Let the shard's next batch be worked on; how many records it has, a full batch where another can follow now.

        It is read again until it is done. Raises ``_GivenUp`` if the time to stop comes first.
        """
        pause_s = FIRST_RETRY_PAUSE_S
        while True:
            began: list[Answer] = []
            try:
                self._environment.work({"stream": self._arn, "place": asdict(shard.place)}, began.append)
                return self._advanced(shard, began[0])
            except InvocationFailed as error:
                what = f"failed on {began[0]['begun']} records" if began else "could not begin"
                logger.warning("the projector %s and is tried again: %s", what, error)
            if time.monotonic() + pause_s >= self._deadline_at_s:
                raise _GivenUp
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_PAUSE_S)

    def _advanced(self, shard: Shard, read: Answer) -> int:
        if "unread" in read:
            raise _Unread(read["unread"])
        shard.place, shard.finished = Place(**read["place"]), read["finished"]
        if shard.finished:
            self._discover_at_s = 0.0
        return int(read["begun"]) if read["at_end"] else BATCH_MAX
