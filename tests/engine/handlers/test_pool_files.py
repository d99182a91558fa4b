"""Yao's definition files: what a pool is by default, what its processes are, and how a wrong file is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.core.job import Job, JobError
from chalicelib.core.job_events import EventType, JobEvent
from chalicelib.core.lanes import Band
from chalicelib.core.limits import Limit
from chalicelib.core.retry import Fixed
from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.pool_files import ID_TARGET, id_of
from chalicelib.engine.handlers.registry import Registry

SCRIPT = """
told = []

def send(id, *args): return [id, *args]
def NextID(): return 7.0
def on_add(*told_with): told.append(("add", *told_with))
def on_success(id, response): told.append(("success", id, response))
def on_error(id, error): told.append(("error", id, error))
def on_progress(id, current, total, message): told.append(("progress", id, current, total, message))
async def later(id): ...
def no_id(): return "seven"
def takes_nothing(): ...
value = 3
"""
EXAMPLE = {  # the definition in Yao's documentation
    "name": "示例任务",
    "worker_nums": 10,
    "attempts": 3,
    "attempt_after": 200,
    "timeout": 2,
    "size": 1000,
    "process": "scripts.task.Send",
    "event": {
        "next": "scripts.task.NextID",
        "add": "scripts.task.OnAdd",
        "success": "scripts.task.OnSuccess",
        "error": "scripts.task.OnError",
        "progress": "scripts.task.OnProgress",
    },
}

Define = Callable[..., ModuleType]


@pytest.fixture
def define(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Define:
    """Makes a package with the given files below ``pools``, and a script for their processes."""

    def make(**files: Any) -> ModuleType:
        name = f"handlers_{tmp_path.name.replace('-', '_')}"
        package = tmp_path / name
        for folder in (package, package / "scripts"):
            folder.mkdir()
            (folder / "__init__.py").touch()
        (package / "scripts" / "task.py").write_text(SCRIPT)
        for file, content in files.items():
            path = package / "pools" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        monkeypatch.syspath_prepend(str(tmp_path))
        return import_module(name)

    return make


def job_of(type: str, **more: Any) -> Job:  # noqa: A002  # as the record calls it
    return Job(id=12, uid="b", kind=Kind.TASK, type=type, queue=type, created_at_ms=1, trace_id="t", **more)


def test_the_documented_definition_is_a_task_type_with_limits_and_hooks(define: Define) -> None:
    package = define(**{"example.yao": json.dumps(EXAMPLE)[:-1] + ' /* a "comment" */ } // "the end'})
    registry = Registry.of_packages([package])
    pool, handler = registry.pools["example"], registry.tasks["pools.example"]
    assert (pool.name, pool.title, pool.type) == ("example", "示例任务", "pools.example")
    assert (handler.queue, handler.bands) == ("pools.example", (Band.NORMAL,))
    assert registry.queues["pools.example"] == (Band.NORMAL,)
    assert (handler.timeout_ms, handler.max_attempts, handler.backoff) == (2_000, 3, Fixed(200))
    assert registry.limit_of("pools.example") == Limit(concurrency=10, size=1_000)
    assert pool.process(1, "a", 2) == [1, "a", 2]
    assert pool.next_id() == 7
    assert handler.label == "chalicelib.engine.handlers.pool_files.pools.example.process"


def test_what_is_left_out_or_zero_is_as_yao_has_it(define: Define) -> None:
    least = {"name": "least", "process": "scripts.task.send"}
    zeros = dict.fromkeys(("worker_nums", "attempts", "attempt_after", "timeout", "size"), 0)
    package = define(**{"least.json": least, "mail/zero.json": {**least, **zeros, "event": {}}})
    registry = Registry.of_packages([package])
    for name in ("least", "mail.zero"):
        handler = registry.tasks[f"pools.{name}"]
        assert (handler.timeout_ms, handler.max_attempts, handler.backoff) == (300_000, 1, Fixed(200))
        assert registry.limit_of(f"pools.{name}") == Limit(concurrency=1, size=1_024)
        assert registry.pools[name].next_id() is None
    assert registry.hooks == ()


def test_events_are_told_with_what_yao_documents(define: Define) -> None:
    registry = Registry.of_packages([define(**{"example.json": EXAMPLE})])
    functions = {hook.what: hook.function for hook in registry.hooks}
    assert {hook.type for hook in registry.hooks} == {"pools.example"}
    given = {"target_id": "7", "target_type": ID_TARGET}
    told = {
        EventType.CREATE: ({}, {}),
        EventType.PROGRESS: ({}, {"current": 1, "total": 4, "percent": 25, "message": "one", "data": None}),
        EventType.COMPLETE: (given, {}),
        EventType.FAILED: ({"error": JobError("ValueError", "no good")}, {}),
    }
    assert set(functions) == set(told)
    for what, (more, detail) in told.items():
        event = JobEvent(
            what=what,
            job=job_of("pools.example", **more),
            sequence="1",
            at_ms=1,
            detail=detail,
            read_output=lambda _: {"ok": True},
        )
        functions[what](event)
    script = import_module(registry.pools["example"].process.__module__)
    assert script.told == [
        ("add", 12),
        ("progress", 12, 1, 4, "one"),
        ("success", 7, {"ok": True}),
        ("error", 12, "no good"),
    ]


def test_a_job_is_known_by_the_number_that_event_next_gave_or_by_its_own_id() -> None:
    assert id_of(job_of("pools.x", target_id="7", target_type=ID_TARGET)) == 7
    assert id_of(job_of("pools.x", target_id="7", target_type="order")) == 12
    assert id_of(job_of("pools.x", target_id="no number", target_type=ID_TARGET)) == 12
    assert id_of(job_of("pools.x", state=State.PENDING)) == 12


@pytest.mark.parametrize(
    ("change", "field", "expected", "got"),
    [
        ({"name": None}, "name", "a text", "nothing"),
        ({"process": ""}, "process", "a text", ""),
        ({"worker_nums": 1_001}, "worker_nums", "a whole number from 1 to 1000", "1001"),
        ({"attempts": "three"}, "attempts", "a whole number from 1 to 100", "three"),
        ({"attempt_after": -1}, "attempt_after", "a whole number from 1 to 2592000000", "-1"),
        ({"timeout": 1.5}, "timeout", "a whole number from 1 to 86400", "1.5"),
        ({"size": True}, "size", "a whole number from 1 to 1000000", "True"),
        ({"sise": 1}, "sise", "one of name, worker_nums, attempts", "sise"),
        ({"event": ["add"]}, "event", "an object with next, add, success, error, progress", "['add']"),
        ({"event": {"done": "scripts.task.OnAdd"}}, "event", "an object with next, add", "done"),
        ({"event": {"add": 3}}, "event.add", "a text", "3"),
        ({"process": "scripts.task.Gone"}, "process", "a function that is there: ", "scripts.task.Gone"),
        ({"process": "scripts.gone.Send"}, "process", "scripts.gone.send", "scripts.gone.Send"),
        ({"process": "scripts.task.value"}, "process", "a function that is there: ", "scripts.task.value"),
        ({"process": "Send"}, "process", "a function that is there: module.function", "Send"),
        ({"process": "scripts.task.later"}, "process", "a plain function", "scripts.task.later, an async one"),
        ({"process": "scripts.task.takes_nothing"}, "process", "a function that takes (id, *args)", "too many"),
        ({"event": {"error": "scripts.task.on_progress"}}, "event.error", "takes (id, error)", "missing a required"),
    ],
)
def test_a_wrong_definition_is_refused_at_the_start(
    define: Define, change: dict[str, Any], field: str, expected: str, got: str
) -> None:
    package = define(**{"example.json": {**EXAMPLE, **change}})
    with pytest.raises(InvalidInput) as refused:
        Registry.of_packages([package])
    error = refused.value
    assert error.message == "the pool definition pools/example.json is wrong"
    assert error.field == field
    assert expected in (error.expected or "")
    assert got in (error.got or "")
    assert error.remedy


@pytest.mark.parametrize(
    ("files", "told", "expected", "got"),
    [
        ({"mail/x.json": "{"}, "mail/x.json", "JSON", "Expecting property name"),
        ({"mail/x.json": "[]"}, "mail/x.json", "a JSON object", "list"),
        ({"mail/x.json": b'{"name": "\xff"}'}, "mail/x.json", "text in UTF-8", "invalid start byte at byte 10"),
        ({"x.json": '{"size": 1, "size": 2}'}, "x.json", "JSON", "the field 'size' is there twice"),
        ({"x.json": '{"event": {"add": "a.b", "add": "a.c"}}'}, "x.json", "JSON", "the field 'add' is there twice"),
        (
            {"exam ple.json": EXAMPLE},
            "exam ple.json",
            "a name of letters, digits, _ and -, at most 64",
            "exam ple.json",
        ),
        ({"example.json": EXAMPLE, "example.yao": EXAMPLE}, "example.yao", "one definition of a pool", "pools/example"),
    ],
)
def test_a_wrong_file_is_refused_at_the_start(
    define: Define, files: dict[str, Any], told: str, expected: str, got: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        Registry.of_packages([define(**files)])
    error = refused.value
    assert error.message == f"the pool definition pools/{told} is wrong"
    assert (error.field, error.expected) == ("file", expected)
    assert got in (error.got or "")


def test_an_answer_of_event_next_that_is_no_id_is_refused(define: Define) -> None:
    document = {**EXAMPLE, "event": {"next": "scripts.task.no_id"}}
    pool = Registry.of_packages([define(**{"example.json": document})]).pools["example"]
    with pytest.raises(InvalidInput) as refused:
        pool.next_id()
    assert (refused.value.expected, refused.value.got) == ("a whole number from 1 to 2^53 - 1", "seven")


def test_an_absolute_name_is_found_too(define: Define) -> None:
    package = define(**{"example.json": {"name": "x", "process": "math.gcd"}})
    assert Registry.of_packages([package]).pools["example"].process(12, 18) == 6
