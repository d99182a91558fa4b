"""Prometheus' text format. Source: Prometheus documentation, "Exposition formats", text-based format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from chalicelib.core.histogram import cumulative

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricType(StrEnum):
    """The types that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value: an integer, or of seconds a float. ``suffix`` tells the samples of a histogram apart."""

    labels: Mapping[str, str]
    value: float
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with the samples of all its label values."""

    name: str
    type: MetricType
    help: str
    samples: list[Sample]


def histogram_samples(labels: Mapping[str, str], counts_ms: Mapping[int | None, int], sum_ms: int) -> Iterator[Sample]:
    """A histogram of milliseconds as one of seconds, which is Prometheus' unit of time."""
    upto = cumulative(counts_ms)
    for bound_ms, count in upto:
        bound = "+Inf" if bound_ms is None else f"{bound_ms / 1_000:g}"
        yield Sample({**labels, "le": bound}, count, "_bucket")
    yield Sample(labels, sum_ms / 1_000, "_sum")
    yield Sample(labels, upto[-1][1], "_count")


def exposition(families: Iterable[Family]) -> str:
    """The text; each line ends with a line feed, the last one, too."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.help)}"
    yield f"# TYPE {family.name} {family.type.value}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_quotable(value)}"' for name, value in sample.labels.items())
        yield f"{family.name}{sample.suffix}{{{labels}}} {sample.value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quotable(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
