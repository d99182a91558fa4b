"""Basic authentication: which users open what, what is refused, and what a flood of wrong passwords may cost."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core import access, passwords
from chalicelib.core.access import AccessKey
from chalicelib.core.errors import Full
from chalicelib.http import basic
from chalicelib.http.basic import GUESSES_AT_ONCE, Users, credentials_in
from chalicelib.http.exchange import Caller
from chalicelib.http.routes import Router
from tests.support.edge import REMOTE, Reply, app_of, call

PASSWORD = "correct horse: battery"  # noqa: S105
ASKED = 'Basic realm="taskyard", charset="UTF-8", Bearer realm="taskyard"'
KEY = access.new_key(lambda count: b"\1" * count)

router = Router("toy")


@router.post("/replay", scope="dlq:manage")
def manage(caller: Caller) -> dict[str, Any]:
    """Needs dlq:manage."""
    return {"name": caller.name, "scopes": sorted(caller.scopes)}


@router.get("/open", scope=None)
def anyone() -> str:
    """Open to all."""
    return ""


def stretched(password: str, salt: bytes) -> str:
    """What is stored of a password, with parameters that cost next to nothing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(passwords, "COST", 2)
        patched.setattr(passwords, "BLOCK_SIZE", 1)
        return passwords.stretched(password, salt)


def user(name: str, *scopes: str, password: str = PASSWORD, **more: Any) -> AccessKey:
    """What is stored of a user."""
    digest, stored = access.digest_of_user(name), stretched(password, name.encode().ljust(16))
    known = {"name": f"label of {name}", "created_at_ms": 1, **more}
    return AccessKey(scopes=frozenset(scopes), digest=digest, user=name, password=stored, **known)


STORED = {
    each.digest: each
    for each in (
        user("ann", "dlq:manage"),
        user("bob", "task"),
        user("gone", "*", revoked_at_ms=2),
        user("Zoë", "*", password="pa\u00dfw\u00f6rter"),  # noqa: S106
        AccessKey(name="a key", scopes=frozenset("*"), digest=access.digest_of(KEY), created_at_ms=1),
    )
}


def header(name: str, password: str = PASSWORD) -> str:
    """The header that a client sends for a user."""
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


class Clock:
    """Seconds that a test moves."""

    s = 100.0

    def __call__(self) -> float:
        return self.s


