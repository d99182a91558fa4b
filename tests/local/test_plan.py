"""Which lanes an instance's workers serve."""

from __future__ import annotations

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.core.lanes import Band, Lane
from chalicelib.local.plan import chosen_lanes

QUEUES = {"image": (Band.HIGH, Band.NORMAL), "order.created": (Band.NORMAL,)}


def test_all_that_is_declared_by_default() -> None:
    assert chosen_lanes((), QUEUES) == {Lane(queue, band) for queue, bands in QUEUES.items() for band in bands}


def test_a_queue_or_a_lane_of_it() -> None:
    assert chosen_lanes(["image"], QUEUES) == {Lane("image", Band.HIGH), Lane("image", Band.NORMAL)}
    assert chosen_lanes(["image:high", "order.created"], QUEUES) == {
        Lane("image", Band.HIGH),
        Lane("order.created", Band.NORMAL),
    }


@pytest.mark.parametrize("name", ["default", "image:low", "image:", ""])
def test_nothing_else(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"expected one of image, order\.created, or a lane of it"):
        chosen_lanes([name], QUEUES)
