"""The contract of the directory (ids, topics, keys, outboxes) and of the insights (counters, minute series)."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chalicelib.core.access import AccessKey, digest_of
from chalicelib.core.applications import Application
from chalicelib.core.ids import ID_BLOCK, token
from chalicelib.core.job import Job
from chalicelib.core.lanes import Band, Lane, lanes_soonest_first
from chalicelib.core.projection import MINUTE_MS, CountKey, Effects, Group, Measure, MinuteKey
from chalicelib.core.states import State
from chalicelib.core.webhooks import Webhook
from chalicelib.engine.yard import JobIds, Yard
from chalicelib.store.directory import IdempotencyKey, Outbox, digest
from chalicelib.store.insights import MINUTES_TTL_S, ROWS_MAX, AlreadyCounted
from chalicelib.store.table import Refused, TransactionRefused
from tests.support.backends import Ground
from tests.support.ledger import NOW, job_of, stored

DAY_MS = 86_400_000
NOW_S = NOW // 1_000
names = (f"name-{number}" for number in itertools.count())


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables."""
    return ground.bench().yard


def add(yard: Yard, shard: str, before: str | None, newest: str, effects: Effects) -> None:
    """Let the insights count ``effects``."""
    yard.insights.add(shard, before, newest, yard.insights.adding(shard, effects))


class TestApplications:
    """What signs requests, each of which is taken once."""

    @staticmethod
    def made(yard: Yard) -> Application:
        key = token(os.urandom)
        made = Application(app_key=key, name="n", link_url="https://x", secret="first", created_at_ms=NOW)  # noqa: S106
        yard.applications.put(made)
        return made

    def test_one_is_kept_as_it_is_and_not_overwritten(self, yard: Yard) -> None:
        made = self.made(yard)
        yard.applications.put(made)  # repeated, after an answer that was lost
        with pytest.raises(Refused):
            yard.applications.put(replace(made, secret="another"))  # noqa: S106
        assert yard.applications.find(made.app_key) == made
        assert made in yard.applications.all()
        assert yard.applications.find("nobody") is None

    def test_it_is_changed_part_by_part(self, yard: Yard) -> None:
        made, store = self.made(yard), yard.applications
        store.rest(made, NOW + 2, in_vain=True)
        store.rest(replace(made, in_vain=1), NOW + 1, in_vain=True)  # shorter
        store.rest(replace(made, app_key="nobody"), NOW, in_vain=True)
        assert store.disable(made.app_key, True) == replace(made, disabled=True, resting_until_ms=NOW + 2, in_vain=1)
        assert store.disable(made.app_key, False) == made
        store.rest(made, NOW + 2, in_vain=False)
        assert store.wake(made.app_key) == made
        store.disable(made.app_key, True)
        for _ in range(2):  # repeated, after an answer that was lost
            after = store.rotate(made, "second", NOW + 5)
        assert (after.secret, after.old_secret, after.old_until_ms, after.disabled) == (
            "second",
            "first",
            NOW + 5,
            True,
        )
        with pytest.raises(Refused):
            store.rotate(made, "third", NOW)
        assert store.retire_old_secret(made.app_key).secrets(NOW) == ("second",)
        for change in (lambda: store.disable("nobody", True), lambda: store.retire_old_secret("nobody")):
            with pytest.raises(Refused):
                change()

    def test_what_is_signed_is_one_requests(self, ground: Ground, yard: Yard) -> None:
        key = token(os.urandom)
        with ThreadPoolExecutor(ground.threads()) as pool:
            taken = list(pool.map(lambda n: yard.applications.use(key, "n", f"request-{n}", NOW_S), range(20)))
        assert taken.count(True) == 1
        again = f"request-{taken.index(True)}"
        assert yard.applications.use(key, "n", again, NOW_S)  # its own, whose answer was lost
        assert not yard.applications.use(key, "n", "other", NOW_S + 660)
        assert yard.applications.use(key, "n", "other", NOW_S + 661)
        assert yard.applications.use(token(os.urandom), "n", "other", NOW_S)


