"""Flow control while it runs: ``/api/flow``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from chalicelib.api.acts import record
from chalicelib.api.scopes import ACTS, ACTS_ON_ANY, READS, READS_ANY
from chalicelib.api.shapes import ShownId, ShownTime
from chalicelib.core.access import Scope, allows
from chalicelib.core.flow import PER_MAX_S, RATE_MAX, Rate
from chalicelib.core.limits import CONCURRENCY_MAX
from chalicelib.core.states import Kind
from chalicelib.engine.commands import flow, lifecycle
from chalicelib.engine.commands.flow import FlowTarget
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Caller
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Id, Name, Target, Topic, either
from chalicelib.http.routes import Router
from chalicelib.services import flow as shown
from chalicelib.services.checks import job_id as job_id_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Flow control", "How many jobs of a type, a topic or a key run at once, and how many begin.")
ROUTERS = (router,)

NOT_SET = {404: "Nothing is set for this"}


class TargetModel(ApiModel):
    """A task type or a topic, or one key of it."""

    model_config = either(("type",), ("topic",))

    type: Name | None = Field(default=None, description="A task type", examples=["text.statistics"])
    topic: Topic | None = Field(default=None, description="Or a topic")
    key: Target | None = Field(default=None, description="One key of it; default: all its jobs", examples=["c-7"])

    @model_validator(mode="after")
    def _one_of_both(self) -> TargetModel:
        if (self.type is None) == (self.topic is None):
            raise ValueError("either type or topic, and not both")
        return self

    @property
    def target(self) -> FlowTarget:
        """The same, as the engine names it."""
        return shown.target_of(self.type, self.topic, self.key)

    @property
    def on(self) -> dict[str, str | None]:
        """The same for the record of acts."""
        return {"type": self.type, "topic": self.topic, "key": self.key}


class KeyModel(TargetModel):
    """A key of a task type or a topic."""

    key: Target = Field(description="Which key", examples=["c-7"])


class RateModel(ApiModel):
    """How many jobs may begin: `count` in `perSeconds`, evenly, and up to `burst` of them at once."""

    count: Annotated[int, Field(ge=1, le=RATE_MAX), NOT_BOOLEAN] = Field(examples=[10])
    per_seconds: Annotated[float, Field(ge=0.001, le=PER_MAX_S), NOT_BOOLEAN] = Field(default=1, examples=[60])
    burst: Annotated[int, Field(ge=1, le=RATE_MAX), NOT_BOOLEAN] = 1


class SettingBody(TargetModel):
    """What is to bound a target. Of concurrency and rate, what is left out is as declared."""

    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX), NOT_BOOLEAN] | None = Field(
        default=None, description="How many run at once"
    )
    rate: RateModel | None = Field(default=None, description="How many begin")

    @model_validator(mode="after")
    def _says_something(self) -> SettingBody:
        if self.concurrency is None and self.rate is None:
            raise ValueError("concurrency or rate, or both")
        return self


class JobBody(ApiModel):
    """A job."""

    id: Id = Field(description="The id of a task or a message", examples=["42"])


class ShownTarget(AnswerModel):
    """A task type or a topic, or one key of it."""

    type: str | None = Field(description="A task type; null of a topic")
    topic: str | None
    key: str | None = Field(description="null: all its jobs")


def _rate(value: Any) -> Any:
    return (
        {"count": value.count, "per_seconds": value.per_s, "burst": value.burst} if isinstance(value, Rate) else value
    )


class RateRecord(AnswerModel):
    """How many jobs may begin."""

    count: int
    per_seconds: float
    burst: int


ShownRate = Annotated[RateRecord, BeforeValidator(_rate)]


class SettingRecord(ShownTarget):
    """What is set of a target; null: as declared."""

    concurrency: int | None
    rate: ShownRate | None
    since: ShownTime
    by: str | None = Field(description="Who set it; null: not known")


class PerKeyRecord(AnswerModel):
    """What bounds each key."""

    concurrency: int | None
    rate: ShownRate | None


def _key(value: Any) -> Any:
    return "a function" if callable(value) else value


ShownKey = Annotated[str, BeforeValidator(_key)]


class UniqueRecord(AnswerModel):
    """What keeps a job like it away."""

    until: str | None = Field(description="start or end")
    for_s: float | None = Field(description="Seconds from its acceptance")
    by: ShownKey | None = Field(description="What makes two alike; null: their key, or their whole input")


class DebounceRecord(AnswerModel):
    """For how long the newest waits."""

    wait_s: float
    latest_s: float | None
    by: ShownKey | None


class DeclarationRecord(AnswerModel):
    """What the handlers of a type or topic declare."""

    type: str | None
    topic: str | None
    concurrency: int | None
    rate: ShownRate | None
    key: ShownKey | None = Field(description="The path where it is found, or: a function")
    per_key: PerKeyRecord
    order: str | None = Field(description="block or step aside")
    unique: UniqueRecord | None
    debounce: DebounceRecord | None


class PausedRecord(ShownTarget):
    """A key that is paused."""

    since: ShownTime
    by: str | None = Field(description="Who paused it; null: not known")
    resuming: bool = Field(description="Its jobs are sent out again")


class FlowAnswer(AnswerModel):
    """What is set and paused, oldest first, and what is declared, by name."""

    set: list[SettingRecord]
    declared: list[DeclarationRecord]
    paused: list[PausedRecord]


class WaitingRecord(AnswerModel):
    """How many wait."""

    count: int
    is_exact: bool = Field(description="false: at least so many")


class WaitingFor(AnswerModel):
    """How many wait for what."""

    slot: WaitingRecord
    token: WaitingRecord = Field(description="Of the rate")
    turn: WaitingRecord = Field(description="In the order")


class StandingAnswer(ShownTarget):
    """How a target stands."""

    concurrency: int | None = Field(description="How many may run at once; null: any number")
    rate: ShownRate | None
    running: int = Field(description="How many run of those that are counted: where concurrency or order bounds them")
    holders: list[ShownId] = Field(description="Which, as far as they are named")
    waiting: WaitingFor
    next_start: ShownTime | None = Field(description="From when on the rate lets the next begin; null without a rate")


class Resumed(AnswerModel):
    """What became of those that waited."""

    sent: int = Field(description="How many were sent that had waited")


class PassedOver(AnswerModel):
    """The job that was passed over."""

    id: ShownId
    state: str


@router.get("/api/flow", scope=READS_ANY)
def show_flow(yard: Yard, caller: Caller) -> FlowAnswer:
    """Show what is set, declared and paused, of task types, topics or both, as the key's scopes allow."""
    seen = {kind for kind, scope in READS.items() if allows(caller.scopes, scope)}
    return FlowAnswer.model_validate(
        {
            "set": [shown.shown(each) for each in flow.settings(yard) if each.kind in seen],
            "declared": [shown.declaration_of(each) for each in flow.declared(yard) if each.target.kind in seen],
            "paused": [shown.paused_key_of(each) for each in flow.paused_keys(yard) if each.target.kind in seen],
        }
    )


