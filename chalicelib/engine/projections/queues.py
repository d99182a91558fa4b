"""The queues: what travels on each, its lanes in SQS, who consumes it, what is paused and what is limited.

What is pending and running the counters say, about a second late. SQS is asked for the lanes of the busiest 25 queues,
and the ledger for the oldest jobs of the five deepest types.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from chalicelib.aws import threads
from chalicelib.core.flow_controls import FlowTarget
from chalicelib.core.lanes import Lane, lanes_soonest_first
from chalicelib.core.projection import Group
from chalicelib.core.states import Kind, State
from chalicelib.engine.commands.flow import Standing as FlowStanding
from chalicelib.engine.commands.flow import standing as flow_standing
from chalicelib.engine.handlers.signatures import label_of
from chalicelib.engine.projections.situation import oldest_ready, ready_since_ms
from chalicelib.engine.worker.pause import QUEUE, TYPE
from chalicelib.engine.yard import Yard
from chalicelib.queue.contract import NoQueue, QueueDepth
from chalicelib.store.insights import Standing
from chalicelib.store.pauses import Pause

SHOWN_MAX = 500
ASKED_MAX = 25  # queues whose lanes SQS is asked for; each has one to five, one that is only polled up to 17
LIMITED_MAX = 25  # task types whose slots are looked up: a few reads each
PARALLEL_READS = 12


@dataclass(frozen=True, slots=True)
class LaneStanding:
    """A lane; ``depth`` is ``None`` where SQS was not asked, or has no such queue."""

    label: str
    depth: QueueDepth | None


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """A queue. ``pauses`` are those of the queue itself and of its types; ``slots`` those of its limited task types."""

    name: str
    kind: str  # topic or pool
    types: tuple[str, ...]
    lanes: tuple[LaneStanding, ...]
    consumers: tuple[str, ...]  # the places of handlers; none: its messages are polled
    pending: int
    running: int
    oldest_ready_ms: int | None  # for how long a job could have been started; None: not looked for, or not found
    pauses: tuple[Pause, ...]
    slots: Mapping[str, FlowStanding]


@dataclass(frozen=True, slots=True)
class Queues:
    """The busiest queues, and how many others there are; what SQS has moved to the dead-letter queue."""

    shown: Sequence[QueueStanding]
    left_out: int
    dead_letter_queue: QueueDepth | None


def queues_of(yard: Yard) -> Queues:
    """Every queue that consumes something, or ever had a job; the busiest first, then by name."""
    counted = _by_queue(yard.insights.standings())
    polled = yard.directory.polled_lanes()
    names = dict.fromkeys([*yard.handlers.queues, *polled, *counted])
    numbers = {name: _states(counted.get(name, {})) for name in names}
    order = sorted(names, key=lambda name: (-numbers[name][State.RUNNING] - numbers[name][State.PENDING], name))
    shown = order[:SHOWN_MAX]
    lanes = {name: _lanes(yard, name, polled) for name in shown}
    asked = [yard.settings.dead_letter_queue]
    asked += [yard.transport.source_of(lane) for name in shown[:ASKED_MAX] for lane in lanes[name]]
    types = {name: _types(yard, name, counted.get(name, {})) for name in shown}
    limited = [(name, each) for name in shown for each in types[name] if yard.handlers.limit_of(each) is not None]
    depths = yard.lane_depths.get(tuple(asked), lambda: _depths(yard, asked), yard.now_ms)
    slots = _slots(yard, limited[:LIMITED_MAX])
    pauses = yard.pauses.all()
    now_ms, ready = yard.now_ms(), oldest_ready(yard, _pending(counted))
    return Queues(
        [
            QueueStanding(
                name=name,
                kind="pool" if _is_pool(yard, name, counted.get(name, {})) else "topic",
                types=types[name],
                lanes=tuple(
                    LaneStanding(lane.label, depths.get(yard.transport.source_of(lane))) for lane in lanes[name]
                ),
                consumers=_consumers(yard, name),
                pending=max(0, numbers[name][State.PENDING]),
                running=max(0, numbers[name][State.RUNNING]),
                oldest_ready_ms=max(
                    (now_ms - ready_since_ms(job) for job in ready.values() if job.queue == name), default=None
                ),
                pauses=_pauses_of(name, types[name], pauses),
                slots=slots.get(name, {}),
            )
            for name in shown
        ],
        len(order) - len(shown),
        depths[yard.settings.dead_letter_queue],
    )


Groups = Mapping[Group, Standing]


def _by_queue(standings: Groups) -> dict[str, dict[Group, Standing]]:
    found: defaultdict[str, dict[Group, Standing]] = defaultdict(dict)
    for group, standing in standings.items():
        found[group.queue][group] = standing
    return dict(found)


def _states(groups: Groups) -> Counter[State]:
    total: Counter[State] = Counter()
    for standing in groups.values():
        total.update(standing.states)
    return total


def _pending(counted: Mapping[str, Groups]) -> dict[tuple[str, str], int]:
    """How many jobs of each kind and type are pending."""
    total: Counter[tuple[str, str]] = Counter()
    for groups in counted.values():
        total.update({(group.kind, group.type): each.states[State.PENDING] for group, each in groups.items()})
    return dict(total)


def _lanes(yard: Yard, name: str, polled: Mapping[str, Iterable[Lane]]) -> list[Lane]:
    """The lanes of a queue, the soonest first: as the code declares, or as its publishers have opened them."""
    declared = yard.handlers.queues.get(name)
    return lanes_soonest_first([Lane(name, band) for band in declared] if declared else polled.get(name, ()))


def _types(yard: Yard, name: str, groups: Groups) -> tuple[str, ...]:
    declared = [each.name for each in yard.handlers.tasks.values() if each.queue == name]
    topics = [name] if name in yard.handlers.subscribers else []
    return tuple(sorted({*declared, *topics, *(group.type for group in groups)}))


def _is_pool(yard: Yard, name: str, groups: Groups) -> bool:
    """Whether tasks travel on a queue, by what the code declares, or else by what it has had."""
    if name in yard.handlers.subscribers:
        return False
    return name in yard.handlers.queues or any(group.kind == Kind.TASK for group in groups)


def _consumers(yard: Yard, name: str) -> tuple[str, ...]:
    tasks = [each for each in yard.handlers.scripts.values() if each.queue == name]
    handlers = sorted([*tasks, *yard.handlers.subscribers.get(name, ())], key=attrgetter("name"))
    return tuple(label_of(each.function) for each in handlers)


def _pauses_of(name: str, types: Iterable[str], pauses: Iterable[Pause]) -> tuple[Pause, ...]:
    targets = {QUEUE + name, *(TYPE + each for each in types)}
    return tuple(pause for pause in pauses if pause.target in targets)


def _depths(yard: Yard, sources: Sequence[str]) -> dict[str, QueueDepth | None]:
    def depth(source: str) -> QueueDepth | None:
        try:
            return yard.transport.depths(source)
        except NoQueue:
            return None

    with threads(PARALLEL_READS) as readers:
        return dict(zip(sources, readers.map(depth, sources), strict=True))


def _slots(yard: Yard, limited: Sequence[tuple[str, str]]) -> dict[str, dict[str, FlowStanding]]:
    """The slots of limited task types, each named with its queue; by queue."""
    found: defaultdict[str, dict[str, FlowStanding]] = defaultdict(dict)
    with threads(PARALLEL_READS) as readers:
        standings = readers.map(lambda each: flow_standing(yard, FlowTarget(Kind.TASK, each[1])), limited)
        for (queue, name), standing in zip(limited, standings, strict=True):
            found[queue][name] = standing
    return dict(found)
