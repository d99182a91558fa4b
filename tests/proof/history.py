"""What a run is judged by: what clients asked and were told, and what handlers wrote down. Nothing else is believed.

Times are in milliseconds since 1970, by one true clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

ABSENT = "absent"  # what a client is told of a job that nobody knows


@dataclass(slots=True)
class Run:
    """One run of a handler, by its own word. ``how``: ok, failed, again or parked; ``None`` while nobody said."""

    job_id: int
    attempt: int
    part: str  # which of several subscribers
    type: str
    key: str | None
    call: int  # runs of one batch share its number
    worker: str
    began_ms: int
    due_at_ms: int = 0
    ended_ms: int | None = None
    how: str | None = None
    output: object = None
    slot: tuple[str, int] | None = None  # schedule and nominal time
    ref: str | None = None  # what its client calls it


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that a client was told the service has taken, and what the client knows of it."""

    job_id: int
    type: str
    attempts: int = 3  # that it may have, without those that a client asks for
    light: bool = False
    ends: frozenset[str] = frozenset({"success"})  # how it may end
    after: tuple[int, ...] = ()  # jobs that must have succeeded before it begins
    due_at_ms: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Expected:
    """What a client expects to run, without its id: if all ``after`` succeed, 1 to ``most`` jobs with this ``ref``."""

    ref: str
    after: tuple[int, ...] = ()
    after_refs: tuple[str, ...] = ()
    most: int = 1
    surely: bool = True  # else none is as good


@dataclass(frozen=True, slots=True)
class Told:
    """The state that a client was told of a job, or ``ABSENT``, asked for at ``asked_ms``."""

    job_id: int
    state: str
    attempts: int | None  # None where a client is not told
    asked_ms: int
    told_ms: int


@dataclass(slots=True)
class History:
    """All of it, and the lines by which a reader can follow it."""

    accepted: dict[int, Accepted] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    expected: list[Expected] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    restarted: list[tuple[int, int]] = field(default_factory=list)  # a job, and when a client asked for another life
    settled: dict[tuple[int, str], list[str]] = field(default_factory=dict)  # a job and its life: who was told he did
    asked: set[int] = field(default_factory=set)  # what a client asked to settle, whatever it was told
    keys: dict[str, set[int]] = field(default_factory=dict)  # an idempotency key, and the jobs told for it
    slots: set[tuple[str, int]] = field(default_factory=set)  # of schedules, each of which is to run
    events: dict[int, list[str]] = field(default_factory=dict)  # a job, and what a webhook was told of it, first times
    promoted: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    doubts: int = 0  # requests of which the client does not know what became of them
    lines: list[tuple[int, str, str]] = field(default_factory=list)

    def note(self, at_ms: int, who: str, text: str) -> None:
        """A line for the reader."""
        self.lines.append((at_ms, who, text))

    def text(self, start_ms: int) -> Iterator[str]:
        """The lines, by seconds since the start."""
        for at_ms, who, text in self.lines:
            yield f"{(at_ms - start_ms) / 1_000:10.3f}  {who:<12} {text}"


@dataclass(slots=True)
class Ending:
    """What clients are told once all is at rest."""

    states: dict[int, tuple[str, int]]  # of each accepted job that is there: its state, and its attempts
    ends: dict[int, int]  # of each: how many ends its trace tells, less how many restarts
    outputs: dict[int, object] = field(default_factory=dict)
    causes: dict[int, str] = field(default_factory=dict)  # of those that failed
    counters: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # kind, type, state
    listed: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # the same, of all jobs listed
    left_over: list[str] = field(default_factory=list)  # messages, marks, slots that nobody has any more
