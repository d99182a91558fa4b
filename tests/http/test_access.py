"""Access keys: what opens what, and that none is ever shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from chalicelib.core import access
from chalicelib.core.access import AccessKey
from chalicelib.core.errors import InvalidInput
from chalicelib.http.access import ANONYMOUS, LOCAL, Identity, KeyUses, RememberedKeys, authenticate, require_scope
from chalicelib.http.basic import Users
from chalicelib.http.exchange import Caller
from chalicelib.http.problems import Forbidden, Unauthorized
from chalicelib.http.routes import Router
from chalicelib.settings import Settings
from tests.support.edge import REMOTE, app_of, call


def key_of(number: int) -> str:
    """A key made from known bytes."""
    return access.new_key(lambda count: bytes([number]) * count)


def stored(number: int, *scopes: str, revoked_at_ms: int | None = None) -> AccessKey:
    """What is stored of ``key_of(number)``."""
    return AccessKey(
        name=f"key {number}",
        scopes=access.checked_scopes(scopes),
        digest=access.digest_of(key_of(number)),
        created_at_ms=1,
        revoked_at_ms=revoked_at_ms,
    )


KEYS = {
    key.digest: key
    for key in (stored(1, "message", "dlq"), stored(2, "*"), stored(3, "*", revoked_at_ms=2), stored(4, "dlq:manage"))
}

NO_USERS = Users(lambda: False, KEYS.get)
router = Router("toy")


@router.get("/open", scope=None)
def anyone(caller: Caller) -> dict[str, Any]:
    """Open to all."""
    return {"name": caller.name, "scopes": sorted(caller.scopes)}


@router.post("/replay", scope="dlq:manage")
def manage(caller: Caller) -> dict[str, Any]:
    """Needs dlq:manage."""
    return {"name": caller.name, "scopes": sorted(caller.scopes)}


@router.post("/tell", scope="task", signed=True)
def report(caller: Caller) -> dict[str, Any]:
    """Needs a signature, or else the scope task."""
    return {"name": caller.name, "scopes": sorted(caller.scopes)}


def ask(authorization: str | None, *, settings: Settings = REMOTE) -> Any:
    """The answer of ``POST /replay``."""
    headers = {"Authorization": authorization} if authorization is not None else {}
    return call(app_of(router, settings=settings, lookup=KEYS.get), "POST", "/replay", headers=headers)


def test_stage_local_needs_no_key() -> None:
    assert ask(None, settings=Settings()).json == {"name": "local", "scopes": ["*"]}
    assert ask("Bearer nonsense", settings=Settings()).status == 200


def test_a_key_with_the_scope_opens_and_names_the_caller() -> None:
    assert ask(f"Bearer {key_of(4)}").json == {"name": "key 4", "scopes": ["dlq:manage"]}
    assert ask(f"bearer {key_of(2)}").json == {"name": "key 2", "scopes": ["*"]}


def test_a_public_route_is_open_and_looks_nothing_up() -> None:
    def fail(digest: str) -> AccessKey | None:
        raise AssertionError(digest)

    reply = call(app_of(router, settings=REMOTE, lookup=fail), "GET", "/open", headers={"Authorization": "Bearer x"})
    assert reply.json == {"name": "anonymous", "scopes": []}


@pytest.mark.parametrize(
    ("authorization", "identity"),
    [
        (None, ANONYMOUS),
        ("Bearer x", ANONYMOUS),
        (f"Bearer {key_of(3)}", ANONYMOUS),  # revoked
        (f"Bearer {key_of(1)}", ANONYMOUS),  # without the scope
        (f"Bearer {key_of(2)}", Identity("key 2", frozenset({"*"}))),
    ],
)
def test_a_signed_route_is_served_whoever_asks_and_told_who_that_is(
    authorization: str | None, identity: Identity
) -> None:
    headers = {"Authorization": authorization} if authorization is not None else {}
    reply = call(app_of(router, settings=REMOTE, lookup=KEYS.get), "POST", "/tell", headers=headers)
    assert reply.json == {"name": identity.name, "scopes": sorted(identity.scopes)}


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        key_of(2),
        f"Bearer  {key_of(2)}",
        f"Bearer {key_of(2)} ",
        f"Bearer {key_of(2)}x",
        f"Bearer {key_of(2).lower()}",
        "Bearer ty_é",
        f"Bearer {key_of(9)}",  # unknown
        f"Bearer {key_of(3)}",  # revoked
    ],
)
def test_without_a_key_in_force_the_answer_is_always_the_same_401(authorization: str | None) -> None:
    reply = ask(authorization)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, 'Bearer realm="taskyard"')
    assert reply.json == {
        "statusCode": 401,
        "error": "Unauthorized",
        "message": "an access key is needed",
        "remedy": "send the header Authorization: Bearer <key> with a key that is in force, or a user's with Basic",
    }


def test_a_key_without_the_scope_is_told_which() -> None:
    reply = ask(f"Bearer {key_of(1)}")
    assert (reply.status, reply.json["message"]) == (403, "this access key lacks the scope dlq:manage")
    challenge = 'Bearer realm="taskyard", error="insufficient_scope", scope="dlq:manage"'
    assert reply.headers["WWW-Authenticate"] == challenge


def test_access_is_decided_before_the_body_is_read() -> None:
    app = app_of(router, settings=REMOTE, lookup=KEYS.get)
    assert call(app, "POST", "/replay", body="{" * 9, headers={"Content-Type": "text/plain"}).status == 401


def test_a_key_is_neither_logged_nor_told(caplog: pytest.LogCaptureFixture) -> None:
    def broken(digest: str) -> AccessKey | None:
        raise RuntimeError(f"cannot look up {digest} for Bearer {key_of(2)}")

    with caplog.at_level(logging.DEBUG):
        app = app_of(router, settings=REMOTE, lookup=broken)
        reply = call(app, "POST", "/replay", headers={"Authorization": f"Bearer {key_of(2)}"})
    assert reply.status == 500
    assert key_of(2) not in caplog.text + reply.text
    assert KEYS[access.digest_of(key_of(2))].digest not in repr(stored(2, "*"))


def test_a_look_up_that_answers_another_key_opens_nothing() -> None:
    with pytest.raises(Unauthorized):
        authenticate({"authorization": f"Bearer {key_of(9)}"}, "dlq", lambda _: stored(2, "*"), NO_USERS, REMOTE)


@pytest.mark.parametrize(
    ("headers", "scope", "settings", "identity"),
    [
        ({}, None, REMOTE, ANONYMOUS),
        ({}, "task", Settings(), LOCAL),
        ({"authorization": f"Bearer {key_of(1)}"}, "dlq", REMOTE, Identity("key 1", frozenset({"message", "dlq"}))),
    ],
)
def test_identities(headers: Mapping[str, str], scope: str | None, settings: Settings, identity: Identity) -> None:
    assert authenticate(headers, scope, KEYS.get, NO_USERS, settings) == identity


def test_who_is_let_in_is_heard_of_and_nobody_else() -> None:
    heard: list[str] = []

    def ask(number: int, scope: str) -> None:
        headers = {"authorization": f"Bearer {key_of(number)}"}
        authenticate(headers, scope, KEYS.get, NO_USERS, REMOTE, lambda key: heard.append(key.name))

    ask(1, "dlq")
    with pytest.raises(Forbidden):
        ask(1, "task")
    with pytest.raises(Unauthorized):
        ask(9, "dlq")
    assert heard == ["key 1"]


def test_a_use_is_noted_once_an_hour_and_process() -> None:
    noted: list[str] = []
    now_s = [0.0]
    uses = KeyUses(noted.append, clock_s=lambda: now_s[0])
    one, other = stored(1, "*"), stored(2, "*")
    for at_s in (0.0, 1.0, 3_599.0, 3_600.0):
        now_s[0] = at_s
        uses(one)
    uses(other)
    assert noted == [one.digest, one.digest, other.digest]


# -- remembered keys --------------------------------------------------------------------------------------------------


def remembering(lookup: Callable[[str], AccessKey | None]) -> tuple[RememberedKeys, list[float], list[str]]:
    """A remembered look-up, the clock that drives it and what it asked for."""
    now_s, asked = [100.0], []

    def counted(digest: str) -> AccessKey | None:
        asked.append(digest)
        return lookup(digest)

    return RememberedKeys(counted, clock_s=lambda: now_s[0], keep_s=30), now_s, asked


def test_a_key_is_looked_up_once_in_thirty_seconds() -> None:
    digest = access.digest_of(key_of(1))
    keys, now_s, asked = remembering(KEYS.get)
    for now_s[0] in (100.0, 129.9):
        assert keys(digest) == KEYS[digest]
    assert len(asked) == 1
    now_s[0] = 130.0
    assert keys(digest) == KEYS[digest]
    assert len(asked) == 2


def test_a_deleted_key_is_forgotten_and_an_unknown_one_not_remembered() -> None:
    known = {"d": stored(1, "dlq")}
    keys, now_s, asked = remembering(known.get)
    assert keys("d") is known.pop("d")
    now_s[0] = 130.0
    assert [keys("d"), keys("d"), keys("e")] == [None, None, None]
    assert asked == ["d", "d", "d", "e"]


def test_only_so_many_keys_are_remembered() -> None:
    keys, _, asked = remembering(lambda _: stored(1, "dlq"))
    for number in (*range(257), 256, 0):
        keys(str(number))
    assert asked == [*(str(number) for number in range(257)), "0"]


# -- what a key is ----------------------------------------------------------------------------------------------------


def test_a_key_carries_its_random_bytes_and_is_recognised() -> None:
    key = key_of(255)
    assert key == "ty__" + "_" * 41 + "8"
    assert (len(key), access.is_key(key)) == (46, True)
    assert not any(access.is_key(text) for text in ("", key[:-1], key + "\n", key.upper()))


def test_a_digest_is_the_sha256_of_the_key() -> None:
    assert access.digest_of("ty_abc") == "d2019560fc06c2e2aac7124becb6eac8d0c99df9405875002dcc1897f1615f1f"


def test_no_scope_implies_another_but_the_star() -> None:
    assert [access.allows({"dlq"}, scope) for scope in ("dlq", "dlq:manage", "task")] == [True, False, False]
    assert all(access.allows({"*"}, scope) for scope in access.SCOPES)


def test_of_several_scopes_one_is_enough() -> None:
    assert [access.allows({each}, ("task", "message")) for each in ("task", "message", "*", "dlq")] == [
        True,
        True,
        True,
        False,
    ]
    with pytest.raises(Forbidden, match="this access key lacks the scope task or message") as refused:
        require_scope(frozenset({"dlq"}), ("task", "message"))
    assert refused.value.scope == "task message"


def test_scopes_must_exist() -> None:
    assert access.checked_scopes(["dlq", "dlq", "*"]) == {"dlq", "*"}
    for names, got in ((["dlq", "admin", "root"], "admin, root"), ([], "none")):
        with pytest.raises(InvalidInput) as caught:
            access.checked_scopes(names)
        assert (caught.value.field, caught.value.got) == ("scopes", got)
