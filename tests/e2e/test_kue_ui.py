"""The browser interfaces that were made for kue, used by hand in headless Chromium against `taskyard up`.

What they show and do here is what they show and do in front of kue 0.11.6 itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support import kue_interfaces
from tests.support.kue_interfaces import CLIENT_URL, FIRST_URL, Interfaces
from tests.support.up import Service
from tests.support.waiting import becomes, until

A_DAY_MS = 86_400_000
TYPES = ("video conversion", "audio conversion", "image conversion")
WHY = "the codec is missing"
DATE = r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d"


@pytest.fixture(scope="module")
def interfaces(request: pytest.FixtureRequest) -> Interfaces:
    return kue_interfaces.downloaded(request.config.cache.mkdir("kue-interfaces"), TYPES)


@pytest.fixture
def page(api: Service, interfaces: Interfaces, browser: Browser) -> Iterator[Page]:
    """A page that throws no error in its scripts."""
    errors: list[str] = []
    with browser.new_context(base_url=api.url) as context:
        interfaces.show(context, api.url)
        found = context.new_page()
        found.on("pageerror", lambda error: errors.append(str(error)))
        yield found
    assert errors == []


class Jobs:
    """Jobs of one type: two have failed, one is complete, and one waits for tomorrow; those to come succeed."""

    def __init__(self, api: Service, job_type: str, codec: Path) -> None:
        self.api = api
        self.type = job_type
        self.codec = codec
        self.failed = [self.create("a broken film"), self.create("a torn film")]
        self.await_count("failed", 2)
        codec.touch()
        self.complete = self.create("a good film")
        self.await_count("complete", 1)
        self.delayed = self.create("a film to come", delay=A_DAY_MS)
        self.await_count("delayed", 1)

    def body(self, title: str, **options: Any) -> dict[str, Any]:
        return {"type": self.type, "data": {"title": title, "codec": str(self.codec)}, "options": options}

    def create(self, title: str, **options: Any) -> int:
        made: int = self.api.post("/job", self.body(title, searchKeys="title", **options))["id"]
        return made

    def await_count(self, state: str, count: int) -> None:
        becomes({"count": count}, lambda: self.api.get(f"/jobs/{quote(self.type)}/{state}/stats"))

    def are_without(self, job: int) -> bool:
        found: dict[str, str] = self.api.get(f"/job/{job}")
        return found == {"error": f'job "{job}" doesnt exist'}


def rows_of_failed(jobs: Jobs) -> list[re.Pattern[str]]:
    """The rows that both kue-uis show: id, type, state, when it was created and changed, attempts made and left."""
    row = r"\s+".join([jobs.type, "failed", DATE, DATE, r"1 \(0\)"])
    return [re.compile(rf"^\s*{job}\s+{row}\s*$") for job in jobs.failed]


def test_kue_ui_client(page: Page, api: Service, tmp_path: Path) -> None:
    jobs = Jobs(api, "video conversion", tmp_path / "codec")

    page.goto(f"{CLIENT_URL}jobs")
    counted = {"active": 0, "complete": 1, "delayed": 1, "failed": 2, "inactive": 0}
    for state, count in counted.items():
        expect(page.get_by_text(f"video conversion > {state}: {count}")).to_be_visible()
    delayed = page.locator(".menu-list a[href$='/state/delayed']")
    expect(delayed).to_have_text(re.compile(rf"^\s*delayed\s+{api.get('/stats')['delayedCount']}\s*$"))
    delayed.click()
    page.get_by_text("▲").click()
    expect(page).to_have_url(re.compile("order=desc"))  # newest first
    rows = page.locator("tr.job")
    expect(rows.first).to_have_text(re.compile(rf"^\s*{jobs.delayed}\s+video conversion\s+delayed\s"))

    page.locator(".menu-list .item", has_text="video conversion").click()
    page.locator(".menu-list .sub-item:visible", has_text="failed").click()
    expect(rows).to_have_text(rows_of_failed(jobs))

    rows.first.get_by_text(str(jobs.failed[0]), exact=True).click()
    page.get_by_role("button", name="More").click()
    expect(page).to_have_url(re.compile(f"{CLIENT_URL}jobs/{jobs.failed[0]}$"))
    cards = page.locator("md-card .card-body")
    expect(cards).to_have_count(3)
    log, data, error = cards.all()
    expect(log).to_have_text(re.compile(rf"^\s*converting a broken film\s+{WHY}\s*$"))
    expect(data).to_contain_text('"title": "a broken film"')
    expect(data).to_contain_text('"progress": "33"')
    expect(error).to_contain_text(WHY)

    page.go_back()
    for row in range(2):
        rows.nth(row).locator("md-checkbox").click()
    page.get_by_role("button", name="Restart Selected Jobs").click()
    expect(page.get_by_text("2 Jobs set to inactive")).to_be_visible()
    expect(page).to_have_url(re.compile("forceUpdate="))  # it has read the list anew
    jobs.await_count("complete", 3)

    page.get_by_placeholder("Find Job By Id").fill(str(jobs.delayed))
    page.get_by_placeholder("Find Job By Id").press("Enter")
    expect(page.locator(".job-detail .title")).to_contain_text(f"Job #{jobs.delayed}")
    page.locator(".job-detail select").select_option("inactive")
    jobs.await_count("complete", 4)
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Job Deleted")).to_be_visible()
    assert jobs.are_without(jobs.delayed)

    page.get_by_role("button", name="add").click()
    page.get_by_label("New Job Body").fill(json.dumps(jobs.body("a new film")))
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("Job Created Successfully")).to_be_visible()
    jobs.await_count("complete", 4)


def test_kue_ui(page: Page, api: Service, tmp_path: Path) -> None:
    jobs = Jobs(api, "audio conversion", tmp_path / "codec")

    page.goto(f"{FIRST_URL}jobs")
    page.get_by_text("audio conversion > failed: 2").click()
    rows = page.locator(".table-row.job")
    expect(rows).to_have_text(rows_of_failed(jobs))
    rows.first.click()
    expect(page.locator(".console")).to_contain_text('"title": "a broken film"')
    expect(page.locator(".error-output")).to_contain_text(WHY)

    page.locator(".job-detail select").select_option("inactive")
    expect(page.get_by_text("Job state updated")).to_be_visible()
    jobs.await_count("complete", 2)
    rows.last.click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Job deleted")).to_be_visible()
    assert jobs.are_without(jobs.failed[1])
    expect(page.locator(".menu-list .item", has_text="audio conversion")).to_have_text(re.compile(r"\s3\s*$"))


def test_the_pages_of_kue_itself(page: Page, api: Service, tmp_path: Path) -> None:
    jobs = Jobs(api, "image conversion", tmp_path / "codec")

    page.goto("/failed")
    page.locator("#filter").select_option(jobs.type)
    expect(page.locator(".job .id")).to_have_text([str(job) for job in jobs.failed])
    expect(page.locator(".job .errorMessage").first).to_have_text(WHY)

    until(lambda: str(jobs.failed[1]) in api.get("/job/search?q=torn"))  # words are found a moment later than jobs
    search = page.locator("#search")
    search.fill("tor")
    search.press("n")  # each key searches, and of several answers the page shows the one that came last
    expect(page.locator(".job .id:visible")).to_have_text([str(jobs.failed[1])])
    search.fill("n")
    search.press("Backspace")

    first = page.locator(f"#job-{jobs.failed[0]}")
    first.locator(".contents").click()
    expect(first.locator(".log li")).to_have_text(["converting a broken film", WHY])
    first.locator("td.priority").click()
    first.locator(".data select").select_option("high")
    becomes(-10, lambda: api.get(f"/job/{jobs.failed[0]}")["priority"])
    first.hover()
    first.locator("a.restart").click()
    jobs.await_count("complete", 2)

    page.goto("/complete")
    page.locator("#filter").select_option(jobs.type)
    expect(page.locator(".job .id")).to_have_text([str(job) for job in (jobs.failed[0], jobs.complete)])
    page.locator(f"#job-{jobs.complete}").hover()
    page.locator(f"#job-{jobs.complete} a.remove").click()
    expect(page.locator(".job .id")).to_have_text([str(jobs.failed[0])])
    assert jobs.are_without(jobs.complete)
    counts = api.get("/stats")
    expect(page.locator("#menu .complete .count")).to_have_text(str(counts["completeCount"]))
