"""An installation in the middle of everything, as one release leaves it to another.

It uses only what releases have in common, and runs in the checkout of any of them, from its root:

    PYTHONPATH=. python -P .../tests/support/upgrades.py record FILE     make it, and write it down
    PYTHONPATH=. python -P .../tests/support/upgrades.py work FILE       read it, and work it off to the end
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from moto.sqs.models import Message

from chalicelib import Context, Fixed, subscribe, task
from chalicelib.core.access import AccessKey
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.publish import bulk
from chalicelib.queue.sqs import COPIED_ATTRIBUTES
from chalicelib.services import (
    applications,
    dead_letters,
    graphs,
    installation,
    kue,
    messages,
    pauses,
    schedules,
    tasks,
)
from chalicelib.testing import cloud
from chalicelib.testing import world as kit
from chalicelib.testing.world import WorkerDied
from tests.support.worlds import SETTINGS, World, world

Function = TypeVar("Function", bound=Callable[..., Any])

MINUTE_MS, DAY_MS = 60_000, 86_400_000
LIFE_MS = 5 * DAY_MS // 2  # for how long the other release works
TABLES = ("jobs", "directory", "insights")
SECRET = "0123456789abcdef"  # of a webhook that nobody listens to  # noqa: S105
SETTINGS_THEN = replace(SETTINGS, hooks="on")

RAN: Counter[str] = Counter()
"""How often a handler has succeeded with what has that label."""

POLLED = ("plain", "fourth", "urgent", "soon", "later", "locked", "retried", "bulk 0", "bulk 1", "keyed")
SUBSCRIBED = ("subscribed", "half")
RUN_ONCE = (
    "plain", "large", "soon", "later", "lost", "retried", "child", "chained", "paused", "holding limited",
    "second limited", "tenth limited",
)  # fmt: skip
ENDS = {
    **{f"{name} message": "success" for name in (*POLLED, *SUBSCRIBED)},
    **{f"{name} message": "failed" for name in ("dead", "replayed")},
    **{f"{name} task": "success" for name in (*RUN_ONCE, "parked", "manual", "parent", "done")},
    "dead task": "failed",
    "canceled task": "canceled",
    "application task": "canceled",
    "waiting task": "pending",
}
"""How each of them shall end."""
RUNS = {
    **{f"{name} task": 1 for name in RUN_ONCE},
    "subscribed message": 2,
    "half message": 1,  # one of its two had succeeded before
    "after the chained task": 1,
    "first node": 0,
    "second node": 1,
    "last node": 1,
    "done task": 0,
    "canceled task": 0,
}
"""How often the handlers of each succeed under the release that works it off."""


def portable(function: Function) -> Function:
    """The same by a name that does not hang on how this module is run: the ledger notes which subscribers succeeded."""
    function.__module__ = "upgrades"
    return function


@task("old.task", max_attempts=3, backoff=Fixed(2 * MINUTE_MS))
@portable
def old_task(given: Any, context: Context) -> Any:
    """Do what the input says, and count it."""
    act = given.get("act")
    if act == "fail" or (act == "fail once" and context.attempt == 1):
        raise RuntimeError("as it was asked")
    if act == "die once" and context.attempt == 1:
        raise WorkerDied
    if act == "park":
        context.next({"told": True})
        return None
    RAN[given["label"]] += 1
    return given.get("output", given["label"])


@task("old.limited", concurrency=1)
@portable
def old_limited(given: Any, context: Context) -> Any:
    """The same, of which one runs at a time."""
    return old_task(given, context)


@task("old.paused")
@portable
def old_paused(given: Any, context: Context) -> Any:
    """The same, which is paused when the other release comes."""
    return old_task(given, context)


@subscribe("old.subscribed", max_attempts=3, backoff=Fixed(2 * MINUTE_MS))
@portable
def first(payload: Any, _context: Context) -> None:
    """A subscriber that succeeds."""
    RAN[payload["label"]] += 1


@subscribe("old.subscribed", max_attempts=3, backoff=Fixed(2 * MINUTE_MS))
@portable
def second(payload: Any, context: Context) -> None:
    """One that may fail first."""
    if payload.get("act") == "fail once" and context.attempt == 1:
        raise RuntimeError("as it was asked")
    RAN[payload["label"]] += 1


HANDLERS = (old_task, old_limited, old_paused, first, second)


@dataclass(slots=True)
class Found:
    """What was accepted: ids of jobs by their labels, and of what else there is."""

    jobs: dict[str, int]
    graph: int
    app_key: str


@contextmanager
def a_world() -> Iterator[World]:
    """A world with the handlers, on which the services act."""
    RAN.clear()
    with world(HANDLERS, SETTINGS_THEN) as found:
        found.consumes = False
        with installation.using(found.yard):
            yield found


# -- making it ------------------------------------------------------------------------------------------------


def begin(used: World) -> Found:
    """Begin work of every kind, and end none of what can be left."""
    _put_keys(used)
    found = Found({}, 0, "")
    _begin_messages(used, found)
    _begin_tasks(used, found)
    _begin_others(used, found)
    used.deliver()  # what can run has run, or has begun
    used.tick()
    kit.World.project(used)
    _begin_last(used, found)
    kit.World.project(used)
    RAN.clear()
    return found


def _put_keys(used: World) -> None:
    directory = used.yard.directory
    directory.put_access_key(AccessKey(name="shop", scopes=frozenset({"*"}), digest="d" * 64, created_at_ms=1))
    hook = Webhook(id="hook", url="https://example.com/hook", secret=SECRET, created_at_ms=1)
    directory.put_webhook(hook)


def _begin_messages(used: World, found: Found) -> None:
    def publish(label: str, topic: str = "old.polled", **more: Any) -> Any:
        made = messages.publish(topic, {"label": label, **more.pop("payload", {})}, **more)
        found.jobs[label] = made.id
        return made

    soon, later = _at(used, 10 * MINUTE_MS), _at(used, DAY_MS)
    publish("locked message")
    publish("retried message")
    for label in ("dead message", "replayed message"):
        publish(label, max_retries=1)
    for each in messages.poll("old.polled", 10, lock_timeout_ms=30_000):
        if each.id != found.jobs["locked message"]:
            messages.fail(each, "as it was asked")
    found.jobs["replay"] = dead_letters.replay(found.jobs["replayed message"]).id
    publish("plain message")
    publish("fourth message", priority=4)
    publish("urgent message", priority=10)
    publish("soon message", execute_at=soon)
    publish("later message", execute_at=later)
    publish("keyed message", idempotency_key="key")
    publish("subscribed message", "old.subscribed", execute_at=soon)
    publish("half message", "old.subscribed", payload={"act": "fail once"})


def _begin_tasks(used: World, found: Found) -> None:
    create = _creator(found)
    create("done task", output="x" * 600)
    create("dead task", act="fail", max_retries=0)
    create("retried task", act="fail once")
    create("parked task", act="park")
    create("soon task", delay_s=600)
    create("later task", delay_s=2 * DAY_MS / 1_000)
    tasks.cancel(create("canceled task", delay_s=600))
    create("manual task", runner_type="manual")
    parent = create("parent task", runner_type="manual")
    create("child task", parent=parent)
    create("holding limited task", type_="old.limited", act="die once")
    used.deliver()
    create("second limited task", type_="old.limited")
    create("tenth limited task", type_="old.limited", priority=10)
    pauses.pause("old.paused")
    used.clock.ms += MINUTE_MS // 4  # a process may know only what was so a few seconds ago
    create("paused task", type_="old.paused")
    used.deliver()


def _begin_others(used: World, found: Found) -> None:
    unknown = kue.create("old.unknown", {"label": "waiting task"}).attempts(2).save()
    found.jobs["waiting task"] = int(unknown.id or 0)
    work = {"type": "old.task", "input": {"label": "slot {{slot}}"}}
    schedules.create("old-schedule", every_s=12 * 3_600, task=work)
    drawn = graphs.Builder("old graph")
    before = drawn.task("first", "old.task", input={"label": "first node"})
    between = drawn.task("second", "old.task", input={"label": "second node"}, after=[before], delay_s=600)
    drawn.task("last", "old.task", input={"label": "last node"}, after=[between])
    found.graph = drawn.start().id
    application = applications.create("shop", "https://example.com/tasks")
    found.app_key = application.app_key
    later = _at(used, DAY_MS)
    content = {"label": "application task"}
    made = applications.create_task(found.app_key, "no 1", content, name="charge", timeout_ms=60_000, run_at=later)
    found.jobs["application task"] = made.id


def _begin_last(used: World, found: Found) -> None:
    """What nobody has touched yet: still in SQS, begun by a worker that died, or not even sent."""
    create = _creator(found)
    create("lost task", act="die once")
    used.deliver()
    create("plain task")
    create("large task", more="ü" * 300)
    create("chained task", next={"type": "old.task", "input": {"label": "after the chained task"}})
    bulk_wanted = [
        messages.NewMessage(topic="old.polled", payload={"label": f"bulk {number} message"}) for number in range(2)
    ]
    with patch.object(bulk, "send_all", side_effect=WorkerDied):
        try:
            messages.publish_many(bulk_wanted)
        except WorkerDied:
            used.restart()
    for job in used.jobs():
        label = used.yard.payloads.body(job).get("input")
        if isinstance(label, dict) and str(label.get("label", "")).startswith("bulk "):
            found.jobs[label["label"]] = job.id


def _creator(found: Found) -> Any:
    def create(label: str, type_: str = "old.task", **given: Any) -> int:
        about = {name: given.pop(name) for name in ("act", "output", "more") if name in given}
        runner = given.pop("runner_type", "system")
        made = tasks.create(
            type_, target_id="t", target_type="old", input={"label": label, **about}, runner_type=runner, **given
        )
        found.jobs[label] = made.id
        return made.id

    return create


def _at(used: World, in_ms: int) -> datetime:
    return datetime.fromtimestamp(used.clock.ms / 1_000, UTC) + timedelta(milliseconds=in_ms)


# -- working it off -------------------------------------------------------------------------------------------


def work_off(used: World, found: Found) -> None:
    """Let time pass, and people and programs do their part, until everything has ended that can."""
    jobs = found.jobs
    used.clock.ms += 5 * MINUTE_MS  # the deployment takes a while; leases end, and locks
    tasks.complete(jobs["manual task"], status="success", output="by hand")
    tasks.complete(jobs["parent task"], status="success", output="by hand")
    tasks.process_next(jobs["parked task"], json.dumps({"code": 0, "answer": 42}))
    tasks.cancel(jobs["application task"])
    again = messages.publish("old.polled", {"label": "keyed message"}, idempotency_key="key")
    assert again.id == jobs["keyed message"]
    pauses.resume("old.paused")
    used.consumes = True
    until_ms = used.clock.ms + LIFE_MS
    while (next_ms := _went_on(used)) is not None and next_ms <= until_ms:
        used.clock.ms = max(used.clock.ms, next_ms)
    kit.World.project(used)


def _went_on(used: World) -> int | None:
    """Do what there is to do at this moment, and return when there will be more."""
    used.deliver()
    kit.World.project(used)
    used.tick()
    used.deliver()
    used.consume()
    kit.World.project(used)
    next_ms = used.next_event_ms()
    return None if next_ms is None else max(next_ms, used.clock.ms + 1_000)


def ends(used: World, found: Found) -> dict[str, str]:
    """How everything stands that was accepted, by its label."""
    states = {job.id: job.state.value for job in used.jobs()}
    return {label: states.get(id_, "gone") for label, id_ in found.jobs.items() if label in ENDS}


def slots_made(used: World) -> list[int | None]:
    """For which of the schedule's slots there are jobs, each as often as there are."""
    return [job.slot_at_ms for job in used.jobs() if job.schedule == "old-schedule"]


