"""docs/fastify-task.md names what there is: settings, routes, functions, permissions; and its examples run."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.api import tasks as dialect
from chalicelib.services import tasks
from chalicelib.settings import Settings
from chalicelib.tasks.text_statistics import text_statistics
from tests.support.yards import Bench, moto_bench

DOCUMENT = (Path(__file__).parents[2] / "docs" / "fastify-task.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.fixture(scope="module")
def ground() -> Iterator[Bench]:
    """An installation with the handler of the first example."""
    with moto_bench([text_statistics]) as made:
        yield made


def test_every_setting_that_it_names_exists() -> None:
    named = set(re.findall(r"TASKYARD_(\w+)", DOCUMENT))
    assert "TASK_PREFIX" in named
    assert named <= {name.upper() for name in Settings.__slots__}


def test_every_route_that_it_names_exists_and_every_route_is_named() -> None:
    routers = [router for router in dialect.ROUTERS if router is not dialect.graphs.router]  # of docs/graphs.md
    served = {(route.method, route.path) for router in routers for route in router.routes}
    assert set(re.findall(r"`(GET|POST) (/api/task/[\w-]+)", DOCUMENT)) == served


def test_every_function_that_it_names_exists() -> None:
    found = set(re.findall(r"`tasks\.(\w+)", DOCUMENT))
    assert len(found) > 15
    assert [name for name in found if not hasattr(tasks, name)] == []


def test_the_policy_is_what_lists_need() -> None:
    found = re.search(r"<!-- policy -->\n```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    statements = json.loads(found[1])["Statement"]
    assert [each["Action"] for each in statements] == [["dynamodb:Query"]] * 2  # the role lacks no other
    assert [resource for each in statements for resource in each["Resource"]] == [
        "${JobsTable.Arn}/index/*",
        "${InsightsTable.Arn}",
        "${DirectoryTable.Arn}",
    ]


@pytest.mark.usefixtures("bench")
def test_the_example_of_the_services_runs_and_all_are_python() -> None:
    for block in BLOCKS:
        ast.parse(block)
    example, chained = (block for block in BLOCKS if "tasks.create" in block)
    names: dict[str, object] = {}
    exec(example, names)  # noqa: S102  # the project's own documentation
    output = names["output"]
    assert isinstance(output, dict)
    assert output["words"] == 6
    exec(chained, names)  # noqa: S102  # likewise
    following = [task.next for task in tasks.list(type="text.statistics", status="pending")]
    assert following == [{"type": "report.approve", "runnerType": "manual", "delay": 60}] * 2
