"""The field's words: names that a reader would have to learn here are not used in code, docs or the API's document."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [ROOT / "app.py", *sorted((ROOT / "chalicelib").rglob("*.py")), *sorted((ROOT / "infra").rglob("*.py"))]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# Parts of a name, and what to say instead.
NAMES = {
    "birth": "uid",
    "bury": "dead_letter",
    "cohort": "task_statistics",
    "draft": "new_job",
    "entomb": "delete",
    "fate": "Ack, Nack",
    "grave": "tombstone",
    "happening": "JobEvent",
    "keeper": "heartbeat",
    "lap": "requeue_count",
    "laps": "requeue_count",
    "occupancies": "concurrency",
    "occupancy": "concurrency",
    "parcel": "outgoing",
    "seal": "settle_token",
    "shelf": "wait_list",
    "shelve": "defer",
    "shelves": "wait_list",
    "stretch": "cursor_page",
    "tell": "report",
    "telling": "report",
    "untold": "unreported",
    "wire": "attribute_value",
    "wish": "request",
}
# Names that a rule of their own has: whole ones.
WHOLE_NAMES = {
    "ComeBack": "Nack",
    "Drop": "Ack",
    "Hand": "PolledBatch",
    "Hide": "Nack",
    "InOtherHands": "LockMismatch",
    "Look": "Check",
    "NotInHand": "NotLocked",
    "Notes": "JobDetails",
    "Wanted": "JobQuery",
    "expire": "dead_letter",
    "give_up": "dead_letter",
    "held": "blocked, locked",
    "hold": "extend_visibility",
    "hold_up": "defer_if_paused",
    "in_hand": "locked",
    "told": "render, report",  # as a function
}
PHRASES = {
    r"unless told": "default ...",
    r"\bin hand\b": "locked",
    r"\bin other hands\b": "locked by another",
    r"(?m)^\s*(\"\"\")?Answers ": "Returns ...",
    r"\b(a|the|its|of|on) shel(f|ves)\b": "wait list",
    r"\bshelv(e|es|ed|ing)\b": "defer",
    r"\b(bury|buries|buried|burying)\b": "dead-letter",
    r"\bentomb": "delete",
    r"\bcohorts?\b": "statistics",
    r"\bparcels?\b": "message",
    r"\boccupanc(y|ies) of\b": "concurrency",
}
# What is stored under an old name: the tables outlive the code.
STORED = {"chalicelib/core/job_documents.py", "chalicelib/store/wait_lists.py"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def names_in(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every name that a module gives: its text, its line, and whether it is a function's."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node.lineno, True
            case ast.ClassDef():
                yield node.name, node.lineno, False
            case ast.arg():
                yield node.arg, node.lineno, False
            case ast.Name(ctx=ast.Store()):
                yield node.id, node.lineno, False


def words_of(name: str) -> set[str]:
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def test_names() -> None:
    found = [
        f"{relative(path)}:{line}: {name}; say {NAMES.get(word) or WHOLE_NAMES[name]}"
        for path in CODE
        for name, line, is_function in names_in(path)
        for word in ({name} & WHOLE_NAMES.keys()) | (words_of(name) & NAMES.keys())
        if word != "told" or is_function
    ]
    assert found == []


def test_phrases() -> None:
    texts = {path: path.read_text() for path in [*CODE, *PAGES] if relative(path) not in STORED}
    found = [
        f"{relative(path)}:{text.count(chr(10), 0, met.start()) + 1}: {met[0].strip()!r}; say {instead!r}"
        for path, text in texts.items()
        for phrase, instead in PHRASES.items()
        for met in re.finditer(phrase, text)
    ]
    assert found == []
