"""Query strings: flat keys as users of the replaced systems write them, made into what models expect.

    filter.status=failed  filter[status]=failed        {"filter": {"status": "failed"}}
    filter[createdAt][startTime]=2026-01-01            {"filter": {"createdAt": {"startTime": "2026-01-01"}}}
    sort[createdAt]=DESC                               {"sort": {"createdAt": "DESC"}}
    topic=&status=                                     {}: an empty value is none
    ids=1&ids=2  ids[]=1&ids[]=2                       {"ids": ["1", "2"]}

Names are only ever keys of a ``dict``; nothing in them is looked up, imported or evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chalicelib.http.problems import BadRequest

VALUES_MAX = 500
DEPTH_MAX = 4
KEY_MAX_CHARS = 200

_KEY = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[^.\[\]]+\])*(?:\[\])?")
_STEP = re.compile(r"[^.\[\]]+")


@dataclass(slots=True)
class _Leaf:
    values: list[str] = field(default_factory=list)
    is_list: bool = False  # written with [], so a list even when it holds one value


def nested(flat: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The tree that ``flat`` (each key with all its values, in order) describes.

    Raises ``BadRequest`` for a malformed key, for one that is both a value and a parent (``a=1&a.b=2``), and for
    more than 500 values, 4 levels or 200 characters in a key.
    """
    count = sum(len(values) for values in flat.values())
    if count > VALUES_MAX:
        raise BadRequest("the query has too many values", field="query", expected=f"at most {VALUES_MAX}", got=count)
    tree: dict[str, Any] = {}
    for key, given in flat.items():
        values = [value for value in given if value]
        if not values:
            continue
        leaf = _leaf(tree, key)
        leaf.values.extend(values)
        leaf.is_list |= key.endswith("[]") or len(leaf.values) > 1
    return {name: _plain(node) for name, node in tree.items()}


def _leaf(tree: dict[str, Any], key: str) -> _Leaf:
    *parents, name = _steps(key)
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise _conflict(key)
    leaf = tree.setdefault(name, _Leaf())
    if not isinstance(leaf, _Leaf):
        raise _conflict(key)
    return leaf


def _steps(key: str) -> list[str]:
    if len(key) > KEY_MAX_CHARS or not _KEY.fullmatch(key):
        expected = f"a key such as a, a.b, a[b] or a[], of at most {KEY_MAX_CHARS} characters"
        raise BadRequest("a query key is malformed", field="query", expected=expected, got=key)
    steps = _STEP.findall(key)
    if len(steps) > DEPTH_MAX:
        found = f"{len(steps)} levels"
        raise BadRequest("a query key is nested too deeply", field=key, expected=f"at most {DEPTH_MAX}", got=found)
    return steps


def _conflict(key: str) -> BadRequest:
    return BadRequest("a query key is both a value and a group", field=key, expected="one of the two", got="both")


def _plain(node: Any) -> Any:
    if isinstance(node, _Leaf):
        return node.values if node.is_list else node.values[0]
    return {name: _plain(inner) for name, inner in node.items()}
