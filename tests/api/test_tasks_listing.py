"""Looking at tasks: one by its id, and lists with every filter, order and page."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from chalicelib.engine.projections.project import Change
from chalicelib.engine.projections.search import index
from chalicelib.settings import Settings
from chalicelib.testing import cloud
from tests.support.service import Service
from tests.support.tasks import POOL, as_listed, create, detail, ids, listed, problem


class TestDetail:
    @pytest.mark.parametrize("task_id", ["999999999", "0", "abc", "-1", "9" * 40, "1.0", "\u0661"])
    def test_an_id_of_nobody_is_not_found(self, api: Service, task_id: str) -> None:
        reply = api.get("/api/task/detail", {"id": task_id})
        assert (reply.status, reply.json["error"]) == (404, "Not Found")

    def test_an_id_is_needed(self, api: Service) -> None:
        assert problem(api.get("/api/task/detail")) == (422, "id", "a value", "nothing")
        assert problem(api.get("/api/task/detail", {"id": ["1", "2"]}))[:2] == (422, "id")

    def test_what_does_not_fit_into_an_answer_is_left_out_largest_first(self, api: Service, kind: str) -> None:
        text = '"' * 1_200_000  # four bytes each where it is sent: Lambda puts the JSON of an answer into JSON
        task = create(api, kind, input=text, context={"n": 1})
        assert (task["input"], task["omitted"]) == (text, [])
        assert api.post("/api/task/complete", {"id": task["id"], "status": "success", "output": [text]}).status == 200
        shown = detail(api, task["id"])
        assert (shown["input"], shown["context"], shown["omitted"]) == (text, {"n": 1}, ["output"])
        assert (shown["status"], shown["output"]) == ("success", {"omitted": "2400004 bytes"})

    def test_what_cannot_be_read_is_named_and_all_else_is_told(self, api: Service, kind: str) -> None:
        lost = create(api, kind, input="x" * 300_000)["id"]
        broken = create(api, kind, input="y" * 1_000)["id"]
        for bucket in cloud.buckets().values():
            bucket.keys.clear()
        api.yard.jobs.table.put({"job": int(broken), "part": "body", "text": "{"})
        left_out = ["input", "options", "next", "context"]
        for task_id in (lost, broken):
            shown = detail(api, task_id)
            assert (shown["status"], shown["input"], shown["omitted"]) == ("pending", None, left_out)
        page = api.get("/api/task/list", {"filter.type": kind}).json["pageData"]
        assert [(task["id"], task["omitted"]) for task in page] == [(broken, left_out), (lost, left_out)]
        assert listed(api, {"filter.type": kind, "filter.targetName": "name"}) == []

    def test_a_message_is_no_task(self, api: Service, kind: str) -> None:
        message = api.post("/mq/message/publish", {"topic": kind, "payload": {}}).json
        assert api.get("/api/task/detail", {"id": message["id"]}).status == 404


class TestSearch:
    @pytest.fixture(scope="class")
    @staticmethod
    def shoes(api: Service) -> list[str]:
        """Three tasks that are indexed, oldest first."""
        titles = ("Red shoes", "Blue shoes", "赤い靴 shoes")
        made = [create(api, f"search.{n}", input={"title": title})["id"] for n, title in enumerate(titles)]
        index(api.yard, [Change("1", None, api.yard.jobs.find(int(task_id))) for task_id in made])
        return made

    @pytest.mark.parametrize("style", ["filter.search", "filter[search]"])
    def test_all_words_newest_first(self, api: Service, shoes: list[str], style: str) -> None:
        red, blue, japanese = shoes
        found = {
            text: ids(listed(api, {style: text}))
            for text in ("SHOES", "shoes red", "title shoes blue", "靴", "い靴", "x")
        }
        assert found == {
            "SHOES": [japanese, blue, red],
            "shoes red": [red],
            "title shoes blue": [blue],
            "靴": [japanese],
            "い靴": [japanese],
            "x": [],
        }

    def test_page_by_page(self, api: Service, shoes: list[str]) -> None:
        query = {"filter.search": "shoes", "perPage": 2}
        first = api.get("/api/task/list", query).json
        assert (ids(first["pageData"]), first["totalCount"], first["totalIsExact"]) == (shoes[:0:-1], 3, True)
        rest = api.get("/api/task/list", {**query, "cursor": first["nextCursor"]}).json
        assert (ids(rest["pageData"]), rest["totalCount"], rest["nextCursor"]) == (shoes[:1], 3, None)
        assert ids(api.get("/api/task/list", {**query, "currentPage": 2}).json["pageData"]) == shoes[:1]
        other = api.get("/api/task/list", {"filter.search": "red", "cursor": first["nextCursor"]})
        assert problem(other)[:2] == (400, "cursor")

    def test_with_other_filters_and_orders(self, api: Service, shoes: list[str]) -> None:
        red, blue, japanese = shoes
        assert ids(listed(api, {"filter.search": "shoes", "filter.type": "search.1"})) == [blue]
        assert ids(listed(api, {"filter.search": "shoes", "filter.status": "success"})) == []
        assert ids(listed(api, {"filter.search": "shoes", "sort.type": "ASC"})) == [red, blue, japanese]
        assert ids(listed(api, {"filter.search": "red shoes", "filter.id": red})) == [red]
        assert ids(listed(api, {"filter.search": "blue", "filter.id": red})) == []

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("?!", "letters or digits"),
            (" ".join(map(str, range(33))), "at most 32; where no spaces are written, each pair of characters is one"),
        ],
    )
    def test_what_cannot_be_searched_for_is_refused(self, api: Service, text: str, expected: str) -> None:
        assert problem(api.get("/api/task/list", {"filter.search": text})) == (422, "filter.search", expected, text)

    def test_while_it_is_off_a_search_says_how_to_switch_it_on(
        self, api: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Settings, "search_is_on", False)
        reply = api.get("/api/task/list", {"filter.search": "red"})
        assert problem(reply)[:3] == (422, "filter.search", "no search")
        assert reply.json["remedy"] == (
            "deploy with TASKYARD_SEARCH=on; tasks that are there already are found after taskyard rebuild"
        )


class TestListPages:
    def test_newest_first(self, api: Service, kind: str) -> None:
        tasks = []
        for n in range(23):
            tasks.append(create(api, kind, input={"n": n}))
            api.clock.move(1 if n % 3 else 0)
        newest_first = [as_listed(task) for task in tasks[::-1]]
        of_type = {"filter.type": kind}
        first = api.get("/api/task/list", of_type).json
        cursor = first.pop("nextCursor")
        assert first == {"pageData": newest_first[:20], "totalCount": 23, "totalIsExact": True}
        last = {"pageData": newest_first[20:], "totalCount": 23, "totalIsExact": True, "nextCursor": None}
        assert api.get("/api/task/list", {**of_type, "perPage": 10, "currentPage": 3}).json == last
        assert api.get("/api/task/list", {**of_type, "cursor": cursor}).json == last
        assert listed(api, {**of_type, "currentPage": 7}) == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"perPage": 0}, "perPage"),
            ({"perPage": 101}, "perPage"),
            ({"currentPage": 0}, "currentPage"),
            ({"filter.status": "done"}, "filter.status"),
            ({"filter.status": "PENDING"}, "filter.status"),
            ({"filter[runnerType]": "robot"}, "filter.runnerType"),
            ({"filter.createdAt.startTime": "yesterday"}, "filter.createdAt.startTime"),
            ({"filter[createdAt][endTime]": "1900-01-01"}, "filter.createdAt.endTime"),
            ({"filter.bogus": "1"}, "filter.bogus"),
            ({"filter.target_id": "1"}, "filter.target_id"),
            ({"filter[createdAt][from]": "2025-01-01"}, "filter.createdAt.from"),
            ({"perpage": "1"}, "perpage"),
            ({"sort[color]": "DESC"}, "sort"),
            ({"sort[createdAt]": "UP"}, "sort.createdAt"),
            ({"sort[status]": "ASC", "sort[color]": "ASC"}, "sort"),
            ({"sort": "createdAt"}, "sort"),
            ({"filter": "x"}, "filter"),
        ],
        ids=str,
    )
    def test_what_is_wrong_is_told(self, api: Service, query: dict[str, Any], field: str) -> None:
        assert problem(api.get("/api/task/list", query))[:2] == (422, field)

    @pytest.mark.parametrize("query", [{"filter[": "x"}, {"filter..id": "1"}, {"filter": "x", "filter.id": "1"}])
    def test_a_malformed_key_is_refused(self, api: Service, query: dict[str, Any]) -> None:
        assert api.get("/api/task/list", query).status == 400


@pytest.fixture(scope="class")
def varied(api: Service) -> dict[str, dict[str, Any]]:
    """Tasks that differ in what can be filtered by, a minute apart, all of targets of this class."""
    made: dict[str, dict[str, Any]] = {}
    for name, fields in {
        "manual": {"task_type": "filter.a", "target_id": "f-1", "input": {"name": "Annual Report.pdf"}},
        "running": {"task_type": "filter.a", "target_id": "f-2", "input": {"name": "ÜBERSICHT"}},
        "done": {
            "task_type": "scripted",
            "target_id": "f-1",
            "runnerType": "system",
            "input": {"name": "report 2"},
        },
        "dead": {"task_type": "scripted", "target_id": "f-3", "runnerType": "system", "input": {"reject": "no"}},
        "canceled": {"task_type": "filter.b", "target_id": "f-3", "input": "no name"},
    }.items():
        made[name] = create(api, **{"targetType": f"kind of {name}", **fields})
        api.clock.move(60_000)
    api.work(POOL)
    api.clock.move(60_000)
    api.post("/api/task/cancel", {"id": made["canceled"]["id"]})
    return {name: detail(api, task["id"]) for name, task in made.items()}


class TestListFilters:
    def names(self, api: Service, varied: dict[str, dict[str, Any]], **query: Any) -> list[str]:
        """Which of the tasks a list shows, in its order."""
        by_id = {task["id"]: name for name, task in varied.items()}
        return [by_id[task["id"]] for task in listed(api, query) if task["id"] in by_id]

    @pytest.mark.parametrize("style", ["filter.{}", "filter[{}]"])
    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("type", "filter.a", ["running", "manual"]),
            ("type", "nobody's", []),
            ("targetId", "f-1", ["done", "manual"]),
            ("targetType", "kind of dead", ["dead"]),
            ("status", "pending", ["running", "manual"]),
            ("status", "success", ["done"]),
            ("status", "failed", ["dead"]),
            ("status", "canceled", ["canceled"]),
            ("status", "running", []),
            ("status", "waiting", []),
            ("runnerType", "system", ["dead", "done"]),
            ("runnerType", "manual", ["canceled", "running", "manual"]),
            ("targetName", "REPORT", ["done", "manual"]),
            ("targetName", "übersicht", ["running"]),
            ("targetName", ".pdf", ["manual"]),
            ("targetName", "name", []),
        ],
    )
    def test_each_in_both_styles(
        self, api: Service, varied: dict[str, Any], style: str, key: str, value: str, expected: list[str]
    ) -> None:
        assert self.names(api, varied, **{style.format(key): value}) == expected

    def test_by_id(self, api: Service, varied: dict[str, Any]) -> None:
        assert listed(api, {"filter.id": varied["done"]["id"]}) == [as_listed(varied["done"])]
        for nobody in ("999999999", "abc", "0"):
            assert api.get("/api/task/list", {"filter[id]": nobody}).json == {
                "pageData": [],
                "totalCount": 0,
                "totalIsExact": True,
                "nextCursor": None,
            }

    def test_by_id_with_the_rest(self, api: Service, varied: dict[str, dict[str, Any]]) -> None:
        done = varied["done"]
        fits = {
            "type": "scripted",
            "status": "success",
            "targetId": "f-1",
            "runnerType": "system",
            "targetName": "port",
        }
        fits |= {f"{at}.{end}": done[at] for at in ("createdAt", "completedAt") for end in ("startTime", "endTime")}
        others = {"type": "filter.a", "status": "failed", "targetId": "f-2", "runnerType": "manual", "targetName": "x"}
        query = {"filter.id": done["id"], **{f"filter.{name}": value for name, value in fits.items()}}
        for order in ({}, {"sort[updatedAt]": "ASC"}):
            assert ids(listed(api, {**query, **order})) == [done["id"]]
        for name, value in others.items():
            assert listed(api, {**query, f"filter.{name}": value}) == [], name
        for at in ("createdAt", "completedAt"):
            later = {f"filter.{at}.startTime": "2100-01-01", f"filter.{at}.endTime": "2101-01-01"}
            assert listed(api, {**query, **later}) == [], at
        page = api.get("/api/task/list", {**query, "perPage": 1, "currentPage": 2}).json
        assert (page["pageData"], page["totalCount"], page["nextCursor"]) == ([], 1, None)
        assert api.get("/api/task/list", {**query, "cursor": "AAAA"}).status == 400

    def test_together(self, api: Service, varied: dict[str, Any]) -> None:
        query = {"filter.type": "scripted", "filter[status]": "success", "filter.targetName": "port"}
        assert self.names(api, varied, **query) == ["done"]
        assert self.names(api, varied, **query, **{"filter.targetId": "f-2"}) == []

    @pytest.mark.parametrize("style", ["filter.{}.{}", "filter[{}][{}]", "filter.{}[{}]"])
    def test_spans_with_both_ends_in_them(self, api: Service, varied: dict[str, Any], style: str) -> None:
        def between(key: str, start: str | None, end: str | None) -> list[str]:
            query = {style.format(key, name): at for name, at in (("startTime", start), ("endTime", end)) if at}
            return self.names(api, varied, **query)

        created = {name: task["createdAt"] for name, task in varied.items()}
        assert between("createdAt", created["running"], created["dead"]) == ["dead", "done", "running"]
        assert between("createdAt", created["dead"], None) == ["canceled", "dead"]
        assert between("createdAt", None, created["manual"]) == ["manual"]
        completed = {name: task["completedAt"] for name, task in varied.items()}
        assert completed["done"] == completed["dead"] < completed["canceled"]
        assert between("completedAt", completed["done"], completed["done"]) == ["dead", "done"]
        assert between("completedAt", completed["canceled"], None) == ["canceled"]
        assert between("completedAt", None, completed["canceled"]) == ["canceled", "dead", "done"]

    @pytest.mark.parametrize("key", ["createdAt", "completedAt"])
    def test_a_span_cannot_end_before_it_begins(self, api: Service, key: str) -> None:
        query = {f"filter.{key}.startTime": "2026-01-01", f"filter[{key}][endTime]": "2025-12-31T23:59:59.999Z"}
        reply = api.get("/api/task/list", query)
        got = "startTime 2026-01-01T00:00:00+00:00, endTime 2025-12-31T23:59:59.999000+00:00"
        assert problem(reply) == (422, f"filter.{key}", "an endTime that is not before startTime", got)
        assert reply.json["remedy"] == "say the earlier one first"


@pytest.fixture(scope="class")
def disordered(api: Service) -> list[dict[str, Any]]:
    """Tasks whose every sortable field differs, in different orders."""
    made = []
    for n, (letter, delay) in enumerate((("c", 50), ("a", 10), ("d", 30), ("b", 20))):
        made.append(create(api, f"order.{letter}", f"o-{'dbca'[n]}", targetType=f"tt-{'bdac'[n]}", delay=delay))
        api.clock.move(1_000)
    for n in (2, 0):
        api.post("/api/task/cancel", {"id": made[n]["id"]})
        api.clock.move(1_000)
    return [detail(api, task["id"]) for task in made]


def made_then(tasks: list[dict[str, Any]]) -> dict[str, str]:
    """The filter for what was created while these were: a page has no room for what other tests leave, too."""
    return {
        "filter.createdAt.startTime": tasks[0]["createdAt"],
        "filter.createdAt.endTime": tasks[-1]["createdAt"],
    }


class TestListOrders:
    @pytest.mark.parametrize("key", ["id", "targetId", "targetType", "type", "startTime", "createdAt", "updatedAt"])
    @pytest.mark.parametrize("direction", ["ASC", "DESC"])
    def test_each_key_both_ways(self, api: Service, disordered: list[dict[str, Any]], key: str, direction: str) -> None:
        ours = set(ids(disordered))
        shown = [
            task for task in listed(api, {**made_then(disordered), f"sort[{key}]": direction}) if task["id"] in ours
        ]
        values = [int(task[key]) if key == "id" else task[key] for task in shown]
        assert len(values) == 4
        assert values == sorted(values, reverse=direction == "DESC")
        assert len(set(values)) == 4

    @pytest.mark.parametrize(("key", "value"), [("status", "status"), ("runnerType", "runnerType")])
    def test_groups(self, api: Service, disordered: list[dict[str, Any]], key: str, value: str) -> None:
        ours = set(ids(disordered))
        shown = [
            task[value] for task in listed(api, {**made_then(disordered), f"sort.{key}": "ASC"}) if task["id"] in ours
        ]
        assert shown == sorted(shown)

    def test_by_completion(self, api: Service, disordered: list[dict[str, Any]]) -> None:
        ours = set(ids(disordered))
        shown = [
            task["id"]
            for task in listed(api, {**made_then(disordered), "sort[completedAt]": "DESC"})
            if task["id"] in ours
        ]
        assert shown[:2] == [disordered[0]["id"], disordered[2]["id"]]

    @pytest.mark.parametrize("per_page", [4, 1])
    @pytest.mark.parametrize(("status", "target"), [*itertools.product(("ASC", "desc"), repeat=2)])
    def test_by_several_keys_the_first_counts_most(
        self, api: Service, disordered: list[dict[str, Any]], status: str, target: str, per_page: int
    ) -> None:
        query = {
            "filter.createdAt.startTime": disordered[0]["createdAt"],
            "filter.createdAt.endTime": disordered[-1]["createdAt"],
            "sort[status]": status,
            "sort[targetId]": target,
            "perPage": per_page,
        }
        page, shown = api.get("/api/task/list", query).json, []
        shown += page["pageData"]
        while page["nextCursor"] is not None:
            page = api.get("/api/task/list", {**query, "cursor": page["nextCursor"]}).json
            shown += page["pageData"]
        expected = sorted(disordered, key=lambda task: task["targetId"], reverse=target == "desc")
        expected.sort(key=lambda task: task["status"], reverse=status == "desc")
        assert ids(shown) == ids(expected)

    def test_a_start_that_nobody_asked_for_is_the_creation(self, api: Service, kind: str) -> None:
        late = create(api, kind, delay=0.005)
        api.clock.move(3)
        early = create(api, kind)
        query = {"filter.type": kind, "sort[startTime]": "ASC"}
        assert ids(listed(api, query)) == [early["id"], late["id"]]

    def test_a_cursor_leads_on_in_any_order(self, api: Service, disordered: list[dict[str, Any]]) -> None:
        query = {"filter.createdAt.startTime": disordered[0]["createdAt"], "sort[targetId]": "DESC", "perPage": 3}
        query["filter.createdAt.endTime"] = disordered[-1]["createdAt"]
        first = api.get("/api/task/list", query).json
        second = api.get("/api/task/list", {**query, "cursor": first["nextCursor"]}).json
        assert [task["targetId"] for task in first["pageData"] + second["pageData"]] == ["o-d", "o-c", "o-b", "o-a"]
        assert (second["totalCount"], second["nextCursor"]) == (4, None)

    def test_an_order_holds_over_pages(self, api: Service, disordered: list[dict[str, Any]]) -> None:
        first, last = disordered[0]["createdAt"], disordered[-1]["createdAt"]
        query = {
            "filter.createdAt.startTime": first,
            "filter.createdAt.endTime": last,
            "sort[type]": "ASC",
            "perPage": 3,
        }
        pages = [api.get("/api/task/list", {**query, "currentPage": page}).json for page in (1, 2)]
        assert [[task["type"] for task in page["pageData"]] for page in pages] == [
            ["order.a", "order.b", "order.c"],
            ["order.d"],
        ]
        assert [page["totalCount"] for page in pages] == [4, 4]
