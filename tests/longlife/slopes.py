"""How fast what was sampled grows: a line through the means of blocks, whose scatter says how sure that is.

Samples that follow each other are alike (memory goes up in steps), so a line through all of them would seem surer than
it is; the means of ten minutes scatter nearly as independent values do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import fmean

from tests.longlife.samples import Sample

HOUR_S = 3_600.0
BLOCK_S = 600.0
SURE = 2.0  # standard errors on either side
TOLERATED = {"rss_mib": 1.0, "pss_mib": 1.0, "files": 1.0, "threads": 1.0, "connections": 1.0}  # an hour
FEWEST_BLOCKS = 3  # through two there is always a line


@dataclass(frozen=True, slots=True)
class Slope:
    """How much something grows in an hour, with the standard error of that; its first, last and largest value."""

    who: str
    measure: str
    an_hour: float
    error: float
    first: float
    last: float
    most: float
    tolerated: float | None

    @property
    def verdict(self) -> str:
        """``flat``, ``grows``, or ``unclear`` where the samples do not tell; of what may grow (items, CPU) nothing."""
        if self.tolerated is None:
            return ""
        if self.an_hour + SURE * self.error <= self.tolerated:
            return "flat"
        return "grows" if self.an_hour - SURE * self.error > self.tolerated else "unclear"

    def __str__(self) -> str:
        growth = f"{self.an_hour:+10.2f} ± {SURE * self.error:.2f} an hour"
        values = f"({self.first:.1f} to {self.last:.1f}, at most {self.most:.1f})"
        return f"{self.who:<32} {self.measure:<12} {growth}  {values}  {self.verdict}"


def slopes(
    samples: Iterable[Sample],
    from_s: float,
    block_s: float = BLOCK_S,
    tolerated: Mapping[str, float] = TOLERATED,
    others: float | None = None,
) -> list[Slope]:
    """The slope of everything that was sampled from ``from_s`` on, and for long enough.

    ``tolerated``: by measure, how much an hour is still called flat; of ``others`` so much, ``None``: they may grow.
    """
    series: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.elapsed_s >= from_s:
            series[sample.who, sample.measure].append((sample.elapsed_s, sample.value))
    found: list[Slope] = []
    for (who, measure), points in sorted(series.items()):
        means = _means(points, block_s)
        if len(means) >= FEWEST_BLOCKS:
            values = [value for _, value in points]
            found.append(
                Slope(who, measure, *line(means), values[0], values[-1], max(values), tolerated.get(measure, others))
            )
    return found


def _means(points: Sequence[tuple[float, float]], block_s: float) -> list[tuple[float, float]]:
    """The means of the blocks of a series: the hour and the value."""
    blocks: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for at_s, value in points:
        blocks[int((at_s - points[0][0]) // block_s)].append((at_s / HOUR_S, value))
    return [(fmean(at_h for at_h, _ in block), fmean(value for _, value in block)) for block in blocks.values()]


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line with the least squares through ``points``, and its standard error."""
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residuals = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    free = len(points) - 2
    return slope, sqrt(residuals / free / spread) if free > 0 else inf
