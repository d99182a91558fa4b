"""What the OpenAPI document says of the requests that Taskyard sends by itself: those to webhooks (docs/hooks.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from chalicelib.core.job_events import EventType
from chalicelib.core.states import Kind, State
from chalicelib.core.webhooks import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, WEBHOOK_HEADER, Format
from chalicelib.http.models import AnswerModel

NAME = "jobEvent"
TAG = {"name": "webhooks", "description": "What Taskyard sends to the URLs of `taskyard webhooks add`."}

_EVENT_ID = "1234-000000000000000000042-complete"
_HEADERS = {
    ID_HEADER: ("The event's id, the same for every delivery of it", _EVENT_ID),
    TIMESTAMP_HEADER: ("When it was sent, in seconds since 1970", "1750000000"),
    SIGNATURE_HEADER: (
        "`v1,` and the base64 of the HMAC-SHA256 of id, timestamp and body with dots between, as Standard Webhooks 1.0 "
        "says; two of them, with a space between, while a secret is rotated",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
    WEBHOOK_HEADER: ("The id of the webhook", "0f3a5b6c7d8e"),
}
_LATER = {"Retry-After": {"description": "In seconds, or an HTTP date; an hour at most", "schema": {"type": "string"}}}
_RESPONSES: dict[str, dict[str, Any]] = {
    "2XX": {"description": "The event is delivered. Within 10 s"},
    "3XX": {"description": "A failed delivery: no redirect is followed"},
    "410": {"description": "The event is not wanted: it is dropped"},
    "429": {"description": "A failed delivery, tried again later", "headers": _LATER},
    "503": {"description": "A failed delivery, tried again later", "headers": _LATER},
    "4XX": {"description": "A failed delivery, tried again later, 15 times in all"},
    "5XX": {"description": "A failed delivery, tried again later, 15 times in all"},
}


class EventJob(AnswerModel):
    """A job as it was right after the event; times are in milliseconds since 1970."""

    id: str = Field(examples=["1234"])
    kind: Kind
    type: str = Field(description="The task type, or the topic", examples=["image.resize"])
    queue: str = Field(examples=["default"])
    state: State = Field(examples=["success"])
    priority: int = Field(examples=[0])
    target_id: str | None = Field(examples=["7"])
    target_type: str | None = Field(examples=["image"])
    parent_id: str | None = Field(examples=[None])
    trace_id: str = Field(examples=["01890a5d-ac96-7000-8000-0000000004d2"])
    max_attempts: int = Field(examples=[3])
    created_by: str | None = Field(examples=[None])
    created_at_ms: int = Field(examples=[1_749_999_999_000])
    due_at_ms: int = Field(examples=[1_749_999_999_000])
    started_at_ms: int | None = Field(examples=[1_749_999_999_100])
    completed_at_ms: int | None = Field(examples=[1_750_000_000_000])


class EventDocument(AnswerModel):
    """What has happened to a job."""

    id: str = Field(description="The same for every delivery of the event", examples=[_EVENT_ID])
    event: EventType = Field(examples=["complete"])
    at_ms: int = Field(description="When, in milliseconds since 1970", examples=[1_750_000_000_000])
    attempt: int = Field(description="Attempts begun since the publish or the last explicit retry", examples=[1])
    detail: dict[str, Any] = Field(description="Of `progress`, `failed`, `failed attempt` and `complete`")
    job: EventJob
    output: Any = Field(
        default=None, description="Of `complete` alone: what the handler returned", examples=[{"key": "small/7"}]
    )
    output_left_out: bool = Field(
        default=False, description="Of `complete` alone: the output is above 256 KB, or gone", examples=[False]
    )


class CloudEvent(AnswerModel):
    """The same as a CloudEvent 1.0 in structured mode: for webhooks added with `--format cloudevents`."""

    specversion: Literal["1.0"]
    id: str = Field(examples=[_EVENT_ID])
    source: str = Field(
        description="The installation", examples=["/taskyard-dev"], json_schema_extra={"format": "uri-reference"}
    )
    type: str = Field(description="`taskyard.job.` and the event", examples=["taskyard.job.complete"])
    subject: str = Field(description="The id of the job", examples=["1234"])
    time: str = Field(examples=["2025-06-15T15:06:40.000Z"], json_schema_extra={"format": "date-time"})
    datacontenttype: Literal["application/json"]
    data: EventDocument


BODIES = {Format.TASKYARD: EventDocument, Format.CLOUDEVENTS: CloudEvent}


def path_item(content: Mapping[str, Any]) -> dict[str, Any]:
    """The request, whose bodies are ``content`` by their media types."""
    parameters = [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": said,
            "schema": {"type": "string", "examples": [example]},
        }
        for name, (said, example) in _HEADERS.items()
    ]
    operation = {
        "operationId": NAME,
        "tags": [TAG["name"]],
        "summary": "Something has happened to a job",
        "description": "At least once, and the events of a job in their order.",
        "parameters": parameters,
        "requestBody": {"required": True, "content": dict(content)},
        "responses": _RESPONSES,
        "security": [],
    }
    return {"post": operation}
