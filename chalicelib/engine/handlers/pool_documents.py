"""The files that define Yao's pools: which there are, what pool each is of, and what stands in it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from chalicelib.core.errors import InvalidInput

FOLDER = "pools"
SUFFIXES = (".json", ".yao")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,3}")
_COMMENT_OR_TEXT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


def definition_files(package: ModuleType) -> Iterator[Path]:
    """The files below the folder ``pools`` of a package, by name."""
    for path in getattr(package, "__path__", ()):
        folder = Path(path) / FOLDER
        yield from sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES and file.is_file())


def _inside(file: Path) -> Path:
    """A definition file as seen from its pools folder: ``mail/welcome.json``."""
    parts = file.parts
    return Path(*parts[len(parts) - parts[::-1].index(FOLDER) :])


def shown(file: Path) -> str:
    """Which file this is, in every error: ``pools/mail/welcome.json``."""
    return f"{FOLDER}/{_inside(file).as_posix()}"


def name_of(file: Path) -> str:
    """``pools/mail/welcome.json`` defines the pool ``mail.welcome``."""
    name = ".".join(_inside(file).with_suffix("").parts)
    if _NAME.fullmatch(name) is None:
        raise wrong(file, "file", "a name of letters, digits, _ and -, at most 64", file.name, "rename the file")
    return name


def read_document(file: Path) -> dict[str, Any]:
    """The JSON object in a file; a ``.yao`` file may hold comments."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        got = f"{error.reason} at byte {error.start}"
        raise wrong(file, "file", "text in UTF-8", got, "save it as UTF-8") from error
    if file.suffix == ".yao":
        text = _COMMENT_OR_TEXT.sub(lambda found: found[0] if found[0].startswith('"') else " ", text)
    try:
        document = json.loads(text, object_pairs_hook=_once_each)
    except ValueError as error:
        raise wrong(file, "file", "JSON", str(error), "correct it at the place named") from error
    if not isinstance(document, dict):
        raise wrong(file, "file", "a JSON object", type(document).__name__, "put the fields between { and }")
    return document


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; raises ``ValueError`` for a field that is there twice, of which one would be lost in silence."""
    document = dict(pairs)
    if len(document) < len(pairs):
        times = Counter(name for name, _ in pairs)
        twice = next(name for name, count in times.items() if count > 1)
        raise ValueError(f"the field {twice!r} is there twice")
    return document


def text_in(file: Path, document: Mapping[str, Any], key: str, field: str | None = None) -> str:
    """A text that must be there; ``field`` is what errors call it, if not ``key``."""
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise wrong(file, field or key, "a text", "nothing" if value is None else value, "give it one")
    return value


def whole_in(file: Path, document: Mapping[str, Any], field: str, default: int, most: int) -> int:
    """A whole number from 1; ``default`` where it is left out or 0, as Yao has it."""
    value = document.get(field) or default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        remedy = f"leave it out for {default}"
        raise wrong(file, field, f"a whole number from 1 to {most}", document[field], remedy)
    return value


def wrong(file: Path, field: str, expected: str, got: object, remedy: str) -> InvalidInput:
    """What is said of a file in which ``field`` is not as it must be."""
    return InvalidInput(
        f"the pool definition {shown(file)} is wrong", field=field, expected=expected, got=got, remedy=remedy
    )
