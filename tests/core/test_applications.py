"""Signatures of applications: the documented formula, and that nothing else passes for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.applications import (
    UNSIGNED,
    Application,
    SignedHeaders,
    digest_of,
    moment_ms,
    random_text,
    refusal,
    sign,
    signature_of,
    written,
)

NOW_MS = 1_627_371_056_000
APP = Application(
    app_key="E3F5l1uKFcXUe1gd",
    name="n",
    link_url="http://127.0.0.1",
    secret="s" * 32,
    created_at_ms=0,
)
texts = st.text(st.characters(codec="utf-8"), max_size=40)


def test_the_documented_headers_have_the_form_of_these() -> None:
    documented = "ZjUyZTE3M2RkMmUyYzY5MTEyYzRhNTFiZmFkOWFjYjZlZGZhMmJkZGUwZTRjYmViZjVkMWExNmQ4M2FiYjQ0Yw=="
    ours = signature_of("s", "1627371056", "nm33An1FX22SAjZK", "57bcd60eefcac9701fd2407080a5a7b0")
    for each in (documented, ours):
        digest = base64.b64decode(each, validate=True).decode()
        assert (len(each), len(digest), digest) == (88, 64, digest.lower())
        assert int(digest, 16) >= 0


@given(texts, texts, texts, texts)
def test_the_formula(secret: str, timestamps: str, nonce: str, payload: str) -> None:
    digest = hmac.new(secret.encode(), (timestamps + nonce + payload).encode(), hashlib.sha256).hexdigest()
    assert signature_of(secret, timestamps, nonce, payload) == base64.b64encode(digest.encode()).decode()


@given(texts, st.sampled_from(["nonce", "timestamps", "payload", "signature"]), texts)
def test_what_is_changed_on_the_way_is_refused(body: str, name: str, other: str) -> None:
    made = sign(APP.app_key, APP.secret, digest_of(body), NOW_MS, os.urandom)
    assert refusal(APP, made, {digest_of(body)}, NOW_MS) is None
    changed = replace(made, **{name: other})
    assert (refusal(APP, changed, {digest_of(body)}, NOW_MS) is None) == (changed == made)


@given(st.integers(-1_000, 1_000))
def test_a_time_is_fresh_for_five_minutes_either_way(offset_s: int) -> None:
    made = sign(APP.app_key, APP.secret, "p", NOW_MS + offset_s * 1_000, os.urandom)
    assert (refusal(APP, made, {"p"}, NOW_MS) is None) == (abs(offset_s) <= 300)


def test_who_has_no_secret_learns_nothing() -> None:
    """Whatever else is wrong: disabled, stale, another body."""
    forged = SignedHeaders(APP.app_key, "n", "0", "p", "x")
    for application in (None, APP, replace(APP, disabled=True)):
        assert refusal(application, forged, {"q"}, NOW_MS) == UNSIGNED


def test_the_two_secrets_of_a_rotation() -> None:
    rotating = replace(APP, secret="new", old_secret="old", old_until_ms=NOW_MS + 1)  # noqa: S106
    assert rotating.secrets(NOW_MS) == ("new", "old")
    assert rotating.secrets(NOW_MS + 1) == ("new",)
    for secret in ("new", "old"):
        assert refusal(rotating, sign("k", secret, "p", NOW_MS, os.urandom), {"p"}, NOW_MS) is None


@pytest.mark.parametrize(
    ("given_", "zone", "expected"),
    [
        ("2021-07-27 17:30:30", "UTC", datetime(2021, 7, 27, 17, 30, 30, tzinfo=UTC)),
        ("2021-07-27 17:30:30", "Asia/Shanghai", datetime(2021, 7, 27, 9, 30, 30, tzinfo=UTC)),
        ("2021-07-27T17:30:30+02:00", "Asia/Shanghai", datetime(2021, 7, 27, 15, 30, 30, tzinfo=UTC)),
        ("2021-07-27", "UTC", datetime(2021, 7, 27, tzinfo=UTC)),
        (1_627_407_030, "Asia/Shanghai", datetime(2021, 7, 27, 17, 30, 30, tzinfo=UTC)),
        ("1627407030", "UTC", datetime(2021, 7, 27, 17, 30, 30, tzinfo=UTC)),
        (0, "UTC", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_times(given_: Any, zone: str, expected: datetime) -> None:
    assert moment_ms(given_, zone) == int(expected.timestamp() * 1_000)


@given(st.one_of(st.text(max_size=30), st.booleans(), st.none(), st.floats(), st.integers()))
def test_what_is_no_time_is_none_and_breaks_nothing(value: Any) -> None:
    found = moment_ms(value, "UTC")
    assert found is None or isinstance(found, int)


@given(st.integers(0, 253_000_000_000))
def test_a_time_is_read_as_it_is_written(at_s: int) -> None:
    at_ms = at_s * 1_000 if at_s < 31_536_000 else at_s  # from 1970, but for its first year
    assert moment_ms(written(at_ms + 31_536_000_000), "UTC") == (at_ms + 31_536_000_000) // 1_000 * 1_000


@given(st.integers(0, 100))
def test_random_texts_have_no_letter_more_often_than_another(chars: int) -> None:
    text = random_text(chars, os.urandom)
    assert (len(text), text.isalnum() or chars == 0, text.isascii()) == (chars, True, True)
