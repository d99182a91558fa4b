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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import DEFAULT_BANDS, TOPIC_MAX_CHARS, Band, Lane, sqs_name
from chalicelib.engine.registry import registry
from chalicelib.local import stack
from chalicelib.settings import Settings
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
from tests.support.lambda_shapes import Time, sqs_event, stream_event
from tests.support.service import Reply, Service, service
from tests.support.steps import failing
from tests.support.yards import CREDENTIALS, environment, forget_clients

DEV = Settings(stage="dev", bucket="objects")
LONGEST = Settings(prefix="p" * 16, stage="s" * 12, tracing="on").checked()
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

    # -- the functions ------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, status: int = 200) -> Any:
        with self._invocation(Function.API):
            reply = self.service.get(path, query)
        return self._answered(reply, status)

    def post(self, path: str, body: Mapping[str, Any], *, status: int = 200, **headers: str) -> Any:
        with self._invocation(Function.API):
            reply = self.service.post(path, body, **headers)
        return self._answered(reply, status)

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
        return ticked

    def project(self) -> None:
        """All of the change stream, to the projector."""
        table = get_backend("dynamodb")[ACCOUNT][REGION].tables[DEV.jobs_table]
        records = [record.to_json() for record in table.stream_shard.items]
        with self._invocation(Function.PROJECTOR):
            self.service.module.projector(stream_event(DEV.jobs_table, "shard-1", records), Time())

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
        with environment({"TASKYARD_HANDLERS": handlers}):
            self._forget_handlers()
            yield
        self._forget_handlers()

    def _forget_handlers(self) -> None:
        service_settings.current.cache_clear()
        registry.cache_clear()
        self.service.module.yard.cache_clear()

    @contextmanager
    def _invocation(self, function: Function) -> Iterator[None]:
        self.service.module.yard.cache_clear()  # a new process knows no queue, no lane and no id
        with self.recorder.during(function):
            yield

    @staticmethod
    def _answered(reply: Reply, status: int) -> Any:
        assert reply.status == status, reply.text
        return reply.json


@contextmanager
def installation() -> Iterator[Installation]:
    """A deployed stage with an access key, on moto."""
    with service(stage=DEV.stage, bucket=DEV.bucket) as made:
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


def ask(at_work: Installation) -> None:
    """All that can be asked."""
    for query in ({}, {"topic": "polled"}, {"topic": "polled", "status": "PENDING"}, {"traceId": TRACE}):
        at_work.get("/mq/message/list", query)
    at_work.get(f"/mq/trace/{TRACE}")
    at_work.get("/mq/dlq/list")
    at_work.post(f"/mq/dlq/replay/{at_work.ids['buried']}", {})
    for query in ({}, {"filter[type]": "scripted"}, {"filter[targetId]": "t"}):
        at_work.get("/api/task/list", query)
    assert len(at_work.get("/api/task/detail", {"id": at_work.ids["large output"]})["output"]) == 300_000
    at_work.post("/api/task/retry", {"taskIds": [at_work.ids["rejected"], at_work.ids["canceled"]]})
    at_work.post(
        "/api/task/create", {"type": "any", "runnerType": "manual", "targetId": "t", "targetType": "t", "input": 1}
    )
    at_work.get("/health")


def give_up(at_work: Installation) -> None:
    """What SQS gives up: jobs of both kinds of topics, recorded or not, and what nobody can read."""
    at_work.publish("stuck")
    at_work.redrive(*at_work.taken_from("stuck"), "foreign", "\u00fc" * 80_000)
    for text in ("small", BESIDE):
        job = at_work.publish("scripted.topic", text=text)
        *_, message = at_work.taken_from("scripted.topic")
        at_work.lose(job)
        at_work.redrive(message)


def let_time_pass(at_work: Installation) -> None:
    """Long delays, abandoned leases, bulks whose sender died, children that wait, what SQS will soon forget."""
    later = {"executeAt": at_work.service.now(HOUR_MS), "payload": {"text": BESIDE}}
    for topic in ("later", "scripted.topic"):
        at_work.post("/mq/message/publish", {"topic": topic, **later})
    at_work.create("scripted", BESIDE, delay=HOUR_MS / 1_000)
    with failing(aws.client("sqs", read_timeout_s=aws.LONG_POLL_READ_TIMEOUT_S), "SendMessageBatch"):
        at_work.post("/mq/message/publish-batch", {"messages": [{"topic": "bulk", "payload": {}}] * 2})
    parent = at_work.create("scripted", "a parent that is never run")
    at_work.create("scripted", "a child", parentTaskId=parent)
    at_work.publish("abandoned")
    at_work.get("/mq/message/poll", {"topic": "abandoned", "limit": 1})
    ticked = [at_work.tick(10 * MINUTE_MS), at_work.tick(2 * HOUR_MS)]
    at_work.work("scripted.topic")  # what the clock has sent carries no body
    ticked.append(at_work.tick(8 * DAY_MS))
    now_ms = at_work.service.clock.ms
    ticked.append(at_work.tick(HOUR_MS - now_ms % HOUR_MS))
    for step in ("outboxes_sent", "due_sent", "leases_recovered", "stale_resent"):
        assert sum(each.get(step, 0) for each in ticked) > 0, f"the clock had no {step}"


WORK = (publish_and_poll, poll_what_is_void, run_handlers, run_families, ask, give_up, let_time_pass)


