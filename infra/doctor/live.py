"""Whether the installation is alive: what its clock, its queues, its ledger and its stream tell now.

How far the projector is behind is told by Lambda's metric IteratorAge, the age of the newest record that it was
handed: one call, and true whether the projector is slow, failing or retried. The tables cannot tell it as cheaply:
the projector keeps sequence numbers, which are no times, and comparing counters with the ledger means counting it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from chalicelib import aws
from chalicelib.core.audit import Difference
from chalicelib.core.day_accounts import ACCEPTED
from chalicelib.engine.health import CLOCK_LATE_MS
from chalicelib.queue.sqs import DEPTH_ATTRIBUTES
from chalicelib.store.canaries import Canaries
from chalicelib.store.day_accounts import DayAccounts
from chalicelib.store.directory import Directory
from chalicelib.store.ledger import ASIDE
from chalicelib.store.schedules import DUE_SHARDS, Due, Schedules
from chalicelib.store.table import Table
from infra.doctor import watch
from infra.doctor.findings import Check, Level, Observation, compared, ok
from infra.doctor.installation import Installation
from infra.functions import Function, function_name
from infra.queues import DEAD_LETTER_QUEUE

AREA = "live"
OVERDUE_AFTER_MS = CLOCK_LATE_MS  # three ticks of a clock that runs have passed it by
PROJECTOR_LATE_MS = 300_000
METRIC_SPAN = timedelta(minutes=15)
METRIC_PERIOD_S = 300
SET_ASIDE_SHOWN = 5
DIFFERENCES_SHOWN = 3
IDS_SHOWN = 5


def checks(installation: Installation) -> Iterator[Check]:
    """A check of each thing that should move, and of the alarms."""
    questions = {
        "clock": _clock,
        "projector": _projector,
        "dead-letter queue": _dead_letters,
        "jobs to send": _overdue,
        "jobs set aside": _set_aside,
        "schedules": _schedules,
        "conservation": _conservation,
        "canaries": _canaries,
        "access keys": _keys,
    }
    for subject, question in questions.items():
        yield Check(area=AREA, subject=subject, question=partial(question, installation))
    yield from watch.ringing(installation)


def _clock(installation: Installation) -> Iterator[Observation]:
    last_ms = _directory(installation).last_tick_ms()
    now_ms = installation.now_ms()
    log = f"/aws/lambda/{function_name(installation.settings, Function.CLOCK)}"
    remedy = f"mend what is wrong with its rule; if nothing is, see {_tail(installation, log)}"
    expected = f"within {CLOCK_LATE_MS // 1_000} s"
    if last_ms is not None and now_ms - last_ms <= CLOCK_LATE_MS:
        yield ok("last run", f"{(now_ms - last_ms) // 1_000} s ago")
        return
    found = "never" if last_ms is None else f"{(now_ms - last_ms) // 1_000} s ago"
    young = now_ms - _changed_ms(installation) <= CLOCK_LATE_MS
    yield Observation(
        level=Level.WARN if last_ms is None and young else Level.WRONG,
        what="last run",
        expected=expected,
        found=found,
        remedy="look again in three minutes" if last_ms is None and young else remedy,
    )


def _changed_ms(installation: Installation) -> int:
    """When a stack of the installation last changed."""
    times = [stack.get("LastUpdatedTime") or stack["CreationTime"] for stack in installation.stacks.values()]
    return int(max(times).timestamp() * 1_000)


def _projector(installation: Installation) -> Iterator[Observation]:
    now = datetime.fromtimestamp(installation.now_ms() / 1_000, UTC)
    function = function_name(installation.settings, Function.PROJECTOR)
    points = aws.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/Lambda",
        MetricName="IteratorAge",
        Dimensions=[{"Name": "FunctionName", "Value": function}],
        StartTime=now - METRIC_SPAN,
        EndTime=now,
        Period=METRIC_PERIOD_S,
        Statistics=["Maximum"],
    )["Datapoints"]
    expected = f"at most {PROJECTOR_LATE_MS // 1_000} s"
    if not points and installation.emulated:
        yield compared("stream lag", expected, None, "", emulated=True)
        return
    if not points:
        yield ok("stream lag", "nothing changed lately")
        return
    late_ms = max(points, key=lambda point: point["Timestamp"])["Maximum"]
    if late_ms <= PROJECTOR_LATE_MS:
        yield ok("stream lag", f"{late_ms / 1_000:.0f} s")
        return
    yield Observation(
        level=Level.WRONG,
        what="stream lag",
        expected=expected,
        found=f"{late_ms / 1_000:.0f} s",
        remedy=f"see why the projector does not keep up, within the 24 h that the stream keeps: "
        f"{_tail(installation, f'/aws/lambda/{function}')}",
    )


def _dead_letters(installation: Installation) -> Iterator[Observation]:
    sqs = aws.client("sqs")
    url = sqs.get_queue_url(QueueName=installation.facts[DEAD_LETTER_QUEUE])["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(DEPTH_ATTRIBUTES))["Attributes"]
    messages = sum(int(attributes[name]) for name in DEPTH_ATTRIBUTES)
    log = f"/aws/lambda/{function_name(installation.settings, Function.DEAD_LETTERS)}"
    yield compared(
        "messages",
        0,
        messages,
        f"they leave by themselves while its mapping works; if they stay, see {_tail(installation, log)}",
        level=Level.WARN,
    )


def _set_aside(installation: Installation) -> Iterator[Observation]:
    """The jobs for which the clock could not do its part, and that it tries again ever later."""
    first = [f"job {item['job']}" for item in _woken(installation, ASIDE, SET_ASIDE_SHOWN)]
    log = f"/aws/lambda/{function_name(installation.settings, Function.CLOCK)}"
    remedy = f"see why, under the words passed over: {_tail(installation, log)}"
    yield compared("jobs", "none", ", ".join(first) or "none", remedy, level=Level.WARN)


def _woken(installation: Installation, key: str, limit: int) -> list[dict[str, Any]]:
    ledger = Table(aws.client("dynamodb"), installation.settings.jobs_table, ("job", "part"))
    return ledger.first("{wake_key} = :key", {":key": key}, limit, index="due")


def _overdue(installation: Installation) -> Iterator[Observation]:
    """The longest overdue job that the clock must send or recover: the first item of each shard of the index."""
    now_ms = installation.now_ms()
    waiting = []
    for shard in range(installation.settings.index_shards):
        waiting += [(item["wake_at_ms"], item["job"]) for item in _woken(installation, f"due#{shard}", 1)]
    wake_at_ms, job = min(waiting, default=(now_ms, None))
    yield _longest_overdue(installation, f"job {job}", now_ms - wake_at_ms, "the clock does not come to it: see")


def _schedules(installation: Installation) -> Iterator[Observation]:
    """The longest overdue schedule: the first of each shard of those that have a slot to come."""
    now_ms = installation.now_ms()
    schedules = Schedules(_directory(installation).table)
    due = [found for shard in range(DUE_SHARDS) for found in islice(schedules.due(shard, now_ms, 1), 1)]
    first = min(due, default=Due(now_ms, ""))
    why = "see why, under the words passed over:"
    yield _longest_overdue(installation, f"schedule {first.name}", now_ms - first.at_ms, why)


def _longest_overdue(installation: Installation, named: str, late_ms: int, why: str) -> Observation:
    """Whether what the clock should have come to longest ago is late; ``why`` leads to the clock's log."""
    if late_ms <= OVERDUE_AFTER_MS:
        return ok("longest overdue", "none is late")
    log = f"/aws/lambda/{function_name(installation.settings, Function.CLOCK)}"
    return Observation(
        level=Level.WARN,
        what="longest overdue",
        expected=f"at most {OVERDUE_AFTER_MS // 1_000} s",
        found=f"{named}, for {late_ms // 1_000} s",
        remedy=f"{why} {_tail(installation, log)}",
    )


