"""Whether what is set and declared of flow control bounds something, and does not starve it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from chalicelib import aws
from chalicelib.core.flow import Flow, Rate
from chalicelib.core.flow_controls import FlowTarget
from chalicelib.core.limits import count_of_type, counted_topic
from chalicelib.core.states import Kind
from chalicelib.engine.commands.flow import key_of_pause
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.policy import declared_flow
from chalicelib.store.directory import Directory
from chalicelib.store.flow_settings import FlowSetting, FlowSettings
from chalicelib.store.pauses import Pauses
from chalicelib.store.table import Table
from chalicelib.store.wait_lists import WaitLists, of_rate
from infra.doctor.findings import Check, Level, Observation, about, ok
from infra.doctor.installation import Installation

AREA = "flow control"
HOUR_S, DAY_S, DAY_MS = 3_600, 86_400, 86_400_000
US_PER_S = 1_000_000
RATES_LOOKED_AT = 100  # one count each


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the directory table has of it."""

    settings: FlowSettings
    pauses: Pauses
    wait_lists: WaitLists
    directory: Directory


def flows_of(registry: Registry) -> dict[str, Flow]:
    """What handlers declare of each task type and topic, by the name of its concurrency count."""
    of_types = {count_of_type(Kind.TASK, name): handler.flow for name, handler in registry.tasks.items()}
    of_topics = {count_of_type(Kind.MESSAGE, name): declared_flow(each) for name, each in registry.subscribers.items()}
    return of_types | of_topics


def checks(installation: Installation) -> Iterator[Check]:
    """One check each of what is set, of rates behind which jobs wait, and of keys that are paused."""
    for subject, question in {"settings": _settings, "rates": _rates, "paused keys": _paused}.items():
        yield Check(area=AREA, subject=subject, question=partial(question, installation))


def _settings(installation: Installation) -> Iterator[Observation]:
    """Whether each setting is of jobs that there are, and that it bounds."""
    kept = _kept(installation)
    polled = set(kept.directory.topics())
    for setting in kept.settings.all():
        problem = _problem(installation, setting, polled)
        found = ok("bounds", "its jobs") if problem is None else _warning("bounds", "jobs", problem, _unset(setting))
        yield from about(_named(setting.target), [found])


def _problem(installation: Installation, setting: FlowSetting, polled: set[str]) -> str | None:
    """Why a setting bounds nothing, or less than one may think; ``None``: it is right."""
    target = setting.target
    declared = installation.checkout.flows.get(target.of_type)
    if declared is None:
        return None if target.kind is Kind.MESSAGE and target.type in polled else "nothing: no handler takes such jobs"
    if target.type in installation.checkout.light:
        return "nothing: its handler is light, and those run without a claim"
    if target.key is not None and declared.key is None:
        return "only jobs that are published with this flow key: no handler of the type declares a key"
    return None


def _rates(installation: Installation) -> Iterator[Observation]:
    """Whether what waits for a rate can begin within a day."""
    kept = _kept(installation)
    for count, (name, rate) in list(_rates_of(installation, kept).items())[:RATES_LOOKED_AT]:
        waiting = kept.wait_lists.length(of_rate(count))
        last_s = waiting.before * rate.interval_us / US_PER_S
        if last_s <= DAY_S:
            yield from about(name, [ok("waiting", "less than a day's")])
            continue
        least = "" if waiting.is_exact else "at least "
        found = f"{least}{waiting.before} jobs, of which the last begins in {least}{last_s / HOUR_S:.0f} hours"
        remedy = "raise the rate: taskyard flow set, or in the code"
        yield from about(name, [_warning("waiting", "less than a day's", found, remedy)])


def _rates_of(installation: Installation, kept: _Kept) -> dict[str, tuple[str, Rate]]:
    """The rate of each concurrency count that has one, with the count's name for people; what is set wins."""
    declared = {
        count: (_of_count(count), flow.rate)
        for count, flow in installation.checkout.flows.items()
        if flow.rate is not None
    }
    chosen = {
        each.target.count: (_named(each.target), each.controls.rate)
        for each in kept.settings.all()
        if each.controls.rate is not None
    }
    return declared | chosen


def _paused(installation: Installation) -> Iterator[Observation]:
    """Whether a key is paused that somebody may have forgotten."""
    kept = _kept(installation)
    for pause in kept.pauses.all():
        target = key_of_pause(pause.target)
        if target is None or pause.resuming:
            continue
        days = (installation.now_ms() - pause.since_ms) // DAY_MS
        by = f" by {pause.by}" if pause.by else ""
        found = f"for {days} days{by}"
        remedy = f"taskyard flow resume {_options(target)}"
        observed = _warning("paused", "less than a day", found, remedy) if days else ok("paused", "less than a day")
        yield from about(_named(target), [observed])


def _warning(what: str, expected: str, found: str, remedy: str) -> Observation:
    return Observation(level=Level.WARN, what=what, expected=expected, found=found, remedy=remedy)


def _unset(setting: FlowSetting) -> str:
    return f"taskyard flow unset {_options(setting.target)}, or deploy what it is for"


def _options(target: FlowTarget) -> str:
    topic = ["--topic"] if target.kind is Kind.MESSAGE else []
    key = [] if target.key is None else ["--key", target.key]
    return shlex.join([*topic, target.type, *key])


def _named(target: FlowTarget) -> str:
    return target.type if target.key is None else f"{target.type}, key {target.key}"


def _of_count(count: str) -> str:
    return counted_topic(count) or count


def _kept(installation: Installation) -> _Kept:
    table = Table(aws.client("dynamodb"), installation.settings.directory_table, ("kind", "name"))
    return _Kept(FlowSettings(table), Pauses(table), WaitLists(table), Directory(table))
