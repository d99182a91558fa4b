"""Making counters, statistics, accounts and groups of failures anew from the ledger, where the stream was lost.

The ledger does not know what was deleted, but the statistics remember it. So a quarter of an hour of which they knew
more tasks than the ledger has keeps the ends that they knew of: it never tells of fewer successes, failures and
cancellations than before. Where nothing was deleted, the ledger alone decides.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from chalicelib.core.audit import AuditReport
from chalicelib.core.day_accounts import Account, balanced, standing
from chalicelib.core.failures import FailureGroup, Failures, is_dead_letter, rebuilt
from chalicelib.core.failures import group_of as group_of_failure
from chalicelib.core.failures import standing as standing_failure
from chalicelib.core.job import Job
from chalicelib.core.projection import Effects, Group, Measure, TaskAmountKey, counted, group_of, task_amounts
from chalicelib.core.states import TERMINAL, Kind, State
from chalicelib.core.statistics import AMOUNTS, DAY_MS, QUARTER_MS, QUARTERS_A_DAY, Amount, TaskDay, Took
from chalicelib.engine.yard import Yard
from chalicelib.store.job_queries import JobQuery
from chalicelib.store.table import chunks
from chalicelib.store.task_statistics import KEPT_S

REBUILT_SHARD = "rebuilt"
READ_CHUNK = 100

_Group = tuple[str, str, int]  # a task's type, its runner, and the day of UTC in which it was created


def rebuild_counters(yard: Yard) -> int:
    """Count every job of the ledger and let all that is counted say that; returns how many there are.

    What was counted since ever is raised to what the ledger proves, and never falls. Nothing may be published, worked
    on or projected meanwhile. The minute series stay as they are.
    """
    counters: Effects = Effects()
    task_days: Effects = Effects()
    proven: defaultdict[Group, Counter[Measure]] = defaultdict(Counter)
    accounts: defaultdict[Account, Counter[str]] = defaultdict(Counter)
    failures: dict[FailureGroup, Failures] = {}
    for job in _jobs(yard):
        counters[counted(job)] += 1
        proven[group_of(job)].update(proven_by(job))
        for key, amount in standing(job):
            accounts[key.account][key.name] += amount
        if job.kind is Kind.TASK:
            task_days.update(task_amounts(job))
        if is_dead_letter(job):
            group, more = group_of_failure(job), standing_failure(job)
            failures[group] = failures[group] + more if group in failures else more
    yard.insights.replace_counters(REBUILT_SHARD, counters)
    yard.insights.raise_totals(REBUILT_SHARD, proven)
    _rebuild_statistics(yard, _by_group(task_days))
    _rebuild_accounts(yard, accounts)
    _rebuild_failures(yard, failures)
    return sum(counters.values())


def proven_by(job: Job) -> Counter[Measure]:
    """What must have happened to a job for its record to be as it is; an explicit retry forgets what was before."""
    ended = {State.SUCCESS: Measure.SUCCEEDED, State.FAILED: Measure.DEAD, State.CANCELED: Measure.CANCELED}
    found = Counter({Measure.PUBLISHED: 1, Measure.FAILED: min(job.failures, job.attempts)})
    if job.state in ended:
        found[ended[job.state]] = 1
    return found


def _rebuild_accounts(yard: Yard, ledger: Mapping[Account, Mapping[str, int]]) -> None:
    """Let the accounts of days balance, with the jobs that the ledger has and those that are known to be deleted."""
    known = yard.insights.accounts.read(0)
    accounts = {
        account: balanced(ledger.get(account, {}), known.get(account, {}))
        for account in dict.fromkeys([*known, *ledger])
    }
    yard.insights.correct_accounts(REBUILT_SHARD, accounts)
    yard.insights.accounts.note_audit(AuditReport(yard.now_ms(), since_ms=0))


def _rebuild_failures(yard: Yard, ledger: Mapping[FailureGroup, Failures]) -> None:
    known = yard.insights.failures.read(most=None)
    forgotten = {group: found for group, found in ledger.items() if group not in known}
    corrected = {group: rebuilt(ledger.get(group), found) for group, found in known.items()}
    yard.insights.replace_failures(REBUILT_SHARD, {**corrected, **forgotten})


def _jobs(yard: Yard) -> Iterator[Job]:
    for kind in Kind:
        for chunk in chunks(list(yard.lists.ids(JobQuery(kind), page_size=1_000)), READ_CHUNK):
            yield from yard.jobs.find_many(chunk)


def _rebuild_statistics(yard: Yard, found: Mapping[_Group, TaskDay]) -> None:
    now_ms = yard.now_ms()
    oldest_ms = now_ms - KEPT_S * 1_000
    known = {
        (task_day.type, task_day.runner, task_day.day_ms): task_day
        for task_day in yard.insights.task_days.read(oldest_ms, now_ms)
    }
    for group in dict.fromkeys([*known, *found]):
        nothing = TaskDay(*group, {})
        before = known.get(group, nothing)
        now = combined(found.get(group, nothing), before)
        if now.day_ms >= oldest_ms and now != filled(before):
            yard.insights.task_days.replace(now)


def combined(ledger: TaskDay, known: TaskDay) -> TaskDay:
    """What a day's tasks are, by what the ledger has of them and what the statistics knew; with all amounts."""
    pairs = zip(_by_quarter(ledger), _by_quarter(known), strict=True)
    quarters = [_quarter(on_ledger, was_known) for on_ledger, was_known in pairs]
    amounts = {amount: [quarter[amount] for quarter in quarters] for amount in AMOUNTS}
    return TaskDay(ledger.type, ledger.runner, ledger.day_ms, amounts)


def filled(task_day: TaskDay) -> TaskDay:
    """The same with all amounts."""
    return combined(task_day, task_day)


def _quarter(ledger: Mapping[Amount, int], known: Mapping[Amount, int]) -> Mapping[Amount, int]:
    if sum(known[state] for state in State) <= sum(ledger[state] for state in State):
        return ledger
    ended: dict[Amount, int] = {state: max(ledger[state], known[state]) for state in TERMINAL}
    longer = ledger if ledger[Took.TOTAL_MS] > known[Took.TOTAL_MS] else known
    return {**ledger, **ended, **{took: longer[took] for took in Took}}  # of the living none is deleted


def _by_quarter(task_day: TaskDay) -> list[dict[Amount, int]]:
    nought = (0,) * QUARTERS_A_DAY
    return [
        {amount: task_day.amounts.get(amount, nought)[number] for amount in AMOUNTS} for number in range(QUARTERS_A_DAY)
    ]


def _by_group(effects: Effects) -> dict[_Group, TaskDay]:
    amounts: defaultdict[_Group, dict[Amount, list[int]]] = defaultdict(dict)
    for key, number in effects.items():
        if isinstance(key, TaskAmountKey):
            day_ms = key.quarter_ms - key.quarter_ms % DAY_MS
            quarters = amounts[key.type, key.runner, day_ms].setdefault(key.amount, [0] * QUARTERS_A_DAY)
            quarters[(key.quarter_ms - day_ms) // QUARTER_MS] += number
    return {group: TaskDay(*group, found) for group, found in amounts.items()}
