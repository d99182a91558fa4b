"""What the answers and requests of several dialects share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from chalicelib.core import trace
from chalicelib.core.errors import InvalidInput
from chalicelib.core.tenants import tenant_of
from chalicelib.http.models import NAME_MAX_CHARS, Name, digits
from chalicelib.http.problems import STANDARD
from chalicelib.services.records import ms_of

FASTIFY = replace(
    STANDARD,
    field_names={
        "idempotency_key": "idempotencyKey",
        "lock_token": "lockToken",
        "max_attempts": "maxRetries",
        "parent": "parentTaskId",
        "script_name": "scriptName",
        "execute_at": "executeAt",
        "flow_key": "flowKey",
    },
)
"""Problems in the words of fastify-mq and fastify-task."""

TENANT_HEADER = "X-Taskyard-Tenant"
TENANT_HEADERS = {TENANT_HEADER: "On whose behalf, where the body's tenant does not say"}
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def _aware(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    if not EARLIEST <= aware < LATEST:
        raise ValueError("a time between the years 1970 and 9998")
    return aware


Moment = Annotated[datetime, AfterValidator(_aware)]
"""A point in time: ISO 8601; UTC where it names no zone."""


def idempotency_key_of(given: str | None, headers: Mapping[str, str]) -> str | None:
    """A request's idempotency key: the one ``given`` in the body, or the header's, if there is one.

    Raises ``InvalidInput`` for a header that is none, or that differs from the body's.
    """
    key = headers.get("idempotency-key")
    if key is None:
        return given
    if not (1 <= len(key) <= NAME_MAX_CHARS and key.isprintable()):
        raise InvalidInput(
            "this is no idempotency key",
            field="Idempotency-Key",
            expected=f"1 to {NAME_MAX_CHARS} printable characters",
            got=f"{len(key)} characters",
        )
    if given not in (None, key):
        raise InvalidInput(
            "the header and the body name different idempotency keys",
            field="Idempotency-Key",
            expected="the body's idempotencyKey",
            got=key,
            remedy="send one of them",
        )
    return key


def request_tenant_of(given: str | None, headers: Mapping[str, str]) -> str | None:
    """On whose behalf a request is made: the tenant ``given`` in the body, or else the header's, if there is one.

    Raises ``InvalidInput`` for a header that can be none.
    """
    in_header = headers.get(TENANT_HEADER.lower())
    return given if given is not None or in_header is None else tenant_of(TENANT_HEADER, in_header)


def to_ms(moment: datetime) -> int:
    """A point in time in milliseconds since 1970."""
    return round(moment.timestamp() * 1_000)


def maybe_ms(moment: datetime | None) -> int | None:
    """The same where there may be none."""
    return None if moment is None else to_ms(moment)


def _written(moment: Any) -> Any:
    return trace.iso(ms_of(moment)) if isinstance(moment, datetime) else moment


ShownTime = Annotated[str, BeforeValidator(_written)]
"""A point in time of a record of the services, as JavaScript writes it."""

ShownId = Annotated[str, BeforeValidator(digits)]
"""An id of a record of the services, in digits: a number of JavaScript's could not hold all."""


IfVersion = Annotated[
    Name | None,
    Field(description="The version that was seen; none: nothing was set; default: whatever is set is replaced"),
]
"""What a change takes the place of, and of nothing else."""

ShownVersion = Annotated[str, Field(description="What tells it from what was set before and after: sent as ifVersion")]


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a record of the services, by name, for an answer that shows more or other ones."""
    return {field.name: getattr(record, field.name) for field in fields(record)}
