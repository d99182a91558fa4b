"""The real ``app.py`` on moto, as its clients see it, with a clock that the test moves.

moto's SQS obeys the same clock, so hidden and delayed messages show up when their time has come.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch
from urllib.parse import quote, urlencode

from chalice.test import Client
from moto import mock_aws

from chalicelib import aws, settings
from chalicelib.core.job import Job
from chalicelib.core.lanes import Lane
from chalicelib.engine import yard as yards
from chalicelib.engine.handlers.registry import Registry, registry
from chalicelib.engine.yard import Yard, build
from chalicelib.queue.contract import Received
from infra.deploy import stack
from infra.template import template
from tests.support.lambda_shapes import Time, sqs_event
from tests.support.lanes import lane_of
from tests.support.yards import CREDENTIALS, FAR_MS, START_MS, InOrder, MovableClock, environment, forget_clients

APP_FILE = Path(__file__).parents[2] / "app.py"
HANDLERS = "chalicelib.tasks,tests.support.dialect_handlers"
VARIABLES = {"TASKYARD_HANDLERS": HANDLERS, "TASKYARD_BUCKET": "objects", "TASKYARD_WATCH": "off"}
HOST = "127.0.0.1:8000"
Query = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    json: Any
    headers: Mapping[str, str]
    text: str


@dataclass(slots=True)
class Service:
    """An installation: its API, its functions, its clock."""

    module: ModuleType
    clock: MovableClock
    client: Client
    default_headers: dict[str, str] = field(default_factory=dict)

    @property
    def yard(self) -> Yard:
        """What stands behind the API."""
        yard: Yard = self.module.yard()
        return yard

    # -- requests -----------------------------------------------------------------------------

    def get(self, path: str, query: Query | None = None, **headers: str) -> Reply:
        """GET; a list in ``query`` is sent as a repeated key, ``True`` and ``False`` as JSON writes them."""
        return self.request("GET", _url(path, query), None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        """POST ``body`` as JSON; bytes are sent as they are, ``None`` sends none."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return self.request("POST", path, content, {"Content-Type": "application/json", **headers})

    def request(self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]) -> Reply:
        """One request; the names of ``headers`` are written with _ for -."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.client.http.request(
            method, url, headers={"Host": HOST, **self.default_headers, **given}, body=content or b""
        )
        text = answer.body.decode()
        found = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status_code, answer.json_body, found, text)

    # -- the functions ------------------------------------------------------------------------

    def work(self, queue: str, priority: int = 0, most: int = 10) -> list[str]:
        """One invocation of the worker on what a lane shows now, then what the mapping does; returns what came back."""
        messages = self.receive(queue, priority, most)
        response = self.module.worker(sqs_event(messages), Time())
        back = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
        self.yard.transport.delete([message for message in messages if message.message_id not in back])
        return back

    def receive(self, queue: str, priority: int = 0, most: int = 10) -> list[Received]:
        """What a lane shows now."""
        source = self.yard.transport.source_of(lane_of(self.yard, queue, priority))
        return self.yard.transport.receive(source, most, hide_s=330, wait_s=0)

    def tick(self) -> dict[str, int]:
        """One run of the clock function."""
        ticked: dict[str, int] = self.module.clock({}, Time())
        return ticked

    # -- looking ------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """The record behind an id."""
        found = self.yard.jobs.find(int(job_id))
        assert found is not None
        return found

    def lane(self, queue: str, priority: int = 0) -> Lane:
        """A lane."""
        return lane_of(self.yard, queue, priority)

    def now(self, plus_ms: int = 0) -> str:
        """The clock's time, as answers write it."""
        return written(self.clock.ms + plus_ms)


@contextmanager
def service(endpoint_url: str | None = None, **variables: str) -> Iterator[Service]:
    """The application, freshly imported under the environment ``variables`` (``TASKYARD_...`` without that).

    On moto, or on the emulator at ``endpoint_url``, whose SQS keeps its own time.
    """
    given = {f"TASKYARD_{name.upper()}": value for name, value in variables.items()}
    clock = MovableClock(START_MS if endpoint_url is None else FAR_MS)
    aws_there = _moto(clock) if endpoint_url is None else environment({"AWS_ENDPOINT_URL": endpoint_url})
    with (
        environment(
            {
                **CREDENTIALS,
                "TASKYARD_HANDLERS": HANDLERS,
                "TASKYARD_BUCKET": "objects",
                "TASKYARD_WATCH": "off",
                "TASKYARD_INDEX_SHARDS": "2",  # one would not show what is merged, four ask twice as often
                **given,
            }
        ),
        aws_there,
    ):
        _forget()
        chosen = settings.current()
        stack.apply(chosen, template(chosen, registry().queues))
        module = _imported()
        with patch.object(yards, "build", partial(_built, clock=clock)):
            # A folder without .chalice/config.json, whose variables belong to deployed stages.
            yield Service(module, clock, Client(module.app, project_dir=str(APP_FILE.parent / "tests")))
    _forget()


def _built(handlers: Registry, *given: Any, clock: MovableClock, **named: Any) -> Yard:
    """A yard whose clock stands still between two requests: what one changes, the next is to see."""
    yard = build(handlers, *given, **{"now_ms": clock, **named})
    for answers in (yard.shared, yard.shared_slowly, yard.shared_long):
        answers.fresh_ms = 0
    return yard


@contextmanager
def _moto(clock: MovableClock) -> Iterator[None]:
    with (
        mock_aws(),
        patch("moto.sqs.models.unix_time_millis", lambda: float(clock.ms)),
        patch("moto.sqs.models.unix_time", lambda: clock.ms / 1_000),
        patch.object(aws, "ThreadPoolExecutor", InOrder),
    ):
        yield


def written(at_ms: int) -> str:
    """A time as JavaScript's toISOString writes it."""
    moment = datetime.fromtimestamp(math.floor(at_ms / 1_000), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1_000:03d}Z"


def _imported() -> ModuleType:
    spec = importlib.util.spec_from_file_location("taskyard_app", APP_FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _forget() -> None:
    settings.current.cache_clear()
    registry.cache_clear()
    forget_clients()


def _url(path: str, query: Query | None) -> str:
    if not query:
        return path
    pairs = [
        (key, json.dumps(value) if isinstance(value, bool) else value)
        for key, values in query.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    return f"{path}?{urlencode(pairs, quote_via=quote)}"
