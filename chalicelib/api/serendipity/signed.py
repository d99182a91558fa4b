"""Who has signed a request: the application whose secret its headers prove, once for each text."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from chalicelib.core.applications import APP_KEY, UNSIGNED, Application, SignedHeaders, digest_of, refusal
from chalicelib.http.exchange import Incoming
from chalicelib.http.problems import Unauthorized

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

HEADERS = {
    "app_key": "The application's key; app-key is the same, for proxies that drop names with an underscore",
    "nonce": "1 to 128 random letters, digits and ._~+/=-, never used again",
    "timestamps": "Now: ten digits of unix seconds, or YYYY-MM-DD HH:MM:SS in the application's time zone",
    "payload": "The MD5 digest of the body as sent, in lower-case hex",
    "signature": "Base64 of the lower-case hex HMAC-SHA256 of timestamps + nonce + payload, the key is the secret",
}


def signer(yard: Yard, request: Incoming, raw_body: bytes) -> Application:
    """The application that has signed a request, whose signed text is used up now. Raises ``Unauthorized``.

    A GET has no body; its payload may cover the query instead, as ``signed_query`` writes it.
    """
    given = _given(request)
    application = yard.applications.find(given.app_key) if APP_KEY.fullmatch(given.app_key) else None
    covering = {digest_of(raw_body), *([digest_of(signed_query(request))] if request.method == "GET" else [])}
    reason = refusal(application, given, covering, yard.now_ms())
    if application is None or reason is not None:
        raise Unauthorized(reason or UNSIGNED, remedy="see docs/serendipity.md for what is signed")
    if application.replay_protection and not yard.applications.use(
        application.app_key, given.text, yard.token(), yard.now_ms() // 1_000
    ):
        raise Unauthorized("it was taken before", remedy="sign each request anew")
    return application


def signed_query(request: Incoming) -> str:
    """The query in one form: its pairs in the order of their names, as a form is encoded."""
    pairs = sorted((name, value) for name, values in request.query.items() for value in values)
    return urlencode(pairs, errors="replace")


def _given(request: Incoming) -> SignedHeaders:
    headers = {name: value for name, value in request.headers.items() if value.isascii()}
    app_key = headers.get("app_key") or headers.get("app-key", "")
    return SignedHeaders(app_key, *(headers.get(name, "") for name in ("nonce", "timestamps", "payload", "signature")))