# -- writing it down and reading it -----------------------------------------------------------------------------


def written(used: World, found: Found) -> dict[str, Any]:
    """The whole installation as JSON: its tables, its queues, and what was accepted."""
    base = used.yard.settings.base_name
    shard = cloud.tables()[f"{base}-jobs"].stream_shard
    return {
        "at_ms": used.clock.ms,
        "stream_at": str(shard.starting_sequence_number + len(shard.items)),
        "jobs": found.jobs,
        "graph": found.graph,
        "app_key": found.app_key,
        "tables": {name: _items(f"{base}-{name}") for name in TABLES},
        "queues": {name: _queue(used, name, queue) for name, queue in cloud.queues().items() if queue._messages},
    }


def read(used: World, document: Mapping[str, Any]) -> Found:
    """Make a world what was written, in moto's own memory: nothing of it is in the change stream."""
    base = used.yard.settings.base_name
    used.clock.ms = document["at_ms"]
    for name, items in document["tables"].items():
        for item in items:
            cloud.tables()[f"{base}-{name}"].put_item(item)
    shard = cloud.tables()[f"{base}-jobs"].stream_shard
    shard.items.clear()
    shard.starting_sequence_number = int(document["stream_at"])
    for name, queue in document["queues"].items():
        if name not in cloud.queues():
            used.sqs.create_queue(QueueName=name, Attributes=queue["attributes"])
        for message in queue["messages"]:
            cloud.queues()[name].add_message(_message(message))
    used.restart()
    return Found(document["jobs"], document["graph"], document["app_key"])


