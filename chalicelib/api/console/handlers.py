"""What runs jobs here, and the schemas of what it takes: ``/api/handlers``."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic.errors import PydanticInvalidForJsonSchema

from chalicelib.api.flow_shapes import DeclarationRecord
from chalicelib.api.scopes import SEE
from chalicelib.core.flow_controls import FlowTarget
from chalicelib.core.retry import to_document
from chalicelib.core.states import Kind
from chalicelib.engine.commands.flow import Declared
from chalicelib.engine.handlers.declare import Handler
from chalicelib.engine.handlers.signatures import label_of, place_of
from chalicelib.engine.worker.pause import paused, queue_target, type_target
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router
from chalicelib.services.flow import declaration_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Console")  # a section of the documentation that me.py describes


class HandlerRecord(AnswerModel):
    """A handler, and how its jobs run where they say nothing themselves; null: the default of their kind."""

    kind: Kind
    type: str = Field(description="The task type, or the topic that it subscribes to")
    script: str | None = Field(description="Which of a task type's handlers; null of a subscriber")
    queue: str
    lanes: list[str]
    source: str = Field(description="The function", examples=["chalicelib.tasks.text.statistics"])
    place: str = Field(description="Where it is written", examples=["chalicelib/tasks/text.py:12"])
    schema_: dict[str, Any] | None = Field(
        alias="schema", description="JSON Schema of the pydantic model of its input; null: any JSON"
    )
    max_attempts: int | None
    backoff: dict[str, Any] | None
    timeout_s: float | None = Field(description="Of an attempt")
    light: bool
    flow: DeclarationRecord
    paused: bool = Field(description="The type or topic, or its queue, is")


@router.get("/api/handlers", scope=SEE)
def list_handlers(yard: Yard) -> list[HandlerRecord]:
    """List the handlers that are deployed, with the schemas of what they take. One read."""
    targets = {pause.target for pause in paused(yard) if not pause.resuming}
    return [_record(yard, kind, handler, targets) for kind, handler in _declared(yard)]


def _declared(yard: Yard) -> Iterator[tuple[Kind, Handler]]:
    for _, handler in sorted(yard.handlers.scripts.items()):
        yield Kind.TASK, handler
    for _, subscribers in sorted(yard.handlers.subscribers.items()):
        yield from ((Kind.MESSAGE, each) for each in subscribers)


def _record(yard: Yard, kind: Kind, handler: Handler, targets: Set[str]) -> HandlerRecord:
    timeout_ms = handler.timeout_ms or yard.settings.default_timeout_ms or None
    concurrency = None if handler.limit is None else handler.limit.concurrency
    flow = declaration_of(Declared(FlowTarget(kind, handler.name), concurrency, handler.flow))
    return HandlerRecord.model_validate(
        {
            "kind": kind,
            "type": handler.name,
            "script": handler.script if kind is Kind.TASK else None,
            "queue": handler.queue,
            "lanes": [*map(str, handler.bands)],
            "source": label_of(handler.function),
            "place": place_of(handler.function),
            "schema": _schema(handler),
            "max_attempts": handler.max_attempts,
            "backoff": None if handler.backoff is None else to_document(handler.backoff),
            "timeout_s": None if timeout_ms is None else timeout_ms / 1_000,
            "light": handler.light,
            "flow": DeclarationRecord.model_validate(flow),
            "paused": not targets.isdisjoint((type_target(handler.name), queue_target(handler.queue))),
        }
    )


def _schema(handler: Handler) -> dict[str, Any] | None:
    """The schema of a handler's input; none where its model has a field that JSON Schema has no word for."""
    describe = getattr(handler.input_model, "model_json_schema", None)
    if describe is None:
        return None
    try:
        schema: dict[str, Any] = describe()
    except PydanticInvalidForJsonSchema:
        return None
    return schema
