"""What is compared, and what it must come to: each measure is a figure of one round, the table shows all rounds'."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from tests.benchmarks.head_to_head.scene import Figures

Round = Mapping[str, Figures]  # by the name of the contender
Limit = tuple[str, float]  # at most or at least, and what


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table. ``figure`` raises ``KeyError`` for a round in which a contender did not take part."""

    name: str
    figure: Callable[[Round], float]
    must: Limit | None = None
    stretch: Limit | None = None

    def values(self, rounds: Sequence[Round]) -> list[float]:
        """Its figures of the rounds that have it."""
        found = []
        for each in rounds:
            try:
                found.append(self.figure(each))
            except KeyError:
                continue
        return found


def ratio(figure: str, ours: str, theirs: str, found: Round) -> float:
    """A figure of one contender, divided by that of another in the same round."""
    return found[ours][figure] / found[theirs][figure]


def one(contender: str, figure: str, found: Round) -> float:
    """A figure by itself."""
    return found[contender][figure]


def from_publish(figure: str, publisher: str, worker: str, found: Round) -> float:
    """Requests a job from its publish to its settling."""
    return found[publisher][figure] + found[worker]["requests"]


def at_most(most: float) -> Limit:
    return "<=", most


def at_least(least: float) -> Limit:
    return ">=", least


cpu = partial(partial, ratio, "cpu_ms")
rate = partial(partial, ratio, "rate")
in_bulk = partial(partial, from_publish, "published requests")
singly = partial(partial, from_publish, "requests", "enqueue")
MEASURES = (
    Measure("worker CPU a job, against the older build", cpu("engine", "engine older"), at_most(0.4), at_most(0.25)),
    Measure("worker CPU a job, against Celery", cpu("engine", "celery"), at_most(1 / 2.5)),
    Measure("the same, light handlers", cpu("engine light", "celery"), None, at_most(1 / 6)),
    Measure("`up` in all, CPU a job, against the older build", cpu("up", "up older"), at_most(0.3), at_most(0.2)),
    Measure("rate of `up --workers 4`, against Celery", rate("up", "celery"), at_least(1.1), at_least(1.5)),
    Measure("the same, light handlers", rate("up light", "celery"), at_least(2), at_least(4)),
    Measure("requests a job in `up`, bulk publish to settled", in_bulk("up", "up"), at_most(2.6)),
    Measure("the same, light handlers", in_bulk("up light", "up light"), None, at_most(0.65)),
    Measure("requests a job, single publish to settled: engine", singly("engine"), at_most(4.3), at_most(3.4)),
    Measure("the same in `up`", singly("up"), at_most(4.3), at_most(3.4)),
    Measure("single enqueue, against put + send", partial(one, "enqueue", "of bare"), at_least(0.9), at_least(1.2)),
    Measure("the same over HTTP", partial(one, "enqueue over HTTP", "of bare"), at_least(0.7), at_least(0.9)),
    Measure(
        "bulk enqueue, against Celery's `delay()`",
        partial(ratio, "published rate", "up", "celery"),
        at_least(3.5),
        at_least(5),
    ),
    Measure("idle `up`, percent of a core", partial(one, "idle", "percent of a core"), at_most(1)),
    Measure("idle `up`, requests a minute", partial(one, "idle", "requests a minute"), at_most(120)),
    Measure("idle `up`, ms to a start", partial(one, "idle", "ms to a start"), at_most(100)),
    Measure("import of app.py, against chalice + boto3", partial(one, "once", "import"), at_most(0.75), at_most(0.6)),
    Measure("write units of a single job", partial(one, "once", "write units"), at_most(9), at_most(8)),
    Measure("`.[local]` installed, MiB", partial(one, "once", "MiB"), at_most(95), at_most(80)),
    Measure("`.[local]` installed, packages", partial(one, "once", "packages"), at_most(48)),
    Measure("an idle month, $", partial(one, "once", "idle month"), at_most(2), at_most(1)),
    Measure("a million jobs of 1 KB in bulk, $", partial(one, "once", "million jobs"), at_most(12), at_most(10)),
)
NOT_MEASURED = "not measured"
HEAD = ("measure", "median [min-max]", "must", "stretch", "holds")


def table(rounds: Sequence[Round], measures: Sequence[Measure] = MEASURES) -> str:
    """All measures of all rounds, and whether their medians hold."""
    return aligned([HEAD, *(_row(measure, measure.values(rounds)) for measure in measures)])


def details(rounds: Sequence[Round]) -> str:
    """Every figure of every contender."""
    lines = []
    for contender in dict.fromkeys(name for each in rounds for name in each):
        lines.append((contender, ""))
        found = [each[contender] for each in rounds if contender in each]
        for figure in dict.fromkeys(name for each in found for name in each):
            lines.append((f"  {figure}", spread([each[figure] for each in found if figure in each])))
    return aligned(lines)


def spread(values: Sequence[float]) -> str:
    """Their median, and from where to where they are: ``5.1 [4.8-6]``."""
    return f"{shown(median(values))} [{shown(min(values))}-{shown(max(values))}]"


def shown(value: float) -> str:
    """Three digits of a number, or all that stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(measure: Measure, values: Sequence[float]) -> tuple[str, ...]:
    limits = (_text(measure.must), _text(measure.stretch))
    if not values:
        return measure.name, NOT_MEASURED, *limits, "-"
    return measure.name, spread(values), *limits, _holds(measure, median(values))


def _holds(measure: Measure, value: float) -> str:
    if measure.stretch is not None and _within(value, measure.stretch):
        return "yes, and the stretch"
    if measure.must is None:
        return "not the stretch"
    return "yes" if _within(value, measure.must) else "NO"


def _within(value: float, limit: Limit) -> bool:
    """Whether a figure, as it is shown, is within a limit."""
    operator, bound = limit
    digits = float(shown(value))
    return digits <= bound if operator == "<=" else digits >= bound


def _text(limit: Limit | None) -> str:
    return "-" if limit is None else f"{limit[0]} {shown(limit[1])}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of columns as text, each column as wide as it must be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
