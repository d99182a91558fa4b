"""A graph as Mermaid text: a picture that many viewers of Markdown draw."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from chalicelib.core.graphs import Plan

ALIKE_MAX = 4  # nodes of one type between the same others; more are drawn as one
NAME_MAX_CHARS = 40
COLOURS = {
    "success": "fill:#d3f9d8,stroke:#2b8a3e",
    "failed": "fill:#ffe3e3,stroke:#c92a2a",
    "canceled": "fill:#ffe3e3,stroke:#c92a2a",
    "running": "fill:#d0ebff,stroke:#1864ab",
}
_ODD = re.compile(r"[^\w .,:;()/+*=%|-]", re.ASCII)


def mermaid_of(plan: Plan, statuses: Sequence[str]) -> str:
    """The nodes of a plan and their edges, each with the status that it has; many alike are one, with their number."""
    groups = _groups(plan)
    drawn = {number: place for place, group in enumerate(groups) for number in group}
    lines = ["flowchart TD"]
    for place, group in enumerate(groups):
        found = Counter(statuses[number] for number in group)
        lines.append(f'    n{place}["{_label(plan, group, found)}"]{_class_of(found)}')
    edges = {(drawn[each], place): None for place, group in enumerate(groups) for each in plan.nodes[group[0]].after}
    lines += [f"    n{first} --> n{then}" for first, then in edges]
    lines += [f"    classDef {name} {colour}" for name, colour in COLOURS.items()]
    return "\n".join(lines)


def _groups(plan: Plan) -> list[list[int]]:
    """The numbers of the nodes, those that are drawn as one together."""
    alike = groupby(range(plan.end), lambda n: (plan.nodes[n].request["type"], plan.nodes[n].after, plan.behind(n)))
    groups: list[list[int]] = []
    for _, members in alike:
        group = list(members)
        groups += [group] if len(group) > ALIKE_MAX else [[number] for number in group]
    return groups


def _label(plan: Plan, group: Sequence[int], found: Counter[str]) -> str:
    first = plan.nodes[group[0]]
    told = ", ".join(f"{number} {status}" if len(group) > 1 else status for status, number in found.most_common())
    name = first.name if len(group) == 1 else f"{first.name} ... {plan.nodes[group[-1]].name} ({len(group)})"
    return "<br>".join(_escaped(text) for text in (name, first.request["type"], told))


def _class_of(found: Counter[str]) -> str:
    """The colour of what is worst of nodes, if they have one in common."""
    for status in ("failed", "canceled", "running"):
        if found[status]:
            return f":::{status}"
    return ":::success" if set(found) == {"success"} else ""


def _escaped(text: str) -> str:
    """``text`` as Mermaid shows it within quotes: what may mean something there by its number."""
    short = text if len(text) <= 2 * NAME_MAX_CHARS else f"{text[: 2 * NAME_MAX_CHARS]}..."
    return _ODD.sub(lambda found: f"#{ord(found.group())};", short)