def _items(name: str) -> list[dict[str, Any]]:
    rows = cloud.tables()[name].items
    return [item.to_json()["Attributes"] for items in rows.values() for item in items.values()]


def _queue(used: World, name: str, queue: Any) -> dict[str, Any]:
    told = used.sqs.get_queue_attributes(QueueUrl=f"{kit.QUEUE_URL}/{name}", AttributeNames=["All"])["Attributes"]
    return {
        "attributes": {attribute: told[attribute] for attribute in COPIED_ATTRIBUTES if attribute in told},
        "messages": [
            {
                "id": each.id,
                "body": each.body,
                "system": each.system_attributes,
                "receives": each.approximate_receive_count,
                "visible_at": each.visible_at,
                "delayed_until": each.delayed_until,
                "group": each.group_id,
                "deduplication": each.deduplication_id,
                "sequence": each.sequence_number,
                "receipts": [each.receipt_handle, *each._old_receipt_handles],
            }
            for each in queue._messages
        ],
    }


def _message(given: Mapping[str, Any]) -> Message:
    message = Message(given["id"], given["body"], given["system"])
    message.mark_sent(delay_seconds=0)
    message.approximate_receive_count = given["receives"]
    message.visible_at, message.delayed_until = given["visible_at"], given["delayed_until"]
    message.group_id, message.deduplication_id = given["group"], given["deduplication"]
    message.sequence_number = given["sequence"]
    message.receipt_handle, *message._old_receipt_handles = given["receipts"]
    return message


