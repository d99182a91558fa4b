"""What is set of flow control while it runs, of a task type, a topic or a key of it, in the place of what is declared.

How many run and begin is looked at when a job is to begin. Order, unique and debounce are decided once for each job,
when it is accepted, so what is set of them holds for jobs that are accepted from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import Debounce, Flow, Rate, Unique, expect_concurrency, expect_order, expect_rate
from chalicelib.core.limits import count_of_key, count_of_type
from chalicelib.core.states import Kind

OFF = "off"
"""A control that is declared, and shall not hold."""
DECIDED_AT_ACCEPTANCE = ("order", "unique", "debounce")


@dataclass(frozen=True, slots=True)
class FlowTarget:
    """A task type or topic, or one key of it."""

    kind: Kind
    type: str
    key: str | None = None

    @property
    def of_type(self) -> str:
        """The name of the type's concurrency count."""
        return count_of_type(self.kind, self.type)

    @property
    def count(self) -> str:
        """The name of its own concurrency count."""
        return self.of_type if self.key is None else count_of_key(self.of_type, self.key)


@dataclass(frozen=True, slots=True)
class FlowControls:
    """What holds in the place of what is declared. ``None``: as declared; ``OFF``: not at all.

    Raises ``InvalidInput`` for what is no such control.
    """

    concurrency: int | None = None  # 1 to 1,000
    rate: Rate | None = None
    order: str | None = None  # an ``Order``, or ``OFF``
    unique: Unique | str | None = None
    debounce: Debounce | str | None = None

    def __post_init__(self) -> None:
        expect_concurrency("concurrency", self.concurrency)
        expect_rate("rate", self.rate)
        if self.order != OFF:
            expect_order(self.order, OFF)
        for field, kind in (("unique", Unique), ("debounce", Debounce)):
            control = getattr(self, field)
            if control is not None and control != OFF:
                _expect_storable(field, control, kind)

    def __bool__(self) -> bool:
        return self != NO_CONTROLS

    @property
    def are_of_types(self) -> list[str]:
        """Those of them that bound a whole type or topic, and no key of it."""
        return [name for name in DECIDED_AT_ACCEPTANCE if getattr(self, name) is not None]

    def over(self, declared: Flow) -> Flow:
        """What is declared, with what was set in its place of that which is decided when a job is accepted."""
        if not self.are_of_types:
            return declared
        return replace(declared, **{name: _chosen(self, declared, name) for name in DECIDED_AT_ACCEPTANCE})


NO_CONTROLS = FlowControls()


def _chosen(controls: FlowControls, declared: Flow, name: str) -> Any:
    own = getattr(controls, name)
    return getattr(declared, name) if own is None else None if own == OFF else own


def _expect_storable(field: str, control: object, kind: type[Any]) -> None:
    if not isinstance(control, kind):
        expected = f"{kind.__name__}(...) or {OFF!r}"
        raise InvalidInput("this is no such control", field=field, expected=expected, got=control)
    if callable(control.by):
        expected = "a path, such as input.customerId"
        raise InvalidInput("a function cannot be stored", field=f"{field}.by", expected=expected, got="a function")
