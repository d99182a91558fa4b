"""A day, or more, in one process: the test kit's AWS and a clock that is moved, under steady publishing.

What has a time to live gets ``kept_s`` here, and is deleted when that is over, as moto does not do it: finished jobs,
and then their tombstones, minutes and slots, which live for 15, 400 and 90 days in an installation. So all that is
stored must stop growing once the first of it has ended, and so must the process, in whose memory moto's tables are.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from moto.core.model_instances import reset_model_data

from chalicelib.core.webhooks import Webhook, new_secret
from chalicelib.engine.projections.overview import overview_of
from chalicelib.services import graphs, messages, schedules, tasks
from chalicelib.services.current import at_work
from chalicelib.settings import Settings
from chalicelib.store import insights
from chalicelib.store import schedules as schedule_store
from chalicelib.testing import cloud
from tests.longlife.samples import Sample, kind_of
from tests.support import remembered
from tests.support.dialect_handlers.scripted import on_scripted, scripted
from tests.support.worlds import World, world

MINUTE_MS = 60_000
HOUR_S = 3_600
READ_EVERY = 5  # rounds
POLLED = "longlife.polled"
SETTLED_AFTER = 3  # times kept_s: finished, a tombstone, and gone
TOLERATED = {"objects": 500.0, "blocks": 2_000.0}  # an hour
ITEMS_TOLERATED = 1.0  # an hour, of each kind


def simulate(minutes: int, kept_s: int, every_min: int, sampled_min: int = 60) -> Iterator[list[Sample]]:
    """So many minutes with orders every so many; what there is, every so many."""
    remembered.install()  # moto takes a tenth of the time
    settings = Settings(
        index_shards=2,
        tombstone_ttl_s=kept_s,
        idempotency_ttl_s=kept_s,
        retention_completed_s=kept_s,
        retention_failed_s=kept_s,
        retention_unreplayed_s=kept_s,
    )
    with _short_lives(kept_s), world([scripted, on_scripted], settings) as lived:
        _prepare(lived)
        for minute in range(minutes):
            if minute % every_min == 0:
                _order(lived, minute // every_min)
            _go_on(lived)
            if (minute + 1) % sampled_min == 0:
                yield _samples(lived, (minute + 1) * 60)


@contextmanager
def _short_lives(kept_s: int) -> Iterator[None]:
    with patch.object(insights, "MINUTES_TTL_S", kept_s), patch.object(schedule_store, "RUNS_KEPT_S", kept_s):
        yield


def _prepare(lived: World) -> None:
    webhook = Webhook(id="w", url="http://127.0.0.1:9/in", secret=new_secret(os.urandom), created_at_ms=lived.clock.ms)
    lived.yard.directory.put_webhook(webhook)
    with at_work(lived.yard):
        schedules.create("each minute", cron="* * * * *", task={"type": "scripted", "input": {"slot": "{{slot}}"}})


def _order(lived: World, number: int) -> None:
    """A round of what clients ask for, of every kind; and in some rounds what people look at."""

    def create(given: Any, **more: Any) -> tasks.Task:
        return tasks.create(
            "scripted", target_id="t", target_type="longlife", runner_type="system", input=given, **more
        )

    with at_work(lived.yard):
        create({"n": number, "progress": [1, 2, "half"]}, idempotency_key=f"once {number}")
        create({"fail": "at first", "until": 1})
        create({"n": "later"}, delay_s=90)
        create({"reject": "for good"})
        tasks.cancel(create({"n": "never"}, delay_s=86_400))
        messages.publish("scripted.topic", {"n": number})
        messages.publish("scripted.topic", {"reject": "for good"})
        messages.publish(POLLED, {"n": number})
        plan = graphs.Builder("two")
        plan.task("second", "scripted", after=[plan.task("first", "scripted", input=1)])
        plan.start()
        if number % READ_EVERY == 0:
            tasks.list(status="success")
            messages.list(topic=POLLED)
            overview_of(lived.yard, "1h")


def _go_on(lived: World) -> None:
    """A minute of workers, consumers, projector and clock."""
    for _ in range(3):
        lived.deliver()
        lived.consume()
        _project(lived)
        lived.clock.move(MINUTE_MS // 3)
    lived.tick()
    lived.posted.clear()
    _delete_what_has_expired(lived.clock.ms // 1_000)


def _project(lived: World) -> None:
    """The change stream to the projector, and away with it: DynamoDB keeps it for a day, moto for ever."""
    lived.project()
    shard = cloud.tables()[lived.yard.settings.jobs_table].stream_shard
    shard.starting_sequence_number += len(shard.items)  # what comes has the numbers behind
    shard.items.clear()
    lived.told = 0


def _delete_what_has_expired(now_s: int) -> None:
    """As DynamoDB does it; SQS forgets what was deleted."""
    for table in cloud.tables().values():
        for part, rows in list(table.items.items()):
            for key in [key for key, item in rows.items() if _ends_s(item) < now_s]:
                del rows[key]
            if not rows:
                del table.items[part]
    for queue in cloud.queues().values():
        queue.deleted_messages.clear()


def _ends_s(item: Any) -> float:
    found = item.attrs.get("expires_at_s")
    return float("inf") if found is None else float(found.value)


def _samples(lived: World, elapsed_s: float) -> list[Sample]:
    reset_model_data()  # moto keeps a list of all items and messages that there ever were
    remembered.forget_expressions()
    counts = Counter[tuple[str, str]]()
    for name, table in cloud.tables().items():
        for rows in table.items.values():
            counts.update((name, kind_of(item.to_json()["Attributes"])) for item in rows.values())
    gc.collect()
    return [
        *(Sample(elapsed_s, f"table {name}", kind, count) for (name, kind), count in sorted(counts.items())),
        Sample(elapsed_s, "sqs", "messages", len(lived.messages())),
        Sample(elapsed_s, "s3", "objects", len(lived.objects())),
        Sample(elapsed_s, "process", "objects", len(gc.get_objects())),
        Sample(elapsed_s, "process", "blocks", sys.getallocatedblocks()),
    ]