def text_of(document: Mapping[str, Any]) -> str:
    """A document as JSON with an item or a message in each line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).replace("},{", "},\n{") + "\n"


def outcome(used: World, found: Found) -> dict[str, Any]:
    """What is to be said once everything was worked off: ``EXPECTED``, if all is well."""
    slots = slots_made(used)
    return {
        "ends otherwise": {label: end for label, end in ends(used, found).items() if end != ENDS[label]},
        "runs otherwise": {label: RAN[label] for label, times in RUNS.items() if RAN[label] != times},
        "of the graph": str(graphs.get(found.graph).status),
        "slots made once": len(slots) == len(set(slots)) == 5,
        "counters are right": used.counted() == used.counts(),
        "hooks are told": len(used.posted) > 0,
    }


EXPECTED = {
    "ends otherwise": {},
    "runs otherwise": {},
    "of the graph": "success",
    "slots made once": True,
    "counters are right": True,
    "hooks are told": True,
}


def main() -> None:
    """Record an installation, or work one off and say what was otherwise than expected."""
    act, file = sys.argv[1], Path(sys.argv[2])
    with a_world() as used:
        if act == "record":
            file.write_text(text_of(written(used, begin(used))))
            return
        found = read(used, json.loads(file.read_text()))
        work_off(used, found)
        told = outcome(used, found)
    sys.stdout.write(f"{'as expected' if told == EXPECTED else json.dumps(told)}\n")


if __name__ == "__main__":
    main()
