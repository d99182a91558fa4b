"""The context object that Lambda hands to a function beside the event."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from chalicelib.http.listener import Listener

FUNCTION_VERSION = "$LATEST"


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaContext:
    """What a function may ask of its invocation: the attributes that Lambda's Python runtime offers."""

    function_name: str
    aws_request_id: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    deadline_s: float  # seconds since 1970
    log_stream_name: str = ""
    function_version: str = FUNCTION_VERSION
    identity: None = None
    client_context: None = None
    messages_hidden_until_ms: int | None = (
        None  # beyond Lambda's, too: it does not tell for how long it has hidden them
    )
    listener: Listener = field(default_factory=Listener)  # beyond Lambda's: this server sees its connections

    @property
    def log_group_name(self) -> str:
        """Where CloudWatch would keep the function's log."""
        return f"/aws/lambda/{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed; 0 from then on."""
        return max(0, round((self.deadline_s - time.time()) * 1_000))
