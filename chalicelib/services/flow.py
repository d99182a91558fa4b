"""Flow control while it runs: what bounds a task type, a topic or one of its keys; docs/flow-control.md.

    from chalicelib.core.flow import Rate
    from chalicelib.services import flow

    flow.set("image.resize", key="customer-7", concurrency=1)
    flow.set(topic="orders", rate=Rate(100, per_s=60, burst=10))
    flow.set("report.build", unique=flow.OFF)
    flow.standing("image.resize", key="customer-7").waiting["slot"].count
    flow.pause_key("image.resize", "customer-7")

What is set holds for the whole deployment, in the place of what handlers declare. Workers notice within five seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from chalicelib.core.flow import Debounce, Key, PerKey, Rate, Unique
from chalicelib.core.flow_controls import OFF as OFF
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.states import Kind
from chalicelib.engine.commands import flow as engine
from chalicelib.engine.commands import lifecycle
from chalicelib.services import checks, installation
from chalicelib.services.records import Message, Task, maybe_moment_of, moment_of
from chalicelib.store.flow_settings import FlowSetting

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

LATEST_MS = 253_370_764_800_000  # the year 9999, beyond which Python has no times


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A task ``type`` or a ``topic``, or one ``key`` of it."""

    type: str | None = None
    topic: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Target):
    """What was set of a target; ``None``: as declared, ``OFF``: not at all."""

    concurrency: int | None
    rate: Rate | None
    order: str | None
    unique: Unique | str | None
    debounce: Debounce | str | None
    since: datetime
    by: str | None  # who set it: an access key's name, "cli", a process; None: not known
    version: str  # what tells it from what was set before and after, for if_version
    warning: str | None = None  # where no handler of the type or topic is deployed, and no job of it was ever seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What handlers declare of a task ``type`` or a ``topic``: ``@task`` and ``@subscribe`` have the same words."""

    type: str | None
    topic: str | None
    concurrency: int | None
    rate: Rate | None
    key: Key | None
    per_key: PerKey
    order: str | None
    unique: Unique | None
    debounce: Debounce | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PausedKey(Target):
    """A key that is paused. ``resuming``: its jobs are sent out again."""

    since: datetime
    resuming: bool
    by: str | None  # who paused it


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many jobs wait, or at least so many where that is not exact."""

    count: int
    is_exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing(Target):
    """How a target stands: what bounds it, how many run, how many wait for what.

    ``holders``: the ids of those that have a slot or, in order, the turn, which a job keeps between its attempts;
    ``blocked_by``: the one that has failed and keeps the turn.
    """

    concurrency: int | None
    rate: Rate | None
    running: int
    holders: tuple[int, ...]
    blocked_by: int | None
    waiting: Mapping[str, Waiting]  # for a slot, a token (of the rate), a turn (in the order)
    next_start: datetime | None  # from when on the rate lets the next begin; None: no rate bounds it


def set(  # noqa: A001  # the command line's and HTTP's word for it
    type: str | None = None,  # noqa: A002  # every dialect's word for it
    *,
    topic: str | None = None,
    key: str | None = None,
    concurrency: int | None = None,
    rate: Rate | None = None,
    order: str | None = None,
    unique: Unique | str | None = None,
    debounce: Debounce | str | None = None,
    if_version: str | None = None,
) -> Setting:
    """Control a target otherwise than declared, whatever was set before; a control that is left out is as declared.

    ``concurrency``: 1 to 1,000. A ``key``'s setting bounds that key alone, and is of ``concurrency`` and ``rate``.
    ``order``, ``unique`` and ``debounce``, or ``OFF`` in their place, hold for jobs that are accepted from then on, of
    a type or topic whose handlers declare some control; ``by`` is a path there. ``if_version``: of the setting whose
    place this takes, ``"none"`` where nothing was set; default: whatever is set. Raises ``InvalidInput``, ``Full``
    where a thousand are set, and ``Conflict`` where somebody has set something else meanwhile.
    """
    controls = FlowControls(concurrency, rate, order, unique, debounce)
    yard = installation.yard()
    (made,) = shown(yard, [engine.set_flow(yard, target_of(type, topic, key), controls, if_version)])
    return made


def unset(
    type: str | None = None,  # noqa: A002  # as above
    *,
    topic: str | None = None,
    key: str | None = None,
    if_version: str | None = None,
) -> None:
    """Bound a target as it is declared; ``if_version`` as for ``set``.

    Raises ``InvalidInput``, ``NotFound`` where nothing was set, and ``Conflict``.
    """
    engine.unset_flow(installation.yard(), target_of(type, topic, key), if_version)


def list() -> Sequence[Setting]:  # noqa: A001  # as above
    """All that is set, oldest first."""
    yard = installation.yard()
    return shown(yard, engine.settings(yard))


def declared() -> Sequence[Declaration]:
    """What the handlers declare, types first, by name."""
    return [declaration_of(each) for each in engine.declared(installation.yard())]


def standing(
    type: str | None = None,  # noqa: A002  # as above
    *,
    topic: str | None = None,
    key: str | None = None,
) -> Standing:
    """How a target stands now. Raises ``InvalidInput``."""
    target = target_of(type, topic, key)
    return standing_of(target, engine.standing(installation.yard(), target))


def pause_key(type: str | None, key: str, *, topic: str | None = None) -> None:  # noqa: A002  # as above
    """Begin no more jobs of a key of a task type, or of a ``topic``; what runs goes on. Raises ``InvalidInput``."""
    engine.pause_key(installation.yard(), target_of(type, topic, key))


def resume_key(type: str | None, key: str, *, topic: str | None = None) -> int:  # noqa: A002  # as above
    """Let the jobs of a key begin again; returns how many were sent that had waited.

    Raises ``InvalidInput``, and ``NotFound`` for a key that is not paused.
    """
    return engine.resume_key(installation.yard(), target_of(type, topic, key))


def paused_keys() -> Sequence[PausedKey]:
    """The keys that are paused, oldest first."""
    return [paused_key_of(each) for each in engine.paused_keys(installation.yard())]


def pass_over(job: Task | Message | int | str) -> None:
    """Let those run that wait behind a failed job of ``order="block"``; it stays failed.

    Raises ``NotFound``, and ``Conflict`` for a job behind which nobody waits.
    """
    job_id = checks.job_id(job.id if isinstance(job, Task | Message) else job, "job")
    lifecycle.pass_over(installation.yard(), job_id)


# -- what the engine knows, as it is shown ------------------------------------------------------------


def target_of(type: str | None, topic: str | None, key: str | None) -> FlowTarget:  # noqa: A002  # as above
    """The target that is named. Raises ``InvalidInput`` for none, or two."""
    name = checks.maybe_name("key", key)
    if type is not None and topic is None:
        return FlowTarget(Kind.TASK, checks.name("type", type), name)
    if topic is not None and type is None:
        return FlowTarget(Kind.MESSAGE, checks.topic(topic), name)
    raise checks.not_one("flow is controlled of either a type or a topic", field="type", given=type is not None)


def shown(yard: Yard, settings: Sequence[FlowSetting]) -> Sequence[Setting]:
    """What was set, with a warning where it controls nothing that is known."""
    unknown = engine.unknown(yard, settings)
    return [_shown(each, _unknown(each.target) if each.target in unknown else None) for each in settings]


def _unknown(target: FlowTarget) -> str:
    what = "type" if target.kind is Kind.TASK else "topic"
    return (
        f"no handler of the {what} {target.type} is deployed, and no job of it was ever seen: it controls nothing yet"
    )


def _shown(setting: FlowSetting, warning: str | None) -> Setting:
    controls = setting.controls
    return Setting(
        **_named(setting.target.kind, setting.target.type),
        key=setting.target.key,
        concurrency=controls.concurrency,
        rate=controls.rate,
        order=controls.order,
        unique=controls.unique,
        debounce=controls.debounce,
        since=moment_of(setting.at_ms),
        by=setting.by,
        version=setting.version,
        warning=warning,
    )


def declaration_of(found: engine.Declared) -> Declaration:
    """What is declared."""
    flow = found.flow
    return Declaration(
        **_named(found.target.kind, found.target.type),
        concurrency=found.concurrency,
        rate=flow.rate,
        key=flow.key,
        per_key=flow.per_key,
        order=flow.order,
        unique=flow.unique,
        debounce=flow.debounce,
    )


def paused_key_of(found: engine.PausedKey) -> PausedKey:
    """What is paused."""
    target = found.target
    return PausedKey(
        **_named(target.kind, target.type),
        key=target.key,
        since=moment_of(found.since_ms),
        by=found.by,
        resuming=found.resuming,
    )


def standing_of(target: FlowTarget, found: engine.Standing) -> Standing:
    """How a target stands."""
    next_ms = found.next_token_ms
    return Standing(
        **_named(target.kind, target.type),
        key=target.key,
        concurrency=found.concurrency,
        rate=found.rate,
        running=found.running,
        holders=found.holders,
        blocked_by=found.blocked_by,
        waiting={what: Waiting(place.before, place.is_exact) for what, place in found.waiting.items()},
        next_start=maybe_moment_of(None if next_ms is None else min(next_ms, LATEST_MS)),
    )


def _named(kind: Kind, name: str) -> dict[str, str | None]:
    return {"type": name, "topic": None} if kind is Kind.TASK else {"type": None, "topic": name}
