"""What people ask of flow control: change it while it runs, see who has the slots of a key, pause a key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.core.errors import Full, InvalidInput, NotFound
from chalicelib.core.flow import KEY_MAX_CHARS, Flow, Rate, expect_one_to_stay
from chalicelib.core.flow_controls import DECIDED_AT_ACCEPTANCE, OFF, FlowControls, FlowTarget
from chalicelib.core.job import Job
from chalicelib.core.lanes import TOPIC_MAX_CHARS
from chalicelib.core.limits import count_of_key, counted_key, counted_topic
from chalicelib.core.naming import is_name
from chalicelib.core.reasons import Place
from chalicelib.core.states import Kind, State
from chalicelib.core.versions import changed_meanwhile, expect_version
from chalicelib.engine.policy import declared_flow, handlers_of_count, limit_of_count, rate_of_bucket
from chalicelib.engine.worker import pause
from chalicelib.engine.worker.concurrency import fill_changed
from chalicelib.engine.yard import Yard
from chalicelib.store.flow_settings import UNCHANGED, FlowSetting, as_seen, setting_of
from chalicelib.store.table import Refused
from chalicelib.store.wait_lists import of_order, of_rate, of_slots

SETTINGS_MAX = 1_000  # every process reads them all every five seconds


@dataclass(frozen=True, slots=True)
class Declared:
    """What the handlers of a task type or topic declare for its jobs."""

    target: FlowTarget
    concurrency: int | None
    flow: Flow


@dataclass(frozen=True, slots=True)
class PausedKey:
    """A key whose jobs do not begin. ``resuming``: they are sent out again."""

    target: FlowTarget
    since_ms: int
    resuming: bool
    by: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How a target stands: what bounds it, who runs as far as they are named, and how many wait for what.

    ``holders``: who has a slot or the turn, be it between two attempts; ``blocked_by``: who has failed and keeps the
    turn.
    """

    concurrency: int | None
    rate: Rate | None
    running: int
    holders: tuple[int, ...]
    blocked_by: int | None
    waiting: dict[str, Place]  # for a slot, a token, a turn
    next_token_ms: int | None  # when the next may begin, where a rate bounds them


def set_flow(yard: Yard, target: FlowTarget, controls: FlowControls, if_version: str | None = None) -> FlowSetting:
    """Control the flow of a target otherwise than it is declared, from within five seconds on.

    ``if_version``: what it takes the place of; ``versions.NOTHING``: nothing; default: whatever was set. Raises
    ``InvalidInput``, ``Full`` where a thousand are set, and ``Conflict`` where something else was set meanwhile.
    """
    _check(target)
    if not controls:
        expected = f"concurrency, rate, {', '.join(DECIDED_AT_ACCEPTANCE)}"
        raise InvalidInput("this changes nothing", field="concurrency", expected=expected, got="none of them")
    if controls.are_of_types:
        _expect_to_fit(yard, target, controls)
    present = yard.flow_settings.all(consistent=True)
    if len(present) >= SETTINGS_MAX and all(each.target.count != target.count for each in present):
        raise Full(f"{SETTINGS_MAX} settings are made already", remedy="unset some, or declare them in code")
    setting = FlowSetting(target, controls, yard.now_ms(), yard.actor)
    seen = next((each for each in present if each.target.count == target.count), None)
    if seen is None or seen.controls != controls:  # what is so already stands in nobody's way
        expect_version(if_version, *_said(seen))
    try:
        yard.flow_settings.put(setting, *([] if if_version is None else [as_seen(seen)]))
    except Refused as refused:
        found = _met(refused)
        if found != setting:  # otherwise our own write, whose answer was lost
            raise changed_meanwhile(*_said(found)) from refused
    yard.known_flow.forget()
    fill_changed(yard, target.count, limit_of_count(yard, target.count, setting))
    return setting


def _said(setting: FlowSetting | None) -> tuple[str | None, str | None]:
    """The version of what is set, and who set it."""
    return (None, None) if setting is None else (setting.version, setting.by)


def _met(refused: Refused) -> FlowSetting | None:
    return setting_of(refused.old) if refused.old else None


def _expect_to_fit(yard: Yard, target: FlowTarget, controls: FlowControls) -> None:
    """Raise ``InvalidInput`` unless what is decided when a job is accepted fits the target and its handlers."""
    field = controls.are_of_types[0]
    if target.key is not None:
        raise InvalidInput("this is of a whole type or topic", field=field, expected="no key", got=target.key)
    handlers = handlers_of_count(yard, target.of_type)
    declared = declared_flow(handlers)
    if not declared:
        raise InvalidInput(
            f"the handlers of {target.type} declare no flow control",
            field=field,
            expected="a type or topic of which something is declared: publishers look at no other",
            got="nothing declared",
            remedy="declare a control once, by deploying; key='input...' is enough",
        )
    flow = controls.over(declared)
    expect_one_to_stay(flow)
    if flow.order is not None and any(each.batch is not None for each in handlers):
        raise InvalidInput("jobs in order run one at a time", field="order", expected=OFF, got="a handler of batches")


