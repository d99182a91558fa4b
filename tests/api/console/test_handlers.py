"""What runs jobs here, with the schemas of what it takes."""

from __future__ import annotations

from tests.support.service import Service


def test_a_handler_with_all_that_it_declares(api: Service) -> None:
    shown = {(each["type"], each["kind"]): each for each in api.get("/api/handlers").json}
    patient = shown["patient", "task"]
    assert patient.pop("place").startswith("tests/support/dialect_handlers/scripted.py:")
    flow = patient.pop("flow")
    assert (flow["type"], flow["topic"], flow["concurrency"]) == ("patient", None, None)
    assert patient == {
        "kind": "task",
        "type": "patient",
        "script": "index",
        "queue": "patient",
        "lanes": ["high", "normal", "low"],
        "source": "tests.support.dialect_handlers.scripted.patient",
        "schema": None,
        "maxAttempts": 2,
        "backoff": {"fixed_ms": 2_000},
        "timeoutS": 7.0,
        "light": False,
        "paused": False,
    }
    assert shown["scarce", "task"]["flow"]["concurrency"] == 1
    assert shown["scripted.topic", "message"]["script"] is None


def test_the_schema_of_a_model_and_a_pause(api: Service) -> None:
    api.yard.pauses.begin("queue#patient", api.clock.ms, by="ann")
    shown = {each["type"]: each for each in api.get("/api/handlers").json}
    assert shown["patient"]["paused"]
    schemas = {name: each["schema"] for name, each in shown.items() if each["schema"]}
    assert schemas["text.statistics"]["properties"].keys() == {"text", "key", "top"}
    api.yard.pauses.end("queue#patient")