class Counted:
    """Users, the clock that drives them, and what they cost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, exist: bool = True) -> None:
        self.clock, self.stretched, self.looked = Clock(), 0, 0
        self.there = exist
        self.users = Users(self._any_user, STORED.get, clock_s=self.clock)
        really = passwords.is_right

        def counted(password: str, stored: str) -> bool:
            self.stretched += 1
            return really(password, stored)

        monkeypatch.setattr(passwords, "is_right", counted)
        monkeypatch.setattr(passwords, "NOBODYS", f"scrypt$2$1$1{passwords.NOBODYS.removeprefix('scrypt$16384$8$1')}")

    def _any_user(self) -> bool:
        self.looked += 1
        return self.there

    def ask(self, authorization: str | None) -> Reply:
        """The answer of ``POST /replay``."""
        headers = {"Authorization": authorization} if authorization is not None else {}
        app = app_of(router, settings=REMOTE, lookup=STORED.get, users=self.users)
        return call(app, "POST", "/replay", headers=headers)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def test_a_user_with_the_scope_and_the_password_is_let_in_and_named(counted: Counted) -> None:
    assert counted.ask(header("ann")).json == {"name": "label of ann", "scopes": ["dlq:manage"]}
    assert counted.ask(header("ann").replace("Basic", "bAsIc")).status == 200
    assert counted.ask(header("Zoë", "paßwörter")).json == {"name": "label of Zoë", "scopes": ["*"]}
    assert counted.ask(f"Bearer {KEY}").json == {"name": "a key", "scopes": ["*"]}


def test_an_accent_may_be_typed_in_two_ways(counted: Counted) -> None:
    assert counted.ask(header("Zoë", "paßwo\u0308rter")).status == 200


def test_a_user_without_the_scope_is_told_which(counted: Counted) -> None:
    reply = counted.ask(header("bob"))
    assert (reply.status, reply.json["message"]) == (403, "this access key lacks the scope dlq:manage")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer x",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic YW5u",  # a name alone
        f"Basic {base64.b64encode(b'ann:').decode()}",
        f"Basic {base64.b64encode(b':' + PASSWORD.encode()).decode()}",
        f"Basic {base64.b64encode(b'ann:' + bytes([255]) * 9).decode()}",  # no UTF-8
        f"Basic {header('ann').partition(' ')[2].rstrip('=')}",
        f"Basic  {header('ann').partition(' ')[2]}",
        "Basic \u00e9\u00e9\u00e9\u00e9",
        f"Basic {'QUFB' * 2_600}",  # 10 KB
        header("ann", "a wrong password"),
        header("ann", PASSWORD.upper()),
        header("ann", f"{PASSWORD}\n"),
        header("ann\0", PASSWORD),
        header("ann", "x" * 257),
        header("n" * 65),
        header("nobody"),
        header("gone"),
        header("a key"),
        header("ann").replace("Basic", "Digest"),
    ],
)
def test_whatever_else_is_sent_the_answer_is_always_the_same_401(counted: Counted, authorization: str | None) -> None:
    reply = counted.ask(authorization)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, ASKED)
    assert reply.json == {
        "statusCode": 401,
        "error": "Unauthorized",
        "message": "an access key is needed",
        "remedy": "send the header Authorization: Bearer <key> with a key that is in force, or a user's with Basic",
    }


@given(st.binary(max_size=300))
def test_no_header_breaks_it(content: bytes) -> None:
    for presented in (content.decode("latin-1"), base64.b64encode(content).decode()):
        found = credentials_in(presented)
        assert found is None or ":".join(found).encode() == base64.b64decode(presented)


def test_until_there_is_a_user_it_is_off_and_nobody_is_asked_for_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch, exist=False)
    for _ in range(3):
        reply = counted.ask(header("ann"))
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="taskyard"')
    assert (counted.stretched, counted.looked) == (0, 1)
    counted.there = True
    counted.clock.s += 1  # the first user is not kept waiting
    assert counted.ask(header("ann")).status == 200
    assert counted.looked == 2


def test_what_is_open_to_all_and_what_a_key_opens_looks_for_no_user(counted: Counted) -> None:
    app = app_of(router, settings=REMOTE, lookup=STORED.get, users=counted.users)
    assert call(app, "GET", "/open", headers={"Authorization": header("ann")}).status == 200
    assert counted.ask(f"Bearer {KEY}").status == 200
    assert (counted.stretched, counted.looked) == (0, 0)


def test_a_right_password_is_stretched_once_in_a_process(counted: Counted) -> None:
    assert [counted.ask(header("ann")).status for _ in range(5)] == [200] * 5
    assert counted.stretched == 1
    assert PASSWORD not in repr(vars(counted.users))


@pytest.mark.parametrize("name", ["ann", "nobody", "gone"])
def test_a_wrong_password_costs_the_same_whoever_is_named(counted: Counted, name: str) -> None:
    counted.ask(header("ann"))
    counted.stretched = 0
    assert [counted.ask(header(name, "a wrong password")).status for _ in range(3)] == [401] * 3
    assert counted.stretched == 3


def test_a_flood_of_wrong_passwords_is_turned_away_and_users_who_are_known_do_not_notice(counted: Counted) -> None:
    assert counted.ask(header("ann")).status == 200
    replies = [counted.ask(header(f"user {number}", "a wrong password")) for number in range(300)]
    assert [reply.status for reply in replies] == [*[401] * (GUESSES_AT_ONCE - 1), *[429] * (301 - GUESSES_AT_ONCE)]
    assert counted.stretched == GUESSES_AT_ONCE
    refused = replies[-1]
    assert (refused.json["message"], refused.headers["Retry-After"]) == (
        "too many passwords were sent that are not known to be right",
        "1",
    )
    assert counted.ask(header("ann")).status == 200
    assert counted.ask(header("bob")).status == 429  # nobody has seen bob here before
    counted.clock.s += 0.5
    assert [counted.ask(header("bob")).status, counted.ask(header("zoe")).status] == [403, 429]


def test_another_password_is_the_only_right_one_once_the_record_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    assert counted.ask(header("bob")).status == 403
    monkeypatch.setitem(STORED, access.digest_of_user("bob"), user("bob", "*", password="another one"))  # noqa: S106
    assert [counted.ask(header("bob")).status, counted.ask(header("bob", "another one")).status] == [401, 200]


def test_only_so_many_passwords_are_known_to_be_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basic, "PROVEN_MAX", 2)
    counted = Counted(monkeypatch)
    names = {"ann": PASSWORD, "bob": PASSWORD, "Zoë": "paßwörter"}
    for name, password in names.items():
        counted.users.signed_in(header(name, password).partition(" ")[2])
    assert counted.stretched == 3
    for name, password in [*names.items()][1:]:
        counted.users.signed_in(header(name, password).partition(" ")[2])
    assert counted.stretched == 3
    counted.users.signed_in(header("ann").partition(" ")[2])
    assert counted.stretched == 4


def test_neither_header_nor_password_is_logged_or_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken(digest: str) -> AccessKey | None:
        raise RuntimeError(f"cannot look up {digest} for {header('ann')}")

    with caplog.at_level(logging.DEBUG):
        app = app_of(router, settings=REMOTE, lookup=broken, users=Users(lambda: True, broken))
        reply = call(app, "POST", "/replay", headers={"Authorization": header("ann")})
    assert reply.status == 500
    for secret in (header("ann").partition(" ")[2], PASSWORD):
        assert secret not in caplog.text + reply.text
    stored = STORED[access.digest_of_user("ann")]
    assert stored.password is not None
    assert stored.password not in repr(stored)


def _guess(users: Users) -> Callable[[], object]:
    return lambda: users.signed_in(header("nobody").partition(" ")[2])


def test_guesses_are_gained_at_two_a_second_up_to_twenty(counted: Counted) -> None:
    guess = _guess(counted.users)
    for gained_s, expected in ((0, 20), (3, 6), (3_600, 20)):
        counted.clock.s += gained_s
        for _ in range(expected):
            assert guess() is None
        with pytest.raises(Full):
            guess()
