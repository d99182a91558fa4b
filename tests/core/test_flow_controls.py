"""What is set takes the place of what is declared, control by control, and is stored as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput
from chalicelib.core.flow import Debounce, Flow, Rate, Unique
from chalicelib.core.flow_controls import DECIDED_AT_ACCEPTANCE, NO_CONTROLS, OFF, FlowControls, FlowTarget
from chalicelib.core.limits import Order
from chalicelib.core.states import Kind
from chalicelib.store.attribute_values import from_attribute_values, to_attribute_values
from chalicelib.store.flow_settings import FlowSetting, item_of, setting_of

seconds = st.integers(1, 600_000).map(lambda ms: ms / 1_000)
paths = st.sampled_from(["input.customerId", "options.shop"])
orders = st.sampled_from(Order).map(str)
uniques = st.builds(Unique, st.sampled_from(["start", "end"]), st.none() | seconds, st.none() | paths) | st.builds(
    Unique, st.none(), seconds, st.none() | paths
)
debounces = st.builds(Debounce, seconds, st.none(), st.none() | paths) | st.builds(
    lambda pair, by: Debounce(*sorted(pair), by), st.tuples(seconds, seconds), st.none() | paths
)
controls = st.builds(
    FlowControls,
    st.none() | st.integers(1, 1_000),
    st.none() | st.builds(Rate, st.integers(1, 1_000), seconds, st.integers(1, 1_000)),
    st.none() | st.just(OFF) | orders,
    st.none() | st.just(OFF) | uniques,
    st.none() | st.just(OFF) | debounces,
)
flows = st.builds(
    Flow,
    key=st.none() | paths,
    order=st.none() | orders,
    unique=st.none() | uniques,
    debounce=st.none() | debounces,
)


@given(flows, controls)
def test_each_control_is_what_was_set_or_else_what_is_declared(declared: Flow, changed: FlowControls) -> None:
    flow = changed.over(declared)
    for name in DECIDED_AT_ACCEPTANCE:
        own = getattr(changed, name)
        assert getattr(flow, name) == {None: getattr(declared, name), OFF: None}.get(own, own)
    assert (flow.key, flow.per_key, flow.rate) == (declared.key, declared.per_key, declared.rate)


@given(controls, st.none() | st.text(min_size=1), st.none() | st.text(min_size=1))
def test_what_is_stored_is_read_again(changed: FlowControls, key: str | None, by: str | None) -> None:
    setting = FlowSetting(FlowTarget(Kind.TASK, "image.resize", key), changed, 1_893_456_000_000, by)
    assert setting_of(from_attribute_values(to_attribute_values(item_of(setting)))) == setting


def test_a_wait_beyond_its_latest_time_that_was_stored_once_is_that_time() -> None:
    item = item_of(FlowSetting(FlowTarget(Kind.TASK, "t"), FlowControls(debounce=Debounce(9, latest_s=9)), 0, None))
    item["debounce"]["latest_ms"] = 4_000
    assert setting_of(item).controls.debounce == Debounce(4, latest_s=4)


def test_nothing_set_is_nothing() -> None:
    assert not NO_CONTROLS
    assert FlowControls(order=OFF)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"rate": 5}, "rate"),
        ({"order": "any"}, "order"),
        ({"unique": "end"}, "unique"),
        ({"unique": Debounce(1)}, "unique"),
        ({"unique": Unique(by=str)}, "unique.by"),
        ({"debounce": 5}, "debounce"),
        ({"debounce": Debounce(1, by=str)}, "debounce.by"),
    ],
)
def test_what_cannot_be_set_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        FlowControls(**given)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("order", "block or step aside or off"),
        ("unique", "Unique(...) or 'off'"),
        ("debounce", "Debounce(...) or 'off'"),
    ],
)
@pytest.mark.parametrize("word", ["x", "", 5, []])
def test_off_is_among_the_choices(field: str, expected: str, word: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        FlowControls(**{field: word})  # type: ignore[arg-type]
    assert (refused.value.field, refused.value.expected) == (field, expected)
