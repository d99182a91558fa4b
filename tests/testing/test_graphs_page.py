"""The Python of docs/graphs.md, run from top to bottom, does what the page says; and the page names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from chalicelib.api.tasks.graphs import router
from chalicelib.core.graph_order import EDGES_MAX, NODES_MAX
from chalicelib.core.graphs import GraphState, OnFailure
from chalicelib.services import graphs
from chalicelib.testing import Workbench

PAGE = Path(__file__).parents[2] / "docs" / "graphs.md"
TEXT = PAGE.read_text()


def test_the_python_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    declared, started, batch = re.findall(r"^<!-- run -->\n```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    page: dict[str, Any] = {"__name__": "shop.nightly"}
    for block in (declared, batch):
        exec(compile(block, str(PAGE), "exec"), page)  # noqa: S102  # the page is this project's own
    handlers = [page[name] for name in ("extract", "count", "report", "resize", "publish", "discard")]
    with Workbench(*handlers) as bench:
        exec(compile(started, str(PAGE), "exec"), page)  # noqa: S102
        (told,) = re.findall(r"# (running .*)", started)
        assert capsys.readouterr().out.strip() == told
        bench.finish()
        graph = graphs.get(page["started"])
        assert (graph.status, dict(graph.counts)) == ("success", {"success": 5})
        assert page["nightly"]("2026-11-30").id == graph.id
        files = [f"2026-11-30/{name}.csv" for name in "abc"]
        counts = {f"count-{n}": len("2026-11-30/a.csv") for n in range(3)}
        assert graphs.results(graph) == {"extract": files, **counts, "report": 48}
        assert [node.name for node in graphs.nodes(graph)] == ["extract", *counts, "report"]
        resized = page["resized"]([100, 200])
        bench.finish()
        assert graphs.results(resized.id)["then"] == ["cat-100.jpg", "cat-200.jpg"]


def test_every_route_is_named_and_every_named_one_exists() -> None:
    served = {(route.method, route.path) for route in router.routes}
    assert set(re.findall(r"`(GET|POST) (/api/task/graph[\w/]*)`", TEXT)) == served


def test_every_state_and_limit_is_as_it_is() -> None:
    diagram = TEXT[TEXT.index("stateDiagram-v2") : TEXT.index("## Batches")]
    assert set(re.findall(r"^    (?:\[\*\] --> )?(\w+)", diagram, re.MULTILINE)) | {"success"} == set(GraphState)
    named = set(re.findall(r"^\| `(\w+)`(?: \(default\))? \| \w", TEXT, re.MULTILINE))
    assert named == set(OnFailure)
    assert f"up to {NODES_MAX:,} nodes and {EDGES_MAX:,} edges" in TEXT


def test_every_function_is_named_and_every_named_one_exists() -> None:
    named = set(re.findall(r"^\| `(\w+)\(", TEXT, re.MULTILINE))
    assert named == {"get", "nodes", "results", "cancel", "retry", "batch", "mermaid"}
    assert [name for name in named if not callable(getattr(graphs, name))] == []