@router.put("/api/flow", scope=ACTS_ON_ANY, answers={429: "A thousand are set already"})
def set_flow(yard: Yard, body: SettingBody, caller: Caller) -> SettingRecord:
    """Bound a type, a topic or a key otherwise than declared, whatever was set before; workers notice within 5 s."""
    target = _allowed(body, caller)
    rate = None if body.rate is None else Rate(body.rate.count, body.rate.per_seconds, body.rate.burst)
    made = SettingRecord.model_validate(shown.shown(flow.set_flow(yard, target, body.concurrency, rate)))
    told = body.model_dump(mode="json", by_alias=True, include={"concurrency", "rate"}, exclude_none=True)
    record(yard, caller, "set flow", body.on, **told)
    return made


@router.delete("/api/flow", scope=ACTS_ON_ANY, answers=NOT_SET)
def unset_flow(yard: Yard, query: TargetModel, caller: Caller) -> ShownTarget:
    """Bound a type, a topic or a key as it is declared."""
    flow.unset_flow(yard, _allowed(query, caller))
    record(yard, caller, "unset flow", query.on)
    return ShownTarget.model_validate(query)


@router.get("/api/flow/standing", scope=READS_ANY)
def show_standing(yard: Yard, query: TargetModel, caller: Caller) -> StandingAnswer:
    """Show how a type, a topic or a key stands: what bounds it, who runs, how many wait for what."""
    target = _allowed(query, caller, READS)
    return StandingAnswer.model_validate(shown.standing_of(target, flow.standing(yard, target)))


@router.post("/api/flow/pause", scope=ACTS_ON_ANY)
def pause_key(yard: Yard, body: KeyModel, caller: Caller) -> ShownTarget:
    """Begin no more jobs of a key; what runs goes on. Workers notice within 5 s."""
    flow.pause_key(yard, _allowed(body, caller))
    record(yard, caller, "pause", body.on)
    return ShownTarget.model_validate(body)


@router.post("/api/flow/resume", scope=ACTS_ON_ANY, answers={404: "The key is not paused"})
def resume_key(yard: Yard, body: KeyModel, caller: Caller) -> Resumed:
    """Let the jobs of a key begin again, those that waited first."""
    sent = flow.resume_key(yard, _allowed(body, caller))
    record(yard, caller, "resume", body.on, sent=sent)
    return Resumed(sent=sent)


@router.post(
    "/api/flow/pass", scope=ACTS_ON_ANY, answers={404: "There is no such job", 409: "Nobody waits behind this job"}
)
def pass_over(yard: Yard, body: JobBody, caller: Caller) -> PassedOver:
    """Let those run that wait behind a failed job of `order="block"`; it stays failed."""
    job_id = job_id_of(str(body.id), "job")
    require_scope(caller.scopes, ACTS[lifecycle.find(yard, job_id).kind])
    passed = lifecycle.pass_over(yard, job_id)
    record(yard, caller, "pass over", {"kind": passed.kind, "type": passed.type, "id": str(job_id)})
    return PassedOver(id=str(job_id), state=passed.state)


def _allowed(asked: TargetModel, caller: Caller, scopes: Mapping[Kind, Scope] = ACTS) -> FlowTarget:
    """What is asked about. Raises ``Forbidden`` without one of the ``scopes`` of its kind."""
    target = asked.target
    require_scope(caller.scopes, scopes[target.kind])
    return target
