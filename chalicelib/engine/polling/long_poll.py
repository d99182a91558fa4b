"""Waiting for a message on any lane of a topic, with few requests.

A receive that SQS holds open watches one queue, and cannot be called off: what it brought after the answer had gone
out would be hidden from everybody for a lease. So lanes are waited on in turn, a second each, with a short look at
the others in between; a topic with one lane, as most have, is waited on for longer. An empty poll of 20 seconds::

    lanes of the topic    1    2    3    4    5   17
    SQS requests         10   23   44   65   86  338

(the first look at each lane and the last one included). A message is seen within about a second of its arrival; the
very first message of a topic's second lane, which nobody could wait on, within two. "Nothing" is answered only after a
look at every lane that the directory knows by then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from chalicelib.core.lanes import Lane
from chalicelib.engine.polling.receive import PolledBatch
from chalicelib.engine.publish.lanes import open_lanes

TURN_S = 1  # how long one of several lanes is waited on
LONE_TURN_S = 2  # how long the only lane is waited on before the directory is asked for others
Sleep = Callable[[float], None]


def wait_for_messages(batch: PolledBatch, topic: str, lanes: Collection[Lane], ends_ms: int, sleep: Sleep) -> None:
    """Take what comes until ``ends_ms`` (milliseconds since 1970), and return as soon as something has come.

    ``lanes`` have been looked at just now. A topic without a lane is slept over by ``sleep``, a second a time.
    """
    turn = 0
    while not batch.received and batch.awaited() and (left_ms := ends_ms - batch.yard.now_ms()) > 0:
        left_s = -(-left_ms // 1_000)
        known = open_lanes(batch.yard, topic)
        if not known:
            sleep(min(left_s, TURN_S))
            lanes = []
            continue
        awaited = known[turn % len(known)]
        _look_at(batch, [lane for lane in known if lane != awaited and lane not in lanes])
        if batch.received:
            return
        turn_s = LONE_TURN_S if len(known) == 1 else TURN_S
        turn, lanes = turn + 1, [awaited]
        if not batch.receive_from(awaited, min(left_s, turn_s)):  # its queue does not show yet
            sleep(min(left_s, TURN_S))
            lanes = []
    if not batch.received:
        _look_at(batch, [lane for lane in open_lanes(batch.yard, topic) if lane not in lanes])


def _look_at(batch: PolledBatch, lanes: Collection[Lane]) -> None:
    """Take what the lanes show, in order."""
    for lane in lanes:
        batch.receive_from(lane)
