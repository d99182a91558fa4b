"""Passwords: what is stored of one, and whether one is right."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.passwords import NOBODYS, checked_password, checked_user, is_right, stretched

SALT = bytes(range(16))


def test_what_is_stored_is_scrypt_with_its_parameters_and_salt() -> None:
    made = hashlib.scrypt(b"correct horse", salt=SALT, n=16_384, r=8, p=1, dklen=32)
    expected = f"scrypt$16384$8$1${base64.b64encode(SALT).decode()}${base64.b64encode(made).decode()}"
    assert stretched("correct horse", SALT) == expected
    assert is_right("correct horse", expected)


def test_what_was_stored_with_other_parameters_stays_right() -> None:
    made = hashlib.scrypt(b"correct horse", salt=b"salt", n=1_024, r=4, p=2, dklen=64)
    stored = f"scrypt$1024$4$2${base64.b64encode(b'salt').decode()}${base64.b64encode(made).decode()}"
    assert is_right("correct horse", stored)
    assert not is_right("correct mule", stored)


@settings(max_examples=5, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_nothing_but_the_password_is_right(one: str, other: str) -> None:
    one, other = (text.encode("utf-8", "replace").decode() for text in (one, other))
    stored = stretched(one, SALT)
    assert is_right(one, stored)
    assert is_right(other, stored) == (stretched(other, SALT) == stored)
    assert not is_right(one, NOBODYS)


@pytest.mark.parametrize("name", ["", " ", "a:b", "a\nb", "n" * 65, "\ud800"])
def test_names_that_no_user_has(name: str) -> None:
    with pytest.raises(InvalidInput, match="1 to 64 characters on one line, without a colon"):
        checked_user(name)


@pytest.mark.parametrize("password", ["", "7 chars", " " * 8, "tab\tulator", "x" * 257, "\ud800" * 8])
def test_what_is_no_password_is_not_told(password: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_password(password)
    assert (refused.value.expected, refused.value.got) == ("8 to 256 characters on one line", None)


def test_names_and_passwords() -> None:
    assert (checked_user("Zoë W."), checked_password("pass: wörter")) == ("Zoë W.", "pass: wörter")
