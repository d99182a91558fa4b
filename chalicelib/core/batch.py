"""Batches: several inputs that one call of a handler takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.core.errors import InvalidInput

BATCH_MAX = 100  # each member is claimed and settled by itself, and keeps a lease: more would take as long as a run
WAIT_MAX_S = 300  # AWS Lambda API Reference, "MaximumBatchingWindowInSeconds"
UNGATHERED_MAX = 10  # AWS Lambda API Reference, "BatchSize": above it the window is a second at least


@dataclass(frozen=True, slots=True)
class Batch:
    """Up to ``max_size`` inputs to one call (1 to 100), gathered for up to ``max_wait_s`` whole seconds (0 to 300).

    With 0, which goes up to a ``max_size`` of 10, nothing is waited for. Raises ``InvalidInput``.
    """

    max_size: int
    max_wait_s: int = 1

    def __post_init__(self) -> None:
        _expect_whole("batch.max_size", self.max_size, 1, BATCH_MAX)
        least = 0 if self.max_size <= UNGATHERED_MAX else 1
        _expect_whole("batch.max_wait_s", self.max_wait_s, least, WAIT_MAX_S)


def gathered(batches: Iterable[Batch]) -> Batch:
    """What one queue gathers for all of ``batches``: as many as the largest takes, for no longer than any waits."""
    each = list(batches)
    largest, shortest_s = max(batch.max_size for batch in each), min(batch.max_wait_s for batch in each)
    return Batch(largest, shortest_s if largest <= UNGATHERED_MAX else max(1, shortest_s))


def _expect_whole(field: str, value: object, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        expected = f"a whole number from {least} to {most}"
        raise InvalidInput("this value is out of range", field=field, expected=expected, got=value)
