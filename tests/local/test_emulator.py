"""The embedded emulator as a process: who reaches it, what it keeps, how it ends."""

from __future__ import annotations

import asyncio
import errno
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from chalicelib.local.change_watch import ChangeWatch
from chalicelib.local.emulator import HOST, PROJECT_ROOT, REGION, Emulator, EmulatorError, EmulatorHome
from chalicelib.local.emulator_state import LoadWatch, Snapshot
from chalicelib.local.lambda_events import stream_event
from chalicelib.local.stream_batches import read_records_as_they_are
from tests.support.waiting import DEADLINE_S, until

KEY = {"id": {"S": "one"}}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One emulator in memory for all tests that leave it as it is."""
    with Emulator.start() as running:
        yield running


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def client(emulator: Emulator, service: str) -> Any:
    return client_of(emulator.endpoint_url, service)


def client_of(endpoint_url: str, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}),
    )


def status(emulator: Emulator, method: str = "GET", **headers: str) -> int:
    """The status of a bare request; a header's name is written with _ for -."""
    connection = http.client.HTTPConnection(HOST, emulator.port, timeout=DEADLINE_S)
    try:
        connection.putrequest(method, "/_ministack/health", skip_host="host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def make_table(dynamodb: Any, name: str = "jobs", **more: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "id", "AttributeType": "S"},
            *more.pop("AttributeDefinitions", []),
        ],
        **more,
    )


def put(emulator: Emulator, marker: str) -> None:
    client(emulator, "dynamodb").put_item(TableName="jobs", Item={**KEY, "marker": {"S": marker}})


def got(emulator: Emulator) -> str | None:
    item = client(emulator, "dynamodb").get_item(TableName="jobs", Key=KEY).get("Item")
    return item["marker"]["S"] if item else None


def await_saved(data_dir: Path, marker: str, service: str = "dynamodb") -> None:
    file = data_dir / "state" / f"{service}.json"
    until(lambda: file.exists() and marker in file.read_text())


def kill(emulator: Emulator) -> None:
    os.kill(emulator.pid, signal.SIGKILL)
    assert emulator.stop() is False


def messages(sqs: Any, url: str) -> list[Any]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
    return list(answer.get("Messages", []))


