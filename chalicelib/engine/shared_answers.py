"""Answers that many ask for at once: each is worked out once, and given to all who come meanwhile or a second later."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

FRESH_MS = 1_000  # as old as the change stream is anyway
KEPT_MAX = 16  # an answer may have megabytes

T = TypeVar("T")


@dataclass(slots=True)
class _Answer:
    """What was worked out, and when that was done; whoever works on it holds ``working``."""

    working: Lock = field(default_factory=Lock)
    done_ms: int | None = None
    value: Any = None


@dataclass(slots=True)
class SharedAnswers:
    """The newest answers of one process, by what was asked."""

    fresh_ms: int = FRESH_MS
    _answers: dict[Hashable, _Answer] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def get(self, asked: Hashable, work: Callable[[], T], now_ms: Callable[[], int]) -> T:
        """The answer to what is ``asked``: that of a moment ago, or what ``work`` returns now.

        Who asks while another works on it waits for that. What ``work`` raises is raised, and not kept.
        """
        answer = self._answer_to(asked)
        with answer.working:
            if answer.done_ms is None or now_ms() - answer.done_ms >= self.fresh_ms:
                answer.value = work()
                answer.done_ms = now_ms()
            value: T = answer.value
            return value

    def _answer_to(self, asked: Hashable) -> _Answer:
        with self._lock:
            known = self._answers.pop(asked, None)
            answer = self._answers[asked] = known or _Answer()
            while len(self._answers) > KEPT_MAX:
                del self._answers[next(iter(self._answers))]  # the one that was asked for longest ago
            return answer
