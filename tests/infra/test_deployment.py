"""Parts of a deployment that the end-to-end tests do not reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from moto import mock_aws

from chalicelib import aws
from chalicelib.core.lanes import Band, Lane, sqs_name
from chalicelib.engine.handlers.declare import DEFAULT_POOL
from chalicelib.queue.sqs import SqsTransport
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.deploy.account import Account
from infra.deploy.adopt import adopt
from infra.deploy.by_chalice import ApiUnclear, Deployed, _recovered
from infra.deploy.code import CodeBucket, content_digest, digest_of
from infra.deploy.deploy import OtherWay, Way, _expect_same_way, way_deployed
from infra.deploy.destroy import _queues
from infra.queues import lanes_of
from infra.template import template
from tests.support.yards import CREDENTIALS, environment, forget_clients

DEV = Settings(stage="dev", watch="off")
HERE = Account("123456789012", "aws", "us-east-1", None)


@pytest.fixture
def cloud() -> Iterator[None]:
    with environment(CREDENTIALS), mock_aws():
        forget_clients()
        yield
    forget_clients()


@pytest.mark.parametrize(
    ("account", "url"),
    [
        (HERE, "https://a1.execute-api.us-east-1.amazonaws.com/api"),
        (Account("1", "aws-cn", "cn-north-1", None), "https://a1.execute-api.cn-north-1.amazonaws.com.cn/api"),
        (
            Account("1", "aws", "us-east-1", "http://127.0.0.1:4566/"),
            "http://127.0.0.1:4566/restapis/a1/api/_user_request_",
        ),
    ],
)
def test_where_an_api_answers(account: Account, url: str) -> None:
    assert account.api_url("a1", "api") == url


def test_equal_code_has_one_digest_whatever_its_dates_and_order(tmp_path: Path) -> None:
    contents = {"app.py": b"x = 1\n", "lib/a.py": b""}
    digests = []
    for name, order in (("one", sorted(contents)), ("two", sorted(contents, reverse=True))):
        path = tmp_path / f"{name}.zip"
        with ZipFile(path, "w") as zipped:
            for file in order:
                zipped.writestr(file, contents[file])
        digests.append(content_digest(path))
    assert digests[0] == digests[1] == digest_of(contents.items())
    assert digest_of({**contents, "app.py": b"x = 2\n"}.items()) != digests[0]
    assert digest_of([("ab", b"c")]) != digest_of([("a", b"bc")])


@pytest.mark.usefixtures("cloud")
def test_code_is_uploaded_once(tmp_path: Path) -> None:
    bucket = CodeBucket.prepared(DEV)
    assert bucket.name == "taskyard-dev-code-123456789012-us-east-1"
    assert CodeBucket.prepared(DEV) == bucket
    path = tmp_path / "deployment.zip"
    with ZipFile(path, "w") as zipped:
        zipped.writestr("app.py", "x = 1\n")
    key = bucket.put_archive(path)
    first = aws.client("s3").head_object(Bucket=bucket.name, Key=key)["LastModified"]
    assert bucket.put_archive(path) == key
    assert aws.client("s3").head_object(Bucket=bucket.name, Key=key)["LastModified"] == first
    assert bucket.read_json("record") is None
    bucket.write_json("record", {"a": [1]})
    assert bucket.read_json("record") == {"a": [1]}


@pytest.mark.usefixtures("cloud")
def test_an_api_that_an_earlier_try_left_is_found_by_its_name() -> None:
    apigateway = aws.client("apigateway")
    apigateway.create_rest_api(name="another")
    assert _recovered(DEV, HERE, "api") == {}
    api_id = apigateway.create_rest_api(name="taskyard-dev")["id"]
    record = _recovered(DEV, HERE, "api")
    assert Deployed(record=record).api_id == api_id
    (entry,) = record["resources"]
    assert entry["rest_api_url"] == f"https://{api_id}.execute-api.us-east-1.amazonaws.com/api/"
    second = apigateway.create_rest_api(name="taskyard-dev")["id"]
    with pytest.raises(ApiUnclear) as unclear:
        _recovered(DEV, HERE, "api")
    assert {api_id, second} <= set(str(unclear.value).replace(";", ",").replace(",", " ").split())


@pytest.mark.usefixtures("cloud")
def test_the_way_of_a_deployment_is_told_by_its_stack() -> None:
    assert way_deployed(DEV) is None
    _expect_same_way(DEV, Way.STACK)
    stack.apply(DEV, template(DEV, {}))
    assert way_deployed(DEV) is Way.CHALICE
    _expect_same_way(DEV, Way.CHALICE)
    with pytest.raises(OtherWay, match="expected --way chalice; got --way stack"):
        _expect_same_way(DEV, Way.STACK)


@pytest.mark.usefixtures("cloud")
def test_nothing_is_taken_over_where_there_is_nothing_or_a_stack() -> None:
    wanted = template(DEV, {})
    assert adopt(wanted, "taskyard-dev-infra", HERE, CodeBucket("code").put_template) == []
    stack.apply(DEV, wanted)
    assert adopt(wanted, "taskyard-dev-infra", HERE, CodeBucket("code").put_template) == []


@pytest.mark.usefixtures("cloud")
def test_only_the_installations_own_queues_are_deleted() -> None:
    other = Settings(prefix="taskyard-dev", stage="eu", watch="off")  # its names begin as those of the other do
    for installation in (DEV, other):
        stack.apply(installation, template(installation, {"orders": (Band.HIGH,)}))
    polled = Lane("polled", Band.NORMAL)
    SqsTransport(aws.client("sqs"), DEV.base_name, Lane(DEFAULT_POOL, Band.NORMAL)).open_lane(polled)
    lanes = [*lanes_of({"orders": (Band.HIGH,)}), polled]
    names = {sqs_name(DEV.base_name, lane) for lane in lanes} | {DEV.dead_letter_queue}
    assert {url.rsplit("/", 1)[-1] for url in _queues(DEV)} == names


@pytest.mark.usefixtures("cloud")
def test_a_template_that_is_too_large_goes_through_the_bucket() -> None:
    sent: list[str] = []
    bucket = CodeBucket.prepared(DEV)

    def upload(body: str) -> str:
        sent.append(body)
        return bucket.put_template(body)

    large = template(Settings(stage="dev"), {f"topic-{number}": () for number in range(1)})
    large["Description"] = "x" * 1_000
    large["Metadata"] = {"Padding": "y" * stack.TEMPLATE_BODY_MAX_BYTES}
    report = stack.apply(DEV, large, upload=upload)
    assert report.change is stack.Change.CREATED
    assert len(sent) == 1
    assert stack.apply(DEV, large, upload=upload).change is stack.Change.UNCHANGED
    assert len(sent) == 1