class TestIds:
    def test_no_two_threads_get_one_block(self, ground: Ground, yard: Yard) -> None:
        with ThreadPoolExecutor(ground.threads()) as pool:
            firsts = list(pool.map(lambda _: yard.directory.take_id_block(), range(40)))
        ordered = sorted(firsts)
        assert ordered == list(range(ordered[0], ordered[0] + 40 * ID_BLOCK, ID_BLOCK))
        assert ordered[0] % ID_BLOCK == 1

    def test_no_two_processes_get_one_id(self, ground: Ground, yard: Yard) -> None:
        processes = [JobIds(yard.directory.take_id_block) for _ in range(8)]

        def take(ids: JobIds) -> list[int]:
            return [ids.new() for _ in range(ID_BLOCK + 10)]

        with ThreadPoolExecutor(ground.threads(16)) as pool:  # two threads a process
            taken = [job_id for block in pool.map(take, processes * 2) for job_id in block]
        assert len(taken) == len(set(taken)) == 16 * (ID_BLOCK + 10)
        assert all(0 < job_id < 1 << 53 for job_id in taken)

    def test_a_process_counts_within_its_block(self, yard: Yard) -> None:
        blocks: list[int] = []

        def take() -> int:
            blocks.append(yard.directory.take_id_block())
            return blocks[-1]

        ids = JobIds(take)
        assert [ids.new() for _ in range(3)] == [blocks[0], blocks[0] + 1, blocks[0] + 2]
        for _ in range(ID_BLOCK - 3):
            ids.new()
        assert len(blocks) == 1
        assert ids.new() == blocks[1]


class TestIdempotency:
    def reserve(self, yard: Yard, key: IdempotencyKey, job_id: int, now_s: int, ttl_s: int = 60) -> Job:
        job = job_of(yard, id=job_id)
        yard.jobs.together([*yard.jobs.recording(job), yard.directory.reserving(key, job, now_s, ttl_s)])
        return job

    def test_the_second_is_refused_by_the_key_and_told_whose_it_is(self, yard: Yard) -> None:
        key = IdempotencyKey("message", next(names), "print-1")
        first, second = yard.ids.new(), yard.ids.new()
        accepted = self.reserve(yard, key, first, NOW_S)

        with pytest.raises(TransactionRefused) as refused:
            self.reserve(yard, replace(key, fingerprint="print-2"), second, NOW_S + 60)

        assert refused.value.refused == [False, True]
        assert refused.value.old[1] == {
            "kind": "idempotency#message",
            "name": digest(key.key),
            "job": first,
            "fingerprint": "print-1",
            "expires_at_s": NOW_S + 60,
            "created_at_ms": accepted.created_at_ms,
            "trace_id": accepted.trace_id,
        }
        assert stored(yard, second) is None

    def test_an_expired_key_is_free_again(self, yard: Yard) -> None:
        key = IdempotencyKey("message", next(names), "print-1")
        first, second = yard.ids.new(), yard.ids.new()
        self.reserve(yard, key, first, NOW_S)
        self.reserve(yard, key, second, NOW_S + 61)
        item = yard.directory.table.get(key.item_key())
        assert (item or {}).get("job") == second
        assert (item or {}).get("expires_at_s") == NOW_S + 121

    def test_operations_and_keys_stay_apart(self, yard: Yard) -> None:
        name = next(names)
        for key in (IdempotencyKey("message", name, "p"), IdempotencyKey("task", name, "p")):
            self.reserve(yard, key, yard.ids.new(), NOW_S)
        self.reserve(yard, IdempotencyKey("message", name + " ", "p"), yard.ids.new(), NOW_S)
        self.reserve(yard, IdempotencyKey("message", "é" * 256, "p"), yard.ids.new(), NOW_S)


class TestOutboxes:
    def test_oldest_first_before_a_time(self, yard: Yard) -> None:
        times = [NOW + 3, NOW + 1, NOW + 2, NOW + 9]
        boxes = {at: Outbox(f"{at:013d}-{yard.token()}", [at, at + 1]) for at in times}
        for box in boxes.values():
            yard.jobs.together([yard.directory.opening_outbox(box)])

        assert list(yard.directory.open_outboxes(NOW + 4)) == [boxes[NOW + 1], boxes[NOW + 2], boxes[NOW + 3]]
        assert list(yard.directory.open_outboxes(NOW + 1)) == []

        yard.directory.close_outbox(boxes[NOW + 2].name)
        yard.directory.close_outbox(boxes[NOW + 2].name)
        assert list(yard.directory.open_outboxes(NOW + 10)) == [boxes[NOW + 1], boxes[NOW + 3], boxes[NOW + 9]]

    def test_one_name_is_one_outbox(self, yard: Yard) -> None:
        box = Outbox(f"{NOW + DAY_MS:013d}-x", [1])
        yard.directory.table.transact([yard.directory.opening_outbox(box)])
        with pytest.raises(TransactionRefused) as refused:
            yard.directory.table.transact([yard.directory.opening_outbox(replace(box, job_ids=[2]))])
        assert refused.value.old == [{"kind": "outbox", "name": box.name, "jobs": [1]}]


