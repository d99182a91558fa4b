"""Which types of jobs there are: what lists over all types are merged from (``store/job_lists.py``).

Known are the types that the code declares, those that it does not but were published here (noted in the directory
before the first job of one), and those that the counters have ever counted, as of handlers that are no more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from chalicelib.core.states import Kind, State
from chalicelib.engine.handlers.registry import Registry
from chalicelib.store.directory import Directory
from chalicelib.store.insights import Insights

KindAndType = tuple[Kind, str]


@dataclass(frozen=True, slots=True)
class JobTypes:
    """The types of jobs, by kind."""

    handlers: Registry
    directory: Directory
    insights: Insights
    _noted: set[KindAndType] = field(default_factory=set)

    def note(self, kind: Kind, type: str) -> None:  # noqa: A002  # every dialect's word for it
        """Let a type be known, before there is a job of it; one write in a process, none for what the code declares."""
        if type in self._declared(kind) or (kind, type) in self._noted:
            return
        self.directory.note_type(kind, type)
        self._noted.add((kind, type))

    def of(self, kind: Kind, *, most: int | None) -> list[str]:
        """All types; where they are more than ``most``, those that may have pending or running jobs.

        So says the counter of a type, a moment late, or that it has none.
        """
        counted: defaultdict[str, Counter[State]] = defaultdict(Counter)
        for group, standing in self.insights.standings().items():
            if group.kind == kind:
                counted[group.type].update(standing.states)
        known = dict.fromkeys([*self._declared(kind), *self.directory.types_of(kind), *counted])
        if most is None or len(known) <= most:
            return list(known)
        return [name for name in known if name not in counted or _moves(counted[name])]

    def _declared(self, kind: Kind) -> Collection[str]:
        return (self.handlers.subscribers if kind is Kind.MESSAGE else self.handlers.tasks).keys()


def _moves(states: Counter[State]) -> bool:
    """Whether the counters do not say that nothing is on its way; one that is below nought says nothing."""
    return states[State.PENDING] != 0 or states[State.RUNNING] != 0
