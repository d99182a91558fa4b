"""The functions' policies: enough for what each function does, and for nothing else.

Enough: everything that the functions call, over work that reaches every path, is allowed. Nothing else: every action
that a policy names was needed there, or by Lambda itself; and what a function has no business with is refused.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import botocore.session
import pytest
from botocore.exceptions import ClientError
from cfnlint.api import lint
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws
from moto.backends import get_backend
from moto.core.authorization import enable_iam_authentication
from moto.dynamodb.responses import DynamoHandler

from chalicelib import aws
from chalicelib import settings as service_settings
from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.core.applications import digest_of as payload_of
from chalicelib.core.applications import sign
from chalicelib.core.causes import Cause
from chalicelib.core.decisions import NEVER_STARTED, Succeeded
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job
from chalicelib.core.job_documents import from_envelope
from chalicelib.core.job_events import EventType
from chalicelib.core.kafka import Record
from chalicelib.core.lanes import DEFAULT_BANDS, TOPIC_MAX_CHARS, Band, Lane, sqs_name
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.clock.bulk import step_abandoned
from chalicelib.engine.handlers.registry import registry
from chalicelib.engine.worker.claim import claim
from chalicelib.engine.worker.follow_through import follow_through
from chalicelib.engine.worker.pause import key_target, pause, resume, type_target
from chalicelib.engine.worker.settle import settle
from chalicelib.http.description import DOCS_PATH, OPENAPI_PATH
from chalicelib.queue import hooks as hooks_queue
from chalicelib.services import dead_letters, messages, tasks
from chalicelib.services import installation as installation_of_services
from chalicelib.settings import Settings
from chalicelib.store.directory import LISTED_OF_KEYS, LISTED_OF_WEBHOOKS
from chalicelib.store.expressions import Change
from chalicelib.store.job_items import state_key
from chalicelib.store.transitions.running import Lease
from infra.deploy import stack
from infra.functions import Function, function_name
from infra.roles import ROLE_POLICIES_MAX_CHARS, policy, role_id
from infra.template import template
from tests.support.iam import (
    ACCOUNT,
    REGION,
    REGIONAL,
    Permission,
    Policy,
    Recorder,
    bucket_arn,
    object_arn,
    permissions_of,
    queue_arn,
    resolved,
    table_arn,
)
from tests.support.lambda_shapes import Time, kafka_event, sqs_event, stream_event
from tests.support.service import HANDLERS, Reply, Service, service
from tests.support.steps import failing
from tests.support.yards import CREDENTIALS, environment, forget_clients

TOPICS = [
    {"topic": "scripted.topic", "direction": "in", "kafka": "scripted", "group": "a"},
    {"topic": "from.kafka", "direction": "in", "group": "b"},
    *({"topic": name, "direction": "in", "group": name} for name in ("flow.news", "flow.line", "flow.single")),
]
KAFKA_SECRET = f"arn:aws:secretsmanager:{REGIONAL}:secret:kafka-Ab1"
KAFKA = {"bootstrapServers": ["b-1.example:9096"], "auth": "SASL_SCRAM_512_AUTH", "secret": KAFKA_SECRET}
DEV = Settings(stage="dev", bucket="objects", kafka_topics=json.dumps(TOPICS), kafka_source=json.dumps(KAFKA))
SILENT = replace(DEV, metrics="off")
RETAINING = replace(DEV, retention_completed_s=3_600, retention_failed_s=7_200, retention_unreplayed_s=7_200)
SEARCHING = replace(DEV, search="on")
FLYING = replace(DEV, canary_every_s=3_600)
ALL = replace(RETAINING, metrics="queue", search="on")  # everything that settings may add to a role
LONGEST = replace(ALL, prefix="p" * 16, stage="s" * 12, tracing="on").checked()
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
BESIDE = "x" * 1_000  # a body or output of this length becomes an item of its own
LARGE = "x" * 300_000  # and of this, an object
TRACE = "11111111-1111-4111-8111-111111111111"
HANDLERS_LEAST_CHARS = 5_000  # what a role keeps free for the handlers' own permissions

NO_HANDLERS = Path("none.json")
TEMPLATE = template(DEV, {"orders": DEFAULT_BANDS})
JOBS = table_arn(DEV.jobs_table)
STREAM = f"{JOBS}/stream/2025-06-15T15:06:40.000"
ORDERS = queue_arn(sqs_name(DEV.base_name, Lane("orders", Band.HIGH)))
DEAD_LETTERS = queue_arn(DEV.dead_letter_queue)
HOOKS, UNTOLD = queue_arn(DEV.hooks_queue), queue_arn(DEV.hooks_dead_queue)
ELSEWHERE = queue_arn("somebody-elses-queue")


def granted(function: Function, settings: Settings = DEV, built: Mapping[str, Any] = TEMPLATE) -> Policy:
    """A function's policy, without what your own handlers may need beside it."""
    return resolved(policy(settings, function, NO_HANDLERS), built)


def log_stream(function: Function) -> str:
    return f"arn:aws:logs:{REGIONAL}:log-group:/aws/lambda/{function_name(DEV, function)}:log-stream:2026/11/21/[1]ab"


# -- what Lambda does with a function's role, where no recorder sees it --------------------------------

READ_QUEUE = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
READ_STREAM = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
# Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping"; DynamoDB Developer Guide,
# "IAM policy to allow a Lambda function to access DynamoDB stream records"; Lambda, "Sending logs to CloudWatch".
BY_LAMBDA: Mapping[Function, set[Permission]] = {
    Function.API: set(),
    Function.WORKER: {Permission(action, ORDERS) for action in READ_QUEUE},  # its event sources are lanes
    Function.DEAD_LETTERS: {Permission(action, DEAD_LETTERS) for action in READ_QUEUE},  # its event source
    Function.CLOCK: set(),  # EventBridge calls it
    Function.HOOKS: {Permission(action, HOOKS) for action in READ_QUEUE},  # its event source
    Function.KAFKA: {Permission("secretsmanager:GetSecretValue", KAFKA_SECRET)},  # to read its event source
    Function.PROJECTOR: {  # its event source is the change stream
        *(Permission(action, STREAM) for action in READ_STREAM),
        Permission("dynamodb:ListStreams", f"{JOBS}/stream/*"),
    },
}


def by_lambda(function: Function) -> set[Permission]:
    """The permissions by which Lambda feeds a function and keeps its log."""
    logs = {Permission(action, log_stream(function)) for action in ("logs:CreateLogStream", "logs:PutLogEvents")}
    return {*BY_LAMBDA[function], *logs}


# -- an installation at work ---------------------------------------------------------------------------


