"""Where the console draws the nodes of a graph: none on another, each behind all that it comes after."""

from __future__ import annotations

import json
import random
import subprocess
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from chalicelib.api.console import files
from tests.support.programs import program

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c", "a"]}
NODE = {"width": 190, "height": 42}


def layout(tmp_path: Path, graph: dict[str, list[str]]) -> dict[str, Any]:
    """What the page's own code says, run by Node."""
    nodes = json.dumps([{"name": name, "after": after} for name, after in graph.items()])
    (tmp_path / "layout.mjs").write_text((files.SOURCES / "layout.js").read_text())
    script = tmp_path / "run.mjs"
    script.write_text(
        f'import {{ NODE, layoutOf }} from "./layout.mjs";console.log(JSON.stringify([NODE, layoutOf({nodes})]));'
    )
    told = subprocess.run([program("node"), str(script)], capture_output=True, text=True, check=True).stdout
    size, found = json.loads(told)
    assert size == NODE
    return dict(found)


def some_graph(size: int) -> dict[str, list[str]]:
    chance = random.Random(size)  # noqa: S311  # no secret
    names = [f"n{number}" for number in range(size)]
    return {
        name: sorted(chance.sample(names[:number], k=min(number, chance.choice((0, 1, 1, 2, 3)))))
        for number, name in enumerate(names)
    }


@pytest.mark.parametrize(
    "graph", [{"alone": []}, DIAMOND, some_graph(40), some_graph(200)], ids=["one", "diamond", "40", "200"]
)
def test_nodes_are_apart_and_each_is_behind_those_that_it_comes_after(
    tmp_path: Path, graph: dict[str, list[str]]
) -> None:
    found = layout(tmp_path, graph)
    places = dict(zip(graph, found["places"], strict=True))
    for one, other in combinations(places.values(), 2):
        assert abs(one["x"] - other["x"]) >= NODE["width"] or abs(one["y"] - other["y"]) >= NODE["height"]
    for name, after in graph.items():
        assert all(places[name]["x"] >= places[each]["x"] + NODE["width"] for each in after)
    assert all(0 <= place["x"] <= found["width"] - NODE["width"] for place in places.values())
    assert all(0 <= place["y"] <= found["height"] - NODE["height"] for place in places.values())


def test_a_line_goes_from_node_to_node_and_through_none(tmp_path: Path) -> None:
    graph = some_graph(40)
    found = layout(tmp_path, graph)
    names = list(graph)
    drawn = {(names[line["from"]], names[line["to"]]) for line in found["lines"]}
    assert drawn == {(before, name) for name, after in graph.items() for before in after}
    for line in found["lines"]:
        first, last = found["places"][line["from"]], found["places"][line["to"]]
        points = line["points"]
        assert points[0] == [first["x"] + NODE["width"], first["y"] + NODE["height"] / 2]
        assert points[-1] == [last["x"], last["y"] + NODE["height"] / 2]
        for (x, y), (next_x, next_y) in pairwise(points):
            assert next_x > x
            beside = [place for place in found["places"] if place["x"] == x]
            passes_a_layer = y == next_y and next_x - x == NODE["width"]
            assert not passes_a_layer or not any(place["y"] <= y <= place["y"] + NODE["height"] for place in beside)


def test_what_others_of_the_graph_come_before_is_left_out(tmp_path: Path) -> None:
    found = layout(tmp_path, {"b": ["a"], "c": ["b"]})
    assert [(line["from"], line["to"]) for line in found["lines"]] == [(0, 1)]


def test_nodes_between_the_same_others_cross_no_lines(tmp_path: Path) -> None:
    found = layout(tmp_path, {"a": [], "b": [], "of b": ["b"], "of a": ["a"]})
    a, b, of_b, of_a = found["places"]
    assert (a["y"] < b["y"]) == (of_a["y"] < of_b["y"])
