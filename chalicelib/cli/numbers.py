"""Options and arguments that are numbers: a bad one is told with the range, and exits with 2."""

from __future__ import annotations

import math
from typing import Any

import click

from chalicelib.core.expectations import number_of


class Whole(click.IntRange):
    """A whole number, from ``min`` to ``max``, both included, where they are given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that ``value`` says; raises click's ``BadParameter``."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"expected {number_of((self.min, self.max), is_whole=True)}, got {value}", param, ctx)


class Number(click.FloatRange):
    """A number that is finite, likewise."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that ``value`` says; raises click's ``BadParameter``."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"expected {number_of((self.min, self.max), is_whole=False)}, got {value}", param, ctx)
        return number
