"""What people do with the console, step by step: the same on `taskyard up` and on what is deployed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chalicelib.engine.worker.pause import FRESH_MS
from tests.support.client import Client
from tests.support.console import ALIKE, PROBE, Tab, goes_to, row_of, state_of, tab_of
from tests.support.waiting import becomes, until

TASK, TOPIC = "film.convert", "film.wanted"
ACTING = re.compile("^(Pause|Resume|Run|Replay|Retry|Delete|Set|Change|Unset)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the console is, and how a tab becomes that of somebody who may act, or only look."""

    service: Client
    as_operator: Callable[[Tab], object]
    as_onlooker: Callable[[Tab], object]


class Drive:
    """The steps; a subclass has the fixture ``place``, of the scope ``class``."""

    @pytest.fixture(scope="class")
    @classmethod
    def operators(cls, browser: Browser, place: Place) -> Iterator[Tab]:
        with tab_of(browser, place.service) as tab:
            place.as_operator(tab)
            yield tab

    @pytest.fixture
    def page(self, operators: Tab) -> Iterator[Page]:
        """The page of somebody who may act, with which nothing is wrong."""
        operators.wrong.clear()
        yield operators.page
        assert operators.wrong == [], operators.wrong

    @pytest.fixture
    def service(self, place: Place) -> Client:
        return place.service

    def test_the_overview_is_live(self, page: Page, service: Client) -> None:
        service.create("text.statistics", {"text": "before"})
        goes_to(page, "", "Overview")
        succeeded = row_of(page, "text.statistics").locator("td").nth(4)
        expect(succeeded).to_have_text(re.compile(r"\d"))
        before = _number(succeeded.inner_text())
        service.create("text.statistics", {"text": "while it is looked at"})
        until(lambda: _number(succeeded.inner_text()) > before)
        expect(page.get_by_role("img", name=re.compile("^Ended, each minute. Succeeded: "))).to_be_visible()

    def test_a_failed_job_is_found_understood_and_retried(self, page: Page, service: Client, tmp_path: Path) -> None:
        codec = tmp_path / "codec"
        job = _failed(service, service.create(TASK, {"title": PROBE, "codec": str(codec)}))
        goes_to(page, "jobs", "Jobs")
        until(lambda: self._is_searching(page))
        page.keyboard.type("kind:task state:failed")
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("state=failed"))
        page.keyboard.press("Escape")
        expect(page.locator("[data-row]").first.get_by_role("link")).to_have_text(f"#{job}")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text(re.compile(f"failed.*{TASK}.*#{job}"))
        expect(page.locator(".why")).to_contain_text(f"the codec of {PROBE} is missing")
        expect(page.locator(".timeline")).to_contain_text("started")
        expect(page.get_by_role("log", name="Log")).to_contain_text(f"converting {PROBE}")
        expect(page.get_by_role("group", name="Input")).to_contain_text(PROBE)
        codec.touch()
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("status").get_by_text(f"Job {job} is retried")).to_be_visible()
        expect(page.locator("h1")).to_have_text(re.compile("success"))
        expect(page.get_by_role("group", name="Output")).to_contain_text("frames: 24")

    @staticmethod
    def _is_searching(page: Page) -> bool:
        """Whether the key for the search has led there; until the page listens to keys, it is pressed again."""
        search = page.get_by_role("searchbox", name="Search jobs")
        if not search.evaluate("(field) => field == document.activeElement"):
            page.keyboard.press("/")
        return bool(search.evaluate("(field) => field == document.activeElement"))

    def test_what_matches_is_retried_after_a_look_at_it(self, page: Page, service: Client, tmp_path: Path) -> None:
        codec = tmp_path / "codec"
        made = [service.create(TASK, {"title": f"film {number}", "codec": str(codec)}) for number in range(3)]
        jobs = [_failed(service, job) for job in made]
        codec.touch()
        goes_to(page, f"jobs?kind=task&type={TASK}&state=failed", "Jobs")
        page.get_by_role("button", name="take all that match").click()
        page.get_by_role("group", name="Act on jobs").get_by_role("button", name="Retry").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(f"This will retry 3 tasks of the type {TASK}.")
        assert {state_of(service, job) for job in jobs} == {"failed"}
        dialog.get_by_role("button", name="Retry 3 jobs").click()
        expect(page.locator("h1")).to_have_text(re.compile("^Retry"))
        expect(page.locator(".bulk")).to_contain_text("3 done")
        becomes({"success"}, lambda: {state_of(service, job) for job in jobs})
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download the result").click()
        result = Path(downloading.value.path()).read_text().splitlines()
        assert [result[0], *sorted(result[1:])] == ["id,ok,error", *sorted(f"{job},true," for job in jobs)]

    def test_a_queue_is_paused_and_goes_on(self, page: Page, service: Client, tmp_path: Path) -> None:
        goes_to(page, "queues", "Queues")
        queue = page.get_by_role("article").filter(has=page.get_by_role("heading", name=TOPIC, exact=True))
        queue.get_by_role("button", name="Pause").click()
        expect(queue).to_contain_text("paused")
        until(lambda: _is_noticed(service))
        job = _wanted(service, "kept", tmp_path)
        goes_to(page, f"jobs/{job}", re.compile(f"pending.*{TOPIC}"))
        expect(page.locator(".why")).to_contain_text(f"The queue {TOPIC} is paused")
        goes_to(page, "queues", "Queues")
        queue.get_by_role("button", name="Resume").click()
        becomes("success", lambda: state_of(service, job))

    def test_a_schedule_runs_now(self, page: Page, service: Client) -> None:
        task = {"type": "text.statistics", "input": {"text": "{{slot}}"}}
        service.post("/api/schedule/save", {"name": "nightly", "cron": "0 3 * * *", "task": task})
        goes_to(page, "schedules", "Schedules")
        row_of(page, "nightly").get_by_role("button", name="Run now").click()
        expect(page.get_by_role("status").get_by_text("nightly has made job")).to_be_visible()
        row_of(page, "nightly").get_by_role("link", name="nightly").click()
        expect(page.locator("[data-row]", has_text="by request")).to_contain_text("success")

    def test_all_that_failed_alike_are_replayed(self, page: Page, service: Client, tmp_path: Path) -> None:
        letters = [_failed(service, _wanted(service, PROBE, tmp_path / "none")) for _ in range(2)]
        goes_to(page, "failures?kind=message", "Failures")
        group = page.locator(".groups li", has_text=TOPIC).filter(has_text=f"the codec of {ALIKE} is missing")
        expect(group.locator(".amount strong")).to_have_text("2")
        group.get_by_role("button", name="Replay all").click()
        page.get_by_role("dialog").get_by_role("button", name="Replay 2 jobs").click()
        expect(page.locator(".bulk")).to_contain_text("2 done")
        assert all(service.get(f"/api/job/{letter}/detail")["row"]["replayed"] for letter in letters)
        goes_to(page, "acts", "Acts log")
        expect(page.locator("[data-row]").first).to_contain_text("bulk replay")

    def test_what_people_write_is_shown_as_text(self, page: Page, service: Client) -> None:
        """The page would notice if it were not: ``alert`` opens a dialog."""
        topic = f"probe {PROBE}"
        message = {"topic": topic, "payload": {PROBE: PROBE}, "traceId": PROBE}
        job = service.post("/mq/message/publish", message)["id"]
        goes_to(page, f"jobs/{job}", re.compile(re.escape(topic)))
        expect(page.get_by_role("group", name="Input")).to_contain_text(f'{PROBE}: "{PROBE}"')
        expect(page.get_by_role("link", name=PROBE)).to_be_visible()  # the trace
        for path, title in (("", "Overview"), ("queues", "Queues"), ("jobs", "Jobs")):
            goes_to(page, path, title)
            expect(page.locator("main").get_by_text(topic, exact=True).first).to_be_visible()

    def test_who_only_looks_sees_all_and_no_button_that_acts(
        self, browser: Browser, place: Place, tmp_path: Path
    ) -> None:
        service = place.service
        failed = _failed(service, _wanted(service, "seen", tmp_path / "none"))
        with tab_of(browser, service) as tab:
            place.as_onlooker(tab)
            goes_to(tab.page, f"jobs/{failed}", re.compile(f"failed.*{TOPIC}"))
            expect(tab.page.get_by_text("read only")).to_be_visible()
            expect(tab.page.locator(".why")).to_contain_text("the codec of seen is missing")
            expect(tab.page.get_by_role("group", name="Acts")).to_have_count(0)
            seen = {"Queues": TOPIC, "Failures": TOPIC, "Overview": TOPIC}
            for title, text in seen.items():
                tab.page.get_by_role("link", name=title, exact=True).click()
                expect(tab.page.locator("main").get_by_text(text, exact=True).first).to_be_visible()
                expect(
                    tab.page.get_by_role("button", name=re.compile("^(Pause|Replay|Retry|Delete|Set)"))
                ).to_have_count(0)
            assert tab.wrong == [], tab.wrong


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _wanted(service: Client, title: str, codec: Path) -> str:
    """A message about a film."""
    payload = {"title": title, "codec": str(codec)}
    return str(service.post("/mq/message/publish", {"topic": TOPIC, "payload": payload})["id"])


def _failed(service: Client, job: str) -> str:
    """The job, once it has failed for good."""
    becomes("failed", lambda: state_of(service, job))
    return job


def _is_noticed(service: Client) -> bool:
    """Whether no worker can have missed by now that the queue is paused."""
    (queue,) = [each for each in service.get("/api/queues")["items"] if each["name"] == TOPIC]
    since, now = (datetime.fromisoformat(at) for at in (queue["paused"]["since"], service.get("/api/me")["now"]))
    return now - since > timedelta(milliseconds=FRESH_MS)