class TestWhoReachesIt:
    def test_loopback_only(self, emulator: Emulator) -> None:
        for address in ("127.0.0.2", *outward_address()):
            with socket.socket() as probe:
                probe.settimeout(DEADLINE_S)
                assert probe.connect_ex((address, emulator.port)) != 0, address
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, emulator.port)) == 0

    def test_answers_programs(self, emulator: Emulator) -> None:
        assert status(emulator) == 200
        assert status(emulator, host=f"localhost:{emulator.port}") == 200

    def test_refuses_web_pages(self, emulator: Emulator) -> None:
        assert status(emulator, origin="https://example.com") == 403
        assert status(emulator, sec_fetch_site="cross-site") == 403
        assert status(emulator, "OPTIONS", origin="https://example.com") == 403
        assert status(emulator, "HEAD", origin="https://example.com") == 403

    def test_refuses_foreign_hosts(self, emulator: Emulator) -> None:
        assert status(emulator, host=f"example.com:{emulator.port}") == 403
        assert status(emulator, host="127.0.0.1:1") == 403

    def test_refuses_websockets(self, emulator: Emulator) -> None:
        handshake = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13"}
        assert status(emulator, **handshake, sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA==") == 403


def outward_address() -> list[str]:
    """This machine's address towards other networks, if it has one; asking sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        address = str(probe.getsockname()[0])
    return [] if address.startswith("127.") else [address]


class TestWhatItServes:
    def test_that_something_has_changed_to_who_waits_for_it(self, emulator: Emulator) -> None:
        watch, sqs = ChangeWatch(emulator.endpoint_url), client(emulator, "sqs")
        url = sqs.create_queue(QueueName="watched")["QueueUrl"]
        watch.wait()
        with ThreadPoolExecutor(1) as thread:
            for change in (lambda: sqs.send_message(QueueUrl=url, MessageBody="x"), watch.close):
                waiting = thread.submit(watch.wait)
                sqs.get_queue_attributes(QueueUrl=url)
                assert not waiting.done()
                change()
                assert waiting.result(DEADLINE_S / 6) is None

    def test_a_table_a_queue_and_an_object(self, emulator: Emulator) -> None:
        make_table(client(emulator, "dynamodb"))
        put(emulator, "kept")
        assert got(emulator) == "kept"

        sqs = client(emulator, "sqs")
        url = sqs.create_queue(QueueName="lane")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="hello")
        assert [message["Body"] for message in messages(sqs, url)] == ["hello"]

        s3 = client(emulator, "s3")
        s3.create_bucket(Bucket="objects")
        s3.put_object(Bucket="objects", Key="a/b", Body=b"\x00\xff")
        assert s3.get_object(Bucket="objects", Key="a/b")["Body"].read() == b"\x00\xff"

    def test_functions_see_neither_the_shells_credentials_nor_its_settings(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "real")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://192.0.2.1")
        monkeypatch.setenv("SERVICES", "s3")
        monkeypatch.setenv("PERSIST_STATE", "1")
        monkeypatch.setenv("STATE_DIR", str(tmp_path / "foreign"))
        with Emulator.start() as emulator:
            functions = client(emulator, "lambda")
            make_function(functions, "import os\ndef handler(event, context): return dict(os.environ)")
            answer = json.load(functions.invoke(FunctionName="function")["Payload"])
        assert answer["AWS_ENDPOINT_URL"] == emulator.endpoint_url
        assert "real" not in answer.values()
        assert not (tmp_path / "foreign").exists()

    def test_environment_has_all_that_an_sdk_needs(self, emulator: Emulator) -> None:
        program = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={"PATH": os.environ["PATH"], **emulator.environment()},
            capture_output=True,
            check=True,
            text=True,
        )
        assert ran.stdout.strip() == "000000000000"


def make_function(functions: Any, source: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("main.py", source)
    functions.create_function(
        FunctionName="function",
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/function",
        Handler="main.handler",
        Code={"ZipFile": code.getvalue()},
        Timeout=10,
    )


class TestWhatItKeeps:
    def test_over_a_stop(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            make_table(client(emulator, "dynamodb"))
            put(emulator, "kept")
        with Emulator.start(data_dir) as emulator:
            assert got(emulator) == "kept"

    def test_over_a_kill_after_a_save(self, data_dir: Path) -> None:
        emulator = Emulator.start(data_dir)
        make_table(client(emulator, "dynamodb"))
        put(emulator, "kept")
        await_saved(data_dir, "kept")
        kill(emulator)
        with Emulator.start(data_dir) as emulator:
            assert got(emulator) == "kept"

    def test_tables_with_keys_of_every_type_their_indexes_and_their_expiry(self, data_dir: Path) -> None:
        item = {"id": {"N": "12345678901234567890"}, "at": {"B": b"\xff\x00"}, "kind": {"S": "x"}}
        with Emulator.start(data_dir) as emulator:
            dynamodb = client(emulator, "dynamodb")
            dynamodb.create_table(
                TableName="jobs",
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[
                    {"AttributeName": "id", "KeyType": "HASH"},
                    {"AttributeName": "at", "KeyType": "RANGE"},
                ],
                AttributeDefinitions=[
                    {"AttributeName": "id", "AttributeType": "N"},
                    {"AttributeName": "at", "AttributeType": "B"},
                    {"AttributeName": "kind", "AttributeType": "S"},
                ],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": "by_kind",
                        "KeySchema": [{"AttributeName": "kind", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                ],
            )
            expiry = {"Enabled": True, "AttributeName": "expires_at"}
            dynamodb.update_time_to_live(TableName="jobs", TimeToLiveSpecification=expiry)
            dynamodb.put_item(TableName="jobs", Item=item)
            await_saved(data_dir, "12345678901234567890")
            kill(emulator)
        with Emulator.start(data_dir) as emulator:
            dynamodb = client(emulator, "dynamodb")
            key = {"id": item["id"], "at": item["at"]}
            assert dynamodb.get_item(TableName="jobs", Key=key)["Item"] == item
            found = dynamodb.query(
                TableName="jobs",
                IndexName="by_kind",
                KeyConditionExpression="kind = :kind",
                ExpressionAttributeValues={":kind": {"S": "x"}},
            )
            assert found["Items"] == [item]
            described = dynamodb.describe_time_to_live(TableName="jobs")["TimeToLiveDescription"]
            assert described == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}

    def test_messages_in_flight_with_their_handle_and_count_and_delayed_ones(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            sqs = client(emulator, "sqs")
            url = sqs.create_queue(QueueName="lane", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
            sqs.send_message(QueueUrl=url, MessageBody="in flight")
            [first] = messages(sqs, url)
            sqs.send_message(QueueUrl=url, MessageBody="delayed", DelaySeconds=600)
            sqs.send_message(QueueUrl=url, MessageBody="ready \N{SNOWMAN}")
            await_saved(data_dir, "ready", "sqs")
            kill(emulator)
        with Emulator.start(data_dir) as emulator:
            sqs = client(emulator, "sqs")
            assert [message["Body"] for message in messages(sqs, url)] == ["ready \N{SNOWMAN}"]
            counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
            assert counts["ApproximateNumberOfMessagesNotVisible"] == "2"
            assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
            handle = first["ReceiptHandle"]
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
            [again] = messages(sqs, url)
            assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("in flight", "2")

    def test_fifo_order_and_deduplication(self, data_dir: Path) -> None:
        first = {"MessageBody": "one", "MessageGroupId": "group", "MessageDeduplicationId": "1"}
        with Emulator.start(data_dir) as emulator:
            sqs = client(emulator, "sqs")
            url = sqs.create_queue(QueueName="hooks.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
            sent = sqs.send_message(QueueUrl=url, **first)
        with Emulator.start(data_dir) as emulator:
            sqs = client(emulator, "sqs")
            assert sqs.send_message(QueueUrl=url, **first)["MessageId"] == sent["MessageId"]
            later = sqs.send_message(QueueUrl=url, **{**first, "MessageDeduplicationId": "2"})
            assert later["SequenceNumber"] > sent["SequenceNumber"]

    def test_objects_at_once_and_buckets_with_the_next_save(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            s3 = client(emulator, "s3")
            s3.create_bucket(Bucket="objects")
            s3.put_object(Bucket="objects", Key="saved", Body=b"1")
            await_saved(data_dir, "objects", "s3")
            s3.put_object(Bucket="objects", Key="not/saved", Body=b"2", ContentType="text/x")
            kill(emulator)
        with Emulator.start(data_dir) as emulator:
            s3 = client(emulator, "s3")
            assert s3.get_object(Bucket="objects", Key="saved")["Body"].read() == b"1"
            newer = s3.get_object(Bucket="objects", Key="not/saved")
            assert (newer["Body"].read(), newer["ContentType"]) == (b"2", "text/x")

    @pytest.mark.parametrize("saved", [[], ["saved"]])
    def test_no_bucket_that_is_younger_than_the_last_save(self, data_dir: Path, saved: list[str]) -> None:
        with Emulator.start(data_dir) as emulator:
            for name in saved:
                client(emulator, "s3").create_bucket(Bucket=name)
                client(emulator, "s3").put_object(Bucket=name, Key="key", Body=b"1")
        younger = EmulatorHome(data_dir).objects / "000000000000" / "younger"
        younger.mkdir(parents=True)
        (younger / "key").write_bytes(b"2")
        with Emulator.start(data_dir) as emulator:
            s3 = client(emulator, "s3")
            assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == saved
            assert [s3.get_object(Bucket=name, Key="key")["Body"].read() for name in saved] == [b"1"] * len(saved)
            assert not younger.exists()

    def test_no_stream_records_but_readers_that_miss_no_new_ones(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            make_table(
                client(emulator, "dynamodb"),
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            )
            client(emulator, "sqs").create_queue(QueueName="seen")
            stream = stream_of(emulator)
            make_function(client(emulator, "lambda"), FORWARDS_MARKERS)
            client(emulator, "lambda").create_event_source_mapping(
                FunctionName="function", EventSourceArn=stream, StartingPosition="TRIM_HORIZON"
            )
            for marker in ("1", "2", "3"):
                put(emulator, marker)
            assert [next_seen(emulator) for _ in range(3)] == ["1", "2", "3"]
        with Emulator.start(data_dir) as emulator:
            assert stream_of(emulator) == stream
            assert records_of(client(emulator, "dynamodbstreams"), stream) == []
            put(emulator, "4")
            assert next_seen(emulator) == "4"


FORWARDS_MARKERS = """
import boto3

def handler(event, context):
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
    for record in event["Records"]:
        sqs.send_message(QueueUrl=url, MessageBody=record["dynamodb"]["NewImage"]["marker"]["S"])
"""


def stream_of(emulator: Emulator) -> str:
    return str(client(emulator, "dynamodb").describe_table(TableName="jobs")["Table"]["LatestStreamArn"])


def records_of(streams: Any, stream: str) -> list[Any]:
    [shard] = streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    start = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = streams.get_shard_iterator(StreamArn=stream, **start)["ShardIterator"]
    return list(streams.get_records(ShardIterator=iterator)["Records"])


def next_seen(emulator: Emulator) -> str:
    """The next marker that the function has forwarded."""
    sqs = client(emulator, "sqs")
    url = sqs.get_queue_url(QueueName="seen")["QueueUrl"]
    [message] = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return str(message["Body"])


def test_records_are_read_as_they_are(emulator: Emulator) -> None:
    view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    make_table(client(emulator, "dynamodb"), "read", StreamSpecification=view)
    for value in ({"S": "ä"}, {"N": "1"}, {"M": {"a": {"L": [{"BOOL": True}, {"NULL": True}]}}}):
        client(emulator, "dynamodb").put_item(TableName="read", Item={**KEY, "value": value})
    table = client(emulator, "dynamodb").describe_table(TableName="read")["Table"]
    stream = str(table["LatestStreamArn"])
    parsed = records_of(client(emulator, "dynamodbstreams"), stream)
    raw = records_of(read_records_as_they_are(client(emulator, "dynamodbstreams")), stream)
    assert len(raw) == 3
    events = [stream_event(records, stream, "shard", 60, 0) for records in (raw, parsed)]
    assert json.loads(json.dumps(events[0])) == json.loads(json.dumps(events[1]))


class TestItsPort:
    def test_is_the_one_of_the_last_run(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as first:
            pass
        with Emulator.start(data_dir) as second:
            assert second.port == first.port

    def test_changes_when_it_is_taken_and_the_queues_follow(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            old_port = emulator.port
            sqs = client(emulator, "sqs")
            old_url = sqs.create_queue(QueueName="lane")["QueueUrl"]
            sqs.send_message(QueueUrl=old_url, MessageBody="still there")
        with socket.create_server((HOST, old_port)), Emulator.start(data_dir) as emulator:
            assert emulator.port != old_port
            sqs = client(emulator, "sqs")
            new_url = old_url.replace(str(old_port), str(emulator.port))
            assert sqs.create_queue(QueueName="lane")["QueueUrl"] == new_url
            assert sqs.list_queues()["QueueUrls"] == [new_url]
            [message] = messages(sqs, new_url)
            assert message["Body"] == "still there"
            sqs.delete_message(QueueUrl=old_url, ReceiptHandle=message["ReceiptHandle"])

    def test_must_be_free_when_it_is_given(self) -> None:
        with socket.create_server((HOST, 0)) as other:
            port = other.getsockname()[1]
            ran = run_by_hand("--port", str(port))
        assert ran.returncode == 1
        assert str(port) in ran.stderr


def run_by_hand(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the process with a standard input that has ended, which stops it as soon as it serves."""
    return subprocess.run(
        [sys.executable, "-m", "chalicelib.local.emulator_process", *arguments],
        cwd=PROJECT_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=DEADLINE_S,
    )


class TestItsDataFolder:
    def test_belongs_to_one_emulator_at_a_time(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as first:
            with pytest.raises(EmulatorError, match=f"pid {first.pid}"):
                Emulator.start(data_dir)
            assert status(first) == 200

    def test_is_the_only_place_it_writes_to(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_dir: Path
    ) -> None:
        system_tmp = tmp_path / "tmp"
        system_tmp.mkdir()
        monkeypatch.setenv("TMPDIR", str(system_tmp))
        with Emulator.start(data_dir, log_path=data_dir / "my.log") as emulator:
            make_function(client(emulator, "lambda"), "def handler(event, context): return 1")
            client(emulator, "lambda").invoke(FunctionName="function")
        assert list(system_tmp.iterdir()) == []
        left = {file.name for file in data_dir.iterdir()}
        assert left == {"emulator.lock", "emulator.port", "my.log", "state"}

    def test_is_not_needed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with Emulator.start():
            assert list(tmp_path.iterdir())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("damaged", ["{", '{"__ministack_format__": 99, "payload": {}}'])
    def test_stays_as_it_is_when_it_cannot_be_loaded(self, data_dir: Path, damaged: str) -> None:
        state = EmulatorHome(data_dir).state
        state.mkdir(parents=True)
        (state / "dynamodb.json").write_text(damaged)
        with pytest.raises(EmulatorError, match="Expected to load the saved state"):
            Emulator.start(data_dir)
        assert (state / "dynamodb.json").read_text() == damaged

    def test_stays_as_it_is_when_the_emulator_ends_before_it_serves(self, data_dir: Path) -> None:
        with Emulator.start(data_dir) as emulator:
            # MiniStack holds the state of IAM, unlike that of others, before it has loaded anything.
            client(emulator, "iam").create_role(RoleName="kept", AssumeRolePolicyDocument="{}")
        ran = run_by_hand("--port", str(emulator.port), "--data-dir", str(data_dir))
        assert ran.returncode == 0, ran.stderr
        with Emulator.start(data_dir) as emulator:
            roles = client(emulator, "iam").list_roles()["Roles"]
        assert [role["RoleName"] for role in roles] == ["kept"]


class TestItsEnd:
    def test_when_it_is_stopped(self, data_dir: Path) -> None:
        emulator = Emulator.start(data_dir)
        assert emulator.alive()
        assert emulator.stop() is True
        assert not emulator.alive()
        assert emulator.stop() is True
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, emulator.port)) != 0

    def test_when_it_does_not_stop_by_itself(self, data_dir: Path) -> None:
        emulator = Emulator.start(data_dir)
        os.kill(emulator.pid, signal.SIGSTOP)
        assert emulator.stop(timeout_s=0.1) is False
        assert not emulator.alive()

    def test_when_its_parent_is_killed(self, data_dir: Path) -> None:
        program = """
            import sys, time
            from pathlib import Path
            from chalicelib.local.emulator import Emulator
            print(Emulator.start(Path(sys.argv[1])).endpoint_url, flush=True)
            time.sleep(3600)
        """
        parent = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), str(data_dir)],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
        )
        with parent:
            assert parent.stdout
            dynamodb = client_of(parent.stdout.readline().decode().strip(), "dynamodb")
            make_table(dynamodb)
            dynamodb.put_item(TableName="jobs", Item={**KEY, "marker": {"S": "kept"}})
            parent.kill()
        with Emulator.start(data_dir) as emulator:  # which waits for the orphan to leave the folder
            assert got(emulator) == "kept"

    def test_when_nobody_holds_its_standard_input(self) -> None:
        with socket.create_server((HOST, 0)) as probe:
            free_port = probe.getsockname()[1]
        ran = run_by_hand("--port", str(free_port))
        assert (ran.returncode, ran.stderr) == (0, "")

    def test_does_not_wait_for_a_consumer_that_polls(self, data_dir: Path) -> None:
        emulator = Emulator.start(data_dir)
        url = client(emulator, "sqs").create_queue(QueueName="lane")["QueueUrl"]
        with socket.create_connection((HOST, emulator.port)) as poll:
            body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
            poll.sendall(
                b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (emulator.port, len(body), body)
            )
            started_s = time.monotonic()
            assert emulator.stop() is True
            assert time.monotonic() - started_s < 15