class TestTopics:
    def test_a_topic_gains_lanes_one_by_one(self, yard: Yard) -> None:
        topic = f"заказ/создан {next(names)} {'x' * 400}"
        assert yard.directory.lanes_of(topic) == []
        yard.directory.add_lane(Lane(topic, Band.NORMAL))
        yard.directory.add_lane(Lane(topic, Band.CRITICAL))
        yard.directory.add_lane(Lane(topic, Band.NORMAL))
        yard.directory.add_lane(Lane(topic, Band.NORMAL, 3))
        assert lanes_soonest_first(yard.directory.lanes_of(topic)) == [
            Lane(topic, Band.CRITICAL),
            Lane(topic, Band.NORMAL, 3),
            Lane(topic, Band.NORMAL),
        ]
        assert topic in yard.directory.topics()
        assert yard.directory.lanes_of(topic + " ") == []

    def test_a_lane_that_only_a_later_release_knows_is_passed_over(self, yard: Yard) -> None:
        topic = f"shared {next(names)}"
        yard.directory.add_lane(Lane(topic, Band.NORMAL))
        yard.directory.add_lane(Lane(topic, Band.NORMAL, 77))
        assert yard.directory.lanes_of(topic) == [Lane(topic, Band.NORMAL)]
        assert yard.directory.polled_lanes()[topic] == [Lane(topic, Band.NORMAL)]

    def test_all_topics_sorted(self, yard: Yard) -> None:
        made = [f"sorted-{letter}" for letter in "cab"]
        for topic in made:
            yard.directory.add_lane(Lane(topic, Band.LOW))
        assert [topic for topic in yard.directory.topics() if topic.startswith("sorted-")] == sorted(made)


class TestWebhooks:
    def test_a_rotation_keeps_the_secret_of_before_for_a_while(self, yard: Yard) -> None:
        made = Webhook(id=next(names), url="https://a.example/", secret="first", created_at_ms=NOW)  # noqa: S106
        yard.directory.put_webhook(made)
        for secret, former in (("second", "first"), ("third", "second")):
            rotated = yard.directory.rotate_webhook(made.id, secret, NOW + DAY_MS)
            assert rotated == replace(made, secret=secret, former_secret=former, former_until_ms=NOW + DAY_MS)
        assert [each for each in yard.directory.webhooks() if each.id == made.id] == [rotated]
        yard.directory.delete_webhook(made.id)
        with pytest.raises(Refused):
            yard.directory.rotate_webhook(made.id, "fourth", NOW)
        assert made.id not in [each.id for each in yard.directory.webhooks()]


class TestUnreadableMessages:
    def test_one_message_is_noted_once(self, yard: Yard) -> None:
        message_id = next(names)
        yard.directory.table.transact([yard.directory.noting_unreadable(message_id, 5, NOW_S)])
        with pytest.raises(TransactionRefused) as refused:
            yard.directory.table.transact([yard.directory.noting_unreadable(message_id, 6, NOW_S + 1)])
        assert refused.value.old == [{"kind": "unreadable", "name": message_id, "job": 5, "expires_at_s": NOW_S}]


