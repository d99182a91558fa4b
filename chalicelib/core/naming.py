"""What things may be called, and, of names that there are not, which one their author probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches

NAME = r"^(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"  # on one line, and more than blanks


def is_name(value: object, most_chars: int) -> bool:
    """Whether something may be called ``value``: 1 to ``most_chars`` characters that UTF-8 can hold, as NAME says."""
    if not isinstance(value, str) or len(value) > most_chars or not re.fullmatch(NAME, value):
        return False
    return not any("\ud800" <= character <= "\udfff" for character in value)


def instead_of(name: object, known: Collection[str]) -> str:
    """What to expect where ``name`` came: the one of ``known`` that it resembles, else all of them.

    Case, underscores and hyphens do not count: ``max_retry`` resembles ``maxRetries``.
    """
    spellings = {_folded(each): each for each in known}
    near = get_close_matches(_folded(str(name)), spellings, n=1)
    return spellings[near[0]] if near else " or ".join(known) or "no names at all"


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace("-", "")
