"""Which topics an answer has room for: Lambda sends 6 MB, and topics may be many and have long names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from chalicelib.core.projection import Measure
from chalicelib.engine.projections.dashboard import Topic

CALLED_BUSY = (Measure.PUBLISHED, Measure.SUCCEEDED, Measure.FAILED, Measure.DEAD)


def busiest_first(topics: Mapping[str, Topic]) -> list[str]:
    """The names of topics, those with most that waits or has ever happened first; of equal ones by their names."""

    def amount(name: str) -> int:
        topic = topics[name]
        return topic.depth + sum(topic.totals[measure] for measure in CALLED_BUSY)

    return sorted(topics, key=lambda name: (-amount(name), name))


def fitting(names: Iterable[str], room_bytes: int, cost_bytes: Callable[[str], int]) -> list[str]:
    """As many of ``names``, in order, as together cost no more than ``room_bytes``; one that is too dear is skipped."""
    found = []
    for name in names:
        cost = cost_bytes(name)
        if cost <= room_bytes:
            room_bytes -= cost
            found.append(name)
    return found


def quoted_bytes(name: str) -> int:
    """What a name takes in an answer, written as JSON text and quoted once more on its way through Lambda."""
    return len(json.dumps(json.dumps(name, ensure_ascii=False)))
