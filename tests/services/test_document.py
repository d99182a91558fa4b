"""docs/fastify-mq.md names what there is: settings, routes, functions; and its first example runs."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from chalicelib.api import mq
from chalicelib.services import messages
from chalicelib.settings import Settings

DOCUMENT = (Path(__file__).parents[2] / "docs" / "fastify-mq.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
CALL = re.compile(r"`(messages|queues|dead_letters|traces|installation)\.(\w+)")


def test_every_setting_that_it_names_exists() -> None:
    named = set(re.findall(r"TASKYARD_(\w+)", DOCUMENT))
    assert {name for name in named if name.startswith("MQ_")} == {
        name.upper() for name in Settings.__slots__ if name.startswith("mq_")
    }
    assert named <= {name.upper() for name in Settings.__slots__}


def test_every_route_that_it_names_exists_and_every_route_is_named() -> None:
    served = {re.sub(r"{\w+}", ":id", route.path) for router in mq.ROUTERS for route in router.routes}
    named = {re.sub(r":\w+", ":id", path) for path in re.findall(r"(/mq/[\w/:-]+)", DOCUMENT)}
    beside = {f"/mq/message/{name}" for name in ("fail", "complete-batch", "fail-batch")}  # told without their folder
    assert named - {"/mq/"} <= served
    assert served <= named | beside


def test_every_function_that_it_names_exists() -> None:
    found = CALL.findall(DOCUMENT)
    assert len(found) > 10
    for module, name in found:
        assert hasattr(importlib.import_module(f"chalicelib.services.{module}"), name), f"{module}.{name}"


@pytest.mark.usefixtures("bench")
def test_the_first_example_runs_and_all_are_python() -> None:
    for block in BLOCKS:
        ast.parse(block)
    exec(BLOCKS[0], {})  # noqa: S102  # the project's own documentation
    (plain,) = messages.list(topic="order.created")
    (urgent,) = messages.list(topic="payment.completed")
    (delayed,) = messages.list(topic="order.timeout")
    assert (plain.payload, urgent.priority) == ({"orderId": "123", "amount": 99.9}, 10)
    assert delayed.execute_at is not None