@dataclass(slots=True)
class Installation:
    """An installation whose functions' calls are recorded; each invocation is one of a new process."""

    service: Service
    recorder: Recorder
    ids: dict[str, str] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)  # method and path of what the API answered as expected
    ticked: Counter[str] = field(default_factory=Counter)  # how many jobs each step of the clock touched
    needed: dict[Settings, Mapping[Function, set[Permission]]] = field(default_factory=dict)  # by what was chosen

    # -- the functions ------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, status: int = 200) -> Any:
        with self._invocation(Function.API):
            reply = self.service.get(path, query)
        return self._answered("GET", path, reply, status)

    def post(self, path: str, body: Mapping[str, Any], *, status: int = 200, **headers: str) -> Any:
        with self._invocation(Function.API):
            reply = self.service.post(path, body, **headers)
        return self._answered("POST", path, reply, status)

    def put(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._bare("PUT", path, body)

    def delete(self, path: str, query: str = "") -> Any:
        return self._bare("DELETE", path, query=query)

    def _bare(self, method: str, path: str, body: Mapping[str, Any] | None = None, query: str = "") -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        with self._invocation(Function.API):
            reply = self.service.request(method, path + query, content, headers)
        return self._answered(method, path, reply, 200)

    def work(self, queue: str = "default", priority: int = 0) -> None:
        """What a lane shows now, to the worker; what it is done with is deleted, as a mapping does."""
        messages = self.service.receive(queue, priority)
        assert messages, f"there is nothing in {queue}"
        with self._invocation(Function.WORKER):
            response = self.service.module.worker(sqs_event(messages), Time())
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        self.service.yard.transport.delete([message for message in messages if message.message_id not in back])

    def redrive(self, *texts: str) -> None:
        """Messages that SQS has given up, to dead_letters."""
        for text in texts:
            self.send(DEV.dead_letter_queue, text)
        messages = self.service.yard.transport.receive(DEV.dead_letter_queue, 10, hide_s=330, wait_s=0)
        assert len(messages) == len(texts)
        with self._invocation(Function.DEAD_LETTERS):
            response = self.service.module.dead_letters(sqs_event(messages), Time())
        assert response == {"batchItemFailures": []}
        self.service.yard.transport.delete(messages)

    def tick(self, after_ms: int = 0) -> dict[str, int]:
        self.service.clock.move(after_ms)
        with self._invocation(Function.CLOCK):
            ticked: dict[str, int] = self.service.module.clock({}, Time())
        self.ticked.update(ticked)
        return ticked

    def project(self) -> None:
        """All of the change stream, to the projector."""
        table = get_backend("dynamodb")[ACCOUNT][REGION].tables[DEV.jobs_table]
        records = [record.to_json() for record in table.stream_shard.items]
        with self._invocation(Function.PROJECTOR):
            self.service.module.projector(stream_event(DEV.jobs_table, "shard-1", records), Time())

    def report(self) -> None:
        """What the queue of hooks shows now, to the function."""
        messages = self.service.yard.transport.receive(DEV.hooks_queue, 10, hide_s=90, wait_s=0)
        assert messages
        with self._invocation(Function.HOOKS):
            response = self.service.module.hooks(sqs_event(messages), Time())
        assert response["batchItemFailures"] != []  # nobody takes it, so it must be hidden

    @contextmanager
    def in_handler(self, function: Function = Function.WORKER) -> Iterator[None]:
        """The block is a handler's, run by the worker, or a hook's."""
        with self._invocation(function), installation_of_services.using(self.service.yard):
            yield

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Hooks and webhooks are told meanwhile."""
        with self._given({"TASKYARD_HOOKS": "on"}):
            yield

    # -- everything around them, unrecorded ---------------------------------------------------

    def publish(self, topic: str, **payload: Any) -> str:
        """The id of a new message."""
        return str(self.post("/mq/message/publish", {"topic": topic, "payload": payload, "traceId": TRACE})["id"])

    def create(self, kind: str, given: Any, **more: Any) -> str:
        """The id of a new task that a handler runs."""
        body = {"type": kind, "runnerType": "system", "targetId": "t", "targetType": "t", "input": given, **more}
        return str(self.post("/api/task/create", body)["id"])

    def send(self, queue: str, text: str) -> None:
        """Somebody sends a text to a queue."""
        sqs = self.service.yard.transport.client
        sqs.send_message(QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], MessageBody=text)

    def taken_from(self, queue: str) -> list[str]:
        """The texts in a queue, which then has them no more."""
        messages = self.service.receive(queue)
        assert messages, f"there is nothing in {queue}"
        self.service.yard.transport.delete(messages)
        return [message.text for message in messages]

    def lose(self, job_id: str) -> None:
        """The ledger has nothing of a job, as if its publisher had died before writing it."""
        keys = self.service.yard.jobs.table
        parts = keys.query_all("{job} = :job", {":job": int(job_id)}, consistent=True)
        keys.delete_many([{"job": row["job"], "part": row["part"]} for row in list(parts)])

    @contextmanager
    def deployed(self, handlers: str) -> Iterator[None]:
        """Only the handlers of these packages are there."""
        with self._given({"TASKYARD_HANDLERS": handlers}):
            yield

    @contextmanager
    def chosen(self, settings: Settings) -> Iterator[None]:
        """``settings`` are in force, and what is needed meanwhile is noted for them alone."""
        choices = {each.name: (getattr(settings, each.name), getattr(DEV, each.name)) for each in fields(settings)}
        made = {f"TASKYARD_{name.upper()}": str(now) for name, (now, before) in choices.items() if now != before}
        with self._given(made):
            yield
        self.needed[settings] = self.recorder.taken()

    @contextmanager
    def _given(self, variables: Mapping[str, str]) -> Iterator[None]:
        with environment(variables):
            self._forget_settings()
            yield
        self._forget_settings()

    def _forget_settings(self) -> None:
        service_settings.current.cache_clear()
        registry.cache_clear()
        self.service.module.yard.cache_clear()

    @contextmanager
    def _invocation(self, function: Function) -> Iterator[None]:
        self.service.module.yard.cache_clear()  # a new process knows no queue, no lane and no id
        hooks_queue._url.cache_clear()
        with self.recorder.during(function):
            yield

    def _answered(self, method: str, path: str, reply: Reply, status: int) -> Any:
        assert reply.status == status, reply.text
        self.asked.add((method, path))
        return reply.json


@contextmanager
def installation() -> Iterator[Installation]:
    """A deployed stage with an access key, on moto."""
    handlers = f"{HANDLERS},tests.support.flow_handlers"
    kafka = {"kafka_topics": DEV.kafka_topics, "kafka_source": DEV.kafka_source}
    with service(stage=DEV.stage, bucket=DEV.bucket, handlers=handlers, **kafka) as made:
        forget_clients()
        made.module.yard.cache_clear()
        recorder = Recorder()
        recorder.attach(aws._session().get_component("event_emitter"))
        key = new_key(os.urandom)
        made.yard.directory.put_access_key(
            AccessKey(name="tester", scopes=frozenset("*"), digest=digest_of(key), created_at_ms=made.clock.ms)
        )
        made.default_headers["Authorization"] = f"Bearer {key}"
        yield Installation(made, recorder)


def publish_and_poll(at_work: Installation) -> None:
    """Messages of every size and kind to a topic without subscribers; taken in hand, completed, failed."""
    sizes = [{"topic": "polled", "payload": {"text": text}} for text in ("small", BESIDE, LARGE)]
    for message in sizes:
        at_work.post("/mq/message/publish", message)
        at_work.post("/mq/message/publish", message, Idempotency_Key=f"of {len(message['payload']['text'])}")
    at_work.post("/mq/message/publish", sizes[0], Idempotency_Key="of 5")
    assert all(each["success"] for each in at_work.post("/mq/message/publish-batch", {"messages": sizes})["results"])
    lane = at_work.service.yard.transport.source_of(Lane("polled", Band.NORMAL))
    for text in ("foreign", "\u00fc" * 80_000):  # the second one is kept in the bucket
        at_work.send(lane, text)
    polled = at_work.get("/mq/message/poll", {"topic": "polled", "limit": 3})
    polled += at_work.get("/mq/message/poll", {"topic": "polled", "limit": 10})
    completed, failed, *_ = polled
    at_work.post("/mq/message/complete", {"id": completed["id"]})
    at_work.post("/mq/message/fail", {"id": failed["id"], "error": "no"})


def settle_together(at_work: Installation) -> None:
    """Batches of reports; one is about a message whose lock was extended."""
    for _ in range(3):
        at_work.publish("together")
    polled = at_work.get("/mq/message/poll", {"topic": "together"})
    at_work.post("/mq/message/extend", {name: polled[0][name] for name in ("id", "lockToken")})
    for path, some in (("complete-batch", polled[:2]), ("fail-batch", polled[2:])):
        reports = [{name: message[name] for name in ("id", "lockToken")} for message in some]
        results = at_work.post(f"/mq/message/{path}", {"messages": reports})["results"]
        assert [each["success"] for each in results] == [True] * len(some)


def poll_what_is_void(at_work: Installation) -> None:
    """Messages whose jobs are settled, or in other hands."""
    for settles in (True, False):
        at_work.publish("twice")
        (text,) = at_work.taken_from("twice")
        lane = at_work.service.yard.transport.source_of(Lane("twice", Band.NORMAL))
        at_work.send(lane, text)
        (message,) = at_work.get("/mq/message/poll", {"topic": "twice", "limit": 1})
        if settles:
            at_work.post("/mq/message/complete", {"id": message["id"]})
        at_work.send(lane, text)
        assert at_work.get("/mq/message/poll", {"topic": "twice", "limit": 1}) == []


def wait_for_messages(at_work: Installation) -> None:
    """Polls that wait: on one lane, and on the later one of two."""
    for priority in (0, 10):
        at_work.post("/mq/message/publish", {"topic": "awaited", "payload": {}, "priority": priority})
        assert len(at_work.get("/mq/message/poll", {"topic": "awaited", "wait": 20})) == 1


def lock_and_recover(at_work: Installation) -> None:
    """Messages whose locks ran out: one is sent again, one has used up its deliveries."""
    for deliveries in (1, 3):
        at_work.post("/mq/message/publish", {"topic": "locked", "payload": {}, "maxRetries": deliveries})
    polled = at_work.get("/mq/message/poll", {"topic": "locked"})
    assert len(polled) == 2
    for message in polled:  # a lock without any sign of its client would be charged to nobody
        at_work.post("/mq/message/extend", {name: message[name] for name in ("id", "lockToken")})
    at_work.service.clock.move(HOUR_MS)
    for query in ({"topic": "locked"}, {}):
        at_work.post("/mq/queue/recover-locked", query)


def use_services(at_work: Installation) -> None:
    """What a handler may do with the services without permissions of its own."""
    outside = at_work.service.yard
    for topic in ("opened.in.a.handler", "scripted.topic"):
        with at_work.in_handler():
            for text in ("small", BESIDE, LARGE):
                made = messages.publish(topic, {"text": text}, priority=10, idempotency_key=f"{topic} {len(text)}")
                again = messages.publish(topic, {"text": text}, priority=10, idempotency_key=f"{topic} {len(text)}")
                messages.publish_many([messages.NewMessage(topic=topic, payload={"n": n}) for n in range(2)])
                assert messages.get(made.id) == again
    for act in (messages.complete, messages.fail, messages.extend):
        with installation_of_services.using(outside):
            messages.publish("settled.in.a.handler", {})
            (message,) = messages.poll("settled.in.a.handler")
        with at_work.in_handler():
            act(message)
    with installation_of_services.using(outside):
        messages.publish("buried", {"text": LARGE}, max_retries=1)
        letter = messages.fail(messages.poll("buried")[0])
    with at_work.in_handler():
        dead_letters.replay(letter)


def run_handlers(at_work: Installation) -> None:
    """Tasks and messages that succeed, fail, are rejected, canceled, unreadable, unrecorded; of every size."""
    at_work.service.yard.objects.put_object(Bucket=DEV.bucket, Key="there.txt", Body=b"some text")
    at_work.create("documents.export", {"rows": [{"a": 1}]})
    for source in ({"text": "a b"}, {"key": "there.txt"}, {"key": "missing.txt"}):
        at_work.create("text.statistics", source)
    for sku in (None, "unknown-1"):
        at_work.publish("order.created", orderId="1", sku=sku)
    for script in ({"progress": [1, 4, "word"]}, {"fail": "no"}, {"grow": 1_000}, BESIDE, LARGE):
        at_work.create("scripted", script)
    at_work.create("scripted", {"grow": 5, "more": BESIDE}, removeOnComplete=True)
    at_work.ids["rejected"] = at_work.create("scripted", {"reject": "never"})
    at_work.ids["large output"] = at_work.create("scripted", {"grow": 300_000})
    at_work.ids["canceled"] = at_work.create("scripted", 1)
    at_work.post("/api/task/cancel", {"id": at_work.ids["canceled"]})
    lane = at_work.service.yard.transport.source_of(Lane("default", Band.NORMAL))
    for text in ("foreign", "\u00fc" * 80_000):
        at_work.send(lane, text)
    for _ in range(2):  # a batch has at most ten
        at_work.work()
    at_work.work("order.created")
    for chars in (1_000, 300_000):
        at_work.publish("scripted.topic", grow=chars)
    at_work.work("scripted.topic")
    for script in (1, BESIDE):
        at_work.lose(at_work.create("scripted", script))
        at_work.work()
    at_work.ids["buried"] = at_work.publish("scripted.topic", reject="never", more=LARGE)
    at_work.work("scripted.topic")


def run_families(at_work: Installation) -> None:
    """Children that start when their parent has succeeded, one of them of a pool that is declared no longer."""
    parent = at_work.create("text.statistics", {"text": "the parent"})
    at_work.create("text.statistics", {"text": "a child"}, parentTaskId=parent)
    at_work.create("patient", 1, parentTaskId=parent)
    canceled = at_work.create("scripted", 1, parentTaskId=parent)
    at_work.post("/api/task/cancel", {"id": canceled})
    at_work.post("/api/task/retry", {"id": canceled})
    with at_work.deployed("chalicelib.tasks"):
        at_work.work()


def report(at_work: Installation) -> None:
    """All that can be told of tasks from outside, with what follows a success, small and large."""

    def by_hand(task_type: str = "by.hand", **more: Any) -> str:
        body = {"type": task_type, "targetId": "t", "targetType": "t", **more}
        return str(at_work.post("/api/task/create", body)["id"])

    chain = {"type": "flow.reported", "next": {"type": "by.hand", "runnerType": "manual"}}
    for output in (1, BESIDE, LARGE):
        parent = by_hand(next=chain)
        by_hand(parentTaskId=parent)
        at_work.post("/api/task/complete", {"id": parent, "status": "success", "output": output})
        handed_over, removed = by_hand("flow.reported"), by_hand(removeOnComplete=True, input=output)
        for task_id in (handed_over, removed):
            at_work.post("/api/task/complete", {"id": task_id, "status": "success", "output": output})
        for removed_too in (False, True):
            parked = at_work.create("flow.parked", {"x": output}, maxRetries=0, removeOnComplete=removed_too)
            at_work.work()
            result = {"code": 0, "data": 1 if removed_too else output}  # what has a large output is removed later
            at_work.post("/api/task/next", {"id": parked, "result": json.dumps(result)})
    at_work.post("/api/task/promote", {"id": by_hand(delay=HOUR_MS / 1_000)})
    failed, told = by_hand(), by_hand()
    at_work.post("/api/task/complete", {"id": failed, "status": "failed", "error": "no"})
    for n in range(40):  # of so many, some trim the log
        at_work.post("/api/task/log", {"id": told, "message": str(n)})
    at_work.get("/api/task/log", {"id": told})
    at_work.post("/api/task/callback", {"id": told, "code": 0, "data": BESIDE})
    at_work.create("flow.polled", [{"result": "success"}])
    at_work.work()
    at_work.post("/api/task/cancel", {"targetId": "t", "targetType": "t", "type": "by.hand"})
    at_work.get("/api/task/statistics", {"range": "7d"})


def create_together_and_delete(at_work: Installation) -> None:
    """Batches of tasks of every size; deleting those that are done, wait, run, and have a child."""
    about = {"targetId": "t", "targetType": "t"}
    by_hand = [{"type": "by.hand", **about, "input": text} for text in (1, BESIDE, LARGE)]
    system = [{"type": "scripted", **about, "runnerType": "system", "input": text} for text in (1, BESIDE, LARGE)]
    results = at_work.post("/api/task/create-batch", {"tasks": [*by_hand, *system]})["results"]
    at_work.work()
    parked = at_work.create("flow.parked", {"x": LARGE})
    at_work.work()
    made = [parked, *(each["task"]["id"] for each in results)]
    assert at_work.post("/api/task/delete", {"taskIds": made, "force": True}) == {}
    parent = at_work.create("scripted", 1)
    at_work.work()
    at_work.create("scripted", 1, parentTaskId=parent)
    at_work.post("/api/task/delete", {"id": parent})
    at_work.work()


def ask(at_work: Installation) -> None:
    """All that can be asked."""
    for query in ({}, {"topic": "polled"}, {"topic": "polled", "status": "PENDING"}, {"traceId": TRACE}):
        page = at_work.get("/mq/message/list", {**query, "perPage": 1})
        if page["nextCursor"] is not None:
            at_work.get("/mq/message/list", {**query, "perPage": 1, "cursor": page["nextCursor"]})
    at_work.get(f"/mq/trace/{TRACE}")
    at_work.get("/mq/trace/detail", {"traceId": TRACE})
    for query in ({}, {"topic": "polled"}, {"messageId": at_work.ids["buried"]}):
        at_work.get("/mq/trace/list", query)
    at_work.get("/mq/dlq/list")
    at_work.post(f"/mq/dlq/replay/{at_work.ids['buried']}", {})
    assert at_work.post("/mq/dlq/replay", {"topic": "locked"})["replayed"] == 1
    for path in ("/mq/dashboard", "/mq/dashboard/sse", "/mq/queue/depth"):
        for query in ({}, {"topic": "polled"}):
            at_work.get(path, query)
    at_work.get("/mq/metrics")
    for query in ({}, {"filter[type]": "scripted"}, {"filter[targetId]": "t"}):
        at_work.get("/api/task/list", query)
    assert len(at_work.get("/api/task/detail", {"id": at_work.ids["large output"]})["output"]) == 300_000
    at_work.post("/api/task/retry", {"taskIds": [at_work.ids["rejected"], at_work.ids["canceled"]]})
    at_work.post(
        "/api/task/create", {"type": "any", "runnerType": "manual", "targetId": "t", "targetType": "t", "input": 1}
    )
    for path in ("/health", OPENAPI_PATH, DOCS_PATH):
        at_work.get(path)


def dead_letter_queue_gives(at_work: Installation) -> None:
    """What SQS gives up: jobs of both kinds of topics, recorded or not, and what nobody can read."""
    at_work.publish("stuck")
    at_work.redrive(*at_work.taken_from("stuck"), "foreign", "\u00fc" * 80_000)
    for text in ("small", BESIDE):
        job = at_work.publish("scripted.topic", text=text)
        *_, message = at_work.taken_from("scripted.topic")
        at_work.lose(job)
        at_work.redrive(message)


def take_turns(at_work: Installation) -> None:
    """A pool whose workers are all busy, and one that is paused: shelves are filled and emptied, by all who may."""
    outside, pool, tasks = at_work.service.yard, "pools.csv_summary", "/pools/csv_summary"

    def add() -> int:
        job_id: int = at_work.post(f"{tasks}/add", {"args": ["a,b\n1,2\n"]})["id"]
        return job_id

    def begun(job_id: int) -> Job:
        (text,) = at_work.taken_from(pool)
        found = claim(outside, from_envelope(text), Lease(f"lease{job_id}", 2**45, "other"))
        assert isinstance(found, Job)
        return found

    one, other = begun(add()), begun(add())
    at_work.post(f"{tasks}/progress", {"id": one.id, "current": 1, "total": 2}, status=204)
    at_work.get(f"{tasks}/jobs/{one.id}")
    for _ in range(2):
        add()
        at_work.work(pool)
    with at_work.in_handler():
        settle(outside, one, Succeeded())
        outside.directory.aliased(pool, 1)
    outside.jobs.succeed(other, None, outside.now_ms())
    assert at_work.tick()["slots_filled"] == 1
    at_work.work(pool)
    target = type_target(pool)
    pause(outside, target)
    add()
    at_work.work(pool)
    outside.pauses.end(target)
    assert at_work.tick()["resumed_sent"] == 1
    at_work.work(pool)


def ask_why(at_work: Installation) -> None:
    """Jobs on their way, on a wait list, and behind a parent."""
    message = at_work.publish("asked.why")
    assert at_work.get(f"/api/job/{message}/why")["details"]["lane"]["depth"] == 1
    assert at_work.get(f"/api/job/{message}/usage")["sends"] == 1
    assert at_work.get("/api/audit")["unaccounted"] == 0
    task = at_work.create("scripted", 1)
    child = at_work.create("scripted", 1, parentTaskId=task)
    assert at_work.get(f"/api/job/{child}/why")["details"]["parentState"] == "pending"
    target = type_target("scripted")
    pause(at_work.service.yard, target)
    assert at_work.get(f"/api/job/{task}/why")["details"]["before"] == 0
    at_work.service.yard.pauses.end(target)
    at_work.tick()
    for _ in range(2):
        at_work.work()


def as_kue(at_work: Installation) -> None:
    """Jobs of kue's API: of every size, changed by hand, and of a type whose handler comes later."""
    job = at_work.post("/job", {"type": "scripted", "data": LARGE[:200_000]})["id"]
    at_work.delete(f"/job/{at_work.post('/job', {'type': 'scripted', 'data': LARGE[:200_000]})['id']}")
    at_work.put(f"/job/{job}/priority/high")
    at_work.work(priority=10)
    at_work.work()  # what was sent before
    first, second = (
        each["id"] for each in at_work.post("/job", [{"type": "scheduled", "data": BESIDE}] * 2, Idempotency_Key="two")
    )
    for state in ("active", "inactive", "active", "complete"):
        at_work.put(f"/job/{first}/state/{state}")
    at_work.work()
    for path in ("", "/log"):
        at_work.get(f"/job/{job}{path}")
    at_work.get(f"/inactive/{second}")
    for path in ("0..9", "0..9/desc", "delayed/0..9", "scripted/failed/stats", "scripted/inactive/-9..2/asc"):
        at_work.get(f"/jobs/{path}")
    at_work.get("/job/types")
    at_work.get("/job/search", {"q": "beside"})
    at_work.get("/stats")
    with at_work.deployed("chalicelib.tasks,tests.support.dialect_handlers,tests.support.scheduled"):
        assert at_work.tick()["resumed_sent"] == 1
        at_work.work()


def control_flow(at_work: Installation) -> None:
    """Jobs that wait for a slot, a turn, a token, or are one with others; settled, retried, canceled and deleted."""
    given, outside = {"k": "a", "n": 1}, at_work.service.yard
    for kind in ("flow.once", "flow.once", "flow.newest", "flow.newest", "flow.paced", "flow.paced"):
        at_work.create(kind, given)
    ordered = [at_work.create("flow.ordered", given | {"fails": number == 0}) for number in range(4)]
    keyed = [at_work.create("flow.keyed", given) for _ in range(3)]
    at_work.post("/mq/message/publish", {"topic": "flow.news", "payload": given})
    at_work.work()
    at_work.work("flow.news")
    for path, job in (("retry", ordered[0]), ("cancel", ordered[1]), ("cancel", keyed[0])):
        at_work.post(f"/api/task/{path}", {"id": job})
    at_work.work()
    at_work.post("/api/task/delete", {"id": ordered[0]})
    waits = at_work.create("flow.keyed", given)
    target = key_target("flow.keyed", "a")
    pause(outside, target)
    at_work.work()
    resume(outside, target)
    _change_flow(at_work)
    about: dict[str, Any] = {"target_id": "t", "target_type": "t", "runner_type": "system"}
    with at_work.in_handler():
        tasks.create(type="flow.once", input=given, **about)
        tasks.create(type="flow.ordered", input=given, **about)
        tasks.cancel(waits)
    with at_work.in_handler(Function.HOOKS):
        tasks.create(type="flow.ordered", input={"k": "hooks"}, **about)
        tasks.create(type="flow.once", input={"k": "hooks"}, **about)
    at_work.work()
    first = at_work.create("flow.aside", {"k": "dead"})
    at_work.create("flow.aside", {"k": "dead"})
    with at_work.in_handler(Function.DEAD_LETTERS):
        seen = outside.jobs.find(int(first))
        assert seen is not None
        follow_through(outside, seen, outside.jobs.dead_letter(seen, Cause.NEVER_STARTED, NEVER_STARTED, 0))
    at_work.work()
    _let_the_clock_release(at_work, given)


def _change_flow(at_work: Installation) -> None:
    """A key is bounded otherwise, paused and looked at; those behind a failed job are let go."""
    key = {"type": "flow.keyed", "key": "b"}
    at_work.put("/api/flow", {**key, "concurrency": 1, "rate": {"count": 1}})
    at_work.get("/api/flow")
    at_work.get("/api/flow/standing", key)
    at_work.delete("/api/flow", "?type=flow.keyed&key=b")
    at_work.post("/api/flow/pause", key)
    at_work.create("flow.keyed", {"k": "b"})
    failing, _ = (at_work.create("flow.ordered", {"k": "b", "fails": fails}) for fails in (True, False))
    at_work.work()
    assert at_work.post("/api/flow/resume", key) == {"sent": 1}
    assert at_work.post("/api/flow/pass", {"id": failing})["state"] == "failed"
    at_work.work()


def _let_the_clock_release(at_work: Installation, given: Any) -> None:
    """The workers of a key and of a bounded type are gone, and have freed nothing."""
    outside = at_work.service.yard
    kinds = ("flow.keyed", "flow.keyed", "flow.bounded")
    begun = []
    for kind in kinds:
        at_work.create(kind, given)
        (text,) = at_work.taken_from("default")
        job = claim(outside, from_envelope(text), Lease("lease", 2**45, "other"))
        assert isinstance(job, Job)
        begun.append(job)
    at_work.create("flow.keyed", given)
    at_work.work()
    for job in begun[:2]:
        outside.jobs.succeed(job, None, outside.now_ms())
    outside.jobs.table.apply(state_key(begun[2].id), Change((), sets={"slot": None}))
    assert at_work.tick()["waiting_released"] == 1
    at_work.work()
    assert at_work.tick(HOUR_MS)["slots_audited"] == 1
    at_work.post("/api/task/cancel", {"id": str(begun[2].id)})


def run_graphs(at_work: Installation) -> None:
    """Graphs with plans and results of every size: run, stopped, compensated, canceled, retried, removed."""
    path, system = "/api/task/graph", {"type": "scripted"}

    def graph(size: Any, **more: Any) -> str:
        nodes = [
            {"name": "a", **system, "input": size},
            {"name": "b", **system},
            {"name": "c", **system, "after": ["a", "b"], "input": size},
            {"name": "d", **system, "after": ["c"]},
        ]
        return str(at_work.post(path, {"nodes": nodes, **more})["id"])

    for size in (1, BESIDE, LARGE[:200_000]):
        graph(size, idempotencyKey=f"graph {len(str(size))}")
    for _ in range(3):
        at_work.work()
    undone = {"onFailure": "compensate", "compensation": system}
    stopped, canceled = graph(LARGE[:200_000], **undone), graph(1)
    at_work.post("/api/task/cancel", {"id": str(int(stopped) + 1)})
    at_work.post(f"{path}/cancel", {"id": canceled})
    at_work.post(f"{path}/retry", {"id": canceled})
    for what in ("", "/nodes", "/mermaid"):
        at_work.get(f"{path}{what}", {"id": stopped})
    at_work.post(f"{path}/batch", {"tasks": [system] * 3, "then": system})
    for _ in range(3):
        at_work.work()
        at_work.tick(MINUTE_MS)
    large = [{"name": "a", **system, "input": {"grow": 300_000}}, {"name": "b", **system, "after": ["a"]}]
    at_work.post(path, {"nodes": large})
    with patch(
        "chalicelib.engine.worker.follow_through.after_end"
    ):  # its worker dies before it goes on: the clock does
        at_work.work()
    at_work.tick(2 * MINUTE_MS)
    at_work.work()


def keep_schedules(at_work: Installation) -> None:
    """Schedules of jobs of every size, made, changed, paused, looked at, deleted; and those of the code."""
    path = "/api/schedule"
    every, topic = {"everyS": 60}, {"message": {"topic": "by.the.clock", "payload": {"text": LARGE[:200_000]}}}
    tasks = [
        {"task": {"type": "scripted", "input": text, "context": {"n": 1}}} for text in (1, BESIDE, LARGE[:200_000])
    ]
    for number, work in enumerate((*tasks, topic)):
        name = {"name": f"s{number}"}
        at_work.post(f"{path}/create", {**name, **every, **work, "overlap": "skip"})
        at_work.post(f"{path}/save", {**name, **every, **work, "jitterS": 1})
        for act in ("pause", "resume", "run"):
            at_work.service.clock.move(90_000)
            at_work.post(f"{path}/{act}", name)
        for what in ("detail", "preview", "history"):
            at_work.get(f"{path}/{what}", name)
        at_work.post(f"{path}/save", {**name, **every, **topic})
    at_work.get(f"{path}/list")
    at_work.post(f"{path}/preview", {"cron": "0 3 * * *"})
    for _ in range(3):
        at_work.tick(MINUTE_MS)
    at_work.post(f"{path}/delete", {"name": "s0"})
    with at_work.deployed("chalicelib.tasks,tests.support.scheduled"):
        assert at_work.tick()["schedules_declared"] == 2
        at_work.tick(2 * MINUTE_MS)
        at_work.work()
    for number in (1, 2, 3):
        at_work.post(f"{path}/delete", {"name": f"s{number}"})
    assert at_work.tick()["schedules_declared"] == 2  # the code has them no more


def serve_applications(at_work: Installation) -> None:
    """Applications made, listed, disabled, rotated; their tasks created, canceled, delivered to nobody, and waiting."""
    path, outside = "/application", at_work.service.yard
    made = at_work.post(f"{path}/create", {"appName": "n", "linkUrl": "https://inside.invalid/", "concurrency": 1})[
        "data"
    ]
    key, secret = {"app_key": made["appKey"]}, made["secretKey"]
    for act in ("disable", "enable", "rotate"):
        at_work.post(f"{path}/{act}", {**key})
    at_work.post(f"{path}/refresh-signature", {**key, "secret_key": secret})
    at_work.get(f"{path}/list")

    def signed(content: bytes) -> dict[str, str]:
        headers = sign(key["app_key"], secret, payload_of(content), at_work.service.clock.ms, os.urandom).to_send()
        return {name: value for name, value in headers.items() if name != "app_key"}

    def asked(path: str, **body: Any) -> Any:
        found = at_work.post(path, body, **signed(json.dumps(body).encode()))
        assert found["code"] == 0, found
        return found["data"]

    def created(task_no: str, **more: Any) -> int:
        task = {"taskNo": task_no, "content": {"text": BESIDE}, "timeout": 60_000, "name": "n"}
        task_id: int = asked("/task/create", **{**task, **more})["taskId"]
        return task_id

    asked("/task/cancel", id=created("canceled"))
    at_work.work()
    asked("/nsq/publish", task_id=created("later", runtime=at_work.service.clock.ms // 1_000 + 3_600))
    at_work.work()
    slow = created("slow")
    (text,) = [each for each in at_work.taken_from("default") if from_envelope(each).id == slow]
    taken = claim(outside, from_envelope(text), Lease("lease", 2**45, "other"))
    assert isinstance(taken, Job)
    waits = created("waits")
    at_work.work()
    node = {"taskNo": "node", "content": 1, "timeout": 60_000, "name": "n"}
    graph = {"workflow_id": asked("/task/dag", name="n", tasks=[node])["workflowId"]}
    for act in ("cancel", "retry", "cancel"):
        asked(f"/task/dag/{act}", **graph)
    for what, query in (("/task/detail", {"id": waits}), ("/task/dag", graph)):
        with at_work._invocation(Function.API):
            reply = at_work.service.get(what, query, **signed(b""))
        at_work._answered("GET", what, reply, 200)
    outside.jobs.succeed(taken, None, outside.now_ms())
    assert at_work.tick()["slots_filled"] == 1
    resting = outside.applications.find(key["app_key"])
    assert resting is not None
    outside.applications.rest(resting, outside.now_ms() + 1, in_vain=True)
    at_work.work()
    at_work.post("/api/task/delete", {"id": str(waits), "force": True})


def look_at_console(at_work: Installation) -> None:
    """What a page shows of an installation at work, and what it does about it."""
    failed = at_work.create("scripted", {"reject": "no"})
    at_work.work()
    for path in ("/console", "/api/me", "/api/jobs", "/api/job/count", "/api/handlers"):
        at_work.get(path, {"type": "scripted"} if "job" in path else None)
    at_work.get("/console/none.js", status=404)
    for window in ("1h", "30d"):
        at_work.get("/api/overview", {"window": window})
    for job_id in (at_work.ids["large output"], at_work.create("scripted", LARGE), failed):
        at_work.get(f"/api/job/{job_id}/detail", {"whole": True})
    for act in ("retry", "cancel", "rerun", "delete"):
        at_work.post(f"/api/job/{failed}/act", {"act": act})
    replayed = at_work.create("scripted", {"reject": "no"})
    at_work.work()
    at_work.post(f"/api/job/{replayed}/act", {"act": "replay"})
    by_hand = at_work.create("scripted", LARGE, delay=HOUR_MS / 1_000)
    for act in ("promote", "complete"):
        at_work.post(f"/api/job/{by_hand}/act", {"act": act, "output": LARGE})
    at_work.get("/api/failures")
    at_work.get("/api/queues")
    at_work.get("/api/acts")
    at_work.get("/api/installation")
    queue = {"queue": "polled"}
    at_work.post("/api/queues/pause", queue)
    at_work.post("/api/queues/resume", queue)


def act_in_bulk(at_work: Installation) -> None:
    """Each act on jobs of every size by the clock, the first also by whoever looks; by each index that may be asked."""
    path, about = "/api/bulk", {"targetId": "in bulk"}

    def begun(act: str, **wanted: Any) -> str:
        at_work.service.clock.move(1)
        return f"{path}/{at_work.post(path, {'act': act, 'filter': wanted}, status=201)['id']}"

    def acted(act: str, **wanted: Any) -> None:
        begun(act, **wanted)
        at_work.service.clock.move(30_000)
        with at_work.in_handler(Function.CLOCK):
            assert step_abandoned(installation_of_services.yard(), lambda: True) > 0

    for size in (1, BESIDE, LARGE):
        for kind in ("scripted", "flow.ordered"):
            given = {"k": "bulk", "fails": True, "reject": "never", "more": size}
            at_work.create(kind, given, tenant="in.bulk", **about)
    at_work.create("scripted", 1, delay=HOUR_MS / 1_000, **about)
    at_work.work()
    acted("replay", tenant="in.bulk")
    for act in ("promote", "cancel", "retry", "cancel", "delete"):
        acted(act, **about)
    at_work.publish("acted.in.bulk")
    url = begun("cancel", type="acted.in.bulk")
    assert at_work.tick(30_000)["bulk_acted"] == 1
    at_work.get(f"{url}/result")
    at_work.get(url)
    acted("delete", traceId=TRACE, type="acted.in.bulk")
    at_work.post(f"/api/job/{at_work.publish('acted.in.bulk')}/act", {"act": "cancel"})
    acted("delete", kind="message", state=["canceled"])
    at_work.post(path, {"act": "cancel", "filter": about, "dryRun": True})
    stopped = begun("retry", kind="message", type="stuck", state="failed")
    for what in ("step", "stop"):
        at_work.post(f"{stopped}/{what}", {})
    at_work.get(path)


def let_time_pass(at_work: Installation) -> None:
    """Long delays, abandoned leases, bulks whose sender died, children that wait, what SQS will soon forget."""
    later = {"executeAt": at_work.service.now(HOUR_MS), "payload": {"text": BESIDE}}
    for topic in ("later", "scripted.topic"):
        at_work.post("/mq/message/publish", {"topic": topic, **later})
    at_work.create("scripted", BESIDE, delay=HOUR_MS / 1_000)
    with failing(aws.client("sqs"), "SendMessageBatch"):
        at_work.post("/mq/message/publish-batch", {"messages": [{"topic": "bulk", "payload": {}}] * 2})
    parent = at_work.create("scripted", "a parent that is never run")
    at_work.create("scripted", "a child", parentTaskId=parent)
    at_work.publish("abandoned")
    at_work.get("/mq/message/poll", {"topic": "abandoned", "limit": 1})
    at_work.tick(10 * MINUTE_MS)
    at_work.tick(2 * HOUR_MS)
    at_work.work("scripted.topic")  # what the clock has sent carries no body
    at_work.tick(8 * DAY_MS)
    lost = at_work.publish("deleted.by.hand")
    at_work.project()
    at_work.lose(lost)
    at_work.project()
    at_work.tick(HOUR_MS)
    at_work.tick(HOUR_MS - at_work.service.clock.ms % HOUR_MS)


def tell_hooks(at_work: Installation) -> None:
    """A webhook that may not be called is told of outputs of every size; a hook in code reads one, and publishes."""
    outside = at_work.service.yard
    completed = frozenset({EventType.COMPLETE})
    made = Webhook(id="w", url="https://127.0.0.1/", events=completed, secret="s", created_at_ms=1)  # noqa: S106
    outside.directory.put_webhook(made)
    with at_work.telling():
        at_work.project()
        at_work.report()
    large = outside.jobs.find(int(at_work.ids["large output"]))
    with at_work.in_handler(Function.HOOKS):
        assert large is not None
        outside.payloads.output(large)
        outside.directory.aliased("pools.any", 1)
        for text, _ in itertools.product(("small", BESIDE, LARGE), range(2)):  # the second time, it was told again
            for topic in ("opened.in.a.hook", "scripted.topic"):
                messages.publish(topic, {"text": text}, idempotency_key=f"hook, {topic}, {len(text)}")


def take_from_kafka(at_work: Installation) -> None:
    """Records of topics with and without subscribers, in order and not; of every size, unreadable, and once more."""
    values = [json.dumps({"text": text}).encode() for text in ("small", BESIDE, LARGE)] + [b"no JSON", b"x" * 6_000_000]
    for source in ("scripted", "from.kafka", "flow.news", "flow.line", "flow.single"):
        records = [Record(source, 0, offset, 1_750_000_000_000, b"k", value) for offset, value in enumerate(values)]
        for count in (len(records) - 1, len(records)):
            with at_work._invocation(Function.KAFKA):
                at_work.service.module.kafka(kafka_event(records[:count]), Time())


def do_and_look(at_work: Installation) -> None:
    """The change stream is counted, in two rounds, and what it adds up to is asked for."""
    at_work.project()
    at_work.project()
    ask(at_work)


def clean_up(at_work: Installation) -> None:
    """Removal of messages of every size that succeeded or failed; the tasks are left to retention."""
    for status in ("COMPLETED", "FAILED"):
        body = {"status": status, "includeUnreplayed": True}
        assert at_work.post("/mq/queue/cleanup", body)["deleted"] > 0


def search_tasks(at_work: Installation) -> None:
    """Tasks of every size are indexed, found, and forgotten; the body of one was lost in the bucket."""
    outside = at_work.service.yard
    for text in ("small", BESIDE, LARGE):
        at_work.create("scripted", {"searched": text})
    lost = outside.jobs.find(int(at_work.create("scripted", {"lost": LARGE})))
    assert lost is not None
    outside.payloads.delete_objects([str(lost.body_at)])
    gone = at_work.create("scripted", {"searched": "soon gone"})
    at_work.project()
    with at_work.in_handler(Function.API):
        assert tasks.list(search="searched").total_count == 4
        tasks.delete(gone, force=True)
    at_work.project()
    with at_work.in_handler(Function.API):
        assert tasks.list(search="searched").total_count == 3


WORK = (
    publish_and_poll,
    settle_together,
    poll_what_is_void,
    wait_for_messages,
    lock_and_recover,
    use_services,
    run_handlers,
    run_families,
    report,
    create_together_and_delete,
    tell_hooks,
    take_from_kafka,
    do_and_look,
    dead_letter_queue_gives,
    take_turns,
    ask_why,
    as_kue,
    control_flow,
    run_graphs,
    keep_schedules,
    serve_applications,
    look_at_console,
    act_in_bulk,
    let_time_pass,
    clean_up,
)


@pytest.fixture(scope="module")
def worked() -> Installation:
    """An installation whose functions have done all their work, under all settings that change what they need."""
    with installation() as at_work:
        with at_work.chosen(DEV):
            for part in WORK:
                part(at_work)
        for settings in (SILENT, RETAINING):
            with at_work.chosen(settings):
                at_work.tick(DAY_MS)
        with at_work.chosen(FLYING):
            at_work.tick()
            at_work.tick(HOUR_MS)  # and none has come back
        with at_work.chosen(SEARCHING):
            search_tasks(at_work)
        return at_work


def paths_of(routes: Mapping[str, Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Method and path of each route; not of preflights, which ask AWS nothing, nor of HEAD, which asks as GET does."""
    beside = {"OPTIONS", "HEAD"}
    return {(method, path) for path, by_method in routes.items() for method in by_method if method not in beside}


def test_every_route_was_asked(worked: Installation) -> None:
    """A new route belongs into the work above, so that what it needs is known."""
    fixed = {path for path in worked.service.module.app.routes if "{" not in path}
    patterns = {path: re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(path)) for path in worked.service.module.app.routes}
    asked = {
        (method, path if path in fixed else next(each for each in patterns if re.fullmatch(patterns[each], path)))
        for method, path in worked.asked
    }
    assert paths_of(worked.service.module.app.routes) - asked == set()


def test_every_step_of_the_clock_had_something_to_do(worked: Installation) -> None:
    idle = {step for step, touched in worked.ticked.items() if touched == 0}
    assert idle == {"passed_over", "lost_recovered"}  # what another step recovers, unless the counters are wrong
    assert "expired_removed" in worked.ticked


# -- the documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", Function)
class TestForm:
    def test_no_wildcard_stands_for_everything(self, function: Function) -> None:
        found = granted(function, ALL)
        assert "*" not in "".join(found.actions)
        assert [resource for resource in found.resources if re.fullmatch(r"[*:/]*|arn(:[^:]*){4}:\*", resource)] == []
        assert all(resource.startswith("arn:aws:") for resource in found.resources)

    def test_every_action_exists(self, function: Function) -> None:
        known = load_resource(AdditionalSpecs, "Policies.json")
        for action in granted(function, ALL).actions:
            service_name, name = action.split(":")
            assert name.lower() in known[service_name]["Actions"], action

    def test_every_statement_has_a_name_of_its_own_and_only_allows(self, function: Function) -> None:
        statements = granted(function, ALL).statements
        assert len({statement["Sid"] for statement in statements}) == len(statements)
        assert {statement["Effect"] for statement in statements} == {"Allow"}

    def test_objects_are_only_those_of_this_account(self, function: Function) -> None:
        """A bucket's ARN does not say whose it is: somebody else may have made it anew once it was deleted."""
        for statement in granted(function, ALL).statements:
            if statement["Sid"] == "Listed":  # of access keys and webhooks, all but what is secret
                assert_no_secrets(statement["Condition"])
                continue
            of_s3 = any(action.startswith("s3:") for action in statement["Action"])
            expected = {"StringEquals": {"aws:ResourceAccount": ACCOUNT}} if of_s3 else None
            if statement["Sid"] in (
                "Webhooks",
                "Turns",
                "Aliases",
                "Schedules",
            ):  # some partitions of the directory, and no other
                (condition,) = statement["Condition"].values()
                assert set(condition) == {"dynamodb:LeadingKeys"}
                assert not {"access_key", "*"} & set(condition["dynamodb:LeadingKeys"])
            else:
                assert statement.get("Condition") == expected

    def test_only_tracing_adds_what_has_no_resource(self, function: Function) -> None:
        traced = policy(replace(DEV, tracing="on"), function, NO_HANDLERS)["Statement"]
        assert traced[:-1] == policy(DEV, function, NO_HANDLERS)["Statement"]
        assert traced[-1]["Action"] == ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        assert traced[-1]["Resource"] == "*"

    def test_a_role_holds_it_however_many_lanes_there_are(self, function: Function) -> None:
        few, many = (template(LONGEST, dict.fromkeys(topics, tuple(Band))) for topics in ("a", "abcdefghijklmno"))
        sizes = {chars_of(granted(function, LONGEST, built)) for built in (few, many)}
        assert len(sizes) == 1
        assert sizes.pop() + HANDLERS_LEAST_CHARS <= ROLE_POLICIES_MAX_CHARS


def assert_no_secrets(condition: Mapping[str, Any]) -> None:
    """A condition lets a query read named attributes alone, and none that is, or hides, a secret."""
    assert condition["StringEquals"] == {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"}
    of_all = condition["ForAllValues:StringEquals"]
    assert of_all["dynamodb:LeadingKeys"] == ["access_key", "webhook"]
    assert set(of_all["dynamodb:Attributes"]) == {"kind", *LISTED_OF_KEYS, *LISTED_OF_WEBHOOKS}
    assert not {"password", "secret", "former_secret"} & set(of_all["dynamodb:Attributes"])


def test_access_keys_are_listed_without_what_is_stored_of_passwords() -> None:
    api = granted(Function.API)
    assert api.allows(Permission("dynamodb:Query", DIRECTORY, "access_key", ("kind", "label", "name")))
    assert not api.allows(Permission("dynamodb:Query", DIRECTORY, "access_key", ("kind", "label", "password")))
    assert not api.allows(Permission("dynamodb:Query", DIRECTORY, "access_key"))


def chars_of(found: Policy) -> int:
    """How many characters IAM counts, in the region and the partition with the longest names."""
    text = json.dumps({"Version": "2012-10-17", "Statement": found.statements})
    return len(re.sub(r"\s", "", text.replace(REGION, "ap-southeast-1").replace("arn:aws:", "arn:aws-us-gov:")))


def test_cfn_lint_finds_nothing_in_the_roles() -> None:
    assert lint(json.dumps(template(replace(ALL, tracing="on"), {"orders": DEFAULT_BANDS}))) == []


# -- enough, and nothing else --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "function"),
    [
        *((DEV, each) for each in Function),
        (RETAINING, Function.CLOCK),
        (SILENT, Function.CLOCK),
        (FLYING, Function.CLOCK),
        (SEARCHING, Function.PROJECTOR),
        (SEARCHING, Function.API),
    ],
    ids=[
        *Function,
        "clock with retention",
        "clock without metrics",
        "clock with canaries",
        "projector with search",
        "api with search",
    ],
)
class TestMeasure:
    def test_it_is_enough(self, settings: Settings, function: Function, worked: Installation) -> None:
        found = granted(function, settings)
        for permission in sorted(worked.needed[settings][function] | by_lambda(function)):
            assert found.allows(permission), (
                f"{function} may not {permission.action} {permission.arn}; "
                f"allow it in infra/policies/{function}.json, or let the function do without"
            )

    def test_nothing_is_left_over(self, settings: Settings, function: Function, worked: Installation) -> None:
        """Each action of each statement was needed on each of its resources."""
        used = worked.needed[DEV][function] | worked.needed[settings][function] | by_lambda(function)
        for statement in granted(function, settings).statements:
            for action, resource in itertools.product(statement["Action"], statement["Resource"]):
                alone = Policy(({**statement, "Action": action, "Resource": resource},))
                assert any(alone.allows(permission) for permission in used), (
                    f"{function} never needed {action} on {resource}; remove it from infra/policies/{function}*.json, "
                    "or let the work of this test reach what needs it"
                )


@given(st.text(min_size=1, max_size=TOPIC_MAX_CHARS), st.sampled_from(Band))
def test_every_lane_is_known_for_one_and_no_other_queue_is(topic: str, band: Band) -> None:
    lane, others = queue_arn(sqs_name(DEV.base_name, Lane(topic, band))), (DEAD_LETTERS, ELSEWHERE)
    sending = Policy(tuple(each for each in granted(Function.API).statements if each["Sid"] == "Lanes"))
    assert sending.allows(Permission("sqs:SendMessage", lane))
    assert not any(sending.allows(Permission("sqs:SendMessage", other)) for other in others)


# -- refused -------------------------------------------------------------------------------------------

BODY, OUTPUT, STRANGER = (object_arn(DEV.objects_bucket, f"{name}/1/a") for name in ("bodies", "outputs", "others"))
DIRECTORY, INSIGHTS = table_arn(DEV.directory_table), table_arn(DEV.insights_table)
FORBIDDEN = 403
KEYS = {
    DEV.jobs_table: {"job": {"N": "1"}, "part": {"S": "a"}},
    DEV.directory_table: {"kind": {"S": "a"}, "name": {"S": "a"}},
    DEV.insights_table: {"view": {"S": "a"}, "key": {"S": "a"}},
}

REFUSED: Mapping[Function, Sequence[tuple[str, str]]] = {
    Function.API: [
        ("dynamodb:GetRecords", STREAM),
        ("dynamodb:Scan", JOBS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:PutItem", INSIGHTS),
        ("dynamodb:BatchWriteItem", INSIGHTS),
        ("dynamodb:Query", DIRECTORY),  # all access keys
        ("dynamodb:Query", f"{JOBS}/index/due"),
        ("sqs:ReceiveMessage", DEAD_LETTERS),
        ("sqs:SendMessage", ELSEWHERE),
        ("sqs:DeleteQueue", ORDERS),
        ("s3:PutObject", object_arn(DEV.objects_bucket, "contexts/1/a")),
        ("s3:GetObject", STRANGER),
        ("s3:DeleteObject", STRANGER),
    ],
    Function.WORKER: [
        ("dynamodb:DeleteTable", JOBS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:Query", f"{JOBS}/index/by_state"),
        ("dynamodb:GetItem", DIRECTORY),  # where the access keys are
        ("dynamodb:Query", INSIGHTS),
        ("dynamodb:UpdateItem", INSIGHTS),
        ("dynamodb:GetRecords", STREAM),
        ("sqs:ReceiveMessage", DEAD_LETTERS),
        ("sqs:PurgeQueue", ORDERS),
        ("s3:DeleteObject", OUTPUT),
        ("s3:PutObject", object_arn("another-bucket", "bodies/1/a")),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
    ],
    Function.DEAD_LETTERS: [
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:PutItem", INSIGHTS),
        ("dynamodb:Query", f"{JOBS}/index/due"),
        ("sqs:ReceiveMessage", ORDERS),
        ("sqs:DeleteMessage", ORDERS),
        ("sqs:SendMessage", DEAD_LETTERS),
        ("s3:GetObject", BODY),
        ("s3:PutObject", OUTPUT),
    ],
    Function.CLOCK: [
        ("sqs:ReceiveMessage", ORDERS),
        ("sqs:DeleteMessage", ORDERS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:PutItem", INSIGHTS),
        ("s3:GetObject", STRANGER),
        ("s3:PutObject", OUTPUT),
        ("s3:DeleteObject", STRANGER),
        ("s3:ListBucket", bucket_arn(DEV.objects_bucket)),
    ],
    Function.HOOKS: [
        ("sqs:ReceiveMessage", ORDERS),
        ("sqs:ReceiveMessage", UNTOLD),
        ("sqs:SendMessage", HOOKS),
        ("sqs:SendMessage", ELSEWHERE),
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:Query", DIRECTORY),  # all access keys
        ("dynamodb:Query", INSIGHTS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:GetRecords", STREAM),
        ("s3:GetObject", STRANGER),
        ("s3:PutObject", OUTPUT),
        ("s3:DeleteObject", OUTPUT),
    ],
    Function.KAFKA: [
        ("sqs:ReceiveMessage", ORDERS),
        ("sqs:SendMessage", ELSEWHERE),
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:Query", DIRECTORY),  # all access keys
        ("dynamodb:UpdateItem", INSIGHTS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:GetRecords", STREAM),
        ("s3:GetObject", STRANGER),
        ("s3:PutObject", OUTPUT),
        ("secretsmanager:GetSecretValue", f"{KAFKA_SECRET}-another"),
    ],
    Function.PROJECTOR: [
        ("dynamodb:Query", DIRECTORY),  # all access keys
        ("sqs:SendMessage", UNTOLD),
        ("sqs:ReceiveMessage", HOOKS),
        ("sqs:SendMessage", ORDERS),
        ("sqs:ReceiveMessage", ORDERS),
        ("s3:GetObject", BODY),
        ("dynamodb:GetItem", JOBS),
        ("dynamodb:UpdateItem", JOBS),
        ("dynamodb:DeleteItem", INSIGHTS),
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:GetRecords", f"{table_arn('another-table')}/stream/2025-06-15T15:06:40.000"),
    ],
}


@pytest.mark.parametrize("function", Function)
def test_what_a_function_has_no_business_with_is_refused(function: Function) -> None:
    """Where no choice adds anything."""
    allowed = [asked for asked in REFUSED[function] if granted(function, SILENT).allows(Permission(*asked))]
    assert allowed == []


@pytest.mark.parametrize("settings", [DEV, SILENT, RETAINING, ALL])
def test_a_choice_adds_what_it_needs_where_it_is_needed(settings: Settings) -> None:
    clock = granted(Function.CLOCK, settings)
    assert {asked for asked in REFUSED[Function.CLOCK] if clock.allows(Permission(*asked))} == set()
    changed = {Function.PROJECTOR} if settings.search_is_on else set()
    assert {each for each in Function if granted(each, settings) != granted(each)} == changed


@pytest.mark.parametrize("function", Function)
def test_a_function_writes_no_other_ones_log(function: Function) -> None:
    writers = {each for each in Function if granted(each).allows(Permission("logs:PutLogEvents", log_stream(function)))}
    assert writers == {function}


class TestEnforced:
    """The same as moto enforces it, on roles that CloudFormation made and with credentials that STS gave."""

    @pytest.fixture(scope="class")
    @staticmethod
    def sessions() -> Iterator[Mapping[Function, botocore.session.Session]]:
        """A session of each function, to which only what its role allows is allowed."""
        with environment(CREDENTIALS), mock_aws():
            forget_clients()
            outputs = stack.apply(DEV, TEMPLATE).outputs
            aws.client("sqs").create_queue(QueueName=ELSEWHERE.rsplit(":", 1)[-1])
            for name in ("bodies/1/a", "outputs/1/a", "others/1/a"):
                aws.client("s3").put_object(Bucket=DEV.objects_bucket, Key=name, Body=b"{}")
            made = {function: assumed(outputs[f"{role_id(function)}Arn"]) for function in Function}
            with pytest.MonkeyPatch.context() as patching, enable_iam_authentication():
                # moto knows which queue or object a call is to; of tables it must be told.
                patching.setattr(DynamoHandler, "_determine_resource", table_of_request, raising=False)
                yield made
        forget_clients()

    @pytest.mark.parametrize(
        ("function", "operation", "call", "allowed"),
        [
            (Function.API, "s3.GetObject", {"Key": "bodies/1/a"}, True),
            (Function.API, "s3.GetObject", {"Key": "others/1/a"}, False),
            (Function.API, "s3.PutObject", {"Key": "bodies/1/b"}, True),
            (Function.API, "s3.PutObject", {"Key": "outputs/1/a"}, True),
            (Function.API, "s3.PutObject", {"Key": "contexts/1/a"}, False),
            (Function.API, "s3.ListObjectsV2", {}, True),
            (Function.API, "dynamodb.GetItem", {"TableName": DEV.directory_table}, True),
            (Function.API, "dynamodb.DeleteItem", {"TableName": DEV.jobs_table}, False),
            (Function.API, "s3.DeleteObject", {"Key": "bodies/1/z"}, True),
            (Function.API, "s3.DeleteObject", {"Key": "contexts/1/a"}, True),
            (Function.API, "s3.DeleteObject", {"Key": "others/1/a"}, False),
            (Function.API, "sqs.ReceiveMessage", {"QueueUrl": ORDERS}, True),
            (Function.API, "sqs.ReceiveMessage", {"QueueUrl": DEAD_LETTERS}, False),
            (Function.WORKER, "s3.PutObject", {"Key": "exports/1/a"}, True),
            (Function.WORKER, "s3.DeleteObject", {"Key": "outputs/1/a"}, False),
            (Function.WORKER, "dynamodb.GetItem", {"TableName": DEV.jobs_table}, True),
            (Function.WORKER, "dynamodb.GetItem", {"TableName": DEV.directory_table}, False),
            (Function.WORKER, "dynamodb.DeleteTable", {"TableName": DEV.jobs_table}, False),
            (Function.WORKER, "sqs.SendMessage", {"QueueUrl": ORDERS, "MessageBody": "{}"}, True),
            (Function.WORKER, "sqs.SendMessage", {"QueueUrl": ELSEWHERE, "MessageBody": "{}"}, False),
            (Function.DEAD_LETTERS, "sqs.ReceiveMessage", {"QueueUrl": DEAD_LETTERS}, True),
            (Function.DEAD_LETTERS, "sqs.ReceiveMessage", {"QueueUrl": ORDERS}, False),
            (Function.DEAD_LETTERS, "s3.PutObject", {"Key": "bodies/1/c"}, True),
            (Function.DEAD_LETTERS, "s3.GetObject", {"Key": "bodies/1/a"}, False),
            (Function.DEAD_LETTERS, "dynamodb.GetItem", {"TableName": DEV.insights_table}, False),
            (Function.CLOCK, "sqs.SendMessage", {"QueueUrl": ORDERS, "MessageBody": "{}"}, True),
            (Function.CLOCK, "sqs.ReceiveMessage", {"QueueUrl": ORDERS}, False),
            (Function.CLOCK, "s3.ListObjectsV2", {}, False),
            (Function.CLOCK, "s3.DeleteObject", {"Key": "bodies/1/z"}, True),
            (Function.CLOCK, "dynamodb.GetItem", {"TableName": DEV.jobs_table}, True),
            (Function.HOOKS, "sqs.ReceiveMessage", {"QueueUrl": HOOKS}, True),
            (Function.HOOKS, "sqs.ReceiveMessage", {"QueueUrl": ORDERS}, False),
            (Function.HOOKS, "s3.GetObject", {"Key": "outputs/1/a"}, True),
            (Function.HOOKS, "dynamodb.GetItem", {"TableName": DEV.directory_table}, False),
            (Function.PROJECTOR, "dynamodb.GetItem", {"TableName": DEV.insights_table}, True),
            (Function.PROJECTOR, "dynamodb.GetItem", {"TableName": DEV.jobs_table}, False),
            (Function.PROJECTOR, "sqs.SendMessage", {"QueueUrl": ORDERS, "MessageBody": "{}"}, False),
            (Function.PROJECTOR, "s3.GetObject", {"Key": "bodies/1/a"}, False),
        ],
    )
    def test_moto_says_the_same(
        self,
        sessions: Mapping[Function, botocore.session.Session],
        function: Function,
        operation: str,
        call: Mapping[str, str],
        allowed: bool,
    ) -> None:
        assert answered(sessions[function], operation, call) is allowed


def assumed(role: str) -> botocore.session.Session:
    """A session with the credentials of a role."""
    name, iam = role.rsplit("/", 1)[-1], aws.client("iam")
    for kept in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        # moto's CloudFormation keeps a policy as Python writes a dict, which moto's enforcement cannot read.
        document = ast.literal_eval(str(iam.get_role_policy(RoleName=name, PolicyName=kept)["PolicyDocument"]))
        iam.put_role_policy(RoleName=name, PolicyName=kept, PolicyDocument=json.dumps(document))
    given = aws.client("sts").assume_role(RoleArn=role, RoleSessionName="function")["Credentials"]
    session = botocore.session.get_session()
    session.set_credentials(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    return session


def answered(session: botocore.session.Session, operation: str, call: Mapping[str, str]) -> bool:
    """Whether a call is allowed; any other failure fails the test."""
    service_name, name = operation.split(".")
    client = session.create_client(service_name, region_name=REGION)
    try:
        client._make_api_call(name, completed(service_name, name, call))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != FORBIDDEN:
            raise
        return False
    return True


def completed(service_name: str, operation: str, call: Mapping[str, str]) -> Mapping[str, Any]:
    """The parameters of a call with what goes without saying."""
    match service_name, operation:
        case "s3", _:
            return {"Bucket": DEV.objects_bucket, **call}
        case "sqs", _:
            name = call["QueueUrl"].rsplit(":", 1)[-1]
            return {**call, "QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"}
        case "dynamodb", "DeleteTable":
            return call
        case _:
            return {**call, "Key": KEYS[call["TableName"]]}


def table_of_request(handler: Any) -> str:
    """The resource of a DynamoDB request to one table."""
    return table_arn(handler.body["TableName"])


# -- what handlers need --------------------------------------------------------------------------------


class TestHandlers:
    MAIL: Mapping[str, Any] = {
        "Sid": "Mail",
        "Effect": "Allow",
        "Action": ["ses:SendEmail"],
        "Resource": "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:identity/${BaseName}.example.com",
        "Condition": {"StringEquals": {"ses:FromAddress": ["post@example.com"]}, "Bool": {"aws:SecureTransport": True}},
    }

    def test_the_worker_and_hooks_get_them_beside_their_own(self, tmp_path: Path) -> None:
        handlers = tmp_path / "handlers.json"
        before = {function: policy(DEV, function, handlers) for function in Function}
        handlers.write_text(json.dumps({"Statement": [self.MAIL]}))
        after = {function: policy(DEV, function, handlers) for function in Function}

        assert {function for function in Function if after[function] != before[function]} == {
            Function.WORKER,
            Function.HOOKS,
        }
        for function in (Function.WORKER, Function.HOOKS):
            *own, mail = resolved(after[function], TEMPLATE).statements
            assert own == list(resolved(before[function], TEMPLATE).statements)
            assert mail == {**self.MAIL, "Resource": [f"arn:aws:ses:{REGIONAL}:identity/taskyard-dev.example.com"]}

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("{", "a policy file is no JSON"),
            ("[]", "a policy file is no policy document"),
            ('{"Statement": {}}', "a policy file is no policy document"),
            ('{"Statement": [1]}', "a policy file is no policy document"),
            ('{"Statement": [{"Effect": "Allow", "Action": "s3:GetObject"}]}', "got Action, Effect"),
            (
                '{"Statement": [{"Sid": "Jobs", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:a"}]}',
                "expected a name of its own for each; got Jobs; rename the one in handlers.json",
            ),
        ],
    )
    def test_what_is_no_policy_is_named(self, tmp_path: Path, text: str, told: str) -> None:
        handlers = tmp_path / "handlers.json"
        handlers.write_text(text)
        with pytest.raises(InvalidInput, match=re.escape(told)):
            policy(DEV, Function.WORKER, handlers)


# -- the instruments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "arn", "fits"),
    [
        ("arn:aws:sqs:::a-*-low", "arn:aws:sqs:::a-b-c-low", True),
        ("arn:aws:sqs:::a-*-low", "arn:aws:sqs:::a-b-c-lower", False),
        ("arn:aws:sqs:::a-?", "arn:aws:sqs:::a-b", True),
        ("arn:aws:sqs:::a-?", "arn:aws:sqs:::a-", False),
        ("arn:aws:sqs:::a.b", "arn:aws:sqs:::a-b", False),
        ("arn:aws:sqs:::A", "arn:aws:sqs:::a", False),
    ],
)
def test_resources_are_matched_as_iam_does(pattern: str, arn: str, fits: bool) -> None:
    statement = {"Effect": "Allow", "Action": ["sqs:SendMessage"], "Resource": [pattern]}
    assert Policy((statement,)).allows(Permission("SQS:sendmessage", arn)) is fits
    assert not Policy((statement,)).allows(Permission("sqs:SendMessages", arn))


def test_a_condition_on_another_account_allows_nothing() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": BODY}
    for account, allowed in ((ACCOUNT, True), ("999999999999", False)):
        conditioned = {**statement, "Condition": {"StringEquals": {"aws:ResourceAccount": account}}}
        assert Policy((conditioned,)).allows(Permission("s3:GetObject", BODY)) is allowed


def test_a_transaction_needs_what_its_actions_need() -> None:
    kinds = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
    call = {"TransactItems": [{kind: {"TableName": kind}} for kind in kinds]}
    expected = [Permission(f"dynamodb:{action}", table_arn(kind)) for kind, action in kinds.items()]
    assert permissions_of("dynamodb.TransactWriteItems", call) == expected


def test_an_operation_that_nobody_knows_is_not_passed_over() -> None:
    with pytest.raises(LookupError, match=r"dynamodb\.Scan needs; add it"):
        permissions_of("dynamodb.Scan", {"TableName": "t"})
