"""How fast what was sampled grows: a line through the means of blocks, whose scatter says how sure that is.

Samples that follow each other are alike (memory goes up in steps), so a line through all of them would seem surer than
it is; the means of ten minutes scatter nearly as independent values do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
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

    @property
    def verdict(self) -> str:
        """``flat``, ``grows``, or ``unclear`` where the samples do not tell; of what may grow (items, CPU) nothing."""
        if (tolerated := TOLERATED.get(self.measure)) is None:
            return ""
        if self.an_hour + SURE * self.error <= tolerated:
            return "flat"
        return "grows" if self.an_hour - SURE * self.error > tolerated else "unclear"

    def __str__(self) -> str:
        growth = f"{self.an_hour:+10.2f} ± {SURE * self.error:.2f} an hour"
        values = f"({self.first:.1f} to {self.last:.1f}, at most {self.most:.1f})"
        return f"{self.who:<32} {self.measure:<12} {growth}  {values}  {self.verdict}"


def slopes(samples: Iterable[Sample], from_s: float, block_s: float = BLOCK_S) -> list[Slope]:
    """The slope of everything that was sampled from ``from_s`` on, and for long enough."""
    series: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.elapsed_s >= from_s:
            series[sample.who, sample.measure].append((sample.elapsed_s, sample.value))
    found = [_slope(who, measure, points, block_s) for (who, measure), points in sorted(series.items())]
    return [slope for slope in found if slope is not None]


def _slope(who: str, measure: str, points: Sequence[tuple[float, float]], block_s: float) -> Slope | None:
    blocks: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for at_s, value in points:
        blocks[int((at_s - points[0][0]) // block_s)].append((at_s / HOUR_S, value))
    means = [(fmean(at_h for at_h, _ in block), fmean(value for _, value in block)) for block in blocks.values()]
    if len(means) < FEWEST_BLOCKS:
        return None
    an_hour, error = line(means)
    values = [value for _, value in points]
    return Slope(who, measure, an_hour, error, values[0], values[-1], max(values))


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line with the least squares through ``points``, and its standard error."""
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residuals = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    free = len(points) - 2
    return slope, sqrt(residuals / free / spread) if free > 0 else inf
