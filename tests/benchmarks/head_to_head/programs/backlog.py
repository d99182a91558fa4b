"""Publish messages to the subscriber, as a program of a user does: all at once, by the services.

python backlog.py JOBS
"""

from __future__ import annotations

import sys

import meter

from chalicelib.core.errors import TaskyardError
from chalicelib.services import messages

TOPIC = "trivial"


def publish(jobs: int) -> int:
    """Publish so many."""
    wanted = [messages.NewMessage(topic=TOPIC, payload=meter.BODY)] * jobs
    for outcome in messages.publish_many(wanted):
        if isinstance(outcome, TaskyardError):
            raise outcome
    return jobs


publish(meter.WARM_UP)
meter.report(meter.measured(lambda: publish(int(sys.argv[1]) - meter.WARM_UP)))
