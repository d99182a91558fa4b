"""What is few and known by name. Table ``<prefix>-<stage>-directory``.

Key layout::

    kind               name                    what
    ids                jobs                    next: the id after the newest block
    topic              <sha256 of the topic>   topic; the lanes that a polled topic has: band_<band>, step_<band>_<n>
    task_type          <sha256 of the type>    type: of tasks, where no handler is declared for it
    idempotency#<op>   <sha256 of the key>     job, fingerprint, expires_at_s
    outbox             <time>-<token>          jobs: the bulk-published jobs whose messages may not be sent yet
    unreadable         <SQS message id>        job: the dead letter made of a body nobody could read
    access_key         <sha256 of the key>     label, scopes, created_at_ms, revoked_at_ms, used_at_ms; of a user
                                               (sha256 of user:<name>) also user, password
    access_key_users   any                     that a user was made
    webhook            <id>                    url, events, types, format, secret, created_at_ms; after a rotation also
                                               former_secret, former_until_ms
    alias#<scope>      <alias>                 job: the one that its users know by a number, or a text, of theirs; the
                                               scope is the type of a pool, or an application's
    clock              tick                    at_ms: when the clock last ran to its end; by name, when a slow step did
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.core.access import AccessKey
from chalicelib.core.ids import ID_BLOCK
from chalicelib.core.job_events import EventType
from chalicelib.core.lanes import LABELS, Lane
from chalicelib.core.states import Kind
from chalicelib.core.webhooks import Format, Webhook
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.table import Refused, Table

BAND_PREFIX = "band_"
STEP_PREFIX = "step_"  # of its own: code from before there were steps fails at a band that it does not know
CLOCK = {"kind": "clock", "name": "tick"}
NOTED = {Kind.MESSAGE: ("topic", "topic"), Kind.TASK: ("task_type", "type")}
NOT_THERE = Clause("not there", "attribute_not_exists({name})")
NOT_IN_FORCE = Clause("not in force", "attribute_not_exists({name}) OR attribute_exists({revoked_at_ms})")
KEY_USE_MS = 3_600_000  # how exactly it is known when a key was used: more would be a write for each request
LISTED_OF_KEYS = ("name", "label", "scopes", "created_at_ms", "revoked_at_ms", "user", "used_at_ms")
LISTED_OF_WEBHOOKS = ("name", "url", "events", "types", "format", "created_at_ms")
USERS = {"kind": "access_key_users", "name": "any"}


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's promise that two requests are one; ``scope`` is the operation it holds for."""

    scope: str
    key: str
    fingerprint: str

    def item_key(self) -> dict[str, str]:
        """Where it is kept."""
        return {"kind": f"idempotency#{self.scope}", "name": digest(self.key)}


