"""The words of tasks into the index and out of it, whatever is delivered twice, and what is found by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast
from unittest.mock import patch

import pytest
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidInput, Unavailable
from chalicelib.core.job import Job
from chalicelib.core.states import Kind
from chalicelib.engine.commands.lifecycle import cancel, delete
from chalicelib.engine.handlers.declare import task
from chalicelib.engine.projections.project import Change
from chalicelib.engine.projections.search import index, rebuild_search
from chalicelib.functions.events import NO_SHARD, changes_by_shard
from chalicelib.services.task_lists import TaskFilters, search_ids, task_query
from chalicelib.store import search, table
from chalicelib.testing import cloud
from tests.support.steps import a_message, a_task, before, using, work
from tests.support.worlds import World, world
from tests.support.yards import SETTINGS

LARGE = 300_000  # characters of a body that is kept in the bucket


@task("t")
def quiet(_: Any) -> None:
    return None


@pytest.fixture(scope="module")
def ground() -> Iterator[World]:
    with world([quiet], replace(SETTINGS, search="on")) as used:
        yield used


@pytest.fixture
def w(w: World) -> World:
    using(w, quiet)
    return w


def changes(w: World) -> list[Change]:
    """The changes of jobs so far, oldest first."""
    return changes_by_shard({"Records": w.stream()}).get(NO_SHARD, [])


def entries(w: World) -> list[tuple[str, int]]:
    """Every row of the index: what it is, and whose."""
    rows = w.items("insights")
    found = [(str(row["view"]).partition("#")[0], str(row["key"])) for row in rows]
    return sorted((what, search.job_in(key)) for what, key in found if what in ("word", "searched"))


def made(w: World, given: Any, **more: Any) -> Job:
    """A task, a moment after the one before."""
    w.clock.move(1)
    return a_task(w, input=given, **more)


def found(w: World, text: str, **filters: Any) -> list[int]:
    page = w.yard.lists.page(task_query(w.yard, TaskFilters(search=text, **filters)), 0, 100)
    ids = [job.id for job in page.jobs]
    assert (page.total, page.exact) == (len(ids), True)
    return ids


# -- into the index and out of it ---------------------------------------------------------------------


def test_tasks_are_found_by_all_their_words_newest_first(w: World) -> None:
    first = made(w, {"title": "Red shoes", "to": "anna@example.com"})
    second = made(w, {"title": "Blue shoes", "to": "bert@example.com"})
    a_message(w, input={"title": "red shoes"})
    w.project()
    assert found(w, "SHOES") == found(w, "title example") == search_ids(w.yard, "Shoes, com") == [second.id, first.id]
    assert found(w, "red shoes") == found(w, "anna@example.com") == search_ids(w.yard, "shoes anna") == [first.id]
    assert found(w, "red blue") == found(w, "sho") == search_ids(w.yard, "missing") == search_ids(w.yard, " - ") == []
    assert search_ids(w.yard, "shoes", limit=1) == [second.id]


@pytest.mark.parametrize(
    ("text", "queries"),
    [
        ("東京都知事の日程", ("東", "東京", "京都", "知事", "の日程", "東京 日程")),
        ("注文を確認しました", ("確認", "しま")),
        ("กินข้าวแล้ว", ("กิน", "ข้าว", "ว")),
        ("Größe ÜBER Straße", ("größe", "über strasse")),
        ("Привет мир", ("ПРИВЕТ",)),
        ("안녕하세요", ("안녕하세요",)),
    ],
)
def test_texts_of_any_language_are_found(w: World, text: str, queries: tuple[str, ...]) -> None:
    one = made(w, {"text": text})
    made(w, {"text": "something else, 別"})
    w.project()
    for query in queries:
        assert found(w, query) == [one.id], query


def test_a_body_is_searched_wherever_it_is(w: World) -> None:
    inside, beside, bucket = (
        made(w, {"word": word, "pad": "x" * chars})
        for word, chars in (("inside", 1), ("beside", 1_000), ("bucket", LARGE))
    )
    assert [job.body_at for job in (inside, beside)] == [None, "item"]
    assert str(bucket.body_at).startswith("s3:")
    w.project()
    assert [found(w, word) for word in ("inside", "beside", "bucket")] == [[inside.id], [beside.id], [bucket.id]]


def test_search_keys_say_what_is_searched_and_stay_with_the_task(w: World) -> None:
    given = {"to": {"email": "anna@example.com"}, "title": "Hello", "secret": "hidden"}
    some = made(w, given, options={"searchKeys": ["to.email", "title"]})
    one = made(w, given, options={"searchKeys": "secret"})
    none = made(w, given, options={"searchKeys": []})
    w.project()
    assert (found(w, "anna"), found(w, "hidden"), found(w, "title")) == ([some.id], [one.id], [])
    work(w)
    w.project()
    assert rebuild_search(w.yard) == 1  # none, which has no entry, was looked at anew
    assert (found(w, "anna"), found(w, "hidden"), found(w, "title")) == ([some.id], [one.id], [])
    assert ("searched", none.id) not in entries(w)


def test_what_is_delivered_twice_is_indexed_once(w: World) -> None:
    task_id = made(w, "red shoes").id
    index(w.yard, changes(w))
    once = entries(w)
    index(w.yard, changes(w))
    assert entries(w) == once == [("searched", task_id), ("word", task_id), ("word", task_id)]


def test_a_deleted_task_leaves_nothing_in_the_index(w: World) -> None:
    gone, stays = made(w, {"text": "red " + "y" * 1_000}), made(w, "red shoes")
    w.project()
    delete(w.yard, gone.id, Kind.TASK, force=True)
    assert search_ids(w.yard, "red") == [stays.id]
    w.project()
    assert {job_id for _, job_id in entries(w)} == {stays.id}
    assert found(w, "red") == [stays.id]
    index(w.yard, changes(w))  # from its creation on, though its body is gone
    assert {job_id for _, job_id in entries(w)} == {stays.id}


def test_changes_in_pieces_leave_what_the_whole_leaves(w: World) -> None:
    gone, stays = made(w, "red"), made(w, "red shoes")
    delete(w.yard, gone.id, Kind.TASK, force=True)
    for change in [*changes(w), *changes(w)]:
        index(w.yard, [change])
    assert {job_id for _, job_id in entries(w)} == {stays.id}


def test_a_write_that_fails_is_made_good_by_the_next_delivery(w: World) -> None:
    one = made(w, "red shoes")
    client = w.yard.jobs.table.client

    def refuse() -> None:
        raise EndpointConnectionError(endpoint_url="https://aws.test")

    with before(client, "BatchWriteItem", refuse, number=2), pytest.raises(EndpointConnectionError):
        index(w.yard, changes(w))
    assert entries(w) == [("word", one.id), ("word", one.id)]
    index(w.yard, changes(w))
    assert ("searched", one.id) in entries(w)
    assert found(w, "red") == [one.id]


@contextmanager
def unprocessed(client: Any, times: int) -> Iterator[Counter[str]]:
    """DynamoDB leaves one write of its answers undone, so many times."""
    calls: Counter[str] = Counter()

    def leave(parsed: dict[str, Any], **_: Any) -> None:
        calls["BatchWriteItem"] += 1
        if calls["BatchWriteItem"] <= times:
            item = {"view": {"S": "left"}, "key": {"S": "behind"}}
            parsed["UnprocessedItems"] = {"taskyard-local-insights": [{"PutRequest": {"Item": item}}]}

    client.meta.events.register("after-call.dynamodb.BatchWriteItem", leave)
    try:
        yield calls
    finally:
        client.meta.events.unregister("after-call.dynamodb.BatchWriteItem", leave)


def test_what_dynamodb_leaves_unwritten_is_sent_again_eight_times(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "BATCH_WAIT_S", 0)
    made(w, "red")
    client = w.yard.jobs.table.client
    with unprocessed(client, 2) as calls:
        index(w.yard, changes(w))
    assert calls["BatchWriteItem"] == 3 + 1  # the words, then what was found by them
    assert [row["key"] for row in w.items("insights") if row["view"] == "left"] == ["behind"]
    with (
        unprocessed(client, 100) as calls,
        pytest.raises(Unavailable, match="left UnprocessedItems of taskyard-local-insights 8 times"),
    ):
        index(w.yard, changes(w))
    assert calls["BatchWriteItem"] == 8


def test_a_body_that_is_lost_holds_nobody_up(w: World) -> None:
    made(w, {"word": "red", "pad": "x" * LARGE})
    one = made(w, "red")
    for bucket in cloud.buckets().values():
        bucket.keys.clear()
    w.project()
    assert found(w, "red") == [one.id]


# -- off, and anew ------------------------------------------------------------------------------------


def test_while_search_is_off_nothing_is_indexed_and_a_search_says_how_to_switch_it_on(w: World) -> None:
    off = replace(w.yard, settings=replace(w.yard.settings, search="off"))
    one = made(w, "red")
    index(off, changes(w))
    assert entries(w) == []
    for ask in (lambda: search_ids(off, "red"), lambda: task_query(off, TaskFilters(search="red"))):
        with pytest.raises(InvalidInput, match=r"search: search is off here; .*deploy with TASKYARD_SEARCH=on"):
            ask()
    assert rebuild_search(w.yard) == 1
    assert found(w, "red") == [one.id]


def test_anew_from_the_ledger(w: World) -> None:
    kept, gone, late = made(w, "red one"), made(w, "red two"), made(w, "red three")
    index(w.yard, changes(w)[:2])
    delete(w.yard, gone.id, Kind.TASK, force=True)
    assert {job_id for _, job_id in entries(w)} == {kept.id, gone.id}
    assert rebuild_search(w.yard) == 1
    assert {job_id for _, job_id in entries(w)} == {kept.id, late.id}
    assert found(w, "red") == [late.id, kept.id]
    assert rebuild_search(w.yard) == 0


def test_what_has_no_word_and_what_has_too_many_is_refused(w: World) -> None:
    with pytest.raises(InvalidInput, match="search: there is no word in this; expected letters or digits"):
        task_query(w.yard, TaskFilters(search="?!"))
    with pytest.raises(InvalidInput, match="too many words"):
        search_ids(w.yard, " ".join(map(str, range(33))))


# -- lists --------------------------------------------------------------------------------------------


def walked(w: World, size: int, **filters: Any) -> list[int]:
    """The ids of a list, page by page by its places."""
    query = task_query(w.yard, TaskFilters(**filters))
    page = w.yard.lists.cursor_page(query, size)
    ids = [job.id for job in page.jobs]
    while page.next is not None:
        page = w.yard.lists.cursor_page(query, size, page.next)
        ids += [job.id for job in page.jobs]
    return ids


def test_with_other_filters_and_the_other_way_round(w: World) -> None:
    tasks = [made(w, f"red {n % 2}", target_id=f"t{n % 3}", target_type="x") for n in range(6)]
    w.project()
    cancel(w.yard, tasks[4].id, Kind.TASK)
    ids = [job.id for job in tasks]
    assert found(w, "red 0") == [ids[4], ids[2], ids[0]]
    assert found(w, "red", target_id="t1") == [ids[4], ids[1]]
    assert found(w, "red 0", target_id="t1", target_type="x", type="t") == [ids[4]]
    query = task_query(w.yard, TaskFilters(search="red 1"), [("createdAt", False)])
    assert [job.id for job in w.yard.lists.page(query, 1, 5).jobs] == [ids[3], ids[5]]
    for size in (1, 2, 7):
        assert walked(w, size, search="red") == ids[::-1]
        assert walked(w, size, search="red", target_id="t0") == [ids[3], ids[0]]


@pytest.mark.parametrize("descending", [True, False])
def test_a_search_that_looks_at_much_stops_and_goes_on(
    w: World, monkeypatch: pytest.MonkeyPatch, descending: bool
) -> None:
    """Every fourth run of tasks has both words, and each word has entries that the other has not."""
    kinds = ("red", "blue", "green", "red blue")
    ids = [made(w, kinds[n // 4 % 4]).id for n in range(64)]
    both = [job_id for n, job_id in enumerate(ids) if n // 4 % 4 == 3]
    w.project()
    monkeypatch.setattr(search, "PAGE_MIN", 2)
    monkeypatch.setattr(search, "ENTRIES_MAX", 12)
    query = task_query(w.yard, TaskFilters(search="red blue"), [("createdAt", descending)])
    page = w.yard.lists.page(query, 0, 100)
    assert page.exact is False
    assert 0 < page.total == len(page.jobs) < len(both)
    expected = both[::-1] if descending else both
    seen = [job.id for job in page.jobs]
    assert seen == expected[: len(seen)]
    while page.next is not None:
        page = w.yard.lists.cursor_page(query, 100, page.next)
        seen += [job.id for job in page.jobs]
    assert seen == expected
    with_filter = replace(query, matches=lambda _: True)
    assert w.yard.lists.page(with_filter, 0, 100).exact is False


@dataclass(frozen=True, slots=True)
class Sorted:
    """A table of entries in memory, as far as a search reads it."""

    entries: dict[str, list[str]]

    @classmethod
    def of(cls, tasks: dict[str, set[int]]) -> Sorted:
        """For each word the ids of the tasks that have it."""
        entries: dict[str, list[str]] = {}
        for word, ids in tasks.items():
            for position in sorted(map(position_at, ids)):
                entries.setdefault(search._entry(search._digest(word), position)["view"], []).append(position)
        return cls(entries)

    def first(self, _: str, values: dict[str, str], most: int, *, ascending: bool) -> list[dict[str, str]]:
        found = [key for key in self.entries.get(values[":view"], []) if values[":low"] <= key <= values[":high"]]
        return [{"key": key} for key in (found if ascending else found[::-1])[:most]]


def position_at(job_id: int) -> str:
    """The place of a task; three of them are of the same millisecond."""
    return f"{job_id // 3:013d}-{job_id:016d}"


ids = st.sets(st.integers(1, 60), max_size=40)


@given(
    tasks=st.dictionaries(st.sampled_from("abc"), ids, min_size=1),
    span=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    descending=st.booleans(),
    rows=st.integers(1, 30),
    page=st.integers(1, 5),
    most=st.integers(4, 80),
)
def test_a_search_finds_what_all_words_have_in_order_however_often_it_stops(
    tasks: dict[str, set[int]], span: tuple[int, int], descending: bool, rows: int, page: int, most: int
) -> None:
    index_of = search.SearchIndex(cast(Any, Sorted.of(tasks)))
    first, last = (position_at(end) for end in span)
    has_all = sorted(set.intersection(*tasks.values()), reverse=descending)
    low, high = sorted((first, last))
    backwards = (first < last) if descending else (first > last)
    expected = [] if backwards else [job_id for job_id in has_all if low <= position_at(job_id) <= high]
    seen: list[int] = []
    with patch.object(search, "PAGE_MIN", page), patch.object(search, "ENTRIES_MAX", most):
        while True:
            found = list(index_of.find(list(tasks), first, last, rows, descending=descending))
            seen += [job_id for _, job_id in found if job_id != search.UNSEEN]
            if not found or found[-1][1] != search.UNSEEN:
                break
            assert search.UNSEEN not in [job_id for _, job_id in found[:-1]]
            first = search._next_to(found[-1][0], descending)
    assert seen == expected
