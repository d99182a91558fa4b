"""Serendipity-Job's documented requests, against `taskyard up`: a PHP client that signs, and a receiver that checks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from chalicelib.core.applications import digest_of, sign
from tests.support.dialect_handlers.serendipity_jobs import SIMPLE_JOB
from tests.support.programs import program
from tests.support.serendipity import NAMES, Receiver, is_signed, receiving
from tests.support.up import Service
from tests.support.waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "serendipity.md").read_text()
DEADLINE_S = 60
CREATE = {"appName": "帅的批爆1", "step": 1, "retryTotal": 5, "remark": "呵呵"}
PARAMS = {"startDate": "2021-07-27 17:50:50", "endDate": "2021-07-27 17:50:50"}
TASK = {
    "taskNo": "taskNo82",
    "content": {"class": SIMPLE_JOB, "_params": PARAMS},
    "timeout": 60_000,
    "name": "name",
    "runtime": "2021-07-27 17:30:30",
}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Application:
    """A program elsewhere."""

    def __init__(self, api: Service, link_url: str) -> None:
        self.api = api
        made = api.post("/application/create", {**CREATE, "linkUrl": link_url})
        assert (made["code"], made["msg"]) == (0, "Ok!")
        self.key, self.secret = made["data"]["appKey"], made["data"]["secretKey"]

    def signed(self, body: bytes) -> dict[str, str]:
        signed = sign(self.key, self.secret, digest_of(body), time.time_ns() // 1_000_000, os.urandom).to_send()
        return {name: signed[name] for name in NAMES} | {"Content-Type": "application/json"}

    def asks(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        headers = self.signed(body) if headers is None else dict(headers)
        request = Request(self.api.url + path, body or None, headers, method=method)  # noqa: S310  # a loopback address
        with urlopen(request, timeout=DEADLINE_S) as answer:  # noqa: S310
            return dict(json.load(answer))

    def post(self, path: str, body: Any) -> dict[str, Any]:
        return self.asks("POST", path, json.dumps(body).encode())

    def detail(self, task_id: int) -> dict[str, Any]:
        found = self.asks("GET", f"/task/detail?{urlencode({'id': task_id, 'coroutine_id': 6, 'service_id': 's'})}")
        assert (found["code"], found["msg"]) == (0, "ok!")
        return dict(found["data"])

    def is_done(self, task_id: int) -> bool:
        return bool(self.detail(task_id)["status"] == 2)


def test_the_documented_pairs(api: Service, receiver: Receiver) -> None:
    app = Application(api, receiver.url)
    created = app.post("/task/create", TASK)
    task_id = created["data"]["taskId"]
    assert created == {"code": 0, "msg": "ok!", "data": {"taskId": task_id}}
    assert app.post("/task/create", TASK)["code"] == 1
    until(lambda: app.is_done(task_id), DEADLINE_S)
    assert app.detail(task_id)["result"] == PARAMS
    assert app.post("/task/cancel", {"coroutine_id": 6, "id": 18_000_000}) == {"code": 1, "msg": "Unknown!", "data": []}
    later = app.post("/task/create", {**TASK, "taskNo": "later", "runtime": int(time.time()) + 3_600})["data"]["taskId"]
    assert app.post("/nsq/publish", {"task_id": later}) == {"code": 0, "msg": "ok!", "data": {}}
    until(lambda: app.is_done(later), DEADLINE_S)
    fresh = api.post("/application/refresh-signature", {"app_key": app.key, "secret_key": app.secret})
    assert (fresh["code"], fresh["data"]["appKey"]) == (0, app.key)
    listed = [each for each in api.get("/application/list")["data"] if each["appKey"] == app.key]
    assert [each["linkUrl"] for each in listed] == [receiver.url]


def test_of_several_at_once_one_is_taken(api: Service, receiver: Receiver) -> None:
    app = Application(api, receiver.url)
    race = {**TASK, "taskNo": "race"}
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(lambda _: app.post("/task/create", race), range(4)))
    assert sorted(each["code"] for each in made) == [0, 1, 1, 1]
    assert len({each["data"]["taskId"] for each in made}) == 1
    body = json.dumps({**TASK, "taskNo": "once"}).encode()
    headers = app.signed(body)

    def status(_: int) -> int:
        try:
            app.asks("POST", "/task/create", body, headers)
        except HTTPError as refused:
            return refused.code
        return 200

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(status, range(4))) == [200, 401, 401, 401]


def test_a_php_client_and_a_receiver_that_fails_twice(api: Service, receiver: Receiver) -> None:
    """With step 1 it sees three attempts: the second no earlier than 1 s after the first, the third 2 s later."""
    receiver.answers[:] = [(500, b"no", {}), (200, b"wait", {}), (200, b"success", {})]
    receiver.seen.clear()
    app = Application(api, receiver.url)
    (script,) = re.findall(r"^```php\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    run = subprocess.run(
        [program("php")],
        input=script,
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env={**os.environ, "TASKYARD_URL": api.url, "APP_KEY": app.key, "APP_SECRET": app.secret},
    )
    answer = json.loads(run.stdout)
    assert (answer["code"], answer["msg"]) == (0, "ok!"), run.stdout
    until(lambda: app.is_done(answer["data"]["taskId"]), DEADLINE_S)
    assert [json.loads(each.body) for each in receiver.seen] == [{"data": {"amount": 5}}] * 3
    assert [is_signed(each, app.secret) for each in receiver.seen] == [True] * 3
    first, second, third = (each.at_s for each in receiver.seen)
    assert second - first >= 1
    assert third - second >= 2