class Accepted(Protocol):
    """What an idempotency key stands for: a job, or a graph of them."""

    @property
    def id(self) -> int:
        """By which it is found."""

    @property
    def created_at_ms(self) -> int:
        """When it was accepted."""

    @property
    def trace_id(self) -> str | None:
        """Which trace it is in."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """Jobs recorded in bulk whose messages may not have been sent."""

    name: str
    job_ids: list[int]


@dataclass(frozen=True, slots=True)
class Directory:
    """The access patterns of the directory."""

    table: Table

    # -- ids ----------------------------------------------------------------------------------

    def take_id_block(self, size: int = ID_BLOCK) -> int:
        """The first id of a block (default: of 1,024) that nobody else gets."""
        item = self.table.update({"kind": "ids", "name": "jobs"}, Change((), adds={"next": size}))
        first: int = item["next"] - size + 1
        return first

    # -- topics -------------------------------------------------------------------------------

    def lanes_of(self, topic: str) -> list[Lane]:
        """The lanes that a polled topic has by now."""
        item = self.table.get({"kind": "topic", "name": digest(topic)}, consistent=False)
        return _lanes_in(topic, item or {})

    def polled_lanes(self) -> dict[str, list[Lane]]:
        """Every topic that was ever published to without being subscribed, with the lanes that it has. One query."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "topic"})
        return {row["topic"]: _lanes_in(row["topic"], row) for row in rows}

    def add_lane(self, lane: Lane) -> None:
        """Note that a polled topic has a lane."""
        attribute = f"{STEP_PREFIX if lane.step else BAND_PREFIX}{lane.label}"
        change = Change((), sets={"topic": lane.queue, attribute: True})
        self.table.apply({"kind": "topic", "name": digest(lane.queue)}, change)

    def topics(self) -> list[str]:
        """Every topic that was ever published to without being subscribed."""
        return sorted(self.types_of(Kind.MESSAGE))

    # -- types --------------------------------------------------------------------------------

    def note_type(self, kind: Kind, type: str) -> None:  # noqa: A002  # every dialect's word for it
        """Note a type that the code does not declare. May be repeated."""
        noted, attribute = NOTED[kind]
        self.table.apply({"kind": noted, "name": digest(type)}, Change((), sets={attribute: type}))

    def types_of(self, kind: Kind) -> list[str]:
        """Every type that was noted, of messages every topic that was given a lane, too, as of the last write."""
        noted, attribute = NOTED[kind]
        rows = self.table.query_all("{kind} = :kind", {":kind": noted}, consistent=True)
        return [row[attribute] for row in rows]

    # -- idempotency --------------------------------------------------------------------------

    def reserving(self, key: IdempotencyKey, accepted: Accepted, now_s: int, ttl_s: int) -> AttributeValues:
        """The action that binds a key to what was accepted under it; refused while an earlier binding is in force.

        It remembers of the acceptance what the same request could not tell again once the job is removed.
        """
        free = Clause("free or expired", "attribute_not_exists({name}) OR {expires_at_s} < :now", {":now": now_s})
        item = {**key.item_key(), "job": accepted.id, "fingerprint": key.fingerprint, "expires_at_s": now_s + ttl_s}
        first = {"created_at_ms": accepted.created_at_ms}
        trace = {} if accepted.trace_id is None else {"trace_id": accepted.trace_id}
        return self.table.putting({**item, **first, **trace}, free)

    def bindings(self, keys: Sequence[IdempotencyKey], now_s: int) -> dict[IdempotencyKey, dict[str, Any]]:
        """What is kept of those among ``keys`` that are bound, in force at ``now_s``."""
        found = {(item["kind"], item["name"]): item for item in self.table.get_many([key.item_key() for key in keys])}
        bound = {key: found.get((key.item_key()["kind"], key.item_key()["name"])) for key in keys}
        return {key: item for key, item in bound.items() if item is not None and item["expires_at_s"] >= now_s}

    # -- aliases ------------------------------------------------------------------------------

    def aliased(self, scope: str, alias: int | str) -> int | None:
        """The id of the job that is known by an alias."""
        item = self.table.find(_alias_key(scope, alias))
        return item["job"] if item else None

    def aliasing(self, scope: str, alias: int | str, job_id: int, instead_of: int | None = None) -> AttributeValues:
        """The action that makes an alias a job's; refused if it is another's, except of the job ``instead_of``."""
        free = Clause("free", "attribute_not_exists({name}) OR {job} = :instead", {":instead": instead_of or job_id})
        return self.table.putting({**_alias_key(scope, alias), "job": job_id}, free)

    def drop_alias(self, scope: str, alias: int | str, job_id: int) -> None:
        """The alias is nobody's any more; harmless if it is another job's by now."""
        try:
            self.table.delete(_alias_key(scope, alias), Clause("its own", "{job} = :job", {":job": job_id}))
        except Refused:
            return

    # -- outbox -------------------------------------------------------------------------------

    def opening_outbox(self, outbox: Outbox) -> AttributeValues:
        """The action that marks a bulk of jobs as not yet sent."""
        return self.table.putting({"kind": "outbox", "name": outbox.name, "jobs": outbox.job_ids}, NOT_THERE)

    def close_outbox(self, name: str) -> None:
        """All messages of a bulk are sent."""
        self.table.delete({"kind": "outbox", "name": name})

    def open_outboxes(self, before_ms: int) -> Iterable[Outbox]:
        """The bulks opened before ``before_ms`` that are not closed, oldest first."""
        rows = self.table.query_all(
            "{kind} = :kind AND {name} < :before", {":kind": "outbox", ":before": f"{before_ms:013d}"}
        )
        return (Outbox(row["name"], row["jobs"]) for row in rows)

    # -- unreadable messages ------------------------------------------------------------------

    def noting_unreadable(self, message_id: str, job_id: int, expires_at_s: int) -> AttributeValues:
        """The action that makes one dead letter, and no more, of an unreadable SQS message."""
        item = {"kind": "unreadable", "name": message_id, "job": job_id, "expires_at_s": expires_at_s}
        return self.table.putting(item, NOT_THERE)

    # -- access keys --------------------------------------------------------------------------

    def put_access_key(self, key: AccessKey) -> None:
        """Remember a new access key or user; raises ``Refused`` if one with its digest is in force."""
        item = {"label": key.name, "scopes": sorted(key.scopes), "created_at_ms": key.created_at_ms}
        if key.user is not None:
            self.table.put(USERS)
            item |= {"user": key.user, "password": key.password}
        self.table.put({"kind": "access_key", "name": key.digest, **item}, NOT_IN_FORCE)

    def has_users(self) -> bool:
        """Whether a user was ever made."""
        return self.table.get(USERS) is not None

    def access_key(self, digest_of_key: str) -> AccessKey | None:
        """The access key with a digest, revoked or not."""
        item = self.table.get({"kind": "access_key", "name": digest_of_key})
        return _access_key(item) if item else None

    def access_keys(self) -> list[AccessKey]:
        """All access keys, revoked ones included, oldest first."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "access_key"}, consistent=True)
        return sorted((_access_key(row) for row in rows), key=lambda key: key.created_at_ms)

    def listed_access_keys(self) -> list[AccessKey]:
        """The same without what is stored of passwords, for functions that may not read it."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "access_key"}, only=LISTED_OF_KEYS)
        return sorted((_access_key(row) for row in rows), key=lambda key: key.created_at_ms)

    def note_key_use(self, digest_of_key: str, now_ms: int) -> None:
        """A key has opened something: noted if that is longer ago than an hour by what is noted, or never was."""
        clause = "attribute_exists({name}) AND (attribute_not_exists({used_at_ms}) OR {used_at_ms} <= :stale)"
        stale = Clause("stale", clause, {":stale": now_ms - KEY_USE_MS})
        with suppress(Refused):
            self.table.apply(
                {"kind": "access_key", "name": digest_of_key}, Change((stale,), sets={"used_at_ms": now_ms})
            )

    def revoke_access_key(self, digest_of_key: str, now_ms: int) -> None:
        """End a key's life; raises ``Refused`` if there is no such key."""
        there = Clause("there", "attribute_exists({name})")
        self.table.apply(
            {"kind": "access_key", "name": digest_of_key}, Change((there,), keeps={"revoked_at_ms": now_ms})
        )

    # -- webhooks -----------------------------------------------------------------------------

    def put_webhook(self, webhook: Webhook) -> None:
        """Remember a new webhook; raises ``Refused`` if there is one with its id."""
        item = {
            "url": webhook.url,
            "events": sorted(webhook.events),
            "types": sorted(webhook.types),
            "format": webhook.format.value,
            "secret": webhook.secret,
            "created_at_ms": webhook.created_at_ms,
        }
        self.table.put({"kind": "webhook", "name": webhook.id, **item}, NOT_THERE)

    def webhooks(self, *, consistent: bool = True) -> list[Webhook]:
        """All webhooks, oldest first; by default as of the last write."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "webhook"}, consistent=consistent)
        return sorted((_webhook(row) for row in rows), key=lambda webhook: (webhook.created_at_ms, webhook.id))

    def listed_webhooks(self) -> list[Webhook]:
        """The same without secrets, for functions that may not read them."""
        rows = self.table.query_all("{kind} = :kind", {":kind": "webhook"}, only=LISTED_OF_WEBHOOKS)
        found = (_webhook({**row, "secret": ""}) for row in rows)
        return sorted(found, key=lambda webhook: (webhook.created_at_ms, webhook.id))

    def rotate_webhook(self, webhook_id: str, secret: str, former_until_ms: int) -> Webhook:
        """Give a webhook another secret, and let the present one sign, too, until then; returns the webhook.

        Raises ``Refused`` if there is none with this id.
        """
        there = Clause("there", "attribute_exists({name})")
        sets = {"secret": secret, "former_until_ms": former_until_ms}
        change = Change((there,), sets=sets, copies={"former_secret": "secret"})
        return _webhook(self.table.update({"kind": "webhook", "name": webhook_id}, change))

    def delete_webhook(self, webhook_id: str) -> None:
        """Forget a webhook; raises ``Refused`` if there is none with this id."""
        there = Clause("there", "attribute_exists({name})")
        self.table.delete({"kind": "webhook", "name": webhook_id}, there)

    # -- the clock ----------------------------------------------------------------------------

    def note_tick(self, now_ms: int) -> Mapping[str, int]:
        """The clock ran to its end; returns what ``clock`` does."""
        return self.table.update(CLOCK, Change((), sets={"at_ms": now_ms}))

    def note_step(self, step: str, now_ms: int) -> None:
        """A step of the clock that is not for every tick ran to its end."""
        self.table.apply(CLOCK, Change((), sets={step: now_ms}))

    def clock(self) -> Mapping[str, int]:
        """When the clock last ran to its end (``at_ms``), and each of the steps that are not for every tick."""
        return self.table.get(CLOCK, consistent=False) or {}

    def last_tick_ms(self) -> int | None:
        """When the clock last ran to its end."""
        at_ms: int | None = self.clock().get("at_ms")
        return at_ms


def digest(text: str) -> str:
    """A key of fixed length for a text of any length."""
    return hashlib.sha256(text.encode()).hexdigest()


def _lanes_in(topic: str, item: Mapping[str, Any]) -> list[Lane]:
    """The lanes that an item names, once each; for a while lanes with a step were noted as bands were."""
    noted = (name.partition("_") for name in item if name.startswith((BAND_PREFIX, STEP_PREFIX)))
    labels = {label for _, _, label in noted if label in LABELS}  # a later release may know more
    return [Lane.labelled(topic, label) for label in sorted(labels)]


def _alias_key(scope: str, alias: int | str) -> dict[str, str]:
    return {"kind": f"alias#{scope}", "name": str(alias)}


def _access_key(item: dict[str, Any]) -> AccessKey:
    return AccessKey(
        name=item["label"],
        scopes=frozenset(item["scopes"]),
        digest=item["name"],
        created_at_ms=item["created_at_ms"],
        revoked_at_ms=item.get("revoked_at_ms"),
        user=item.get("user"),
        password=item.get("password"),
        used_at_ms=item.get("used_at_ms"),
    )


def _webhook(item: dict[str, Any]) -> Webhook:
    return Webhook(
        id=item["name"],
        url=item["url"],
        events=frozenset(EventType(name) for name in item["events"]),
        types=frozenset(item["types"]),
        format=Format(item.get("format", Format.TASKYARD)),
        secret=item["secret"],
        former_secret=item.get("former_secret", ""),
        former_until_ms=item.get("former_until_ms", 0),
        created_at_ms=item["created_at_ms"],
    )
