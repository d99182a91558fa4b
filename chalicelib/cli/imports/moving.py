"""What a source finds, brought onto the ledger: each job once, however often and from wherever that is tried.

Every job is recorded together with an idempotency key of its source, its table, its id and its creation there. The keys
stay for ``KEY_TTL_S``; an import that is repeated reads them, a hundred a call, and passes over what it has moved.
Who made a job is told by its id: each import takes ids of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from typing import Any

from chalicelib.cli.imports.found import Entry, Parent, Refused, Skipped, Source, Unfinished, key_of
from chalicelib.core.causes import Cause
from chalicelib.core.documents import to_json
from chalicelib.core.errors import Conflict, TaskyardError, TooLarge, Unavailable
from chalicelib.core.flow import superseded_by
from chalicelib.core.job import Job
from chalicelib.engine.new_job import NewJob
from chalicelib.engine.policy import flow_of
from chalicelib.engine.publish.bulk import publish_many
from chalicelib.engine.publish.dead_on_arrival import as_dead_letter
from chalicelib.engine.publish.flow import is_asked_for, is_kept_away, mark_of
from chalicelib.engine.publish.prepare import check, due_at_ms, prepare_unchecked
from chalicelib.engine.publish.publish import answering, idempotency_key_of, publish
from chalicelib.engine.yard import JobIds, Yard
from chalicelib.store.directory import IdempotencyKey
from chalicelib.store.table import TransactionRefused

KEY_TTL_S = 400 * 86_400


@dataclass(slots=True)
class Report:
    """What became of what was read."""

    read: int = 0
    moved: int = 0
    already_there: int = 0
    collapsed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    left: Mapping[str, int] = field(default_factory=dict)


def move(
    yard: Yard,
    source: Source,
    *,
    dry_run: bool,
    most: int | None,
    on_refused: Callable[[Refused], None],
    on_page: Callable[[Report], None],
    source_name: str = "",
) -> Report:
    """Move what a source has unfinished, ``most`` records of it at most; in a ``dry_run`` read and check it alone.

    Raises ``Unavailable`` where AWS or the source does not answer, one of ``AWS_FAILURES`` where it never did;
    repeated, it goes on.
    """
    settings = replace(yard.settings, idempotency_ttl_s=KEY_TTL_S)
    ids = _OwnIds(yard.ids.take_block)
    mover = _Mover(replace(yard, settings=settings, ids=ids), partial(key_of, source.name, source_name), dry_run, ids)
    report = Report(left=source.left())
    for page in source.pages():
        entries = page if most is None else page[: most - report.read]
        _move_page(mover, entries, report, on_refused)
        on_page(report)
        if report.read == most:
            break
    return report


def _move_page(mover: _Mover, entries: Sequence[Entry], report: Report, on_refused: Callable[[Refused], None]) -> None:
    report.read += len(entries)
    report.skipped.update(entry.reason for entry in entries if isinstance(entry, Skipped))
    refused = [entry for entry in entries if isinstance(entry, Refused)]
    outcomes = mover.moved([entry for entry in entries if isinstance(entry, Unfinished)])
    for id_, outcome in outcomes.items():
        match outcome:
            case TaskyardError():
                refused.append(Refused(id_, outcome))
            case Became.MOVED:
                report.moved += 1
            case Became.ALREADY_THERE:
                report.already_there += 1
            case Became.COLLAPSED:
                report.collapsed += 1
    report.refused += len(refused)
    for each in refused:
        on_refused(each)


class Became(Enum):
    """What became of a record."""

    MOVED = "a job that this import made"
    ALREADY_THERE = "a job that another import made"
    COLLAPSED = "one job with another that is like it, as its type is unique or debounced"


Outcome = Became | TaskyardError
"""What became of a record, or why nothing can."""


@dataclass(slots=True)
class _OwnIds(JobIds):
    """Job ids, of which those are remembered that were taken for a page."""

    taken: set[int] = field(default_factory=set)

    def new(self) -> int:
        id_ = JobIds.new(self)
        self.taken.add(id_)
        return id_


@dataclass(frozen=True, slots=True)
class _Mover:
    yard: Yard  # whose idempotency keys last
    key_of: Callable[[str, Parent | Unfinished], str]
    dry_run: bool
    ids: _OwnIds
    newest: dict[str, int] = field(default_factory=dict)  # of debounced jobs of this import, by their mark
    collapsing: dict[str, bool] = field(default_factory=dict)  # in a dry run: whether the next with a mark is collapsed

    def moved(self, found: Sequence[Unfinished]) -> dict[str, Outcome]:
        """What became of jobs, by their ids in the source."""
        self.ids.taken.clear()
        keyed = {each.id: self._keyed(each) for each in found}
        there = self._bound([idempotency_key_of(new_job) for new_job in keyed.values()])
        outcomes: dict[str, Outcome] = {}
        for each in found:
            if idempotency_key_of(keyed[each.id]) in there:
                outcomes[each.id] = Became.ALREADY_THERE
        new = [each for each in found if each.id not in outcomes]
        if self.dry_run:
            return outcomes | {each.id: self._checked(each, keyed[each.id]) for each in new}
        plain = [each for each in new if each.parent is None and each.failure is None]
        published = publish_many(self.yard, [keyed[each.id] for each in plain])
        outcomes |= {each.id: self._became(keyed[each.id], made) for each, made in zip(plain, published, strict=True)}
        outcomes |= {each.id: self._dead(each, keyed[each.id]) for each in new if each.failure is not None}
        for each in new:
            if each.parent is not None:
                outcomes[each.id] = self._under(each.table, each.parent, keyed[each.id])
        return outcomes

    def _keyed(self, found: Unfinished) -> NewJob:
        return replace(found.new_job, idempotency_key=self.key_of(found.table, found), first_wins=True)

    def _bound(self, keys: Sequence[IdempotencyKey | None]) -> Mapping[IdempotencyKey, Mapping[str, Any]]:
        return self.yard.directory.bindings([key for key in keys if key is not None], self.yard.now_ms() // 1_000)

    def _checked(self, found: Unfinished, new_job: NewJob) -> Outcome:
        """Whether it can be moved, as far as that can be told without writing."""
        content = {"input": new_job.input, "options": new_job.options, "context": new_job.context}
        try:
            if found.failure is None:
                check(self.yard, new_job)
                due_at_ms(new_job, self.yard.now_ms())
            size, most = len(to_json(content, "payload")), self.yard.settings.payload_max_bytes
            if size > most:
                raise TooLarge("the payload is too large", expected=f"at most {most} bytes", got=size)
            collapses = found.failure is None and found.parent is None and self._would_collapse(new_job)
        except TaskyardError as error:
            return error
        return Became.COLLAPSED if collapses else Became.MOVED

    def _would_collapse(self, new_job: NewJob) -> bool:
        """Whether a job would be one with another, as it is in this import or on the ledger now."""
        mark = mark_of(self.yard, new_job)
        if mark is None:
            return False
        collapsed = self.collapsing.get(mark, False) or is_kept_away(self.yard, new_job, mark)
        unique = flow_of(self.yard, new_job).unique is not None
        self.collapsing[mark] = unique or not new_job.attempts_made  # what has begun is not superseded
        return collapsed

    def _became(self, new_job: NewJob, made: Job | TaskyardError) -> Outcome:
        """What became of a job; raises ``Unavailable``: then the import ends, and is to be repeated."""
        if isinstance(made, Unavailable):
            raise made
        if isinstance(made, TaskyardError):
            return made
        collapses = is_asked_for(new_job) and flow_of(self.yard, new_job).collapses
        if made.id not in self.ids.taken:
            return Became.COLLAPSED if collapses else Became.ALREADY_THERE
        self.ids.taken.discard(made.id)  # whoever gets the same job after it is not who made it
        return Became.COLLAPSED if collapses and self._superseded_one(made) else Became.MOVED

    def _superseded_one(self, made: Job) -> bool:
        """Whether a debounced job took the place of one that this import made before: the two are one."""
        if made.unique_as is None:
            return False
        before, self.newest[made.unique_as] = self.newest.get(made.unique_as), made.id
        former = None if before is None else self.yard.jobs.find(before)
        return former is not None and superseded_by(made.id) == former.msg

    def _under(self, table: str, parent: Parent, new_job: NewJob) -> Outcome:
        """Move a task that waits for another one, which was moved before it."""
        key = IdempotencyKey(new_job.kind.value, self.key_of(table, parent), "")
        binding = self._bound([key]).get(key)
        if binding is None:
            return Conflict(
                "the task that it waits for was not moved",
                field="parent_task_id",
                expected="a task that was moved before",
                got=parent.id,
                remedy="move that first: mend why it was refused, and import again, without --type and --limit",
            )
        try:
            child = replace(new_job, parent_id=binding["job"])
            return self._became(child, publish(self.yard, child))
        except TaskyardError as error:
            return self._became(new_job, error)

    def _dead(self, found: Unfinished, new_job: NewJob) -> Outcome:
        """Record a dead letter, and its key, all or none."""
        yard, failure = self.yard, found.failure
        try:
            with answering():
                prepared = prepare_unchecked(yard, replace(new_job, attempts_made=None))
                at_ms = found.failed_at_ms or yard.now_ms()
                made = prepared.job.max_attempts
                tried = replace(prepared.job, attempts=made, failures=made)
                dead = as_dead_letter(tried, failure, Cause.ATTEMPTS_USED_UP, at_ms) if failure else tried
                key, now_s = idempotency_key_of(new_job), yard.now_ms() // 1_000
                actions = [yard.directory.reserving(key, dead, now_s, KEY_TTL_S)] if key else []
                yard.jobs.together([*yard.jobs.recording(dead, prepared.body), *actions])
        except TransactionRefused:  # another import was faster
            return Became.ALREADY_THERE
        except TaskyardError as error:
            return self._became(new_job, error)
        return Became.MOVED


def explained(refused: Refused) -> dict[str, str | None]:
    """A refusal, for programs and for the list of them."""
    error = refused.error
    details = getattr(error, "details", ())
    first = details[0] if details else error
    told = {
        "id": refused.id,
        "message": error.message,
        "field": first.field,
        "expected": first.expected,
        "got": first.got,
        "remedy": error.remedy,
    }
    return {name: text and text.encode(errors="backslashreplace").decode() for name, text in told.items()}