class TestAccessKeys:
    def key(self, created_at_ms: int = NOW) -> AccessKey:
        name = next(names)
        return AccessKey(
            name=name,
            scopes=frozenset({"message", "dlq:manage"}),
            digest=digest_of(name),
            created_at_ms=created_at_ms,
        )

    def test_it_comes_back_as_it_was_put(self, yard: Yard) -> None:
        key = self.key()
        yard.directory.put_access_key(key)
        assert yard.directory.access_key(key.digest) == key
        assert yard.directory.access_key(digest_of("another")) is None

    def test_it_is_not_overwritten(self, yard: Yard) -> None:
        key = self.key()
        yard.directory.put_access_key(key)
        with pytest.raises(Refused):
            yard.directory.put_access_key(replace(key, scopes=frozenset({"*"})))
        assert yard.directory.access_key(key.digest) == key

    def test_it_is_revoked_once_and_for_all(self, yard: Yard) -> None:
        key = self.key()
        yard.directory.put_access_key(key)
        yard.directory.revoke_access_key(key.digest, NOW + 1)
        yard.directory.revoke_access_key(key.digest, NOW + 2)
        found = yard.directory.access_key(key.digest)
        assert found == replace(key, revoked_at_ms=NOW + 1)
        assert found is not None
        assert found.revoked

    def test_its_use_is_noted_once_an_hour(self, yard: Yard) -> None:
        key = self.key()
        yard.directory.put_access_key(key)
        noted = []
        for later_ms in (0, 3_599_999, 3_600_000, 3_600_001):
            yard.directory.note_key_use(key.digest, NOW + later_ms)
            found = yard.directory.access_key(key.digest)
            assert found is not None
            noted.append((found.used_at_ms or 0) - NOW)
        assert noted == [0, 0, 3_600_000, 3_600_000]
        (listed,) = [each for each in yard.directory.listed_access_keys() if each.digest == key.digest]
        assert listed == replace(key, used_at_ms=NOW + 3_600_000)

    def test_the_use_of_an_unknown_key_makes_none(self, yard: Yard) -> None:
        yard.directory.note_key_use(digest_of("nobody's"), NOW)
        assert yard.directory.access_key(digest_of("nobody's")) is None

    def test_a_user_is_made_anew_once_revoked(self, yard: Yard) -> None:
        user = replace(self.key(), user=next(names), password="as stored")  # noqa: S106
        yard.directory.put_access_key(user)
        assert (yard.directory.access_key(user.digest), yard.directory.has_users()) == (user, True)
        anew = replace(user, password="another", created_at_ms=NOW + 2)  # noqa: S106
        with pytest.raises(Refused):
            yard.directory.put_access_key(anew)
        yard.directory.revoke_access_key(user.digest, NOW + 1)
        yard.directory.put_access_key(anew)
        assert yard.directory.access_key(user.digest) == anew

    def test_an_unknown_key_cannot_be_revoked(self, yard: Yard) -> None:
        with pytest.raises(Refused):
            yard.directory.revoke_access_key(digest_of(next(names)), NOW)

    def test_all_of_them_oldest_first(self, yard: Yard) -> None:
        keys = [self.key(NOW + 1_000 + age) for age in (2, 0, 1)]
        for key in keys:
            yard.directory.put_access_key(key)
        listed = [key for key in yard.directory.access_keys() if key.created_at_ms >= NOW + 1_000]
        assert listed == [keys[1], keys[2], keys[0]]


def test_the_clock_notes_its_tick(yard: Yard) -> None:
    yard.directory.note_tick(NOW + 7)
    assert yard.directory.last_tick_ms() == NOW + 7
    yard.directory.note_tick(NOW + 8)
    assert yard.directory.last_tick_ms() == NOW + 8


