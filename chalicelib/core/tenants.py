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


def in_turns(items: Iterable[Item], tenant_of: Callable[[Item], str | None]) -> list[Item]:
    """``items`` so that their tenants take turns, whoever has the fewest first; those of one tenant stay in order.

    What has no tenant is one tenant's. Of a1 a2 b1 a3 it makes b1 a1 a2 a3.
    """
    own: dict[str | None, list[Item]] = {}
    for item in items:
        own.setdefault(tenant_of(item), []).append(item)
    rounds = zip_longest(*([[item] for item in theirs] for theirs in sorted(own.values(), key=len)), fillvalue=[])
    return [*chain.from_iterable(chain.from_iterable(rounds))]
