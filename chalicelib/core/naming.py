"""Names that there are not, and which one their author probably meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches


def instead_of(name: object, known: Collection[str]) -> str:
    """What to expect where ``name`` came: the one of ``known`` that it resembles, else all of them.

    Case, underscores and hyphens do not count: ``max_retry`` resembles ``maxRetries``.
    """
    spellings = {_folded(each): each for each in known}
    near = get_close_matches(_folded(str(name)), spellings, n=1)
    return spellings[near[0]] if near else " or ".join(known) or "no names at all"


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
