"""Tenants: on whose behalf a job is done. Those of one lane share it, so that none waits behind another's backlog.

A tenant is what SQS takes as a ``MessageGroupId``, which is how it travels (Amazon SQS API reference, SendMessage).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from typing import TypeVar

from chalicelib.core.errors import InvalidInput

Item = TypeVar("Item")

TENANT_MAX_CHARS = 128
TENANT = r"^[!-~]+$"
TENANT_EXPECTED = f"1 to {TENANT_MAX_CHARS} letters, digits and punctuation marks of ASCII, without blanks"


def tenant_of(field_name: str, given: object) -> str:
    """A tenant's key, as it is given. Raises ``InvalidInput``."""
    if not isinstance(given, str) or len(given) > TENANT_MAX_CHARS or re.fullmatch("[!-~]+", given) is None:
        raise InvalidInput("this can be no tenant", field=field_name, expected=TENANT_EXPECTED, got=given)
    return given


def in_turns(
    items: Iterable[Item], tenant_of: Callable[[Item], str | None], age_of: Callable[[Item], int]
) -> list[Item]:
    """``items``, as a fair queue handed them out, so that their tenants take turns, each with its own by ``age_of``.

    Whoever has the fewest comes first, of as many each whose item was handed out first: the queue knows who was served
    last. What has no tenant is one tenant's. Of a2 a1 b1 a3 it makes b1 a1 a2 a3; b1 a1 stays, though a1 is older.
    """
    own: dict[str | None, list[Item]] = {}
    for item in items:
        own.setdefault(tenant_of(item), []).append(item)
    lines = ([[item] for item in sorted(theirs, key=age_of)] for theirs in sorted(own.values(), key=len))
    return [*chain.from_iterable(chain.from_iterable(zip_longest(*lines, fillvalue=[])))]
