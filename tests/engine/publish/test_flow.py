"""A user's function for a key is asked once for each job that is published, one by one or in bulk."""

from __future__ import annotations

from typing import Any

from chalicelib.core.flow import Unique
from chalicelib.core.states import Kind
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.publish import publish
from tests.support.steps import using
from tests.support.worlds import World


def test_a_function_of_a_key_is_asked_once(w: World) -> None:
    asked: list[Any] = []

    def customer(given: dict[str, Any]) -> str:
        asked.append(given["n"])
        return f"customer {given['n']} {len(asked)}"  # another answer each time

    def alike(given: dict[str, Any]) -> str:
        asked.append(given["n"])
        return str(given["n"])

    @task("keyed", key=customer)
    @task("single", key=customer, unique=Unique(by=alike))
    @task("own", key=customer, unique=Unique(by=customer))
    def handler(_: Any) -> None:
        """Do nothing."""

    using(w, handler)

    def made(name: str) -> NewJob:
        return NewJob(kind=Kind.TASK, type=name, input={"n": name})

    assert publish(w.yard, made("keyed")).flow_key == "customer keyed 1"
    publish(w.yard, made("single"))
    publish(w.yard, made("own"))
    publish_many(w.yard, [made("keyed"), made("single")])
    assert asked == ["keyed", "single", "single", "own", "keyed", "single", "single"]
