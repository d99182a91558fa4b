"""Which packages an extra of pyproject.toml installs, told from metadata, without a network."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = Path(__file__).parents[2]


def installed_by(extra: str) -> set[str]:
    """The names of all distributions that the requirements and ``extra`` lead to, as far as they are installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonical(request.name), each) for request in _declared(extra) for each in ("", *request.extras)]
    while waiting:
        name, asked = waiting.pop()
        if (name, asked) in seen:
            continue
        seen.add((name, asked))
        for request in _requirements_of(name):
            if request.marker is None or request.marker.evaluate({"extra": asked}):
                waiting.extend((canonical(request.name), wanted) for wanted in ("", *request.extras))
    return {name for name, _ in seen}


def canonical(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared(extra: str) -> list[Requirement]:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    base = [line for line in (PROJECT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    return [Requirement(text) for text in [*base, *extras[extra]]]


def _requirements_of(name: str) -> list[Requirement]:
    try:
        return [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:  # an extra's package that nothing needs in these tests
        return []
