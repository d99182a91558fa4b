"""One installation and what AWS does for it: event sources that call the functions, time that passes.

The functions are called with events of AWS's shape, by the rules of the local runtime: lanes in strict order, batches
of ten, what a function reports comes back, the rest is deleted. What AWS does by itself goes by a client of its own, so
the calls of the service can be disturbed, or counted, without it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.core.bulk import BulkState
from chalicelib.core.errors import TaskyardError
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.lanes import SOONEST_FIRST, Lane, sqs_name
from chalicelib.core.limits import counts_schedule
from chalicelib.core.schedules import fingerprint_of
from chalicelib.core.states import State
from chalicelib.core.waking import UNSENT_GRACE_MS
from chalicelib.engine.clock.bulk import ABANDONED_AFTER_MS
from chalicelib.engine.clock.due import STALE_AFTER_MS, is_stale
from chalicelib.engine.clock.flow import free_places, next_token_ms
from chalicelib.engine.clock.leases import LEASE_REPAIR_GRACE_MS
from chalicelib.engine.clock.tick import HOUR_MS
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.interruptions import Interruption
from chalicelib.engine.projections import events
from chalicelib.engine.publish.slots import AHEAD_MS
from chalicelib.engine.yard import Yard, build
from chalicelib.functions import clock, dead_letters, projector, worker
from chalicelib.functions.events import LambdaContext, batch_response, received
from chalicelib.local.batches import failed_ids
from chalicelib.local.lambda_events import scheduled_event, sqs_event
from chalicelib.queue.contract import BATCH_MAX_MESSAGES
from chalicelib.queue.webhooks import Reply
from chalicelib.services.current import at_work
from chalicelib.store.attribute_values import from_attribute_values
from chalicelib.store.bulk_acts import KIND
from chalicelib.store.graphs import GRAPH_PART, Graph, graph_of
from chalicelib.store.job_items import STATE_PART, decoded
from chalicelib.store.schedules import DECLARED, DUE
from chalicelib.store.wait_lists import RATE, WAIT_LIST, list_name, of_pause
from chalicelib.testing import cloud
from chalicelib.testing.clock import MovableClock

BATCHES_MAX = 1_000  # in one go; more is a flow that feeds itself for ever
STREAM_BATCH = 100
FUNCTION_LIMIT_MS = 60_000  # of the functions beside the worker
SHARD = "shard-1"  # moto's streams have one
QUEUE_ARN = f"arn:aws:sqs:{cloud.REGION}:{cloud.ACCOUNT}"
QUEUE_URL = f"https://sqs.{cloud.REGION}.amazonaws.com/{cloud.ACCOUNT}"

Function = Callable[[Yard, Mapping[str, Any], Any], Any]


class WorkerDied(Interruption):
    """The process ends here, as by kill -9: neither a handler nor the service outlives it."""


class Restless(TaskyardError):
    """A flow does not come to rest."""


@dataclass(frozen=True, slots=True)
class Remaining:
    """The part of Lambda's context object that the functions use."""

    ms: int

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda ends the function."""
        return self.ms


@dataclass(frozen=True, slots=True)
class Posted:
    """What a webhook would have been sent."""

    url: str
    document: dict[str, Any]
    headers: dict[str, str]


@dataclass(slots=True)
class World:
    """An installation on a ``cloud``, and all that surrounds it.

    ``sqs`` is AWS's own client, ``lasting`` the queues that the template made, ``exits`` the codes with which workers
    have ended themselves, ``posted`` what webhooks would have been sent.
    """

    yard: Yard
    clock: MovableClock
    registry: Registry
    sqs: Any
    lasting: Mapping[str, Any]
    exits: list[int] = field(default_factory=list)
    posted: list[Posted] = field(default_factory=list)
    told: int = 0  # how many records of the stream the projector has had

    # -- processes ----------------------------------------------------------------------------

    def restart(self, registry: Registry | None = None) -> None:
        """The process ends; the next one has a new block of ids and empty caches."""
        self.registry = registry or self.registry
        self.yard = build(self.registry, self.yard.settings, now_ms=self.clock, exit_process=self.exits.append)

    def invoke(self, function: Function, event: Mapping[str, Any], remaining_ms: int) -> Any:
        """One invocation of a Lambda function; ``None`` if its process died."""
        try:
            with at_work(self.yard):
                return function(self.yard, event, Remaining(remaining_ms))
        except WorkerDied:
            self.restart()
        return None

    # -- the event sources --------------------------------------------------------------------

    def consumed(self) -> list[str]:
        """The SQS names of the queues that functions are fed from, those that come first first."""
        base = self.yard.settings.base_name
        lanes = [Lane(queue, band) for queue, bands in self.registry.queues.items() for band in bands]
        in_order = sorted(lanes, key=lambda lane: SOONEST_FIRST.index(lane.band))
        names = [sqs_name(base, lane) for lane in in_order]
        return [*names, self.yard.settings.dead_letter_queue, self.yard.settings.hooks_queue]

    def function_of(self, name: str) -> Function:
        """The function that a queue feeds."""
        if name == self.yard.settings.dead_letter_queue:
            return dead_letters.handle
        return self._report if name == self.yard.settings.hooks_queue else worker.handle

    def deliver_batch(self, name: str, remaining_ms: int | None = None) -> list[str] | None:
        """One batch of a queue to its function; returns what came back, ``None`` if the function's process died."""
        url = f"{QUEUE_URL}/{name}"
        messages = self.receive(url, self.most_of(name))
        limit_ms = self.yard.settings.function_timeout_s * 1_000 if remaining_ms is None else remaining_ms
        response = self.invoke(self.function_of(name), sqs_event(messages, f"{QUEUE_ARN}:{name}"), limit_ms)
        if response is None:
            return None
        back = failed_ids(response, [message["MessageId"] for message in messages])
        self.settle(url, messages, back)
        return [message["MessageId"] for message in messages if message["MessageId"] in back]

    def most_of(self, name: str) -> int:
        """How many messages a queue's function gets at once: nothing is waited for, as the time stands still."""
        lanes = [Lane(queue, band) for queue in self.registry.batches for band in self.registry.queues[queue]]
        gathered = {sqs_name(self.yard.settings.base_name, lane): self.registry.batches[lane.queue] for lane in lanes}
        return gathered[name].max_size if name in gathered else BATCH_MAX_MESSAGES

    def receive(self, url: str, most: int) -> list[Any]:
        """Up to so many messages that a queue shows now."""
        messages: list[Any] = []
        while len(messages) < most:  # SQS hands out ten at a time
            answer = self.sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(BATCH_MAX_MESSAGES, most - len(messages)),
                MessageSystemAttributeNames=["All"],
            )
            if not answer.get("Messages"):
                break
            messages += answer["Messages"]
        return messages

    def settle(self, url: str, messages: Sequence[Any], back: set[str]) -> None:
        """What the event source mapping does with the messages of an invocation: delete what need not come back."""
        for message in messages:
            if message["MessageId"] not in back:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def deliver(self) -> None:
        """Deliver until no function's queue shows a message. Raises ``Restless``."""
        for _ in range(BATCHES_MAX):
            name = next((name for name in self.consumed() if self.shows(name)), None)
            if name is None:
                return
            self.deliver_batch(name)
        raise Restless(f"messages keep showing up: {BATCHES_MAX} batches, and more", got=self._restless_job())

    def tick(self) -> dict[str, int] | None:
        """One minute's run of the clock function; returns what it touched."""
        event = scheduled_event("clock", str(uuid.uuid4()), cloud.REGION, self.clock.ms / 1_000)
        ticked: dict[str, int] | None = self.invoke(clock.handle, event, FUNCTION_LIMIT_MS)
        return ticked

    def project(self) -> None:
        """What is new in the change stream, to the projector."""
        records = self.stream()
        while self.told < len(records):
            batch = records[self.told : self.told + STREAM_BATCH]
            if self.invoke(projector.handle, {"shardId": SHARD, "Records": batch}, FUNCTION_LIMIT_MS) is not None:
                self.told += len(batch)

    # -- time ---------------------------------------------------------------------------------

    def next_event_ms(self, *, slots: bool = True) -> int | None:
        """When something will happen next, ``None`` if nothing will; ``slots``: or a schedule makes a job."""
        shown = [at_ms for name in self.consumed() for at_ms in cloud.shown_at_ms(name)]
        return min([*shown, *self.clock_times_ms(slots=slots)], default=None)

    def clock_times_ms(self, *, slots: bool = True) -> list[int]:
        """When the clock function will have something to do; with ``slots``, also for schedules."""
        jobs = {job.id: job for job in self.jobs()}
        times = [int(item["name"][:13]) + UNSENT_GRACE_MS + 1 for item in self.items("directory", "outbox")]
        due = [item["name"] for item in self.items("directory") if item["kind"].startswith(DUE)]
        times += [int(name[:13]) - AHEAD_MS for name in due if slots]
        times += [self.clock.ms] if slots and self._declares_others() else []
        for job in jobs.values():
            parent = jobs.get(job.parent_id or 0)
            if job.wake_at_ms is not None and not (
                job.blocked and (parent is None or parent.state is not State.SUCCESS)
            ):
                times.append(job.wake_at_ms)
            if job.state is State.RUNNING:
                times.append((job.lease_until_ms or 0) + LEASE_REPAIR_GRACE_MS + 1)
            if is_stale(job, self.clock.ms - STALE_AFTER_MS):
                times += [item.get("stale_resent", 0) + HOUR_MS for item in self.items("directory", "clock")]
        acts = [item for item in self.items("directory", KIND) if item["state"] == BulkState.RUNNING]
        times += [act["stepped_at_ms"] + ABANDONED_AFTER_MS for act in acts]
        times += [graph.wake_at_ms or self.clock.ms for graph in self.graphs() if self._is_left(graph, jobs.values())]
        if any(self._may_leave(item["kind"]) for item in self.items("directory") if item["kind"].startswith(WAIT_LIST)):
            times.append(self.clock.ms)
        waited_for = {item["kind"].removeprefix(WAIT_LIST) for item in self.items("directory")}
        times += [next_token_ms(self.yard, list_name(name)) for name in waited_for if name.startswith(RATE)]
        return times

    @staticmethod
    def _is_left(graph: Graph, jobs: Iterable[Job]) -> bool:
        """Whether a graph goes on only if the clock looks after it: it is not done, and none of its tasks goes on."""
        return not graph.state.final and all(job.state.terminal for job in jobs if job.graph == graph.id)

    def _declares_others(self) -> bool:
        """Whether the clock has not made the schedules yet that the handlers declare."""
        known = [item["fingerprint"] for item in self.items("directory", DECLARED["kind"])]
        return [fingerprint_of(self.yard.handlers.schedules.values())] != (known or [fingerprint_of([])])

    def _may_leave(self, kind: str) -> bool:
        """Whether the clock would send something from the wait list of this kind of items."""
        wait_list = kind.removeprefix(WAIT_LIST)
        resumed = [of_pause(item["target"]) for item in self.items("directory", "pause") if item.get("resuming")]
        if wait_list in resumed:
            return True
        is_pause = wait_list == of_pause(list_name(wait_list))
        return not (is_pause or counts_schedule(list_name(wait_list))) and free_places(self.yard, wait_list) != 0

    # -- the world as it is, read from moto's own memory ---------------------------------------

    def jobs(self) -> list[Job]:
        """Every job on the ledger, oldest first."""
        return [job for job in self.records() if isinstance(job, Job)]

    def job(self, job_id: int) -> Job:
        """A job as it stands."""
        (found,) = [job for job in self.jobs() if job.id == job_id]
        return found

    def records(self) -> list[Job | Tombstone]:
        """Every job and every tombstone, oldest first."""
        found = [decoded(item) for item in self.items("jobs") if item["part"] == STATE_PART]
        return sorted((record for record in found if record is not None), key=lambda record: record.id)

    def graphs(self) -> list[Graph]:
        """Every graph of tasks, oldest first."""
        found = [graph_of(item) for item in self.items("jobs") if item["part"] == GRAPH_PART]
        return sorted(found, key=lambda graph: graph.id)

    def items(self, table: str, kind: str | None = None) -> list[dict[str, Any]]:
        """Everything in a table (``jobs``, ``directory`` or ``insights``); of the directory, perhaps one kind only."""
        rows = cloud.tables()[f"{self.yard.settings.base_name}-{table}"].items
        writes = [item.to_json()["Attributes"] for items in rows.values() for item in items.values()]
        found = [from_attribute_values(attribute_value) for attribute_value in writes]
        return [item for item in found if kind is None or item["kind"] == kind]

    def stream(self) -> list[dict[str, Any]]:
        """The records of the jobs table's change stream, oldest first."""
        shard = cloud.tables()[self.yard.settings.jobs_table].stream_shard
        return [record.to_json() for record in shard.items]

    def messages(self, name: str | None = None) -> list[Any]:
        """What SQS holds in one queue, or in all."""
        queues = cloud.queues()
        return [message for queue in ([name] if name else queues) for message in queues[queue]._messages]

    def shows(self, name: str) -> bool:
        """Whether a queue has a message that can be received now."""
        return any(at_ms <= self.clock.ms for at_ms in cloud.shown_at_ms(name))

    def objects(self) -> list[str]:
        """The keys in the bucket."""
        return list(cloud.buckets()[self.yard.settings.objects_bucket].keys)

    def _report(self, yard: Yard, event: Mapping[str, Any], context: LambdaContext) -> dict[str, Any]:
        """The function of hooks, whose posts go nowhere."""
        return batch_response(events.deliver(yard, received(event), context.get_remaining_time_in_millis, self._post))

    def _post(self, url: str, body: bytes, headers: Mapping[str, str], *, local: bool) -> Reply:
        del local
        self.posted.append(Posted(url, json.loads(body), dict(headers)))
        return Reply(204)

    def _restless_job(self) -> str:
        unfinished = [f"{job.kind} {job.id} ({job.type}, {job.state})" for job in self.jobs() if not job.state.terminal]
        return ", ".join(unfinished[:3]) or "no unfinished job"

    # -- what never happens on AWS ---------------------------------------------------------------

    def forget(self, job: Job) -> None:
        """The ledger and its stream have never heard of a job."""
        table = cloud.tables()[self.yard.settings.jobs_table]
        for key in [key for key in table.items if key.value == str(job.id)]:
            del table.items[key]
        kept = [record for record in table.stream_shard.items if _job_id(record) != job.id]
        self.told -= sum(1 for record in table.stream_shard.items[: self.told] if _job_id(record) == job.id)
        table.stream_shard.items[:] = kept


def _job_id(record: Any) -> int:
    return int(record.to_json()["dynamodb"]["Keys"]["job"]["N"])
