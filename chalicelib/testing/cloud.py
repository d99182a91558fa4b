"""AWS in this process: moto with the tables, queues and bucket of one installation, and an SQS that obeys a clock.

Moto takes a tenth of a second to carry out the template. What it made is kept, so the next cloud of the same template
gets the same tables, queues and bucket, emptied, in a few milliseconds. So are the clients. They are known by their
names until a cloud ends: a transaction that moto refuses puts copies in the place of its tables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from unittest.mock import patch

from chalicelib import aws
from chalicelib.core.errors import TaskyardError
from chalicelib.settings import Settings
from infra.deploy import stack
from infra.template import Queues, template


class MotoMissing(TaskyardError):
    """What stands in for AWS is not installed."""


try:
    from moto import mock_aws
    from moto.backends import get_backend
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends
    from moto.sqs.models import Message
except ImportError as error:
    raise MotoMissing(
        "the test kit needs moto, which stands in for AWS",
        expected="moto 5",
        got=str(error),
        remedy="pip install 'taskyard[testing]'",
    ) from error

REGION = "us-east-1"
ACCOUNT = DEFAULT_ACCOUNT_ID
PARTITION = "aws"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
MARK_RECEIVED = Message.mark_received


@dataclass(frozen=True, slots=True)
class _Made:
    """What moto made of a template, by name."""

    tables: Mapping[str, Any]
    queues: Mapping[str, Any]
    buckets: Mapping[str, Any]
    stacks: Mapping[str, Any]

    @classmethod
    def now(cls) -> _Made:
        """What there is at this moment."""
        return cls(dict(tables()), dict(queues()), dict(buckets()), dict(_stacks()))

    def again(self) -> _Made | None:
        """What goes by these names by now; ``None`` if something is gone."""
        now = _Made.now()
        try:
            return _Made(
                {name: now.tables[name] for name in self.tables},
                {name: now.queues[name] for name in self.queues},
                {name: now.buckets[name] for name in self.buckets},
                {name: now.stacks[name] for name in self.stacks},
            )
        except KeyError:
            return None


_kept: dict[str, _Made] = {}  # by the template's text
_client = lru_cache(maxsize=16)(aws.client.__wrapped__)


@contextmanager
def cloud(chosen: Settings, consumed: Queues, now_ms: Callable[[], int], late_ms: int = 0) -> Iterator[None]:
    """Within the block, AWS is a moto that holds the installation of ``chosen``, empty, and whatever is made meanwhile.

    ``consumed`` are the queues with handlers. SQS takes the time from ``now_ms``; hidden messages are shown ``late_ms``
    milliseconds after their time. Nothing reaches the network: calls of services that moto does not know raise. The
    environment names no endpoint, and credentials that open nothing.
    """
    text = json.dumps(wanted := template(chosen, consumed))
    with _environment(), patch.object(aws, "client", _client), mock_aws(), _obeying(now_ms, late_ms):
        is_outermost = not queues()  # within another's block, moto holds what that made, too
        if (kept := _kept.pop(text, None)) is not None:
            _install(kept)
        else:
            stack.apply(chosen, wanted)
        made = _Made.now()
        try:
            yield
        finally:
            empty(made.queues)
            if is_outermost and (left := made.again()) is not None:
                _kept[text] = left


def tables() -> dict[str, Any]:
    """Moto's tables, by name."""
    found: dict[str, Any] = get_backend("dynamodb")[ACCOUNT][REGION].tables
    return found


def queues() -> dict[str, Any]:
    """Moto's SQS queues, by name."""
    found: dict[str, Any] = get_backend("sqs")[ACCOUNT][REGION].queues
    return found


def buckets() -> dict[str, Any]:
    """Moto's buckets, by name."""
    found: dict[str, Any] = get_backend("s3")[ACCOUNT][PARTITION].buckets
    return found


def _stacks() -> dict[str, Any]:
    found: dict[str, Any] = get_backend("cloudformation")[ACCOUNT][REGION].stacks
    return found


def shown_at_ms(name: str) -> list[int]:
    """From when on each message of a queue can be received; in a FIFO group, not before those ahead of it."""
    times: list[int] = []
    groups: dict[str, int] = {}
    for message in queues()[name]._messages:
        visible_at_ms = int(message.visible_at) + message.late_ms if message.visible_at else 0
        shown_ms = max(visible_at_ms, int(message.delayed_until))
        if message.group_id is not None:
            shown_ms = groups[message.group_id] = max(shown_ms, groups.get(message.group_id, 0))
        times.append(shown_ms)
    return times


def empty(lasting: Collection[str]) -> None:
    """Take away all items, messages and objects, and every queue but the ``lasting`` ones."""
    for table in tables().values():
        table.items.clear()
        if table.stream_shard is not None:
            table.stream_shard.items.clear()
    for name, queue in list(queues().items()):
        if name not in lasting:
            del queues()[name]
        queue._messages = []
        queue.pending_messages.clear()
        queue.deleted_messages.clear()
    for bucket in buckets().values():
        bucket.keys.clear()


def _install(made: _Made) -> None:
    tables().update(made.tables)
    queues().update(made.queues)
    buckets().update(made.buckets)
    _stacks().update(made.stacks)
    for name in made.buckets:
        s3_backends.bucket_accounts[name] = (PARTITION, ACCOUNT)


@contextmanager
def _environment() -> Iterator[None]:
    """The process environment with ``ENVIRONMENT`` in it, and without endpoints and profiles."""
    others = [name for name in os.environ if name.startswith(("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"))]
    with patch.dict(os.environ, ENVIRONMENT):
        for name in others:
            del os.environ[name]  # patch.dict brings them back
        yield


@contextmanager
def _obeying(now_ms: Callable[[], int], late_ms: int) -> Iterator[None]:
    """SQS takes the time from ``now_ms``, and shows a hidden message ``late_ms`` after its time."""
    with (
        patch("moto.sqs.models.unix_time_millis", lambda: float(now_ms())),
        patch("moto.sqs.models.unix_time", lambda: now_ms() / 1_000),
        patch.object(Message, "mark_received", _mark_received),
        patch.object(Message, "late_ms", late_ms, create=True),
        patch.object(Message, "visible", property(lambda message: now_ms() >= message.visible_at + late_ms)),
    ):
        yield


def _mark_received(message: Any, visibility_timeout: int | None = None) -> None:
    """As moto does it. SQS lets a message be hidden for 12 hours from each receive; moto counts from the sending."""
    MARK_RECEIVED(message, visibility_timeout)
    message.sent_timestamp = message.visible_at - 1_000 * int(visibility_timeout or 0)