class TestSnapshot:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        folder = tmp_path / "state"
        Snapshot(folder).write({"a.json": "old", "b.json": "old", "c.json": "old"})
        return folder

    def content(self, folder: Path) -> dict[str, str]:
        return {file.name: file.read_text() for file in folder.iterdir()}

    def test_replaces_what_it_contains(self, folder: Path) -> None:
        Snapshot(folder).write({"a.json": "new", "b.json": "new"})
        assert self.content(folder) == {"a.json": "new", "b.json": "new", "c.json": "old"}
        assert [file.name for file in folder.parent.iterdir()] == ["state"]

    def test_that_is_cut_short_while_it_is_written_changes_nothing(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut_short(monkeypatch, "write_text", after=1)
        with pytest.raises(Killed):
            Snapshot(folder).write({"a.json": "new", "b.json": "new"})
        monkeypatch.undo()
        Snapshot(folder).install()
        assert set(self.content(folder).values()) == {"old"}
        Snapshot(folder).write({"b.json": "newer"})
        assert self.content(folder) == {"a.json": "old", "b.json": "newer", "c.json": "old"}

    def test_that_finds_the_disk_full_changes_nothing_and_takes_no_room(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cut_short(monkeypatch, "write_text", after=1, by=OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match="No space left"):
            Snapshot(folder).write({"a.json": "new", "b.json": "new"})
        monkeypatch.undo()
        assert set(self.content(folder).values()) == {"old"}
        assert [file.name for file in folder.parent.iterdir()] == ["state"]

    @pytest.mark.parametrize("moved", [0, 1, 2])
    def test_that_is_cut_short_while_it_is_installed_is_completed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, moved: int
    ) -> None:
        cut_short(monkeypatch, "replace", after=moved)
        with pytest.raises(Killed):
            Snapshot(folder).write({"a.json": "new", "b.json": "new", "c.json": "new"})
        monkeypatch.undo()
        Snapshot(folder).install()
        assert set(self.content(folder).values()) == {"new"}


class Killed(Exception):
    """Stands for the end of the process."""


def cut_short(monkeypatch: pytest.MonkeyPatch, method: str, after: int, by: Exception | None = None) -> None:
    """Let a method of Path work so many times and then raise; by default, as if the process ended."""
    original = getattr(Path, method)
    left = iter(range(after))

    def killing(self: Path, *arguments: Any) -> Any:
        if next(left, None) is None:
            raise by or Killed
        return original(self, *arguments)

    monkeypatch.setattr(Path, method, killing)


async def fails(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001
    raise RuntimeError("no idea what this file is")


def test_a_start_that_fails_is_not_served(caplog: pytest.LogCaptureFixture) -> None:
    failures = []
    load = LoadWatch(fails, on_failure=lambda: failures.append("told"))
    asyncio.run(load({"type": "lifespan"}, fails, fails))
    assert (failures, load.done) == (["told"], False)
    assert "no idea what this file is" in caplog.text
