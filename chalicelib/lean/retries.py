"""Which calls are tried again, and when: botocore's standard rules (AWS SDKs Reference Guide, "Retry behavior").

Not botocore's own, as that loads most of it, at the first answer that is an error; tests compare with it.
"""

from __future__ import annotations

import random
from threading import Lock
from typing import Any

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import ConnectTimeoutError, HTTPClientError, ReadTimeoutError

TRANSIENT = (NoConnection, HTTPClientError)
TIMEOUTS = (ConnectTimeoutError, ReadTimeoutError)
TRANSIENT_STATUSES = frozenset({500, 502, 503, 504})
CODES = frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
WAIT_MAX_S = 20
BUDGET = 500  # of a client; calls that succeed fill it again
COST = 5  # of another try
TIMEOUT_COST = 10  # after a time-out
EARNED = 1  # by a call that succeeds at once
COST_PAID = "retry_quota_capacity"  # in the context of a call


class Retries:
    """The repetitions of one client's calls, for any number of threads: up to ``attempts`` tries, within a budget."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts
        self._left = BUDGET
        self._lock = Lock()

    def watch(self, events: Any, name: str) -> None:
        """Decide over the calls of which a client's ``events`` tell."""
        events.register(f"needs-retry.{name}", self.delay_s)
        events.register(f"after-call.{name}", self.earn)

    def delay_s(
        self, response: Any, caught_exception: Exception | None, attempts: int, request_dict: Any, **_: Any
    ) -> float | None:
        """How long to wait after try number ``attempts``, in seconds; ``None`` for no other try."""
        if attempts >= self._attempts or not _may_pass(response, caught_exception):
            return None
        cost = TIMEOUT_COST if isinstance(caught_exception, TIMEOUTS) else COST
        with self._lock:
            if cost > self._left:
                return None
            self._left -= cost
        request_dict["context"][COST_PAID] = cost
        # Any random number will do: many that fail at once shall not come again at once.
        return random.uniform(0, min(2 ** (attempts - 1), WAIT_MAX_S))  # noqa: S311

    def earn(self, http_response: Any, context: dict[str, Any], **_: Any) -> None:
        """After a call: what its newest try has cost is given back if it has succeeded."""
        if self._left == BUDGET or not 200 <= http_response.status_code < 300:
            return
        with self._lock:
            self._left = min(BUDGET, self._left + context.get(COST_PAID, EARNED))


def _may_pass(response: Any, error: Exception | None) -> bool:
    """Whether another try may succeed where this one did not."""
    if response is None:
        return isinstance(error, TRANSIENT)
    http, told = response
    return http.status_code in TRANSIENT_STATUSES or told.get("Error", {}).get("Code") in CODES
