"""One run of a seed: orders while the weather is bad, then it is fair until all comes to rest; then the judge."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random

from chalicelib.core.job import MANUAL, Job
from chalicelib.core.states import State
from chalicelib.core.statistics import DAY_MS
from chalicelib.engine.clock.tick import STEPS
from chalicelib.engine.projections.statistics import CONDENSED_AFTER_DAYS
from chalicelib.store.attribute_values import to_attribute_values
from chalicelib.store.directory import CLOCK
from chalicelib.store.insights import Insights
from chalicelib.store.table import Table
from chalicelib.testing.clock import START_MS
from tests.proof.ending import ending_of, jobs_in, left_in
from tests.proof.history import Ending, History
from tests.proof.judge import verdict
from tests.simulation import handlers
from tests.simulation.clients import NoAnswer, Person
from tests.simulation.consumers import consuming
from tests.simulation.expressions import Item
from tests.simulation.orders import STORIES, WIDE, Order, Width, deployed, is_polled, orders, width_of
from tests.simulation.platform import Platform, staged
from tests.simulation.scheduler import Scheduler
from tests.simulation.weather import Fault, weather

BAD_MS = 120_000  # how long the weather is bad
ROUNDS_MAX = 60
NONE: frozenset[int] = frozenset()


@dataclass(slots=True)
class Result:
    """What came of a run."""

    seed: int
    width: Width
    broken: list[str]
    history: History
    orders: list[Order]
    faults: Counter[Fault]
    fault_count: int
    simulated_ms: int
    jobs: int


@dataclass(slots=True)
class Simulation:
    """A run under way."""

    seed: int
    spared: Set[int] = NONE
    without: Set[int] = NONE
    kinds: Sequence[str] = tuple(STORIES)
    width: Width = WIDE
    history: History = field(default_factory=History)
    calls: int = 0

    def new_call(self) -> int:
        """The number of a handler's call."""
        self.calls += 1
        return self.calls

    scheduler: Scheduler = field(init=False)
    platform: Platform = field(init=False)
    _open: int = 0  # orders under way
    _read: dict[tuple[str, str], tuple[Item, list[Job]]] = field(default_factory=dict)  # see _jobs

    def play(self) -> Result:
        """Everything, to the verdict."""
        dice = dice_of(self.seed)
        streams = [dice_of(dice.getrandbits(64)) for _ in range(5)]
        self.scheduler = Scheduler(streams[0])
        skies = weather(streams[1], self.spared)
        ordered = orders(streams[4], self.width, self.kinds)
        chosen = [order for order in ordered if order.number not in self.without]
        registry = deployed(ordered, self.width)
        self.platform = Platform(registry, self.scheduler, skies, self.history, streams[2], streams[3])
        self._condense_all_but_a_day()
        if dice.random() < 0.9:
            self._skip_hourly()
        with staged(self.scheduler), handlers.on(self):
            for _ in range(dice.randint(1, self.width.workers)):
                self.platform.add_worker()
            for name in ("ann", "bob")[: dice.randint(1, 2) if is_polled(ordered, self.width) else 0]:
                person = Person(self.platform, name, dice_of(dice.getrandbits(64)))
                self.scheduler.start(person.process, partial(consuming, person))
            for order in chosen:
                self._give(order)
            for _ in range(dice.randint(0, self.width.ticks)):
                self.scheduler.at(START_MS + dice.randrange(BAD_MS), self.platform.tick)
            self.scheduler.run(START_MS + BAD_MS)
            skies.fair = True
            self._calm_down()
            rested = self._come_to_rest()
            ending = self._ending(rested)
            self.scheduler.end()
            self.platform.clear()
        calm = not skies.met.keys() & {Fault.FROZEN, Fault.SLOW, Fault.LATE, Fault.REFUSED, Fault.THROTTLED} and not (
            skies.met.keys() & {Fault.UNANSWERED, Fault.REPEATED}
        )
        broken = verdict(self.history, ending, handlers.LIMITS, calm=calm)
        return Result(
            self.seed, self.width, broken, self.history, chosen, skies.met, skies.number,
            self.scheduler.now_ms - START_MS, sum(ending.listed.values()),
        )  # fmt: skip

    def _skip_hourly(self) -> None:
        """What the clock does once an hour has just been done."""
        hourly = {step.name: START_MS for step in STEPS if step.every_ms}
        self.platform.dynamodb.put_item(self.platform.dynamodb.directory.name, to_attribute_values({**CLOCK, **hourly}))

    def _condense_all_but_a_day(self) -> None:
        """Of the statistics, whose hourly step would look through forty days of which there is nothing."""
        day = START_MS // DAY_MS - CONDENSED_AFTER_DAYS[0] - 1
        self._insights().task_days.remember_condensed(day * DAY_MS)

    def _give(self, order: Order) -> None:
        person = Person(self.platform, f"client-{order.number}", dice_of(order.seed))
        self._open += 1

        def tell() -> None:
            try:
                STORIES[order.name](person)
            except NoAnswer as error:
                self.history.note(self.scheduler.now_ms, person.name, f"gives up: {error}")
            finally:
                self._open -= 1

        self.scheduler.start(person.process, tell, order.after_ms)

    def _calm_down(self) -> None:
        """From now on AWS takes no liberties, so that all comes to rest."""
        rules, lag = self.platform.liberties, self.platform.lag
        rules.again_share = rules.missed_share = rules.redriven_share = rules.refused_share = 0.0
        lag.stale_share = lag.cut_share = 0.0

    def _come_to_rest(self) -> bool:
        """Let time pass, with a tick of the clock whenever nothing else moves what is unfinished.

        Returns false if it never ends.
        """
        step_ms = 60_000
        for _ in range(ROUNDS_MAX):
            self.scheduler.run(self.scheduler.now_ms + step_ms if self._open else self._due_ms())
            if self._is_at_rest():
                if self._open:
                    continue  # with what a client does next
                self.scheduler.run()  # the change stream to its end
                return self._is_at_rest()
            self.platform.wake_pollers()
            self.platform.tick()
            self.scheduler.run(self.scheduler.now_ms + step_ms)
            step_ms = min(step_ms * 2, 600_000)
        return False

    def _due_ms(self) -> int | None:
        """Until when there is nothing to do, if it is for a delayed job that everything waits."""
        self.scheduler.run()
        unfinished = [job.due_at_ms for job in self._jobs() if not job.state.terminal]
        return min(unfinished, default=None)

    def _is_at_rest(self) -> bool:
        jobs = self._jobs()
        succeeded = {job.id for job in jobs if job.state is State.SUCCESS}
        unfinished = [job for job in jobs if not job.state.terminal]
        return all(self._waits_rightly(job, succeeded) for job in unfinished) and not self._left_over()

    def _waits_rightly(self, job: Job, succeeded: Set[int]) -> bool:
        """Whether it waits for a client who never heard of it, or for a parent that has not succeeded."""
        is_unheard_of = job.id not in self.history.accepted
        return (is_unheard_of and (job.runner == MANUAL or job.state is State.WAITING)) or (
            job.blocked and job.parent_id not in succeeded
        )

    def _jobs(self) -> list[Job]:
        """Every job as it stands; read once for each of its states."""
        found: list[Job] = []
        for place, item in self.platform.dynamodb.jobs.items.items():
            known = self._read.get(place)
            if known is None or known[0] is not item:
                known = self._read[place] = item, jobs_in([item])
            found += known[1]
        return found

    def _insights(self) -> Insights:
        dynamodb = self.platform.dynamodb
        return Insights(Table(dynamodb, dynamodb.insights.name, ("view", "key")))

    def _ending(self, rested: bool) -> Ending:
        ending = ending_of(self._jobs(), self._insights().counters(), self.history)
        if not rested:
            ending.left_over.append("it does not come to rest")
        ending.left_over += self._left_over()
        return ending

    def _left_over(self) -> list[str]:
        queues = self.platform.sqs.queues.values()
        messages = [(queue.name, message) for queue in queues for message in queue.messages.values()]
        found = [f"left in {name}: {message.body[:80]}" for name, message in messages]
        return [*found, *left_in(self.platform.dynamodb.directory.items.values())]


def dice_of(seed: int) -> Random:
    """Dice that fall the same way again."""
    return Random(seed)  # noqa: S311 - to repeat itself is its purpose


def simulate(
    seed: int,
    spared: Set[int] = NONE,
    without: Set[int] = NONE,
    kinds: Sequence[str] = tuple(STORIES),
    width: Width | None = None,
) -> Result:
    """The run of a seed; ``spared``: without these faults; ``without``: without these orders; of these ``kinds``.

    ``width``: other than the seed's own.
    """
    with silence():
        return Simulation(seed, spared, without, kinds, width or width_of(seed)).play()


@contextmanager
def silence() -> Iterator[None]:
    """Nothing is logged; best once around many runs, as every change of it empties the caches of all loggers."""
    before = logging.root.manager.disable
    if before < logging.CRITICAL:
        logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        if before < logging.CRITICAL:
            logging.disable(before)
