"""The lock on a polled message, as requests name it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from chalicelib.engine.polling.poll import LOCK_MAX_MS, LOCK_MIN_MS
from chalicelib.http.models import NOT_BOOLEAN, Name

LockTimeout = Annotated[int, Field(ge=LOCK_MIN_MS, le=LOCK_MAX_MS), NOT_BOOLEAN]
"""How long a message is locked: 1 second to 12 hours, in milliseconds."""

LockToken = Annotated[
    Name,
    Field(
        description="The lockToken of the poll: refused once another consumer has the message",
        examples=["9f86d081884c7d65"],
    ),
]
"""What proves that the sender holds the lock."""