def _conservation(installation: Installation) -> Iterator[Observation]:
    """Whether every accepted job is where the projector's accounts have it, by the clock's newest audit."""
    report = DayAccounts(Table(aws.client("dynamodb"), installation.settings.insights_table, ("view", "key"))).audited()
    if report is None:
        yield ok("unaccounted jobs", "no audit yet: the clock makes one an hour")
        return
    named = [_difference(each) for each in report.differences if each.confirmed][:DIFFERENCES_SHOWN]
    yield compared(
        "unaccounted jobs",
        "none",
        f"{report.unaccounted}: {'; '.join(named)}" if report.unaccounted else "none",
        f"look at these jobs, then, at rest (docs/operations.md), "
        f"taskyard rebuild --stage {installation.settings.stage}",
    )


def _canaries(installation: Installation) -> Iterator[Observation]:
    """Whether what the clock sent over each lane came back in time, where it does."""
    if not installation.settings.canary_every_s:
        return
    now_ms = installation.now_ms()
    ways = Canaries(_directory(installation).table).ways().values()
    gathers_s = {queue: batch.max_wait_s for queue, batch in installation.checkout.batches.items()}
    missing = [
        f"{way.name} (since {(now_ms - (way.since_ms or 0)) // 1_000} s)"
        for way in ways
        if way.late_ms(now_ms, gathers_s.get(way.name.rpartition(" ")[0], 0))
    ]
    log = f"/aws/lambda/{function_name(installation.settings, Function.WORKER)}"
    yield compared(
        "missing",
        "none",
        ", ".join(sorted(missing)) or "none",
        f"is the lane's mapping on, or is there a backlog? Then see {_tail(installation, log)}",
    )


def _difference(each: Difference) -> str:
    account = each.account
    day = datetime.fromtimestamp(account.day_ms / 1_000, UTC)
    ids = ", ".join(map(str, each.ids[:IDS_SHOWN]))
    named = f" ({'ids' if each.exact else 'among ids'} {ids})" if ids else ""
    what = (
        f"{each.counted} accepted, {each.found} accounted for"
        if each.entry == ACCEPTED
        else f"{each.counted} counted as {each.entry}, {each.found} on the ledger"
    )
    return f"{account.kind} {account.type} of {day:%Y-%m-%d}: {what}{named}"


def _keys(installation: Installation) -> Iterator[Observation]:
    if installation.settings.local:
        return
    in_force = sum(not key.revoked for key in _directory(installation).access_keys())
    stage = installation.settings.stage
    yield (
        ok("in force", in_force)
        if in_force
        else Observation(
            level=Level.WARN,
            what="in force",
            expected="at least one",
            found="none: nobody can call the API",
            remedy=f"taskyard keys create --stage {stage} --label NAME --scope '*'",
        )
    )


def _directory(installation: Installation) -> Directory:
    return Directory(Table(aws.client("dynamodb"), installation.settings.directory_table, ("kind", "name")))


def _tail(installation: Installation, log: str) -> str:
    return installation.aws("logs", "tail", log, since="1h")
