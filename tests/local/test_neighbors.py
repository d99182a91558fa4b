"""Who is a noisy neighbor in a queue, and for how long."""

from __future__ import annotations

import gc
from weakref import WeakSet

from chalicelib.local.neighbors import LATELY_S, LATEST, Neighbors


def test_one_who_is_alone_is_none() -> None:
    neighbors = Neighbors()
    assert neighbors.noisy(0.0) is None
    neighbors.saw(["acme"] * 1_000, 0.0)
    assert neighbors.noisy(1.0) is None


def test_who_has_most_messages_is_while_others_have_some_lately() -> None:
    neighbors = Neighbors()
    neighbors.saw(["quiet", "noisy", "noisy"], 0.0)
    neighbors.saw(["noisy"] * LATEST, 10.0)
    assert neighbors.noisy(LATELY_S) == "noisy"
    assert neighbors.noisy(LATELY_S + 0.1) is None
    neighbors.saw(["quiet"], LATELY_S + 1.0)
    assert neighbors.noisy(LATELY_S + 1.0) == "noisy"


def test_who_had_most_long_ago_is_none() -> None:
    neighbors = Neighbors()
    neighbors.saw(["first"] * 1_000, 0.0)
    neighbors.saw(["second"] * LATEST, 1.0)
    assert neighbors.noisy(2.0) == "second"


def test_messages_without_a_tenant_are_one_tenants() -> None:
    neighbors = Neighbors()
    neighbors.saw(["", "", "acme"], 0.0)
    assert neighbors.noisy(0.0) == ""


def test_whoever_had_none_lately_is_forgotten_though_nobody_asks() -> None:
    class Tenant(str):
        """A tenant of which it can be seen whether anybody refers to it."""

        __slots__ = ("__weakref__",)

    neighbors = Neighbors()
    known: WeakSet[Tenant] = WeakSet()
    for number in range(1_000):
        tenant = Tenant(number)
        known.add(tenant)
        neighbors.saw([tenant], now_s=number)
    del tenant
    gc.collect()
    assert len(known) == LATEST > LATELY_S
