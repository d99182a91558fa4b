"""Search: what of a task can be searched, which words a text has, and which words a query asks for.

Texts and queries are split by the same rule. Both are normalised (Unicode NFKC, case folded; characters that are not
shown, such as soft hyphens, are dropped). A word is then a run of letters, digits and underscores, with the marks upon
them. There are no stop words, no stemming, no other spellings: a word is found by itself.

Scripts that are written without spaces (``UNSPACED``) have no such words. There a text has each of its characters and
each pair of neighbours as words, a query its pairs, or the one character that it has, so that whatever stands in the
text is found by any part of it. What has all the pairs of a query and not the query is found, too.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any
from unicodedata import category, normalize

from chalicelib.core.errors import InvalidInput

TEXT_MAX_CHARS = 16_384  # of a task, or of a query; what follows is not looked at
WORD_MAX_CHARS = 64  # longer words are cut, in texts and queries alike: what begins with the same 64 is the same
WORDS_MAX = 200  # different words of a task, the first ones: each is an entry of the index, which costs a write
MARKS_MAX = 30  # upon a character (Unicode Annex 15, "Stream-Safe Text Format"): to sort more takes the square of them
QUERY_WORDS_MAX = 32  # each is a reading of the index

# Blocks of Thai and Lao, Burmese, Khmer, Tai Le and New Tai Lue, Tai Tham, Balinese, Javanese and more Burmese, Tai
# Viet, Chinese and Japanese; of each the first character and the first behind it.
UNSPACED = (
    (0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x1950, 0x1A00), (0x1A20, 0x1AB0), (0x1B00, 0x1B80),
    (0x2E80, 0x3200), (0x3400, 0xA000), (0xA980, 0xAA00), (0xAA60, 0xAAE0), (0xF900, 0xFB00),
    (0x1B000, 0x1B170), (0x20000, 0x40000),
)  # fmt: skip
_BOUNDS = [bound for block in UNSPACED for bound in block]
_HALFWIDTH_MARKS = "\uff9e\uff9f"  # letters, until they are normalised
_VARIATIONS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))  # marks that choose a glyph

# What a character is to the rule.
_GAP, _SPACED, _UNSPACED, _MARK = range(4)


def searched_text(given: Any, search_keys: Any = None) -> str:
    """What of a task's input is searched: the values at the paths ``search_keys``, one or a list of them.

    A path reaches into objects and, by number, into lists: ``to.email``, ``rows.0.title``. A value that is no text
    counts with all that is in it, names of keys included; so does the whole input where no path or list is given.
    """
    match search_keys:
        case str() if search_keys:
            values = [_at(given, search_keys)]
        case list():
            values = [_at(given, path) for path in search_keys if isinstance(path, str)]
        case _:
            values = [given]
    return "\n".join(text for value in values for text in _texts(value))


def words_of(text: str) -> tuple[str, ...]:
    """The words by which a text is found: the first 200 different ones, in their order."""
    return _first(_words(text, _characters_and_pairs), WORDS_MAX)


def query_words(text: str) -> tuple[str, ...]:
    """The words that must all be in a text for ``text`` to find it; none if there is no word in it.

    Raises ``InvalidInput`` for more than 32.
    """
    found = _first(_words(text, _pairs), QUERY_WORDS_MAX + 1)
    if len(found) > QUERY_WORDS_MAX:
        raise InvalidInput(
            "this search has too many words",
            field="search",
            expected=f"at most {QUERY_WORDS_MAX}; where no spaces are written, each pair of characters is one",
            got=text,
            remedy="leave out those that say the least",
        )
    return found


# -- what is searched ---------------------------------------------------------------------------------


def _at(value: Any, path: str) -> Any:
    """What stands at a path, ``None`` if nothing does; the name of a member may have dots itself."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for name in path.replace("[", ".").replace("]", "").split("."):
        members = {str(place): each for place, each in enumerate(value)} if isinstance(value, list) else value
        if not isinstance(members, dict):
            return None
        value = members.get(name)
    return value


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value, in its order; numbers and truth values as JSON has them."""
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
            case dict(members):
                left += [part for member in reversed(members.items()) for part in reversed(member)]
            case list(entries):
                left += reversed(entries)
            case bool() | int() | float() as scalar:
                yield json.dumps(scalar)


# -- words --------------------------------------------------------------------------------------------


def _words(text: str, of_unspaced: Callable[[list[str]], Iterable[str]]) -> Iterator[str]:
    for piece in text[:TEXT_MAX_CHARS].split():  # so that whoever has enough words does not pay for all
        for kind, run in _runs(piece):
            found: Iterable[str] = ["".join(run)] if kind == _SPACED else of_unspaced(run)
            yield from (word[:WORD_MAX_CHARS] for word in found)


def _characters_and_pairs(run: list[str]) -> Iterator[str]:
    for place, character in enumerate(run):
        yield character
        yield "".join(run[place : place + 2])


def _pairs(run: list[str]) -> list[str]:
    return ["".join(pair) for pair in pairwise(run)] or run


def _runs(text: str) -> Iterator[tuple[int, list[str]]]:
    """The runs of letters, digits and underscores of one kind, each as its characters with the marks upon them."""
    kind, run = _GAP, list[str]()
    for character in _normal(text):
        found = _kind_of(character)
        if found == _MARK:
            if run and len(run[-1]) < WORD_MAX_CHARS:
                run[-1] += character
            continue
        if found != kind and run:
            yield kind, run
            run = []
        kind = found
        if kind != _GAP:
            run.append(character)
    if run:
        yield kind, run


def _normal(text: str) -> str:
    return normalize("NFKC", normalize("NFKC", "".join(_shown(text))).casefold())


def _shown(text: str) -> Iterator[str]:
    """The characters without those that are not shown, and without marks beyond the thirtieth in a row."""
    marks = 0
    for character in text:
        if _is_hidden(character):
            continue
        marks = marks + 1 if _kind_of(character) == _MARK or character in _HALFWIDTH_MARKS else 0
        if marks <= MARKS_MAX:
            yield character


@lru_cache(maxsize=4_096)
def _is_hidden(character: str) -> bool:
    code = ord(character)
    return category(character) == "Cf" or any(first <= code <= last for first, last in _VARIATIONS)


@lru_cache(maxsize=4_096)
def _kind_of(character: str) -> int:
    if category(character).startswith("M"):
        return _MARK
    if not (character.isalnum() or character == "_"):
        return _GAP
    return _UNSPACED if bisect_right(_BOUNDS, ord(character)) % 2 else _SPACED


def _first(words: Iterable[str], most: int) -> tuple[str, ...]:
    """The first ``most`` different ones."""
    found: dict[str, None] = {}
    for word in words:
        if len(found) == most:
            break
        found[word] = None
    return tuple(found)