class TestInsights:
    @pytest.fixture
    def group(self) -> Group:
        """A group that no other test counts."""
        name = next(names)
        return Group("message", name, name)

    @pytest.fixture
    def shard(self) -> Callable[[], str]:
        """Returns a shard that no other test uses."""
        return lambda: f"shard-{next(names)}"

    def test_a_batch_counts_once(self, yard: Yard, group: Group, shard: Callable[[], str]) -> None:
        name = shard()
        effects: Effects = Counter({CountKey(group, State.PENDING): 3, CountKey(group, State.SUCCESS): -1})
        add(yard, name, None, "100", effects)
        for before in (None, "99"):
            with pytest.raises(AlreadyCounted):
                add(yard, name, before, "100", effects)
        assert yard.insights.watermark(name) == "100"
        assert yard.insights.counters()[group] == {State.PENDING: 3, State.SUCCESS: -1}

        add(yard, name, "100", "200", effects)
        assert yard.insights.watermark(name) == "200"
        assert yard.insights.counters()[group] == {State.PENDING: 6, State.SUCCESS: -2}

    def test_of_eight_that_count_one_batch_one_succeeds(
        self, ground: Ground, yard: Yard, group: Group, shard: Callable[[], str]
    ) -> None:
        name = shard()
        effects: Effects = Counter({CountKey(group, State.PENDING): 1})

        def count(_: int) -> bool:
            try:
                add(yard, name, None, "1", effects)
            except AlreadyCounted:
                return False
            return True

        with ThreadPoolExecutor(ground.threads()) as pool:
            outcomes = list(pool.map(count, range(8)))
        assert outcomes.count(True) == 1
        assert yard.insights.counters()[group] == {State.PENDING: 1}

    def test_readers_add_the_shards_up(self, yard: Yard, group: Group, shard: Callable[[], str]) -> None:
        minute_ms = NOW - NOW % MINUTE_MS
        for amount in (1, 2, 4):
            effects: Effects = Counter(
                {CountKey(group, State.RUNNING): amount, MinuteKey(group, minute_ms, Measure.STARTED): 10 * amount}
            )
            add(yard, shard(), None, "1", effects)
        assert yard.insights.counters()[group] == {State.RUNNING: 7}
        assert yard.insights.minutes(minute_ms, minute_ms + 1)[group, minute_ms] == {Measure.STARTED: 70}

    def test_groups_that_look_alike_stay_apart(self, yard: Yard, shard: Callable[[], str]) -> None:
        name = next(names)
        groups = [Group("task", f"{name}a", "b"), Group("task", name, "ab"), Group("task", f"{name}|a", "b")]
        add(yard, shard(), None, "1", Counter({CountKey(group, State.WAITING): 1 for group in groups}))
        counters = yard.insights.counters()
        assert [counters[group] for group in groups] == [{State.WAITING: 1}] * 3

    def test_minutes_of_a_span_over_midnight(self, yard: Yard, group: Group, shard: Callable[[], str]) -> None:
        midnight = (NOW // DAY_MS + 400) * DAY_MS
        at = [midnight + offset * MINUTE_MS for offset in (-2, -1, 0, 1)]
        effects: Effects = Counter({MinuteKey(group, minute, Measure.SUCCEEDED): n for n, minute in enumerate(at, 1)})
        add(yard, shard(), None, "1", effects)

        def found(since_ms: int, until_ms: int) -> dict[int, int]:
            rows = yard.insights.minutes(since_ms, until_ms)
            return {minute: amounts[Measure.SUCCEEDED] for (whose, minute), amounts in rows.items() if whose == group}

        assert found(at[0], at[3] + 1) == {at[0]: 1, at[1]: 2, at[2]: 3, at[3]: 4}
        assert found(at[1], at[3]) == {at[1]: 2, at[2]: 3}  # the end is not in the span
        assert found(at[0] + 1, at[2]) == {at[1]: 2}
        assert found(at[3] + 1, at[3] + MINUTE_MS) == {}

    def test_minutes_expire_and_counters_do_not(self, yard: Yard, group: Group, shard: Callable[[], str]) -> None:
        minute_ms = NOW - NOW % MINUTE_MS
        name = shard()
        effects: Effects = Counter(
            {CountKey(group, State.PENDING): 1, MinuteKey(group, minute_ms, Measure.PUBLISHED): 1}
        )
        add(yard, name, None, "1", effects)
        table = yard.insights._table
        rows = [
            *table.query_all("{view} = :view", {":view": "counters"}),
            *table.query_all("{view} = :view", {":view": "minutes#2096-10-02"}),
        ]
        expiries = {row["view"]: row.get("expires_at_s") for row in rows if row["group"]["queue"] == group.queue}
        assert expiries == {"counters": None, "minutes#2096-10-02": minute_ms // 1_000 + MINUTES_TTL_S}

    def test_as_many_rows_as_a_transaction_holds(self, yard: Yard, shard: Callable[[], str]) -> None:
        name = next(names)
        groups = [Group("task", name, f"type-{number}") for number in range(ROWS_MAX)]
        effects: Effects = Counter({CountKey(group, State.SUCCESS): 1 for group in groups})
        assert len(yard.insights.adding(name, effects)) == ROWS_MAX
        add(yard, shard(), None, "1", effects)
        counters = yard.insights.counters()
        assert [counters[group] for group in groups] == [{State.SUCCESS: 1}] * ROWS_MAX

    def test_counters_made_anew_replace_all_others(self, yard: Yard, shard: Callable[[], str]) -> None:
        name = next(names)
        groups = [Group("task", name, f"type-{number}") for number in range(120)]
        add(yard, shard(), None, "1", Counter({CountKey(groups[0], State.PENDING): 5}))
        yard.insights.replace_counters("rebuilt", Counter({CountKey(group, State.FAILED): 2 for group in groups}))
        assert yard.insights.counters() == {group: {State.FAILED: 2} for group in groups}
