"""Reporting events: to the hooks that code declares (``@on``), and to webhooks.

Two steps, with a FIFO queue in between. Whoever reads the ledger's change stream sends what somebody cares about, a
letter for each recipient; a function of its own delivers. So neither a slow hook nor a broken webhook holds up the
counters, a job, or each other: the letters of one job for one recipient are a group, which keeps its order, and a
letter that cannot be delivered holds back that group alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from chalicelib import aws
from chalicelib.core.errors import InvalidInput
from chalicelib.core.job_events import JobEvent, events_of
from chalicelib.core.webhooks import CONTENT_TYPES, Webhook
from chalicelib.engine.awaiting import awaited
from chalicelib.engine.failures import log_failure
from chalicelib.engine.handlers.declare import Hook
from chalicelib.engine.handlers.registry import Registry
from chalicelib.engine.projections.event_documents import written
from chalicelib.engine.projections.project import Change
from chalicelib.engine.publish.send import AWS_FAILURES
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger
from chalicelib.queue.contract import Received
from chalicelib.queue.hooks import HooksQueue, Letter
from chalicelib.queue.webhooks import TIMEOUT_S, NotTaken, Reply, post
from chalicelib.settings import Settings
from chalicelib.store.directory import Directory

IN_CODE = "code"  # the recipient that all hooks in code are together; a webhook's id is never that
REMEMBERED_MS = 30_000  # how long the webhooks are remembered by whoever sends
REMEMBERED_LOCALLY_MS = 1_000
DELIVERY_RESERVE_MS = round(TIMEOUT_S * 1_000) + 5_000  # what must be left of an invocation to begin with a letter
FIRST_WAIT_S = 10
LONGEST_WAIT_S = 3_600
GONE = 410  # who answers so never wants it again

Post = Callable[..., Reply]  # chalicelib.queue.webhooks.post


# -- who cares ----------------------------------------------------------------------------------------


def are_on(chosen: Settings, declared: Registry) -> bool:
    """Whether anybody may be told. By itself, where code declares hooks; in stage local always."""
    return chosen.hooks == "on" or (chosen.hooks == "auto" and (chosen.local or bool(declared.hooks)))


def decided(chosen: Settings, declared: Registry) -> Settings:
    """``chosen`` with hooks ``on`` or ``off``, as infra's templates take it."""
    return replace(chosen, hooks="on" if are_on(chosen, declared) else "off")


def wants(hook: Hook, event: JobEvent) -> bool:
    """Whether a hook in code is told of an event."""
    return hook.what is event.what and hook.type in (None, event.type)


def interested(hooks: Iterable[Hook], webhooks: Iterable[Webhook], event: JobEvent) -> list[str]:
    """The recipients of an event."""
    in_code = [IN_CODE] if any(wants(hook, event) for hook in hooks) else []
    return in_code + [webhook.id for webhook in webhooks if webhook.wants(event)]


@lru_cache(maxsize=1)
def _remembered(directory: Directory, period: int) -> tuple[Webhook, ...]:
    """The webhooks, read once in a ``period``."""
    del period
    return tuple(directory.webhooks(consistent=False))


