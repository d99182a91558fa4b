"""kue's lists and numbers."""

from __future__ import annotations

import pytest

from tests.support.kue import created, delete, ids, project, put
from tests.support.service import Service


@pytest.fixture
def five(api: Service, kind: str) -> list[str]:
    """Five jobs of a type, one a millisecond."""
    made = []
    for place in range(5):
        made.append(created(api, kind, place, priority=10 - place))
        api.clock.move(1)
    return made


class TestRanges:
    @pytest.mark.parametrize(
        ("range_", "places"),
        [
            ("0..1", [0, 1]),
            ("1..3", [1, 2, 3]),
            ("0..-1", [0, 1, 2, 3, 4]),
            ("-2..-1", [3, 4]),
            ("-9..-4", [0, 1]),
            ("1..-2", [1, 2, 3]),
            ("-2..9", [3, 4]),
            ("4..99", [4]),
            ("5..9", []),
            ("3..1", []),
            ("-9..-8", []),
            ("0...2", [0, 1, 2]),
            ("0..1e2", [0, 1]),
        ],
    )
    def test_both_ends_are_in_it(
        self, api: Service, kind: str, five: list[str], range_: str, places: list[int]
    ) -> None:
        expected = [five[place] for place in places]
        assert ids(api, f"/jobs/{kind}/inactive/{range_}") == expected
        assert ids(api, f"/jobs/{kind}/inactive/{range_}/asc") == expected
        assert ids(api, f"/jobs/{kind}/{range_}") == expected

    def test_desc_begins_with_the_newest(self, api: Service, kind: str, five: list[str]) -> None:
        assert ids(api, f"/jobs/{kind}/inactive/0..1/desc") == [five[4], five[3]]
        assert ids(api, f"/jobs/{kind}/inactive/-2..-1/desc") == [five[1], five[0]]
        assert ids(api, f"/jobs/{kind}/0..0/desc") == [five[4]]

    def test_of_all_types(self, api: Service, five: list[str]) -> None:
        assert ids(api, "/jobs/0..4/desc") == five[::-1]
        assert ids(api, "/jobs/-5..-1") == five
        assert ids(api, "/jobs/inactive/-5..-1/asc") == five

    @pytest.mark.parametrize("range_", ["a..b", "..", "0..", "..9", "x0..1"])
    def test_no_numbers(self, api: Service, kind: str, range_: str) -> None:
        for path in (f"/jobs/{range_}", f"/jobs/inactive/{range_}", f"/jobs/{kind}/inactive/{range_}/asc"):
            reply = api.get(path)
            assert (reply.status, reply.json["error"][:37]) == (200, "expected a range of whole numbers suc")

    @pytest.mark.parametrize(
        "path", ["/jobs/0..1000", "/jobs/0..9999999999", "/jobs/200000..200001", "/jobs/-2000..-1"]
    )
    def test_too_much_at_once(self, api: Service, path: str) -> None:
        reply = api.get(path)
        assert (reply.status, "at most 1000 jobs" in reply.json["error"]) == (200, True)

    def test_unknown_words_are_types(self, api: Service) -> None:
        assert api.get("/jobs/no.such.type/0..9").json == []
        assert api.get("/jobs/no.such.type/inactive/0..9").json == []
        assert api.get("/jobs/no.such.type/banana/0..9").json == []
        assert "error" in api.get("/jobs/0-2").json

    def test_a_type_is_decoded(self, api: Service) -> None:
        made = created(api, "a/b c")
        assert ids(api, "/jobs/a%2Fb%20c/inactive/0..9") == [made]


class TestStates:
    def test_each_state_has_its_list(self, api: Service, kind: str) -> None:
        made = {state: created(api, kind) for state in ("inactive", "active", "complete", "failed")}
        made["delayed"] = created(api, kind, delay=60_000)
        for state in ("active", "complete", "failed"):
            put(api, f"/job/{made[state]}/state/{state}")
        for state, job_id in made.items():
            assert ids(api, f"/jobs/{kind}/{state}/0..9") == [job_id]
        (job,) = api.get(f"/jobs/{kind}/delayed/0..9").json
        assert (job["state"], job["delay"], job["attempts"]) == (
            "delayed",
            "60000",
            {"made": 0, "remaining": 1, "max": 1},
        )

    def test_large_data_is_left_out_of_lists(self, api: Service, kind: str) -> None:
        created(api, kind, "x" * 300_000)
        (job,) = api.get(f"/jobs/{kind}/0..9").json
        assert job["data"] == {"omitted": "the value is kept elsewhere: ask for the job by its id"}


class TestSearch:
    @pytest.fixture
    def videos(self, api: Service, kind: str) -> list[str]:
        made = []
        for data in (
            {"title": f"avi {kind}"},
            {"title": f"a video in AVI: {kind}", "user": 1},
            {"title": f"mkv {kind}"},
        ):
            made.append(created(api, kind, data))
            api.clock.move(1)
        project(api)
        return made

    def test_all_words_must_be_there(self, api: Service, kind: str, videos: list[str]) -> None:
        first, second, _ = videos
        assert api.get("/job/search", {"q": f"{kind} avi"}).json == [second, first]
        assert api.get("/job/search", {"q": f"AVI video {kind}"}).json == [second]
        assert api.get("/job/search", {"q": f"{kind} ogg"}).json == []

    def test_a_deleted_job_is_not_found(self, api: Service, kind: str, videos: list[str]) -> None:
        delete(api, f"/job/{videos[1]}")
        assert api.get("/job/search", {"q": f"avi {kind}"}).json == [videos[0]]

    def test_search_keys_alone_are_looked_at(self, api: Service, kind: str) -> None:
        data = {"to": f"tj {kind}", "title": f"welcome {kind}"}
        made = created(api, kind, data, searchKeys=["to"])
        project(api)
        put(api, f"/job/{made}/state/active")
        project(api)
        assert api.get("/job/search", {"q": f"tj {kind}"}).json == [made]
        assert api.get("/job/search", {"q": f"welcome {kind}"}).json == []

    @pytest.mark.parametrize("query", [{}, {"q": ""}, {"q": "  "}, {"q": "", "page": "7"}])
    def test_nothing_asked_for_is_nothing_found(self, api: Service, query: dict[str, str]) -> None:
        assert api.get("/job/search", query).json == []
