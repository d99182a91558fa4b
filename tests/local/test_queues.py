"""Reading several queues in a strict order, and handing the messages to those who wait for them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.batch import Batch
from chalicelib.local import queues as module
from chalicelib.local.batches import PASSING_OVER, Queue
from chalicelib.local.doors import BATCH_S, batch_size
from chalicelib.local.queues import SHORT_WAIT_S, Assignment, OrderedQueues
from chalicelib.queue.contract import Received
from tests.support.waiting import DEADLINE_S, until


class Sqs:
    """Queues in memory: what is received is gone until it is shown again."""

    def __init__(self) -> None:
        self.messages: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        self.shown_again: list[str] = []
        self.polled: list[str] = []  # by the long polls under way
        self.receives = 0
        self.broken = False
        self._changed = threading.Condition()
        self._sent = 0

    def put(self, name: str, *texts: str) -> None:
        with self._changed:
            for text in texts:
                self._sent += 1
                self.messages[name].append({"MessageId": text, "ReceiptHandle": f"r{self._sent}", "Body": text})
            self._changed.notify_all()

    def receive_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        MaxNumberOfMessages: int,  # noqa: N803
        WaitTimeSeconds: int,  # noqa: N803
        MessageAttributeNames: Sequence[str] = (),  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        if self.broken:
            raise EndpointConnectionError(endpoint_url=QueueUrl)
        with self._changed:
            self.receives += 1
            passed_over = tuple(each.removeprefix(PASSING_OVER) for each in MessageAttributeNames if each != "All")
            poll = f"{QueueUrl} but {passed_over[0]}" if passed_over else QueueUrl
            self.polled.append(poll)
            self._changed.wait_for(lambda: self._there(QueueUrl, passed_over), WaitTimeSeconds)
            self.polled.remove(poll)
            taken = self._there(QueueUrl, passed_over)[:MaxNumberOfMessages]
            self.messages[QueueUrl] = [each for each in self.messages[QueueUrl] if each not in taken]
            return {"Messages": taken} if taken else {}

    def _there(self, name: str, passed_over: tuple[str, ...]) -> list[dict[str, str]]:
        return [each for each in self.messages[name] if tenant_of(each) not in passed_over]

    def hide(self, messages: Sequence[Received], hide_s: int) -> None:
        assert hide_s == 0
        self.shown_again += [message.message_id for message in messages]


def tenant_of(message: Mapping[str, Any]) -> str:
    """Whose it is: the first word of two."""
    return str(message["Body"]).rpartition(" ")[0]


NAMES = ["high", "a", "b", "low"]

Open = Callable[..., OrderedQueues]


def queue(name: str) -> Queue:
    return Queue(name, f"arn:aws:sqs:us-east-1:000000000000:{name}", name)


@pytest.fixture
def sqs() -> Sqs:
    return Sqs()


@pytest.fixture
def opened(sqs: Sqs) -> Iterator[Open]:
    """Queues in three ranks and one that is empty, watched; closed in the end, with all polls."""
    made: list[OrderedQueues] = []

    def open_queues(**options: Any) -> OrderedQueues:
        transport: Any = sqs
        ranks = [[queue("high")], [], [queue("a"), queue("b")], [queue("low")]]
        made.append(OrderedQueues(sqs, transport, ranks, **{"hide_s": 60, **options}))
        made[-1].start()
        until(lambda: sorted(sqs.polled) == sorted(NAMES))
        return made[-1]

    yield open_queues
    for each in made:
        each.stop()
    for name in {*NAMES, *sqs.polled}:  # ends its poll
        sqs.put(name, "the end")


@pytest.fixture
def queues(opened: Open) -> OrderedQueues:
    return opened()


@pytest.fixture
def workers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def texts(work: Assignment | None) -> list[str]:
    """What the messages of an assignment say; those of one to receive are received, and what was found is told."""
    assert work is not None
    return [message["Body"] for message in work.messages]


def quick(queues: OrderedQueues, name: str, job_s: float = 0.01) -> None:
    """A job of a queue took so long."""
    queues._door(queue(name)).took(job_s)


def done(queues: OrderedQueues, sqs: Sqs) -> list[str]:
    """What a worker is given next, received where it is to be, in no time."""
    work = queues.next_work()
    assert work is not None
    messages = work.messages
    if not messages:
        answer = sqs.receive_message(QueueUrl=work.queue.url, MaxNumberOfMessages=work.most, WaitTimeSeconds=0)
        messages = answer.get("Messages", [])
        queues.received(work, [""] * len(messages))
    queues.ended(work, 0.01)
    return [message["Body"] for message in messages]


def waiting(workers: ThreadPoolExecutor, queues: OrderedQueues, count: int = 1) -> list[Future[Assignment | None]]:
    """Threads that wait for work."""
    asked = [workers.submit(queues.next_work) for _ in range(count)]
    until(lambda: queues._seekers == count)
    return asked


def brought(queues: OrderedQueues, *names: str) -> bool:
    """Whether something was brought from just these queues."""
    return {door.queue.name for door in queues._doors() if door.brought} == set(names)


class TestOrder:
    def test_what_is_of_a_higher_rank_comes_first(self, sqs: Sqs, queues: OrderedQueues) -> None:
        for name in ("low", "a", "high"):
            sqs.put(name, f"{name} 1")
        until(lambda: brought(queues, "low", "a", "high"))
        for name in ("low", "a", "high"):
            sqs.put(name, f"{name} 2")
        found = [text for _ in range(6) for text in done(queues, sqs)]
        assert found == ["high 1", "high 2", "a 1", "a 2", "low 1", "low 2"]

    def test_queues_of_one_rank_take_turns(self, sqs: Sqs, queues: OrderedQueues) -> None:
        for name in ("a", "b"):
            sqs.put(name, *(f"{name}{number}" for number in range(20)))
        until(lambda: brought(queues, "a", "b"))
        first = [done(queues, sqs)[0][0] for _ in range(4)]
        assert first in (["a", "b", "a", "b"], ["b", "a", "b", "a"])

    def test_what_comes_to_a_higher_rank_meanwhile_is_next(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("low", *map(str, range(30)))
        until(lambda: brought(queues, "low"))
        assert done(queues, sqs) == ["0"]  # nobody knows yet how long they take
        sqs.put("high", "urgent")
        until(lambda: brought(queues, "low", "high"))
        assert done(queues, sqs) == ["urgent"]


class TestWatching:
    def test_a_message_is_handed_on_when_it_comes(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        (asked,) = waiting(workers, queues)
        sqs.put("low", "l")
        assert texts(asked.result(DEADLINE_S)) == ["l"]
        until(lambda: sorted(sqs.polled) == sorted(NAMES))  # and its queue is watched again

    def test_an_empty_queue_costs_one_poll_at_a_time(self, sqs: Sqs, queues: OrderedQueues) -> None:
        assert (queues.alive(), sqs.receives) == (True, len(NAMES))

    def test_a_queue_that_is_added_later_is_read_in_its_rank(self, sqs: Sqs, queues: OrderedQueues) -> None:
        queues.extend([[queue("high")], [queue("new")], [queue("b")], []])
        until(lambda: sorted(sqs.polled) == sorted([*NAMES, "new"]))
        sqs.put("a", "second")
        sqs.put("new", "first")
        until(lambda: brought(queues, "a", "new"))
        assert [text for _ in range(3) for text in done(queues, sqs)] == ["first", "second"]

    def test_those_who_wait_share_what_comes(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        quick(queues, "a")
        asked = waiting(workers, queues, 3)
        sqs.put("a", *map(str, range(10)))
        shares = [texts(each.result(DEADLINE_S)) for each in asked]
        assert sorted(map(len, shares)) == [3, 3, 4]
        assert sorted(chain.from_iterable(shares), key=int) == [str(number) for number in range(10)]
        assert sqs.shown_again == []

    def test_what_comes_while_nobody_waits_is_kept(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", "kept")
        until(lambda: brought(queues, "a"))
        assert "a" not in sqs.polled
        assert done(queues, sqs) == ["kept"]
        assert sqs.shown_again == []

    def test_what_was_kept_for_too_long_goes_back_and_is_received_anew(
        self, sqs: Sqs, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queues = opened(hide_s=60)
        sqs.put("a", "kept")
        until(lambda: brought(queues, "a"))
        (door,) = (door for door in queues._doors() if door.queue.name == "a")
        monkeypatch.setattr(door, "brought_at_s", door.brought_at_s - 31)
        work = queues.next_work()
        assert work is not None
        assert (work.queue.name, work.messages, sqs.shown_again) == ("a", (), ["kept"])

    def test_what_was_kept_for_too_long_is_polled_again_though_another_queue_always_has_more(
        self, sqs: Sqs, opened: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        queues = opened(batches={"a": Batch(2, max_wait_s=300)})
        sqs.put("b", *map(str, range(1_000)))
        until(lambda: brought(queues, "b"))
        while brought(queues, "b"):
            done(queues, sqs)  # beyond it, those who ask are to receive
        sqs.put("a", "one", "two")
        until(lambda: brought(queues, "a") and "a" not in sqs.polled)
        (door,) = (door for door in queues._doors() if door.queue.name == "a")
        monkeypatch.setattr(door, "brought_at_s", door.brought_at_s - 31)
        assert len(done(queues, sqs)) == 10
        assert sqs.shown_again == ["one", "two"]
        until(lambda: "a" in sqs.polled)

    def test_a_queue_that_cannot_be_read_is_tried_again(
        self,
        sqs: Sqs,
        queues: OrderedQueues,
        workers: ThreadPoolExecutor,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "ERROR_PAUSE_S", 0.01)
        (asked,) = waiting(workers, queues)
        sqs.broken = True
        sqs.put("low", "comes before it breaks")
        assert texts(asked.result(DEADLINE_S)) == ["comes before it breaks"]
        until(lambda: "low cannot be read" in caplog.text)
        sqs.broken = False
        (asked,) = waiting(workers, queues)
        sqs.put("low", "comes afterwards")
        assert texts(asked.result(DEADLINE_S)) == ["comes afterwards"]


class TestReceivingThemselves:
    """A queue that brought a full batch is believed to hold more, until somebody finds less than they asked for."""

    def test_a_full_batch_leads_to_the_queue_itself(self, sqs: Sqs, queues: OrderedQueues) -> None:
        quick(queues, "a")
        sqs.put("a", *map(str, range(34)))
        until(lambda: brought(queues, "a"))
        assert [len(done(queues, sqs)) for _ in range(4)] == [10, 10, 10, 4]
        until(lambda: "a" in sqs.polled)
        assert sqs.receives == len(NAMES) + 4  # no sweep of the others, and no empty receive

    def test_it_is_not_polled_meanwhile(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", *map(str, range(20)))
        until(lambda: brought(queues, "a"))
        work = queues.next_work()
        queues.next_work()
        assert work is not None
        assert "a" not in sqs.polled
        assert (len(work.messages), work.most) == (1, 1)

    def test_carried_messages_are_brought_by_polls_alone(self, sqs: Sqs, opened: Open) -> None:
        queues = opened(carried=True, most=2)
        sqs.put("a", "1", "2", "3")
        found = [texts(queues.next_work()) for _ in range(2)]
        assert found == [["1", "2"], ["3"]]


class TestGathering:
    """Of a queue whose handlers take batches, messages are kept until there are enough, or have waited for enough."""

    def test_a_batch_is_handed_out_once_it_is_full(self, sqs: Sqs, opened: Open, workers: ThreadPoolExecutor) -> None:
        queues = opened(batches={"a": Batch(25, max_wait_s=300)})
        (asked,) = waiting(workers, queues)
        sqs.put("a", *map(str, range(24)))
        until(lambda: brought(queues, "a") and "a" in sqs.polled)
        assert not asked.done()
        sqs.put("b", "others do not wait")
        assert texts(asked.result(DEADLINE_S)) == ["others do not wait"]
        sqs.put("a", "24", "25")
        assert texts(queues.next_work()) == [str(number) for number in range(25)]
        until(lambda: brought(queues, "a"))
        assert sqs.shown_again == []

    def test_what_is_there_is_handed_out_once_it_has_waited_for_long_enough(self, sqs: Sqs, opened: Open) -> None:
        queues = opened(batches={"a": Batch(25, max_wait_s=1)})
        sqs.put("a", "1", "2")
        work = queues.next_work()
        assert texts(work) == ["1", "2"]
        assert work is not None
        assert work.hidden_until_ms > 0

    def test_nothing_is_waited_for_without_a_wait(self, sqs: Sqs, opened: Open) -> None:
        queues = opened(batches={"a": Batch(10, max_wait_s=0)})
        sqs.put("a", *map(str, range(3)))
        assert texts(queues.next_work()) == ["0", "1", "2"]

    def test_what_was_gathered_goes_back_at_the_end(self, sqs: Sqs, opened: Open) -> None:
        queues = opened(batches={"a": Batch(25, max_wait_s=300)})
        sqs.put("a", "1", "2")
        until(lambda: brought(queues, "a"))
        queues.stop()
        assert (sqs.shown_again, queues.next_work()) == (["1", "2"], None)

    def test_saved_code_may_gather_what_was_not_gathered_before(self, sqs: Sqs, queues: OrderedQueues) -> None:
        queues.extend([[], [], [], []], {"a": Batch(2, max_wait_s=300)})
        sqs.put("a", "1")
        until(lambda: brought(queues, "a"))
        sqs.put("a", "2")
        assert texts(queues.next_work()) == ["1", "2"]


class TestNoisyNeighbors:
    """Where several tenants have messages in a queue, one worker of all is kept for others than the noisy one."""

    @pytest.fixture
    def queues(self, sqs: Sqs, opened: Open) -> OrderedQueues:
        """Of two workers, one has had messages of two tenants, of whom one has many more."""
        queues = opened(workers=2)
        sqs.put("a", "quiet 0", *(f"noisy {n}" for n in range(50)))
        until(lambda: brought(queues, "a"))
        quick(queues, "a")
        self.finish(queues, self.begin(queues, sqs))
        return queues

    def begin(self, queues: OrderedQueues, sqs: Sqs) -> Assignment:
        """What a worker is given next, and receives."""
        work = queues.next_work()
        assert work is not None
        found = work.messages or sqs.receive_message(
            QueueUrl=work.queue.url, MaxNumberOfMessages=work.most, WaitTimeSeconds=0
        ).get("Messages", [])
        queues.received(work, [tenant_of(each) for each in found])
        return work

    def finish(self, queues: OrderedQueues, work: Assignment) -> None:
        queues.ended(work, 0.001)

    def test_one_that_is_free_waits_for_the_others_messages(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        self.begin(queues, sqs)
        (asked,) = waiting(workers, queues)
        until(lambda: "a but noisy" in sqs.polled)
        assert not asked.done()
        sqs.put("a", "quiet 1")
        assert texts(asked.result(DEADLINE_S)) == ["quiet 1"]

    def test_it_is_given_what_there_is_once_another_is_free(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        first = self.begin(queues, sqs)
        (asked,) = waiting(workers, queues)
        until(lambda: "a but noisy" in sqs.polled)
        self.finish(queues, first)
        second = asked.result(DEADLINE_S)
        assert second is not None
        assert (second.queue.name, second.messages) == ("a", ())

    def test_work_of_a_lower_rank_does_not_come_first(
        self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor
    ) -> None:
        sqs.put("low", "l")
        until(lambda: brought(queues, "low"))
        first = self.begin(queues, sqs)
        (asked,) = waiting(workers, queues)
        until(lambda: "a but noisy" in sqs.polled)
        assert not asked.done()
        self.finish(queues, first)
        assert texts(asked.result(DEADLINE_S)) == []

    def test_work_of_the_same_rank_does(self, sqs: Sqs, queues: OrderedQueues) -> None:
        self.begin(queues, sqs)
        sqs.put("b", "another")
        assert texts(queues.next_work()) == ["another"]

    def test_without_a_second_worker_none_is_kept(self, sqs: Sqs, opened: Open) -> None:
        queues = opened()
        sqs.put("a", "quiet 0", *(f"noisy {n}" for n in range(50)))
        until(lambda: brought(queues, "a"))
        for _ in range(3):
            self.begin(queues, sqs)  # and none of them ends

    def test_in_the_end_nobody_watches(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        self.begin(queues, sqs)
        (asked,) = waiting(workers, queues)
        until(lambda: "a but noisy" in sqs.polled)
        queues.stop()
        assert asked.result(DEADLINE_S) is None
        sqs.put("a", "quiet 1")
        until(lambda: "a but noisy" not in sqs.polled)
        until(lambda: "quiet 1" in sqs.shown_again or sqs.messages["a"][-1]["Body"] == "quiet 1")


class TestBatchSize:
    @pytest.mark.parametrize(
        ("job_s", "size"), [(None, 1), (0.0, 10), (0.1, 10), (0.3, 3), (0.6, 1), (1.0, 1), (60.0, 1)]
    )
    def test_is_a_second_of_work(self, job_s: float | None, size: int) -> None:
        assert batch_size(job_s) == size

    @given(st.floats(0, 1e6), st.integers(1, 10))
    def test_is_one_at_least_and_else_no_longer(self, job_s: float, most: int) -> None:
        size = batch_size(job_s, most)
        assert 1 <= size <= most
        assert size == 1 or size * job_s <= BATCH_S

    def test_follows_what_jobs_take(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", *map(str, range(30)))
        until(lambda: brought(queues, "a"))
        sizes = []
        for job_s in (0.01, 0.39, 2.0):
            quick(queues, "a", job_s)
            work = queues.next_work()
            assert work is not None
            sizes.append(work.most)
        assert sizes == [10, 5, 1]

    def test_is_smaller_where_tenants_share_a_queue(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", *map(str, range(30)))
        until(lambda: brought(queues, "a"))
        quick(queues, "a", 0.004)
        sizes = []
        for is_shared in (True, False, True):
            work = queues.next_work()
            assert work is not None
            queues.received(work, ["acme" if is_shared else ""] * work.most)
            sizes.append(work.most)
        assert sizes == [10, 2, 10]


class TestStopping:
    def test_those_who_wait_are_told(self, sqs: Sqs, queues: OrderedQueues, workers: ThreadPoolExecutor) -> None:
        asked = waiting(workers, queues, 2)
        queues.stop()
        assert [each.result(DEADLINE_S) for each in asked] == [None, None]
        assert sorted(sqs.polled) == sorted(NAMES)  # nobody waited for the polls

    def test_what_was_kept_goes_back(self, sqs: Sqs, queues: OrderedQueues) -> None:
        sqs.put("a", "kept")
        until(lambda: brought(queues, "a"))
        queues.stop()
        assert (sqs.shown_again, queues.next_work()) == (["kept"], None)

    def test_what_a_poll_still_brings_goes_back(self, sqs: Sqs, queues: OrderedQueues) -> None:
        queues.stop()
        sqs.put("a", "late")
        until(lambda: sqs.shown_again == ["late"])

    def test_short_polls_are_waited_for(self, sqs: Sqs, opened: Open) -> None:
        queues = opened(wait_s=SHORT_WAIT_S)
        queues.stop()
        assert (sqs.polled, queues.alive()) == ([], False)
