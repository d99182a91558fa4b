"""The conservation audit: what does not add up between the accounts of days and the ledger."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from chalicelib.core.day_accounts import ACCEPTED, IDS, Account, kept
from chalicelib.core.states import State

IDS_MAX = 20  # that a difference names


@dataclass(frozen=True, slots=True)
class Listed:
    """The jobs of one account that the ledger's indexes show in a state: how many, and their ids.

    ``ids`` are all, or none where they are too many to be read.
    """

    count: int
    ids: Sequence[int] = ()

    @property
    def whole(self) -> bool:
        """Whether ``ids`` are all."""
        return len(self.ids) == self.count


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of an account that does not add up.

    ``entry`` is a state: so many jobs are ``counted`` in it, and the ledger shows ``found``. Or it is ``accepted``: the
    account knows what became of ``found`` of them. ``ids`` are the jobs, or where ``exact`` is false some among which
    they may be. ``confirmed``: it was the same an audit before, so that it is no lag of the change stream.
    """

    account: Account
    entry: str
    counted: int
    found: int
    ids: tuple[int, ...] = ()
    exact: bool = True
    ids_sum: int = 0
    confirmed: bool = False

    @property
    def mark(self) -> tuple[object, ...]:
        """By what it is known again."""
        return (self.account, self.entry, self.counted - self.found, self.ids_sum)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What the newest audit found. Days before ``since_ms`` are not audited: not all of their jobs were accounted for.

    ``unaccounted``: how many jobs the confirmed differences are. ``differences`` are the first that were found.
    """

    at_ms: int
    since_ms: int
    unaccounted: int = 0
    differences: tuple[Difference, ...] = field(default=())

    def to_text(self) -> str:
        """The stored form of the differences."""
        return json.dumps(
            [{**asdict(each), "account": each.account._asdict()} for each in self.differences], separators=(",", ":")
        )


def differences_in(text: str) -> tuple[Difference, ...]:
    """The differences that ``AuditReport.to_text`` wrote."""
    return tuple(
        Difference(**{**each, "account": Account(**each["account"]), "ids": tuple(each["ids"])})
        for each in json.loads(text)
    )


def imbalance(account: Account, numbers: Mapping[str, int]) -> Difference | None:
    """What an account does not know the whereabouts of; no lag explains it, as a change is posted whole or not."""
    accepted, found = numbers.get(ACCEPTED, 0), kept(numbers)
    ids_sum = numbers.get(f"{IDS}{ACCEPTED}", 0) - kept(numbers, IDS)
    if accepted == found and ids_sum == 0:
        return None
    ids = (abs(ids_sum),) if abs(accepted - found) == 1 else ()
    return Difference(account, ACCEPTED, accepted, found, ids, bool(ids), ids_sum, confirmed=True)


def compared(account: Account, numbers: Mapping[str, int], ledger: Mapping[State, Listed]) -> Iterator[Difference]:
    """The states in which an account has counted another number of jobs than the ledger shows."""
    for state, listed in ledger.items():
        counted = numbers.get(state, 0)
        if counted != listed.count:
            ids_sum = numbers.get(f"{IDS}{state}", 0) - sum(listed.ids) if listed.whole else 0
            ids, exact = _named(counted, listed, ids_sum)
            yield Difference(account, state.value, counted, listed.count, ids, exact, ids_sum)


def confirmed(found: Collection[Difference], before: Collection[Difference]) -> list[Difference]:
    """``found``, those confirmed that were there ``before``, too."""
    known = {difference.mark for difference in before}
    return [replace(each, confirmed=each.confirmed or each.mark in known) for each in found]


def unaccounted(differences: Collection[Difference]) -> int:
    """How many jobs the confirmed ones are: one in a wrong state is one too few there and one too many elsewhere."""
    lacking: defaultdict[Account, int] = defaultdict(int)
    beyond: defaultdict[Account, int] = defaultdict(int)
    for each in differences:
        if each.confirmed:
            lacking[each.account] += max(0, each.counted - each.found)
            beyond[each.account] += max(0, each.found - each.counted)
    return sum(max(lacking[account], beyond[account]) for account in lacking)


def _named(counted: int, listed: Listed, ids_sum: int) -> tuple[tuple[int, ...], bool]:
    """The jobs that make a difference, and whether it is these: where it is one, the sums of ids say which."""
    if listed.whole and abs(counted - listed.count) == 1:
        return (abs(ids_sum),), True
    if counted > listed.count:
        return (), False  # those that lack are not among those that are there
    if counted == 0:
        return tuple(listed.ids[:IDS_MAX]), True
    return tuple(listed.ids[:IDS_MAX]), False
