"""What SQS allows (Amazon SQS Developer Guide, "Message quotas"), each limit here alone."""

from __future__ import annotations

DELAY_MAX_S = 900  # of a message that is sent
SHARED_OUT_FROM = 30  # messages of a tenant in flight: below, its share of a fair queue does not count ("Fair queues")
VISIBILITY_MAX_S = 43_200  # of a received message, counted from its receive
