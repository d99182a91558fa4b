"""A job as a document, which the ledger keeps, and as the text of the SQS message that stands for it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.core import retry
from chalicelib.core.causes import Cause
from chalicelib.core.errors import InvalidInput
from chalicelib.core.ids import ID_LIMIT
from chalicelib.core.job import Job, JobError, Progress
from chalicelib.core.states import Kind, State

ENVELOPE_VERSION = 1
ORDER_FIELDS = (
    "id", "uid", "kind", "type", "queue", "created_at_ms", "trace_id", "priority", "start_at_ms", "max_attempts",
    "timeout_ms", "backoff", "body", "body_at", "body_bytes", "target_id", "target_type", "runner", "script",
    "parent_id", "replay_of", "created_by", "chained", "remove_on_complete", "waits_for_handler", "limited",
    "schedule", "slot_at_ms", "overlap", "application", "graph", "node", "edges", "tenant", "flow_key", "order",
    "order_seq", "unique_as",
)  # fmt: skip
# The names in the ledger and in messages, where they are others than here: both outlive a deployment.
STORED_AS = {"uid": "birth", "blocked": "held", "requeue_count": "laps", "epoch": "round"}
TRAVELLING_FIELDS = (*ORDER_FIELDS, "delivery", "due_at_ms", "attempt_limit", "trace")
_FLAGS = ("chained", "remove_on_complete", "waits_for_handler", "limited")
# Written even where they have their default, because the transitions' conditions compare them.
CONDITION_FIELDS = ("state", "delivery", "due_at_ms", "attempts", "attempt_limit")
NUMBER_LIMIT = 10**38  # what a DynamoDB number holds exactly
_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Job)}
_REQUIRED = frozenset(f.name for f in dataclasses.fields(Job) if f.default is dataclasses.MISSING)
_FIELD_STORED_AS = {STORED_AS.get(name, name): name for name in _DEFAULTS}
_TRAVELLING_AS = frozenset(STORED_AS.get(name, name) for name in TRAVELLING_FIELDS)
_KINDS = {kind.value: kind for kind in Kind}
_STATES = {state.value: state for state in State}
_NUMBERS = frozenset(f.name for f in dataclasses.fields(Job) if f.type in ("int", "int | None"))
_TEXTS = frozenset(f.name for f in dataclasses.fields(Job) if f.type in ("str", "str | None"))


def to_document(job: Job, fields: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The record as plain strings, numbers, lists and maps, without what has its default value."""
    document: dict[str, Any] = {}
    for name in fields or _DEFAULTS:
        value = getattr(job, name)
        if value != _DEFAULTS[name] or name in CONDITION_FIELDS:
            document[STORED_AS.get(name, name)] = _to_plain(value)
    return document


def from_document(document: Mapping[str, Any]) -> Job:
    """The record that ``to_document`` wrote; unknown attributes (index keys) are passed over.

    Raises ``TypeError`` where a field is missing that has no default, ``KeyError`` for a kind or state that is none.
    Records are made of every answer and every change of the stream, and most have a fourth of the fields: what a record
    is not given, it has of its class.
    """
    values = {_FIELD_STORED_AS[key]: value for key, value in document.items() if key in _FIELD_STORED_AS}
    if not values.keys() >= _REQUIRED:
        raise TypeError(f"a record without {', '.join(sorted(_REQUIRED - values.keys()))}")
    values["kind"] = _KINDS[values["kind"]]
    values["state"] = _STATES[values.get("state", State.PENDING)]
    for name in ("trace", "succeeded_subscribers"):
        if name in values:
            values[name] = tuple(values[name])
    if "backoff" in values:
        values["backoff"] = retry.from_document(values["backoff"])
    if "error" in values:
        values["error"] = JobError(**values["error"])
    if "cause" in values:
        values["cause"] = Cause(values["cause"])
    if "progress" in values:
        values["progress"] = Progress(**json.loads(values["progress"]))
    job = object.__new__(Job)
    vars(job).update(values)
    return job


def to_envelope(job: Job) -> str:
    """The text of the SQS message that stands for this delivery of the job (ASCII JSON)."""
    return json.dumps({"v": ENVELOPE_VERSION, **to_document(job, TRAVELLING_FIELDS)}, separators=(",", ":"))


def from_envelope(text: str) -> Job:
    """The pending job that an SQS message stands for.

    Raises ``InvalidInput`` for a text that ``to_envelope`` cannot have written.
    """
    try:
        document = json.loads(text)
        if document["v"] != ENVELOPE_VERSION:
            raise ValueError("unknown version")
        # Only what travels is taken from it: a message says nothing about how far the work has come.
        told = {name: value for name, value in document.items() if name in _TRAVELLING_AS}
        job = from_document(told)
        _check_order(job, [_FIELD_STORED_AS[name] for name in told])
    except Exception as error:  # whatever is wrong with foreign text, the answer is the same
        raise InvalidInput(
            "this message was not written by Taskyard",
            expected=f"an envelope of version {ENVELOPE_VERSION}",
            got=text,
        ) from error
    return job


def _check_order(job: Job, told: Iterable[str]) -> None:
    """Raise ``ValueError`` unless the ledger can hold every field that was ``told``, and the rules compare it."""
    fields = {name: getattr(job, name) for name in told}
    given = {name: value for name, value in fields.items() if value is not None or _DEFAULTS[name] is not None}
    numbers = [value for name, value in given.items() if name in _NUMBERS]
    texts = [value for name, value in given.items() if name in _TEXTS]
    if job.backoff is not None:
        numbers += [value for value in retry.to_document(job.backoff).values() if not isinstance(value, str)]
    if not all(type(number) is int and abs(number) < NUMBER_LIMIT for number in numbers):
        raise ValueError("numbers must be whole, and no larger than DynamoDB holds")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("names and the body must be text")
    if not all(isinstance(given.get(name, False), bool) for name in _FLAGS):
        raise ValueError("flags are true or false")
    for text in (*texts, *(event.to_line() for event in job.events)):
        text.encode()  # a lone surrogate has no UTF-8 form
    if not (0 < job.id < ID_LIMIT and job.delivery > 0 and job.trace_id):
        raise ValueError("the id, the delivery or the trace id is out of range")


def _to_plain(value: Any) -> Any:
    match value:
        case retry.Fixed() | retry.Linear() | retry.Exponential() | retry.Named():
            return retry.to_document(value)
        case JobError():
            return value.to_document()
        case Progress():
            return value.to_text()
        case tuple():
            return list(value)
        case Kind() | State():
            return value.value
    return value
