"""What the tests of the console's routes start from: an installation with keys, and one key for each need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from chalicelib.core.access import AccessKey, digest_of, new_key
from tests.support.service import Service, service

Headers = dict[str, str]


@pytest.fixture(scope="module")
def prod() -> Iterator[Service]:
    """An installation where a key is needed."""
    with service(stage="prod") as made:
        yield made


@pytest.fixture(scope="module")
def key(prod: Service) -> Callable[..., Headers]:
    """The header of a new key with scopes, in force in ``prod``."""

    def made(*scopes: str) -> Headers:
        secret = new_key(os.urandom)
        prod.yard.directory.put_access_key(
            AccessKey(name="ann", scopes=frozenset(scopes), digest=digest_of(secret), created_at_ms=prod.clock.ms)
        )
        return {"Authorization": f"Bearer {secret}"}

    return made