# -- sending ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Addressed:
    """An event on its way to a recipient."""

    recipient: str
    event: JobEvent

    @property
    def group(self) -> str:
        """What keeps its order."""
        return group_of(self.event.job_id, self.recipient)

    def letter(self) -> Letter:
        """The form in which it travels."""
        document = {"to": self.recipient, "happening": self.event.to_document()}
        return Letter(self.group, f"{self.event.id}/{self.recipient}", json.dumps(document, separators=(",", ":")))

    @classmethod
    def from_text(cls, text: str) -> Addressed:
        """What a letter's text says; raises ``InvalidInput`` for any other text."""
        try:
            document = json.loads(text)
            return cls(str(document["to"]), JobEvent.from_document(document["happening"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput("this is no letter to a hook", expected="one that Taskyard wrote") from error


def group_of(job_id: int, recipient: str) -> str:
    """The group of a job's letters: its id, and for a webhook the webhook's."""
    return str(job_id) if recipient == IN_CODE else f"{job_id}/{recipient}"


def send(yard: Yard, changes: Sequence[Change]) -> int:
    """Send what ``changes`` tell to everybody who cares; returns how many letters that were.

    Raises ``Unavailable``, or what botocore raises, unless all were taken. To send again is harmless within five
    minutes; later, recipients are told again.
    """
    if not are_on(yard.settings, yard.handlers):
        return 0
    hooks, webhooks = yard.handlers.hooks, _webhooks(yard)
    if not hooks and not webhooks:
        return 0
    letters = [
        Addressed(recipient, event).letter()
        for event in _events(changes)
        for recipient in interested(hooks, webhooks, event)
    ]
    if letters:
        queue_of(yard.settings).send(letters)
    return len(letters)


def queue_of(chosen: Settings) -> HooksQueue:
    """The queue of an installation."""
    client = aws.client("sqs")  # the one that the transport has, too
    return HooksQueue(client, chosen.hooks_queue)


def _webhooks(yard: Yard) -> tuple[Webhook, ...]:
    """The webhooks as of a moment ago."""
    period_ms = REMEMBERED_LOCALLY_MS if yard.settings.local else REMEMBERED_MS
    return _remembered(yard.directory, yard.now_ms() // period_ms)


def _events(changes: Iterable[Change]) -> Iterator[JobEvent]:
    for change in changes:
        yield from events_of(change.before, change.after, change.sequence, change.at_ms)


# -- delivering ---------------------------------------------------------------------------------------


def deliver(yard: Yard, messages: Sequence[Received], remaining_ms: Callable[[], int], call: Post = post) -> list[str]:
    """Deliver letters in their order; returns the ids of the messages that must come back.

    Of a group whose first letter could not be delivered, no later one is tried: all come back once that one does.
    Nor is any of a webhook that was waited for in vain, for a while.
    """
    reporter = _Reporter(yard, call)
    blocked_groups: set[str] = set()
    come_back: list[str] = []
    for message in messages:
        addressed = _addressed(message)
        group = message.message_id if addressed is None else addressed.group
        problem: str | None = "another comes first, or too little time is left"
        wait_s = 0
        if group not in blocked_groups and remaining_ms() >= DELIVERY_RESERVE_MS:
            problem = reporter.notify_of(addressed)
            wait_s = max(wait_before(message.receive_count), reporter.left_alone_s(addressed))
        if problem is None:
            continue
        why = f"{_named(addressed)}: {problem}"
        logger.warning("not told, and tried again: %s", why, extra={"group": group, "wait_s": wait_s, "why": why})
        blocked_groups.add(group)
        come_back.append(message.message_id)
        _hide(yard, message, wait_s)
    return come_back


def _hide(yard: Yard, message: Received, wait_s: int) -> None:
    try:
        queue_of(yard.settings).hide(message.receipt, wait_s)
    except AWS_FAILURES as error:  # it comes back when its time in this invocation's hands is over
        logger.warning("a letter is not hidden", extra={"message_id": message.message_id, "error": str(error)})


def _named(addressed: Addressed | None) -> str:
    """What a letter goes to."""
    if addressed is None:
        return "a letter"
    return "hooks in code" if addressed.recipient == IN_CODE else f"webhook {addressed.recipient}"


def _addressed(message: Received) -> Addressed | None:
    try:
        return Addressed.from_text(message.text)
    except InvalidInput:
        return None


def wait_before(receives: int) -> int:
    """How many seconds a letter waits after its delivery number ``receives`` failed: 10, 20, 40, ... 3,600."""
    return min(FIRST_WAIT_S << min(receives - 1, 12), LONGEST_WAIT_S)


@dataclass(slots=True)
class _Reporter:
    """Tells recipients, during one invocation."""

    yard: Yard
    call: Post
    _webhooks: dict[str, Webhook] | None = None  # as they are now, once one is to be told

    def notify_of(self, addressed: Addressed | None) -> str | None:
        """Tell the recipient, unless it is left alone; answers why it was not told, or ``None``."""
        if self.left_alone_s(addressed):
            return "it was waited for in vain a while ago"
        try:
            return self.report(addressed)
        except Exception as error:  # AWS's, or ours: it concerns this letter alone
            logger.exception("a letter was not delivered to %s", _named(addressed))
            return type(error).__name__

    def left_alone_s(self, addressed: Addressed | None) -> int:
        """How many more seconds the recipient is left alone."""
        if addressed is None:
            return 0
        return math.ceil(self.yard.silences.left_ms(addressed.recipient, self.yard.now_ms()) / 1_000)

    def report(self, addressed: Addressed | None) -> str | None:
        """Tell the recipient; answers why it could not be told, without a secret, or ``None``."""
        if addressed is None:
            return "it is no letter that Taskyard wrote"
        event = replace(addressed.event, read_output=self.yard.payloads.output)
        if addressed.recipient == IN_CODE:
            _hook_events(self.yard.handlers.hooks, event)
            return None
        if self._webhooks is None:
            self._webhooks = {webhook.id: webhook for webhook in self.yard.directory.webhooks()}
        webhook = self._webhooks.get(addressed.recipient)
        if webhook is None:
            logger.info("not told: webhook %s was removed", addressed.recipient, extra={"webhook": addressed.recipient})
            return None
        return self._post(webhook, event)

    def _post(self, webhook: Webhook, event: JobEvent) -> str | None:
        body = written(event, webhook.format, self.yard.settings.base_name)
        began_ms = self.yard.now_ms()
        headers = {"Content-Type": CONTENT_TYPES[webhook.format], **webhook.signed(event.id, body, began_ms)}
        try:
            reply = self.call(webhook.url, body, headers, local=self.yard.settings.local)
        except NotTaken as refused:
            return self._in_vain(webhook, str(refused), began_ms)
        if not reply.ok and reply.status != GONE:
            return self._in_vain(webhook, f"it answered {reply.status}", began_ms, reply.retry_after_s or 0)
        if not reply.ok:
            about = {"webhook": webhook.id, "event": event.id}
            logger.warning("not told: webhook %s is gone for good (it answered %d)", webhook.id, GONE, extra=about)
        self.yard.silences.taken(webhook.id)
        return None

    def _in_vain(self, webhook: Webhook, why: str, began_ms: int, asked_s: int = 0) -> str:
        self.yard.silences.in_vain(webhook.id, began_ms, self.yard.now_ms(), asked_s * 1_000)
        return why


def _hook_events(hooks: Iterable[Hook], event: JobEvent) -> None:
    """Call every hook that cares. What one raises is its own: the others are called, and nothing comes back."""
    for hook in hooks:
        if not wants(hook, event):
            continue
        try:
            awaited(hook.function(event))
        except BaseException as error:  # user code
            log_failure(f"hook {hook.label} failed", error, hook=hook.label, event=event.id)