@pytest.fixture(scope="module")
def needed() -> Mapping[Function, set[Permission]]:
    """What the functions needed to do their work."""
    with installation() as at_work:
        for part in WORK:
            part(at_work)
        at_work.project()
        at_work.project()
        return dict(at_work.recorder.needed)


# -- the documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", Function)
class TestForm:
    def test_no_wildcard_stands_for_everything(self, function: Function) -> None:
        found = granted(function)
        assert "*" not in "".join(found.actions)
        assert [resource for resource in found.resources if re.fullmatch(r"[*:/]*|arn(:[^:]*){4}:\*", resource)] == []
        assert all(resource.startswith("arn:aws:") for resource in found.resources)

    def test_every_action_exists(self, function: Function) -> None:
        known = load_resource(AdditionalSpecs, "Policies.json")
        for action in granted(function).actions:
            service_name, name = action.split(":")
            assert name.lower() in known[service_name]["Actions"], action

    def test_every_statement_has_a_name_of_its_own_and_only_allows(self, function: Function) -> None:
        statements = granted(function).statements
        assert len({statement["Sid"] for statement in statements}) == len(statements)
        assert {statement["Effect"] for statement in statements} == {"Allow"}

    def test_objects_are_only_those_of_this_account(self, function: Function) -> None:
        """A bucket's ARN does not say whose it is: somebody else may have made it anew once it was deleted."""
        for statement in granted(function).statements:
            of_s3 = any(action.startswith("s3:") for action in statement["Action"])
            expected = {"StringEquals": {"aws:ResourceAccount": ACCOUNT}} if of_s3 else None
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


def chars_of(found: Policy) -> int:
    """How many characters IAM counts, in the region and the partition with the longest names."""
    text = json.dumps({"Version": "2012-10-17", "Statement": found.statements})
    return len(re.sub(r"\s", "", text.replace(REGION, "ap-southeast-1").replace("arn:aws:", "arn:aws-us-gov:")))


def test_cfn_lint_finds_nothing_in_the_roles() -> None:
    assert lint(json.dumps(template(replace(DEV, tracing="on"), {"orders": DEFAULT_BANDS}))) == []


# -- enough, and nothing else --------------------------------------------------------------------------


@pytest.mark.parametrize("function", Function)
class TestMeasure:
    def test_it_is_enough(self, function: Function, needed: Mapping[Function, set[Permission]]) -> None:
        found = granted(function)
        for permission in sorted(needed[function] | by_lambda(function)):
            assert found.allows(permission), (
                f"{function} may not {permission.action} {permission.arn}; "
                f"allow it in infra/policies/{function}.json, or let the function do without"
            )

    def test_nothing_is_left_over(self, function: Function, needed: Mapping[Function, set[Permission]]) -> None:
        """Each action of each statement was needed on each of its resources."""
        used = needed[function] | by_lambda(function)
        for statement in granted(function).statements:
            for action, resource in itertools.product(statement["Action"], statement["Resource"]):
                alone = Policy(({**statement, "Action": action, "Resource": resource},))
                assert any(alone.allows(permission) for permission in used), (
                    f"{function} never needed {action} on {resource}; remove it from infra/policies/{function}.json, "
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
        ("dynamodb:Query", f"{JOBS}/index/due"),
        ("sqs:ReceiveMessage", DEAD_LETTERS),
        ("sqs:SendMessage", ELSEWHERE),
        ("sqs:DeleteQueue", ORDERS),
        ("s3:PutObject", OUTPUT),
        ("s3:GetObject", STRANGER),
        ("s3:DeleteObject", BODY),
    ],
    Function.WORKER: [
        ("dynamodb:DeleteTable", JOBS),
        ("dynamodb:DeleteItem", JOBS),
        ("dynamodb:GetItem", DIRECTORY),  # where the access keys are
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
        ("dynamodb:PutItem", JOBS),
        ("dynamodb:GetItem", DIRECTORY),
        ("dynamodb:Query", f"{JOBS}/index/by_trace"),
        ("dynamodb:GetItem", INSIGHTS),
        ("s3:GetObject", BODY),
        ("s3:ListBucket", bucket_arn(DEV.objects_bucket)),
    ],
    Function.PROJECTOR: [
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
    allowed = [asked for asked in REFUSED[function] if granted(function).allows(Permission(*asked))]
    assert allowed == []


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
            (Function.API, "s3.PutObject", {"Key": "outputs/1/a"}, False),
            (Function.API, "s3.ListObjectsV2", {}, True),
            (Function.API, "dynamodb.GetItem", {"TableName": DEV.directory_table}, True),
            (Function.API, "dynamodb.DeleteItem", {"TableName": DEV.jobs_table}, False),
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
            (Function.CLOCK, "dynamodb.GetItem", {"TableName": DEV.jobs_table}, True),
            (Function.CLOCK, "dynamodb.GetItem", {"TableName": DEV.directory_table}, False),
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

    def test_the_worker_gets_them_beside_its_own(self, tmp_path: Path) -> None:
        handlers = tmp_path / "handlers.json"
        before = {function: policy(DEV, function, handlers) for function in Function}
        handlers.write_text(json.dumps({"Statement": [self.MAIL]}))
        after = {function: policy(DEV, function, handlers) for function in Function}

        assert {function for function in Function if after[function] != before[function]} == {Function.WORKER}
        *own, mail = resolved(after[Function.WORKER], TEMPLATE).statements
        assert own == list(resolved(before[Function.WORKER], TEMPLATE).statements)
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
