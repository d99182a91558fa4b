"""What the services and the HTTP dialect have in common stays the same, and importing the services stays cheap."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from chalicelib.api import paging
from chalicelib.api.mq import locks, messages, records, settling
from chalicelib.api.schedules import definitions
from chalicelib.api.schedules import records as schedule_records
from chalicelib.core.errors import InvalidInput
from chalicelib.core.naming import is_name
from chalicelib.core.schedule_checks import NAME_MAX_CHARS
from chalicelib.http import models
from chalicelib.services import bulk, checks, flow, graphs, lists, pauses, schedules, task_orders, words
from chalicelib.services import messages as services
from tests.support.mq import ODD_TOPICS

PROJECT = Path(__file__).parents[2]
LINES = [
    *ODD_TOPICS.values(),
    "",
    " ",
    "x" * 256,
    "x" * 257,
    "x" * 401,
    "a\nb",
    "a\x00b",
    "\x7f",
    "\x85",
    "\u2028",
    "\u2029",
    "\ud800",
    "\u200b",
    "ä" * 400,
]


def test_the_words_are_those_of_the_api() -> None:
    assert records.EVENT_OF == words.TRACE_EVENT_OF
    assert {status: words.states_of(status) for status in words.Status} == records.STATES_OF


@pytest.mark.parametrize("text", LINES)
def test_topics_and_names_are_judged_as_by_the_api(text: str) -> None:
    assert _api_takes(models.Topic, text) == _service_takes("topic", text)
    assert _api_takes(models.Name, text) == _service_takes("name", text)


def test_the_limits_are_those_of_the_api() -> None:
    assert (checks.LOCK_MIN_MS, checks.LOCK_MAX_MS) == (locks.LOCK_MIN_MS, locks.LOCK_MAX_MS)
    assert (lists.PER_PAGE_MAX, lists.OFFSET_MAX) == (paging.PER_PAGE_MAX, paging.OFFSET_MAX)
    assert services.MQ_POLL_MAX == messages.POLL_MAX
    assert services.NO_REASON == settling.NO_REASON


@pytest.mark.parametrize("text", [*LINES, "x" * 128, "x" * 129, "\U0001f600" * 128])
def test_names_of_schedules_are_judged_as_by_the_api(text: str) -> None:
    assert _api_takes(definitions.ScheduleName, text) == is_name(text, NAME_MAX_CHARS)


def test_a_schedule_is_said_and_shown_in_the_same_parts() -> None:
    api_words = {"tz": "timezone"}
    said = {api_words.get(name, name) for name in schedules.Definition.__annotations__}
    assert said == definitions.ScheduleBody.model_fields.keys() - {"name"}
    shown = {api_words.get(field.name, field.name) for field in fields(schedules.Schedule)}
    assert shown == schedule_records.ScheduleRecord.model_fields.keys()
    task = {to_camel(name) for name in definitions.ScheduledTask.model_fields}
    assert task == task_orders.WORDS.keys()
    message = {to_camel(name) for name in definitions.ScheduledMessage.model_fields}
    assert message == set(schedules.MESSAGE_FIELDS)


def test_a_graph_has_one_key_as_messages_and_tasks_do() -> None:
    with pytest.raises(InvalidInput, match="once makes an idempotency key of its own"):
        graphs.Builder().start(idempotency_key="one", once="two")


def test_importing_the_services_loads_neither_chalice_nor_pydantic_nor_the_api() -> None:
    code = (
        "import json, sys\n"
        "from chalicelib.services import dead_letters, installation, messages, pauses, pools, queues\n"
        "from chalicelib.services import schedules, tasks, traces\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT)
    loaded = set(json.loads(printed))
    assert "chalicelib.services.consumer" in loaded
    assert loaded.isdisjoint({"chalice", "croniter", "pydantic", "chalicelib.api", "boto3", "chalicelib.tasks"})


def _api_takes(kind: object, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


def _service_takes(what: str, text: str) -> bool:
    try:
        checks.topic(text) if what == "topic" else checks.name(what, text)
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(
    ("ask", "got", "remedy"),
    [
        (lambda: flow.target_of(None, None, None), "neither", "give one"),
        (lambda: flow.target_of("t", "t", None), "both", "leave one out"),
        (lambda: pauses.pause(), "neither", "give one"),
        (lambda: pauses.pause("t", queue="q"), "both", "leave one out"),
        (lambda: bulk.preview("retry"), "neither", "give one"),
        (lambda: bulk.preview("retry", bulk.Filter(), ids=[1]), "both", "leave one out"),
        (lambda: services.list(page=2, cursor="x"), "both", "leave one out"),
        (lambda: services.publish("t", {}, once="a", idempotency_key="b"), "both", "leave out idempotency_key"),
    ],
)
@pytest.mark.usefixtures("bench")
def test_who_gives_both_of_two_things_or_neither_is_told_so(ask: Callable[[], object], got: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as error:
        ask()
    assert (error.value.got, error.value.remedy) == (got, remedy)
    assert error.value.expected in ("one of the two", "one of them, not both")
