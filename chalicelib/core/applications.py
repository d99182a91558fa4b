"""Applications: programs elsewhere that sign what they ask for, and what is delivered to them. Serendipity-Job's rules.

    signature = base64(lower-case hex HMAC-SHA256(secret, timestamps + nonce + payload))

``payload`` is an MD5 digest in hex. Serendipity-Job issues one for each application, the digest of its name, so that a
header which somebody has seen opens every other request, too. Here it is the digest of what is sent, unless the
application was created without protection against replays.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import string
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

from chalicelib.core.errors import InvalidInput
from chalicelib.core.ids import RandomBytes
from chalicelib.core.zones import EPOCH, FIRST_YEAR, LAST_YEAR, MILLISECOND, at_wall

APP_KEY_CHARS, SECRET_CHARS, NONCE_CHARS = 16, 32, 16
APP_KEY = re.compile(rf"[A-Za-z0-9]{{{APP_KEY_CHARS}}}")
NONCE = re.compile(r"[A-Za-z0-9._~+/=-]{1,128}")
FRESH_S = 300  # how far a request's time may be from now
USED_KEPT_S = 2 * FRESH_S + 60  # a time that is 300 s ahead is fresh for 600 s
STEP_S, STEP_MAX_S = 5, 3_600
RETRIES, RETRIES_MAX = 5, 10
CONCURRENCY, CONCURRENCY_MAX = 1, 100  # one that does not answer holds one worker
ROTATION_S, ROTATION_MAX_S = 86_400, 30 * 86_400

DELIVERY = "application.delivery"  # the type of the tasks that are posted to an application
TARGET = "application"  # the target type of an application's task, whose target id is its taskNo

UNSIGNED = "the signature is none of an application that there is"
NOBODYS_SECRET = "of an application that is not there"  # noqa: S105  # so that its refusal takes as long as another's

_ALPHABET = string.ascii_letters + string.digits
_SECONDS = re.compile(r"[0-9]{1,11}")
_SENT = re.compile(r"[0-9]{10}|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What is stored of an application. Times are in milliseconds since 1970."""

    app_key: str
    name: str
    link_url: str  # where its tasks are delivered
    step_s: int = STEP_S  # retry n of a task comes n times so much after the failure before it
    retry_total: int = RETRIES
    remark: str = ""
    secret: str = field(repr=False)
    old_secret: str | None = field(default=None, repr=False)  # the one before, while a rotation goes on
    old_until_ms: int = 0  # and until when
    replay_protection: bool = True
    concurrency: int = CONCURRENCY  # how many deliveries to it run at the same time
    zone: str = "UTC"  # of the times that it writes without an offset
    created_at_ms: int
    disabled: bool = False
    resting_until_ms: int = 0  # nothing is delivered before: its receiver asked for it, or did not answer
    in_vain: int = 0  # how many deliveries in a row were not answered; of several at once, one counts

    def secrets(self, now_ms: int) -> tuple[str, ...]:
        """The secrets that are in force; the one that what is delivered is signed with is the last."""
        if self.old_secret is None or now_ms >= self.old_until_ms:
            return (self.secret,)
        return (self.secret, self.old_secret)


@dataclass(frozen=True, slots=True)
class SignedHeaders:
    """The five headers of a signed request."""

    app_key: str
    nonce: str
    timestamps: str  # ten digits of unix seconds, or YYYY-MM-DD HH:MM:SS in the application's zone
    payload: str
    signature: str = field(repr=False)

    @property
    def text(self) -> str:
        """What is signed. Nothing stands between its parts, so it is the text that is taken once, not the nonce."""
        return self.timestamps + self.nonce + self.payload

    def to_send(self) -> dict[str, str]:
        """The headers by their names; the key under two, as many proxies drop names with an underscore."""
        return {**asdict(self), "app-key": self.app_key}


def signature_of(secret: str, timestamps: str, nonce: str, payload: str) -> str:
    """The signature over three texts."""
    signed = hmac.new(secret.encode(), f"{timestamps}{nonce}{payload}".encode(), hashlib.sha256)
    return base64.b64encode(signed.hexdigest().encode()).decode()


def sign(app_key: str, secret: str, payload: str, now_ms: int, random_bytes: RandomBytes) -> SignedHeaders:
    """Fresh headers for a ``payload``."""
    timestamps, nonce = str(now_ms // 1_000), random_text(NONCE_CHARS, random_bytes)
    return SignedHeaders(app_key, nonce, timestamps, payload, signature_of(secret, timestamps, nonce, payload))


def digest_of(content: bytes | str) -> str:
    """The payload that covers ``content``: its MD5 digest, 32 hexadecimal digits."""
    content = content.encode() if isinstance(content, str) else content
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def random_text(chars: int, random_bytes: RandomBytes) -> str:
    """So many random letters and digits."""
    text, even = "", 256 - 256 % len(_ALPHABET)
    while len(text) < chars:
        text += "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in random_bytes(chars) if byte < even)
    return text[:chars]


def is_secret(presented: str, secrets: Iterable[str]) -> bool:
    """Whether ``presented`` is one of ``secrets``. How long it takes does not show where it differs."""
    return any(hmac.compare_digest(presented.encode(), secret.encode()) for secret in secrets)


def refusal(
    application: Application | None, given: SignedHeaders, payloads: Collection[str], now_ms: int
) -> str | None:
    """Why a request is not taken as the application's; ``None``: it is, if its text was not taken before.

    ``payloads`` cover the request. Only to whom has the secret it says what else is wrong.
    """
    secrets = (NOBODYS_SECRET,) if application is None else application.secrets(now_ms)
    fits = [signature_of(secret, given.timestamps, given.nonce, given.payload) for secret in secrets]
    if not is_secret(given.signature, fits) or application is None:
        return UNSIGNED
    if application.disabled:
        return "the application is disabled"
    if NONCE.fullmatch(given.nonce) is None:
        return "the nonce is not 1 to 128 letters, digits and ._~+/=-"
    if not application.replay_protection:
        payloads = {*payloads, digest_of(application.name)}
    if given.payload not in payloads:
        return "the payload is not the MD5 digest of the body, in lower-case hex"
    sent_ms = moment_ms(given.timestamps, application.zone) if _SENT.fullmatch(given.timestamps) else None
    if sent_ms is None or abs(now_ms - sent_ms) > FRESH_S * 1_000:
        return f"timestamps is not within {FRESH_S} s of now, as ten digits of unix seconds or YYYY-MM-DD HH:MM:SS"
    return None


def moment_ms(written: object, zone: str) -> int | None:
    """A time as Serendipity-Job's clients write it, in milliseconds since 1970; ``None`` for what is none.

    Unix seconds as a number or its digits, or ISO 8601, with a space for the T perhaps; without an offset it is of the
    ``zone``.
    """
    if isinstance(written, int) and not isinstance(written, bool):
        written = str(written)
    if not isinstance(written, str):
        return None
    if _SECONDS.fullmatch(written):
        return int(written) * 1_000
    try:
        moment = datetime.fromisoformat(written)
        if not FIRST_YEAR < moment.year < LAST_YEAR:
            return None
        return at_wall(zone, moment) if moment.tzinfo is None else (moment - EPOCH) // MILLISECOND
    except (ValueError, OverflowError, InvalidInput):
        return None


def written(at_ms: int) -> str:
    """A point in time as Serendipity-Job writes it, in UTC: ``2021-07-27 17:30:30``."""
    return f"{datetime.fromtimestamp(at_ms // 1_000, UTC):%Y-%m-%d %H:%M:%S}"
