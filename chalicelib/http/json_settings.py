"""Settings that are JSON, or the path of a file of it; what is wrong with one is told as of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from chalicelib.core.errors import InvalidInput

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class JsonSetting(Generic[_Read]):
    """A setting of which ``shape`` reads the JSON.

    ``problem`` and ``remedy`` are for its errors; ``expected`` says what it is: "a JSON list of topics".
    """

    variable: str
    shape: TypeAdapter[_Read]
    expected: str
    problem: str
    remedy: str

    def read(self, given: str) -> _Read:
        """What ``given`` says. Raises ``InvalidInput`` naming the first place of it that is wrong."""
        document = self._document(given)
        try:
            return self.shape.validate_python(document)
        except ValidationError as error:
            from chalicelib.http.problems import invalid_fields  # imported late: a start without errors needs none

            found = invalid_fields(self.variable, document, error, shape=self.shape)
            first = found.details[0]
            place = "" if first.field == self.variable else f"[{first.field}]"
            raise self.wrong(first.expected, first.got, place, found.remedy) from error

    def wrong(self, expected: str, got: str, place: str = "", remedy: str | None = None) -> InvalidInput:
        """The error that says so of a place in it."""
        return InvalidInput(
            self.problem, field=f"{self.variable}{place}", expected=expected, got=got, remedy=remedy or self.remedy
        )

    def _document(self, given: str) -> Any:
        expected = f"{self.expected}, or the path of a file of one"
        is_path = not given.lstrip().startswith(("[", "{"))
        try:
            return json.loads(Path(given).read_text(encoding="utf-8") if is_path else given)
        except OSError as error:
            raise self.wrong(expected, f"{given}, which cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise self.wrong(expected, f"what is no JSON ({error})") from error
