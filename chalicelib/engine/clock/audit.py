"""The conservation audit, every hour: what was counted of each day against what the ledger's indexes show.

    each hour     the accounts of the newest 30 days, one query: do they balance?
    by turns      one of these days an hour: of each type, is as much in every state as the account says?
    once more     what did not add up at the audit before, or is below nought

The change stream lags behind the ledger, so a difference with it counts only if it is the same an hour later. Where a
day is still busy then, it is found once the day is at rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice

from chalicelib.core.audit import AuditReport, Listed, compared, confirmed, imbalance, unaccounted
from chalicelib.core.day_accounts import Account
from chalicelib.core.states import Kind, State
from chalicelib.core.statistics import DAY_MS
from chalicelib.engine.sweeping import PassedOver
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.store.job_lists import WINDOW
from chalicelib.store.job_queries import JobQuery, index_keys_of

DAYS = 30
TURN_MS = 3_600_000
SUSPECTS_MAX = 20  # accounts that are looked at out of turn
DIFFERENCES_MAX = 50  # that are remembered
IDS_READ_MAX = 1_000  # of one state of an account that does not add up

Numbers = Mapping[Account, Counter[str]]


def audit(yard: Yard, enough_time: Callable[[], bool], passed: PassedOver | None = None) -> int:
    """Find what does not add up, and remember it; returns how many jobs are not accounted for.

    With too little time, less of the day whose turn it is gets looked at; what was known to be wrong comes first.
    """
    del passed
    now_ms = yard.now_ms()
    before = yard.insights.accounts.audited() or AuditReport(now_ms, _first_day_ms(yard))
    today_ms = now_ms - now_ms % DAY_MS
    since_ms = max(today_ms - (DAYS - 1) * DAY_MS, before.since_ms)
    accounts = yard.insights.accounts.read(since_ms)
    found = [each for account, numbers in accounts.items() if (each := imbalance(account, numbers))]
    for account in dict.fromkeys(
        chain(_suspects(accounts, before, since_ms), _by_turns(yard, accounts, since_ms, today_ms))
    ):
        if not enough_time():
            break
        numbers = accounts.get(account, Counter())
        found += compared(account, numbers, _listed(yard, account, numbers))
    found = confirmed(found, before.differences)
    lacking = unaccounted(found)
    if lacking:
        logger.error("jobs do not add up", extra={"jobs": lacking})
    yard.insights.accounts.note_audit(AuditReport(now_ms, before.since_ms, lacking, tuple(found[:DIFFERENCES_MAX])))
    return lacking


def _first_day_ms(yard: Yard) -> int:
    """From when on every accepted job was accounted for: of an installation that has counted jobs before, tomorrow."""
    now_ms = yard.now_ms()
    return now_ms - now_ms % DAY_MS + DAY_MS if yard.insights.standings() else 0


def _suspects(accounts: Numbers, before: AuditReport, since_ms: int) -> list[Account]:
    """What is looked at out of turn: what did not add up before, and what has counted fewer than none."""
    known = [each.account for each in before.differences if each.account.day_ms >= since_ms]
    impossible = [account for account, numbers in accounts.items() if any(numbers[state] < 0 for state in State)]
    return list(dict.fromkeys([*known, *impossible]))[:SUSPECTS_MAX]


def _by_turns(yard: Yard, accounts: Numbers, since_ms: int, today_ms: int) -> Iterable[Account]:
    """The accounts of the day whose turn it is, of all types that there may be."""
    turn = yard.now_ms() // TURN_MS
    day_ms = today_ms - turn % DAYS * DAY_MS
    if day_ms < since_ms:
        return
    types = {(kind.value, name) for kind in Kind for name in yard.job_types.of(kind, most=None)}
    types |= {(account.kind, account.type) for account in accounts if account.day_ms == day_ms}
    in_order = sorted(types)
    start = turn // DAYS % len(in_order) if in_order else 0  # so that none is always the last
    yield from (Account(day_ms, kind, name) for kind, name in [*in_order[start:], *in_order[:start]])


def _listed(yard: Yard, account: Account, numbers: Mapping[str, int]) -> dict[State, Listed]:
    """What the indexes show of an account in each state; ids are read of the states that differ."""
    counts = _counts(yard, account, max(0, *(numbers.get(state, 0) for state in State)))
    listed = {state: Listed(counts[state]) for state in State}
    for state in State:
        if counts[state] != numbers.get(state, 0):
            ids = list(islice(yard.lists.ids(_query(account, state), IDS_READ_MAX), IDS_READ_MAX + 1))
            whole = len(ids) <= IDS_READ_MAX
            listed[state] = Listed(len(ids), ids) if whole else Listed(_counts(yard, account, WINDOW)[state])
    return listed


def _counts(yard: Yard, account: Account, enough: int) -> Counter[State]:
    counts: Counter[State] = Counter()
    for index_key, count in yard.lists.counts(_query(account, *State), enough).items():
        counts[next(state for state in State if index_key in index_keys_of(state))] += count
    return counts


def _query(account: Account, *states: State) -> JobQuery:
    end_ms = account.day_ms + DAY_MS - 1
    return JobQuery(Kind(account.kind), account.type, index_keys_of(*states), account.day_ms, end_ms)
