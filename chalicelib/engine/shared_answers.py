"""Returns that many ask for at once: each is worked out once, and given to all who come meanwhile or a second later."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

FRESH_MS = 1_000  # as old as the change stream is anyway
KEPT_MAX = 16  # an answer may have megabytes

T = TypeVar("T")


@dataclass(slots=True)
class _Answer:
    """What comes of some work, and when that was done."""

    coming: Future[Any] = field(default_factory=Future)
    done_ms: int | None = None


@dataclass(slots=True)
class SharedAnswers:
    """The newest answers of one process, by what was asked."""

    fresh_ms: int = FRESH_MS
    _answers: dict[Hashable, _Answer] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, asked: Hashable, work: Callable[[], T], now_ms: Callable[[], int]) -> T:
        """The answer to what is ``asked``: that of a moment ago, or what ``work`` returns now.

        Who asks while another works on it waits for that. What ``work`` raises is raised to all of them, and not kept.
        """
        answer, is_new = self._answer_to(asked, now_ms())
        if is_new:
            try:
                answer.coming.set_result(work())
            except BaseException as error:
                self._forget(asked, answer)
                answer.coming.set_exception(error)
            answer.done_ms = now_ms()
        found: T = answer.coming.result()
        return found

    def _answer_to(self, asked: Hashable, at_ms: int) -> tuple[_Answer, bool]:
        """The answer that there is or will be, or a new one, which whoever gets it has to work out."""
        with self._lock:
            known = self._answers.pop(asked, None)
            is_new = known is None or (known.done_ms is not None and abs(at_ms - known.done_ms) >= self.fresh_ms)
            answer = self._answers[asked] = _Answer() if known is None or is_new else known
            while len(self._answers) > KEPT_MAX:
                del self._answers[next(iter(self._answers))]  # the one that was asked for longest ago
            return answer, is_new

    def _forget(self, asked: Hashable, answer: _Answer) -> None:
        with self._lock:
            if self._answers.get(asked) is answer:
                del self._answers[asked]
