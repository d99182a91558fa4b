"""What requests about flow control say, and what the answers have."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from chalicelib.api.shapes import IfVersion, ShownId, ShownTime, ShownVersion
from chalicelib.core.flow import KEY_MAX_CHARS, PER_MAX_S, RATE_MAX, WAIT_MAX_S, Debounce, Rate, Unique, Until
from chalicelib.core.flow_controls import FlowControls, FlowTarget
from chalicelib.core.limits import CONCURRENCY_MAX, Order
from chalicelib.http.models import NOT_BOOLEAN, AnswerModel, ApiModel, Id, Name, Target, Topic
from chalicelib.http.one_of import OneOf, unfit
from chalicelib.services import flow as shown

CONTROLS = [control.name for control in fields(FlowControls)]
Off = Literal["off"]


class TargetModel(OneOf):
    """A task type or a topic, or one key of it."""

    GROUPS = (("type",), ("topic",))

    type: Name | None = Field(default=None, description="A task type", examples=["text.statistics"])
    topic: Topic | None = Field(default=None, description="Or a topic")
    key: Target | None = Field(default=None, description="One key of it; default: all its jobs", examples=["c-7"])

    @property
    def target(self) -> FlowTarget:
        """The same, as the engine names it."""
        return shown.target_of(self.type, self.topic, self.key)

    @property
    def on(self) -> dict[str, str | None]:
        """The same for the record of acts."""
        return {"type": self.type, "topic": self.topic, "key": self.key}


class UnsetQuery(TargetModel):
    """What is to be as declared again."""

    if_version: IfVersion = None


class KeyModel(TargetModel):
    """A key of a task type or a topic."""

    key: Target = Field(description="Which key", examples=["c-7"])


class RateModel(ApiModel):
    """How many jobs may begin: `count` in `perSeconds`, evenly, and up to `burst` of them at once."""

    count: Annotated[int, Field(ge=1, le=RATE_MAX), NOT_BOOLEAN] = Field(examples=[10])
    per_seconds: Annotated[float, Field(ge=0.001, le=PER_MAX_S), NOT_BOOLEAN] = Field(default=1, examples=[60])
    burst: Annotated[int, Field(ge=1, le=RATE_MAX), NOT_BOOLEAN] = 1


KeyPath = Annotated[str, Field(min_length=1, max_length=KEY_MAX_CHARS, examples=["input.customerId"])]


def _until(value: object) -> object:
    if value is not None and not (isinstance(value, str) and value in {*Until}):
        raise ValueError("start or end, or null for the seconds alone")
    return value


class UniqueModel(ApiModel):
    """What keeps a job like it away: `until` it starts or ends, or for `forS` seconds, or both."""

    until: Annotated[Until | None, BeforeValidator(_until, json_schema_input_type=Until | None)] = Field(
        default=Until.END, description="start, end, or null for the seconds alone"
    )
    for_s: Annotated[float, Field(ge=0.001, le=PER_MAX_S), NOT_BOOLEAN] | None = None
    by: KeyPath | None = Field(default=None, description="What makes two alike; null: their key, or their whole input")

    @model_validator(mode="after")
    def _keeps_something_away(self) -> UniqueModel:
        if self.until is None and self.for_s is None:
            raise unfit("until, forS or both", "neither", "say until when, or for how long")
        return self


class DebounceModel(ApiModel):
    """For how long the newest waits, after the one before and at the latest after the first."""

    wait_s: Annotated[float, Field(ge=0.001, le=WAIT_MAX_S), NOT_BOOLEAN] = Field(examples=[5])
    latest_s: Annotated[float, Field(ge=0.001, le=WAIT_MAX_S), NOT_BOOLEAN] | None = None
    by: KeyPath | None = Field(default=None, description="What makes two alike; null: their key, or the type")

    @model_validator(mode="after")
    def _is_over_in_time(self) -> DebounceModel:
        if self.latest_s is not None and self.latest_s < self.wait_s:
            expected = f"latestS of at least waitS, {self.wait_s:g}"
            raise unfit(expected, f"{self.latest_s:g}", "leave latestS out, or wait for less")
        return self


def _kind(given: object) -> str | None:
    """Which of its forms a control has, so that an error speaks of that one alone."""
    return "object" if isinstance(given, dict | ApiModel) else "off" if given == "off" else None


ITS_KIND = Discriminator(_kind, custom_error_type="control", custom_error_message="an object or 'off'")
UniqueRequest = Annotated[Annotated[UniqueModel, Tag("object")] | Annotated[Off, Tag("off")], ITS_KIND]
DebounceRequest = Annotated[Annotated[DebounceModel, Tag("object")] | Annotated[Off, Tag("off")], ITS_KIND]


class SettingBody(TargetModel):
    """What is to control a target. A control that is left out is as declared; `off` is not at all.

    Order, unique and debounce are of a whole type or topic whose handlers declare some control, and hold for jobs that
    are accepted from then on.
    """

    concurrency: Annotated[int, Field(ge=1, le=CONCURRENCY_MAX), NOT_BOOLEAN] | None = Field(
        default=None, description="How many run at once"
    )
    rate: RateModel | None = Field(default=None, description="How many begin")
    order: Order | Off | None = Field(default=None, description="One at a time, as they were accepted")
    unique: UniqueRequest | None = None
    debounce: DebounceRequest | None = None
    if_version: IfVersion = None

    @model_validator(mode="after")
    def _says_something(self) -> SettingBody:
        if all(getattr(self, name) is None for name in CONTROLS):
            raise unfit(f"one of {', '.join(CONTROLS)}", "none of them", "say what is to control it")
        return self

    @property
    def controls(self) -> FlowControls:
        """The same, as the engine knows it."""
        rate, unique, debounce = self.rate, self.unique, self.debounce
        return FlowControls(
            self.concurrency,
            None if rate is None else Rate(rate.count, rate.per_seconds, rate.burst),
            self.order,
            Unique(**unique.model_dump()) if isinstance(unique, UniqueModel) else unique,
            Debounce(**debounce.model_dump()) if isinstance(debounce, DebounceModel) else debounce,
        )


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


class SettingRecord(ShownTarget):
    """What is set of a target; null: as declared, off: not at all."""

    concurrency: int | None
    rate: ShownRate | None
    order: str | None = Field(description="block, step aside or off")
    unique: UniqueRecord | Off | None
    debounce: DebounceRecord | Off | None
    since: ShownTime
    by: str | None = Field(description="Who set it; null: not known")
    version: ShownVersion
    warning: str | None = Field(description="Why it controls nothing yet; null: such jobs are known")


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
    holders: list[ShownId] = Field(description="Which have a slot, or the turn, as far as they are named")
    blocked_by: ShownId | None = Field(description="Who has failed and keeps the turn; null: nobody")
    waiting: WaitingFor
    next_start: ShownTime | None = Field(description="From when on the rate lets the next begin; null without a rate")


class Resumed(AnswerModel):
    """What became of those that waited."""

    sent: int = Field(description="How many were sent that had waited")


class PassedOver(AnswerModel):
    """The job that was passed over."""

    id: ShownId
    state: str
