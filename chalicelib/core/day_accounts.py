"""The account of a day: how many jobs of a type were accepted on it (in UTC), and what has become of them.

It is kept by the projector. Each job that is accepted is in one state until it is deleted, so the books balance:
accepted = pending + running + waiting + success + failed + canceled + deleted. Beside each number stands the sum of the
ids that it counts, so that where one job is missing the difference of the sums is its id. What the jobs have used is
added up, too (``core/usage.py``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain
from operator import sub
from typing import NamedTuple

from chalicelib.core.job import Job
from chalicelib.core.limits import count_of_key, count_of_type
from chalicelib.core.states import State
from chalicelib.core.statistics import DAY_MS
from chalicelib.core.usage import USED, amounts_used

ACCEPTED = "accepted"
DELETED = "deleted"
ENTRIES = (ACCEPTED, *(state.value for state in State), DELETED)
TENANT, KEY = "tenant", "key"  # the kinds of accounts beside those of types, which know acceptances and usage alone
NOTHING_USED = (0,) * len(USED)
IDS = "ids_"  # what the name of a sum of ids begins with
NAMES = (*chain.from_iterable((entry, f"{IDS}{entry}") for entry in ENTRIES), *USED)


class Account(NamedTuple):
    """The jobs of a type that were accepted on the day of UTC that begins at ``day_ms``.

    Of kind ``TENANT`` those of the tenant in ``type``, of kind ``KEY`` those of the flow key whose count it names.
    """

    day_ms: int
    kind: str
    type: str


class DayKey(NamedTuple):
    """One number of an account, by its name (one of ``NAMES``)."""

    account: Account
    name: str


def account_of(job: Job) -> Account:
    """Where a job is accounted for."""
    return Account(job.created_at_ms - job.created_at_ms % DAY_MS, job.kind.value, job.type)


def postings(before: Job | None, after: Job | None) -> Iterator[tuple[DayKey, int]]:
    """What one change of the ledger adds to the numbers of accounts."""
    if before is None and after is not None:
        yield from _posted(after, ACCEPTED, 1)
    if before is None or after is None or _entry(before) != _entry(after):
        if before is not None:
            yield from _posted(before, before.state, -1)
        if after is not None:
            yield from _posted(after, after.state, 1)
    if before is not None and after is None:
        yield from _posted(before, DELETED, 1)
    if after is not None and (used := _used(before, after)):
        account = account_of(after)
        for name, more in used:
            yield DayKey(account, name), more


def tenant_postings(before: Job | None, after: Job | None) -> Iterator[tuple[DayKey, int]]:
    """What one change adds to the account of the job's tenant, if it names one."""
    if after is not None and after.tenant is not None:
        yield from _accepted_and_used(TENANT, after.tenant, before, after)


def key_postings(before: Job | None, after: Job | None) -> Iterator[tuple[DayKey, int]]:
    """What one change adds to the account of the job's flow key, if it has one; each type or topic has its own."""
    if after is not None and after.flow_key is not None:
        count = count_of_key(count_of_type(after.kind, after.type), after.flow_key)
        yield from _accepted_and_used(KEY, count, before, after)


def vanished(job: Job) -> Iterator[tuple[DayKey, int]]:
    """What takes back that a job was deleted, where it left no tombstone: its account does not balance any more."""
    yield from _posted(job, DELETED, -1)


def standing(job: Job) -> Iterator[tuple[DayKey, int]]:
    """What a job on the ledger adds to the numbers of its account as it stands."""
    yield from _posted(job, job.state.value, 1)


def balanced(numbers: Mapping[str, int], known: Mapping[str, int]) -> Counter[str]:
    """The account of jobs that are in states as ``numbers`` says; of deleted ones, and of usage, what was ``known``."""
    found = Counter({name: numbers.get(name, 0) for name in NAMES})
    found.update({name: known.get(name, 0) for name in USED})
    for prefix in ("", IDS):
        found[f"{prefix}{DELETED}"] = known.get(f"{prefix}{DELETED}", 0)
        found[f"{prefix}{ACCEPTED}"] = kept(found, prefix)
    return found


def kept(numbers: Mapping[str, int], prefix: str = "") -> int:
    """How many jobs an account knows the whereabouts of (``prefix`` ``IDS``: the sum of their ids)."""
    return sum(numbers.get(f"{prefix}{entry}", 0) for entry in ENTRIES if entry != ACCEPTED)


def _accepted_and_used(kind: str, name: str, before: Job | None, after: Job) -> Iterator[tuple[DayKey, int]]:
    account = account_of(after)._replace(kind=kind, type=name)
    if before is None:
        yield DayKey(account, ACCEPTED), 1
    for name, more in _used(before, after):
        yield DayKey(account, name), more


def _used(before: Job | None, after: Job) -> list[tuple[str, int]]:
    """What a job has used since before, if anything; what it had used counts on once it is deleted."""
    was, now = NOTHING_USED if before is None else amounts_used(before), amounts_used(after)
    return [(name, more) for name, more in zip(USED, map(sub, now, was), strict=True) if more]


def _entry(job: Job) -> tuple[Account, State, int]:
    """Where a job stands in the books."""
    return account_of(job), job.state, job.id


def _posted(job: Job, entry: str, amount: int) -> Iterator[tuple[DayKey, int]]:
    account = account_of(job)
    yield DayKey(account, str(entry)), amount
    yield DayKey(account, f"{IDS}{entry}"), amount * job.id
