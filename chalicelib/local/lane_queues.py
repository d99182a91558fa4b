"""The SQS queues that an instance reads: made from the template on this machine, found where a stage is deployed."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.core.batch import Batch
from chalicelib.core.errors import TaskyardError
from chalicelib.core.lanes import SOONEST_FIRST, Band, Lane, sqs_name
from chalicelib.local.batches import Queue
from chalicelib.local.leadership import alone, leaders
from chalicelib.queue.sqs import MISSING
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.deploy.account import Account
from infra.deploy.adopt import adopt
from infra.queues import HOOKS_QUEUE, lane_id, lanes_of
from infra.template import template

Outputs = Mapping[str, str]
TEMPLATE_ROLE = "template"  # whose instance applies it now; the others wait
TEMPLATE_LEASE_S = 10.0
DEADLINE_S = 120.0


class QueueMissing(TaskyardError):
    """A lane has not been deployed."""


def applied(chosen: Settings, queues: Mapping[str, Sequence[Band]]) -> Outputs:
    """The outputs of the stack, made or changed. Lanes that a topic has from being polled keep what is in them.

    Other instances that do the same at the same time are waited for.
    """
    wanted, name = template(chosen, queues), stack.stack_name(chosen)
    if stack.find(name) is None:
        return stack.apply(chosen, wanted).outputs
    stack.settled(name, time.monotonic() + DEADLINE_S)
    with alone(leaders(), TEMPLATE_ROLE, TEMPLATE_LEASE_S):
        adopt(wanted, name, Account.current(chosen), upload=None)
        return stack.apply(chosen, wanted).outputs


@dataclass(frozen=True, slots=True)
class LaneQueues:
    """Finds queues. Their ARNs are in ``outputs``; without those, SQS is asked.

    ``only``: the lanes that are read; None: all.
    """

    sqs: Any
    chosen: Settings
    outputs: Outputs
    only: Collection[Lane] | None = None

    def ranks(self, queues: Mapping[str, Sequence[Band]]) -> list[list[Queue]]:
        """The SQS queues of the lanes of ``queues``, by band, the soonest first. Raises ``QueueMissing``."""
        lanes = [lane for lane in lanes_of(queues) if self.only is None or lane in self.only]
        return [
            [
                self._queue(sqs_name(self.chosen.base_name, lane), f"{lane_id(lane)}Arn")
                for lane in lanes
                if lane.band is band
            ]
            for band in SOONEST_FIRST
        ]

    def gathered(self, queues: Mapping[str, Sequence[Band]], batches: Mapping[str, Batch]) -> dict[str, Batch]:
        """What is gathered of the SQS queues of all lanes, by their names."""
        lanes = (lane for lane in lanes_of(queues) if lane.queue in batches)
        return {sqs_name(self.chosen.base_name, lane): batches[lane.queue] for lane in lanes}

    def dead_letters(self) -> Queue:
        """The dead-letter queue."""
        return self._queue(self.chosen.dead_letter_queue, "DeadLetterQueueArn")

    def hooks(self) -> Queue:
        """The queue of hooks."""
        return self._queue(self.chosen.hooks_queue, f"{HOOKS_QUEUE}Arn")

    def _queue(self, name: str, output: str) -> Queue:
        try:
            url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
            return Queue(name, self.outputs.get(output) or self._arn(url), url)
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
            raise QueueMissing(
                f"there is no queue {name}",
                remedy=f"the handlers here declare it: `taskyard deploy --stage {self.chosen.stage}` makes it",
            ) from error

    def _arn(self, url: str) -> str:
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return str(attributes["QueueArn"])