def unset_flow(yard: Yard, target: FlowTarget, if_version: str | None = None) -> None:
    """Bound a target as it is declared; ``if_version``: what is to be undone, default whatever was set.

    Raises ``NotFound`` where nothing was set, and ``Conflict`` where something else was set meanwhile.
    """
    _check(target)
    seen = None if if_version is None else yard.flow_settings.find(target.count)
    if seen is not None:
        expect_version(if_version, *_said(seen))
    try:
        yard.flow_settings.remove(target.count, *([] if if_version is None else [as_seen(seen)]))
    except Refused as refused:
        found = _met(refused)
        if found is None:
            raise NotFound("nothing is set for this", field="type", got=target.type) from refused
        raise changed_meanwhile(*_said(found)) from refused
    yard.known_flow.forget()
    fill_changed(yard, target.count, limit_of_count(yard, target.count, UNCHANGED))


def settings(yard: Yard) -> list[FlowSetting]:
    """All that is set, oldest first."""
    return yard.flow_settings.all(consistent=True)


def unknown(yard: Yard, found: Iterable[FlowSetting]) -> set[FlowTarget]:
    """Those targets of settings of which no handler is deployed, and of whose type or topic no job was ever seen."""
    unhandled = [each.target for each in found if not handlers_of_count(yard, each.target.of_type)]
    known = {kind: set(yard.job_types.of(kind, most=None)) for kind in {each.kind for each in unhandled}}
    return {each for each in unhandled if each.type not in known[each.kind]}


def declared(yard: Yard) -> list[Declared]:
    """What is declared, of each task type and topic of which anything is, by name."""
    limits = {name: each.limit for name, each in yard.handlers.tasks.items() if each.limit is not None}
    of_types = [
        Declared(FlowTarget(Kind.TASK, name), limits[name].concurrency if name in limits else None, each.flow)
        for name, each in yard.handlers.tasks.items()
    ]
    of_topics = [
        Declared(FlowTarget(Kind.MESSAGE, name), None, declared_flow(handlers))
        for name, handlers in yard.handlers.subscribers.items()
    ]
    found = [each for each in of_types + of_topics if each.flow or each.concurrency is not None]
    return sorted(found, key=lambda each: (each.target.kind, each.target.type))


def standing(yard: Yard, target: FlowTarget) -> Standing:
    """How a target stands now. Raises ``InvalidInput``."""
    _check(target)
    census, line = yard.concurrency.census(target.count), count_of_key(target.of_type, target.key)
    in_turn = _in_turn(yard, line)
    limit, rate = limit_of_count(yard, target.count), rate_of_bucket(yard, target.count)
    lists = {"slot": of_slots(target.count), "token": of_rate(target.count), "turn": of_order(line)}
    return Standing(
        concurrency=None if limit is None else limit.concurrency,
        rate=rate,
        running=_running(target, census.count.running, in_turn),
        holders=tuple(sorted(census.holders | {job.id for job in in_turn})),
        blocked_by=next((job.id for job in in_turn if job.state is State.FAILED), None),
        waiting={what: yard.wait_lists.length(each) for what, each in lists.items()},
        next_token_ms=None if rate is None else _next_ms(yard, target.count, rate),
    )


def _in_turn(yard: Yard, line: str) -> list[Job]:
    """The job that has the turn of a line, if any has."""
    holders = sorted(yard.concurrency.census(line).holders)
    return [job for job in yard.jobs.find_many(holders) if job.turn]


def _running(target: FlowTarget, counted: int, in_turn: Iterable[Job]) -> int:
    """How many run: a key counts the turn as well, be it of a job that waits or has failed, a type only the slots."""
    runs = {job.id: job.state is State.RUNNING or job.run_goes_on for job in in_turn}
    if target.key is not None:
        return counted - sum(not each for each in runs.values())
    return counted + sum(runs[job.id] and not job.slot for job in in_turn)


def pause_key(yard: Yard, target: FlowTarget) -> None:
    """Begin no more jobs of a key, from within five seconds on. Raises ``InvalidInput``."""
    pause.pause(yard, _key_target(target))


def resume_key(yard: Yard, target: FlowTarget) -> int:
    """Let the jobs of a key begin again; returns how many were sent. Raises ``InvalidInput`` and ``NotFound``."""
    return pause.resume(yard, _key_target(target))


def paused_keys(yard: Yard) -> list[PausedKey]:
    """The keys that are paused, or being resumed, oldest first."""
    found = [(key_of_pause(each.target), each) for each in pause.paused(yard)]
    return [PausedKey(target, each.since_ms, each.resuming, each.by) for target, each in found if target is not None]


def key_of_pause(paused: str) -> FlowTarget | None:
    """Which key is paused; ``None`` where a type or a queue is."""
    found = counted_key(paused.removeprefix(pause.KEY)) if paused.startswith(pause.KEY) else None
    if found is None:
        return None
    topic = counted_topic(found[0])
    return FlowTarget(Kind.TASK, *found) if topic is None else FlowTarget(Kind.MESSAGE, topic, found[1])


def _key_target(target: FlowTarget) -> str:
    _check(target)
    if target.key is None:
        raise InvalidInput("which key?", field="key", expected="a key", got="none", remedy="or pause the type")
    return pause.key_target(target.of_type, target.key)


def _next_ms(yard: Yard, bucket: str, rate: Rate) -> int:
    full_at_us, _ = yard.rates.find(bucket)
    now_ms = yard.now_ms()
    return max(now_ms, -(-rate.ready_us(full_at_us, now_ms * 1_000) // 1_000))


def _check(target: FlowTarget) -> None:
    for field, name, most in (("type", target.type, TOPIC_MAX_CHARS), ("key", target.key, KEY_MAX_CHARS)):
        if name is not None and not is_name(name, most):
            expected = f"1 to {most} characters on one line, not all blank"
            raise InvalidInput("this is no name", field=field, expected=expected, got=name)
