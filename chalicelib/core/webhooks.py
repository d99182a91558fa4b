"""Webhooks: whom to tell of events over HTTP, how a request proves where it comes from, and where it may go.

A request is signed as Standard Webhooks 1.0 says: ``webhook-signature`` is ``v1,`` and the base64 of the HMAC-SHA256 of
``<webhook-id>.<webhook-timestamp>.<body>``, under the bytes that the webhook's secret encodes.
"""

from __future__ import annotations

import base64
import hmac
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from chalicelib.core.errors import InvalidInput
from chalicelib.core.ids import RandomBytes
from chalicelib.core.job_events import EventType, JobEvent

PREFIX = "whsec_"
KEY_BYTES = 32  # 24 to 64 are allowed
ID_BYTES = 6
URL_MAX_CHARS = 2_048
RETRY_AFTER_MAX_S = 3_600
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
WEBHOOK_HEADER = "Taskyard-Webhook"  # tells a URL of several webhooks whose secret it is

_PRINTABLE = re.compile(r"[!-~]+")  # ASCII without spaces
_DIGITS = re.compile(r"[0-9]{1,20}")
_ODD_IPV4 = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")  # no name ends in a number: what does is read as an address
_NAT64 = IPv6Network("64:ff9b::/96")  # an IPv4 address is in its last 32 bits: RFC 6052
_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is given out for the internet: RFC 4291, 2.4
_SPECIAL = (  # of what is left then, by IANA's registries of special-purpose addresses
    IPv6Network("2001::/23"),  # protocols, among them Teredo, whose addresses lead into an IPv4 network
    IPv6Network("2001:db8::/32"),
    IPv6Network("3fff::/20"),
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
)


class Format(StrEnum):
    """What the body of a request is."""

    TASKYARD = "taskyard"
    CLOUDEVENTS = "cloudevents"  # CloudEvents 1.0, with the other as its data


CONTENT_TYPES = {Format.TASKYARD: "application/json", Format.CLOUDEVENTS: "application/cloudevents+json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address that is told. ``events`` and ``types`` say of what; empty is everything.

    ``former_secret`` signs, too, until ``former_until_ms`` (since 1970).
    """

    id: str
    url: str
    events: frozenset[EventType] = frozenset()
    types: frozenset[str] = frozenset()  # task types and topics
    format: Format = Format.TASKYARD
    secret: str = field(repr=False)
    former_secret: str = field(default="", repr=False)
    former_until_ms: int = 0
    created_at_ms: int

    def wants(self, event: JobEvent) -> bool:
        """Whether it is told of an event."""
        return (not self.events or event.what in self.events) and (not self.types or event.type in self.types)

    def signed(self, request_id: str, body: bytes, now_ms: int) -> dict[str, str]:
        """The headers that prove a request sent at ``now_ms`` (since 1970)."""
        at_s = now_ms // 1_000
        secrets = [self.secret, *([self.former_secret] if now_ms < self.former_until_ms else [])]
        signatures = " ".join(signature(secret, request_id, at_s, body) for secret in secrets)
        return {
            ID_HEADER: request_id,
            TIMESTAMP_HEADER: str(at_s),
            SIGNATURE_HEADER: signatures,
            WEBHOOK_HEADER: self.id,
        }


def new_id(random_bytes: RandomBytes) -> str:
    """The id of a new webhook: 12 hexadecimal digits."""
    return random_bytes(ID_BYTES).hex()


def new_secret(random_bytes: RandomBytes) -> str:
    """A fresh secret: ``whsec_`` and the base64 of 32 bytes."""
    return PREFIX + base64.b64encode(random_bytes(KEY_BYTES)).decode("ascii")


def signature(secret: str, request_id: str, at_s: int, body: bytes) -> str:
    """What a secret says of a request sent at ``at_s`` (seconds since 1970): ``v1,`` and 44 characters of base64."""
    signed = f"{request_id}.{at_s}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(_key(secret), signed, 'sha256')).decode('ascii')}"


def _key(secret: str) -> bytes:
    """The bytes that a secret encodes; the first secrets were base64url without padding."""
    text = secret.removeprefix(PREFIX).replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4))


def checked_url(url: str, *, local: bool) -> str:
    """``url``, if it may be a webhook's; raises ``InvalidInput``.

    Unless ``local``, it is https, and names no address that is not public. A name is looked up when it is called.
    """
    if not _PRINTABLE.fullmatch(url) or len(url) > URL_MAX_CHARS:
        raise _bad_url(f"at most {URL_MAX_CHARS} printable ASCII characters", "something else")
    parts = split_url(url)
    schemes = ("http", "https") if local else ("https",)
    if parts.scheme not in schemes:
        raise _bad_url(f"{' or '.join(schemes)}://", f"{parts.scheme}:" if parts.scheme else "no scheme")
    if parts.username is not None or parts.password is not None:
        raise _bad_url("no user name or password in it", "one of them")
    if parts.fragment:
        raise _bad_url("no fragment", f"#{parts.fragment}")
    host = parts.hostname
    if not host:
        raise _bad_url("a host", "none")
    if not local:
        _check_host(host.rstrip("."))
    return url


def checked_events(names: Iterable[str]) -> frozenset[EventType]:
    """``names`` as events; raises ``InvalidInput`` for one that never happens."""
    try:
        return frozenset(EventType(name) for name in names)
    except ValueError as error:
        unknown = [name for name in names if name not in set(EventType)]
        raise InvalidInput(
            "nothing of this name happens to a job",
            field="events",
            expected=", ".join(EventType),
            got=", ".join(unknown),
        ) from error


def split_url(url: str) -> SplitResult:
    """The parts of a URL; raises ``InvalidInput`` where its host or port is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise _bad_url("a host, and a port of 0 to 65535 if any", str(error)) from error
    return parts


def retry_after_s(text: str | None, now_s: float) -> int | None:
    """How long a Retry-After header asks to wait, 0 to 3,600 s; ``None`` where it is absent or neither form of it.

    It is a number of seconds, or the moment itself as an HTTP date (RFC 9110, 10.2.3); ``now_s`` is since 1970.
    """
    if text is None:
        return None
    if _DIGITS.fullmatch(text.strip()):
        return min(int(text.strip()), RETRY_AFTER_MAX_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, min(math.ceil(aware.timestamp() - now_s), RETRY_AFTER_MAX_S))


def is_public(address: str) -> bool:
    """Whether an IP address is somebody's on the internet: not private, loopback, link-local, multicast or the like.

    An IPv6 address is, if it is in 2000::/3 and has no special purpose. Of one that carries an IPv4 address
    (IPv4-mapped, 64:ff9b::/96, 6to4), that one counts. A text that is no address is not public.
    """
    try:
        found = _carried(ip_address(address.partition("%")[0]))
    except ValueError:
        return False
    ordinary = found in _UNICAST if isinstance(found, IPv6Address) else found.is_global and not found.is_multicast
    return ordinary and not any(found in network for network in _SPECIAL)


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _check_host(host: str) -> None:
    """Raises ``InvalidInput`` for an address that is not public, in whatever form, and a name for this machine."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        if _ODD_IPV4.fullmatch(host):
            raise _bad_url("a public address, of IPv4 as four decimal numbers", host) from None
        closed = host == "localhost" or host.endswith(".localhost")
    else:
        closed = not is_public(host)
    if closed:
        raise _bad_url("a public address", host)


def _bad_url(expected: str, got: str) -> InvalidInput:
    return InvalidInput("this is no URL for a webhook", field="url", expected=expected, got=got)
