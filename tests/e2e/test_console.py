"""The console, used by hand in headless Chromium against `taskyard up`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support import axe
from tests.support.browser import chromium
from tests.support.up import Service
from tests.support.waiting import becomes, until

PROBE = "<img src=x onerror=alert(1)>"
ALIKE = PROBE.replace("1", "#")  # what errors have in common has no numbers
CODEC_MISSING = "the codec is missing"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def tab(api: Service, browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what is wrong with it: errors, what breaks its policy, dialogs of the browser's own."""
    wrong: list[str] = []
    with browser.new_context(base_url=api.url) as context:
        found = context.new_page()
        found.on("pageerror", lambda error: wrong.append(str(error)))
        found.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
        found.on("dialog", lambda dialog: wrong.append(dialog.message))
        yield found, wrong


@pytest.fixture
def page(tab: tuple[Page, list[str]]) -> Iterator[Page]:
    """A page with which nothing is wrong."""
    found, wrong = tab
    wrong.clear()
    yield found
    assert wrong == []


def only_refusals_in(tab: tuple[Page, list[str]]) -> None:
    """What is wrong with the page is that the API has refused what it was asked, and nothing else."""
    _, wrong = tab
    assert wrong
    assert all("the server responded with a status of 4" in each for each in wrong), wrong
    wrong.clear()


def opened(page: Page, path: str, title: str | re.Pattern[str]) -> None:
    """Go where a link to the console leads."""
    page.goto("about:blank")  # else another hash is no other page
    page.goto(f"/console#/{path}")
    expect(page.locator("h1")).to_have_text(title)


def is_as_wide_as_the_window(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def convert(api: Service, codec: Path, title: str) -> str:
    """A task of one attempt that fails while there is no codec."""
    return str(api.post("/job", {"type": "film conversion", "data": {"title": title, "codec": str(codec)}})["id"])


def dead(api: Service, topic: str, why: str) -> str:
    """A message that its subscriber has rejected."""
    published = api.post("/mq/message/publish", {"topic": topic, "payload": {"reject": why}})
    until(lambda: state_of(api, published["id"]) == "failed")
    return str(published["id"])


def state_of(api: Service, job: str) -> Any:
    return api.get(f"/api/job/{job}/detail")["row"]["state"]


def put_off(api: Service, job_type: str) -> str | None:
    """A job that does not begin, if the workers have noticed that its type is paused: within 5 s they do."""
    job = api.create(job_type, {"n": 1})
    try:
        until(lambda: state_of(api, job) == "success", deadline_s=2)
    except AssertionError:
        return job
    return None


def row_of(page: Page, text: str) -> Locator:
    return page.locator("[data-row]", has=page.get_by_text(text, exact=True))


def test_the_overview_is_live(page: Page, api: Service) -> None:
    api.create("scripted", {"text": "before"})
    opened(page, "", "Overview")
    row = row_of(page, "scripted")
    expect(row).to_be_visible()
    succeeded = int(row.locator("td").nth(4).inner_text().replace(",", ""))
    api.create("scripted", {"text": "while it is looked at"})
    expect(row.locator("td").nth(4)).to_have_text(str(succeeded + 1))
    expect(page.get_by_role("img", name=re.compile("^Ended, each minute. Succeeded: "))).to_be_visible()
    expect(page.get_by_text("ran ").first).to_be_visible()  # the clock


def test_a_failed_job_is_found_understood_and_retried(page: Page, api: Service, tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    job = convert(api, codec, PROBE)
    until(lambda: state_of(api, job) == "failed")
    opened(page, "jobs", "Jobs")
    page.keyboard.press("/")
    page.keyboard.type("kind:task state:failed")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("state=failed"))
    page.keyboard.press("Escape")
    expect(page.locator("[data-row]").first.get_by_role("link")).to_have_text(f"#{job}")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(re.compile(f"failed.*film conversion.*#{job}"))
    expect(page.locator(".why")).to_contain_text(CODEC_MISSING)
    expect(page.locator(".timeline")).to_contain_text("started")
    expect(page.get_by_role("log", name="Log")).to_contain_text(f"converting {PROBE}")
    expect(page.get_by_role("group", name="Input")).to_contain_text(PROBE)
    codec.touch()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status").get_by_text(f"Job {job} is retried")).to_be_visible()
    expect(page.locator("h1")).to_have_text(re.compile("success"))
    expect(page.get_by_role("group", name="Output")).to_contain_text("frames: 24")


def test_what_matches_is_retried_after_a_look_at_it(page: Page, api: Service, tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    jobs = [convert(api, codec, f"film {number}") for number in range(3)]
    until(lambda: {state_of(api, job) for job in jobs} == {"failed"})
    codec.touch()
    opened(page, "jobs?kind=task&type=film%20conversion&state=failed", "Jobs")
    page.get_by_role("button", name="take all that match").click()
    page.get_by_role("group", name="Act on jobs").get_by_role("button", name="Retry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This will retry 3 tasks of the type film conversion.")
    assert {state_of(api, job) for job in jobs} == {"failed"}
    dialog.get_by_role("button", name="Retry 3 jobs").click()
    expect(page.locator("h1")).to_have_text(re.compile("^Retry"))
    expect(page.locator(".bulk")).to_contain_text("3 done")
    becomes({"success"}, lambda: {state_of(api, job) for job in jobs})
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download the result").click()
    result = Path(downloading.value.path()).read_text().splitlines()
    assert [result[0], *sorted(result[1:])] == ["id,ok,error", *sorted(f"{job},true," for job in jobs)]


def test_selected_jobs_are_one_bulk_act(page: Page, api: Service, tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    jobs = [convert(api, codec, f"chosen {number}") for number in range(3)]
    until(lambda: {state_of(api, job) for job in jobs} == {"failed"})
    codec.touch()
    opened(page, "jobs?kind=task&type=film%20conversion", "Jobs")
    for job in jobs[:2]:
        page.get_by_role("checkbox", name=f"Select job {job}").click()
    page.get_by_role("group", name="Act on jobs").get_by_role("button", name="Retry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This will retry 2 tasks of the type film conversion.")
    dialog.get_by_role("button", name="Retry 2 jobs").click()
    expect(page.locator("h1")).to_have_text(re.compile("^Retry 2 jobs by hand"))
    expect(page.locator(".bulk")).to_contain_text("2 done of 2")
    becomes({"success"}, lambda: {state_of(api, job) for job in jobs[:2]})
    assert state_of(api, jobs[2]) == "failed"
    api.post(f"/api/job/{jobs[2]}/act", {"act": "delete"})  # other tests count what has failed


def test_a_queue_is_paused_and_goes_on(page: Page, api: Service) -> None:
    opened(page, "queues", "Queues")
    queue = page.get_by_role("article").filter(has=page.get_by_role("heading", name="patient", exact=True))
    queue.get_by_role("button", name="Pause").click()
    expect(queue).to_contain_text("paused")
    job = until(lambda: put_off(api, "patient"))
    page.goto(f"/console#/jobs/{job}")
    expect(page.locator(".why")).to_contain_text("paused")
    page.go_back()
    queue.get_by_role("button", name="Resume").click()
    becomes("success", lambda: state_of(api, job))


def test_a_schedule_runs_now(page: Page, api: Service) -> None:
    task = {"type": "scripted", "input": {"day": "{{slot}}"}}
    api.post("/api/schedule/save", {"name": "nightly", "cron": "0 3 * * *", "task": task})
    opened(page, "schedules", "Schedules")
    row_of(page, "nightly").get_by_role("button", name="Run now").click()
    expect(page.get_by_role("status").get_by_text("nightly has made job")).to_be_visible()
    row_of(page, "nightly").get_by_role("link", name="nightly").click()
    run = page.locator("[data-row]", has_text="by request")
    expect(run).to_contain_text("success")


def test_all_that_failed_alike_are_replayed(page: Page, api: Service) -> None:
    letters = [dead(api, "scripted.topic", PROBE) for _ in range(2)]
    opened(page, "failures?kind=message", "Failures")
    group = page.locator(".groups li", has_text="scripted.topic").filter(has_text=ALIKE)
    expect(group.locator(".amount strong")).to_have_text("2")
    group.get_by_role("button", name="Replay all").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay 2 jobs").click()
    expect(page.locator(".bulk")).to_contain_text("2 done")
    assert all(api.get(f"/api/job/{letter}/detail")["row"]["replayed"] for letter in letters)
    opened(page, "acts", "Acts log")
    expect(page.locator("[data-row]").first).to_contain_text("bulk replay")


def test_what_people_write_is_shown_as_text(page: Page, api: Service) -> None:
    """The page would notice if it were not: ``alert`` opens a dialog."""
    topic = f"probe {PROBE}"
    job = api.post("/mq/message/publish", {"topic": topic, "payload": {PROBE: PROBE}, "traceId": PROBE})["id"]
    opened(page, f"jobs/{job}", re.compile(re.escape(topic)))
    expect(page.get_by_role("group", name="Input")).to_contain_text(f'{PROBE}: "{PROBE}"')
    expect(page.get_by_role("link", name=PROBE)).to_be_visible()  # the trace
    for path, title in (("", "Overview"), ("queues", "Queues"), ("jobs", "Jobs")):
        opened(page, path, title)
        expect(page.locator("main").get_by_text(topic, exact=True).first).to_be_visible()


def test_a_slip_in_the_address_does_not_ask_for_everything(page: Page, tab: tuple[Page, list[str]]) -> None:
    for slip in ("state=bogus", "typ=scripted"):
        opened(page, f"jobs?{slip}", "Jobs")
        expect(page.get_by_role("alert")).to_contain_text("Change the filter.")
        expect(page.get_by_role("button", name="take all that match")).to_have_count(0)
    only_refusals_in(tab)


def test_a_job_that_was_deleted_meanwhile(page: Page, api: Service, tab: tuple[Page, list[str]]) -> None:
    job = api.create("scripted", {"text": "soon gone"})
    until(lambda: state_of(api, job) == "success")
    opened(page, f"jobs/{job}", re.compile("success"))
    api.post(f"/api/job/{job}/act", {"act": "delete"})
    page.keyboard.press("p")
    page.keyboard.press("p")  # it is asked for again at once
    expect(page.get_by_role("alert")).to_contain_text(f"job {job} was deleted")
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    only_refusals_in(tab)


def test_a_queue_that_is_paused_goes_on_from_the_overview(page: Page, api: Service) -> None:
    job = api.create("patient", {"n": 1})
    until(lambda: state_of(api, job) == "success")
    api.post("/api/queues/pause", {"queue": "patient"})
    opened(page, "", "Overview")
    row_of(page, "patient").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status").get_by_text("patient goes on")).to_be_visible()
    expect(row_of(page, "patient").get_by_role("button", name="Pause")).to_be_visible()


def test_a_copy_of_a_large_input_starts_from_that_input(page: Page, api: Service) -> None:
    given = {"text": "long " * 60_000}
    job = api.create("scripted", given)
    until(lambda: state_of(api, job) == "success")
    opened(page, f"jobs/{job}", re.compile("success"))
    page.get_by_role("button", name="Run a copy").click()
    page.get_by_role("dialog").get_by_role("button", name="Run it").click()
    shown = page.locator("h1 .id")
    expect(shown).not_to_have_text(f"#{job}")
    copy = shown.inner_text().removeprefix("#")
    assert api.get(f"/api/job/{copy}/detail?whole=true")["input"] == given


def test_who_goes_back_is_where_they_were(page: Page, api: Service) -> None:
    jobs = [api.post("/mq/message/publish", {"topic": "gone back", "payload": {}})["id"] for _ in range(3)]
    opened(page, "jobs", "Jobs")
    page.get_by_label("Search jobs").fill("type:nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Clear Type or topic")).to_be_visible()
    expect(page.get_by_label("Search jobs")).to_have_value("")
    opened(page, "jobs?type=gone%20back", "Jobs")
    link = page.get_by_role("link", name=f"#{jobs[1]}", exact=True)
    link.click()
    expect(page.locator("h1 .id")).to_have_text(f"#{jobs[1]}")
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("Jobs")
    expect(link).to_be_focused()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("h1 .id")).to_have_text(f"#{jobs[2]}")
    page.go_back()
    expect(page.get_by_role("link", name=f"#{jobs[2]}", exact=True)).to_be_focused()
    opened(page, f"jobs/{jobs[0]}", re.compile("gone back"))
    page.keyboard.press("Escape")  # nothing of the console is before this
    expect(page.locator("h1")).to_have_text("Jobs")


def test_a_window_that_there_is_not_is_said(page: Page) -> None:
    opened(page, "?window=2h", "Overview")
    expect(page.get_by_role("alert")).to_contain_text("There is no window 2h: this is the last hour.")
    page.get_by_label("Last").select_option("6h")
    expect(page.get_by_role("alert")).to_have_count(0)


@pytest.fixture
def kept(api: Service) -> Iterator[str]:
    """A job of a type that is paused, which the workers have noticed."""
    api.post("/api/queues/pause", {"type": "scripted"})
    yield until(lambda: _stays_pending(api, api.create("scripted", {"text": "x"})), longest_pause_s=0.01)
    api.post("/api/queues/resume", {"type": "scripted"})


def _stays_pending(api: Service, job: str) -> str | None:
    """The job, unless a worker has done it by the time that others are done which were created after it."""
    for _ in range(2):
        after = api.create("text.statistics", {"text": "x"})
        becomes("success", partial(_state_of, api, after))
    return job if _state_of(api, job) == "pending" else None


def _state_of(api: Service, job: str) -> str:
    return str(api.get(f"/api/job/{job}/detail")["row"]["state"])


def test_what_somebody_else_did_meanwhile_is_said_and_shown(
    page: Page, api: Service, kept: str, tab: tuple[Page, list[str]]
) -> None:
    opened(page, f"jobs/{kept}", re.compile("pending"))
    expect(page.locator(".why")).to_contain_text("Resume on the page of queues, or taskyard resume scripted")
    page.keyboard.press("p")  # what is seen grows old
    api.post(f"/api/job/{kept}/act", {"act": "cancel"})
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(page.get_by_role("status").get_by_text("this task is canceled: cancel does not apply")).to_be_visible()
    expect(page.locator("h1")).to_have_text(re.compile("canceled"))
    expect(page.locator(".why")).to_contain_text("Retry above, or taskyard tasks retry")
    page.keyboard.press("p")
    only_refusals_in(tab)


def test_a_form_is_made_of_what_a_handler_takes(page: Page) -> None:
    opened(page, "create?of=task%20text.statistics", "Create")
    page.get_by_label(re.compile("^text")).fill("to be or not to be")
    page.get_by_role("button", name="Create the task").click()
    expect(page.locator("h1")).to_have_text(re.compile("success.*text.statistics"))


def test_a_task_is_made_with_all_that_can_be_said_of_it(page: Page, api: Service) -> None:
    opened(page, "create?of=task%20text.statistics", "Create")
    page.get_by_label(re.compile("^text")).fill("to be or not to be")
    page.get_by_label("Start").select_option("delay")
    page.get_by_label("Delay in seconds").fill("3600")
    given = {"Priority": "7", "Attempts": "4", "Trace": "a trace", "Tenant": "acme", "Flow key": "c-7"}
    for label, text in given.items():
        page.get_by_label(label, exact=True).fill(text)
    page.get_by_role("button", name="Create the task").click()
    expect(page.locator("h1")).to_have_text(re.compile("pending.*text.statistics"))
    row = api.get("/api/job/{}/detail".format(page.locator("h1 .id").inner_text().removeprefix("#")))["row"]
    assert {name: row[name] for name in ("priority", "maxAttempts", "traceId", "tenant", "flowKey")} == {
        "priority": 7,
        "maxAttempts": 4,
        "traceId": "a trace",
        "tenant": "acme",
        "flowKey": "c-7",
    }
    expect(page.locator(".why")).to_contain_text("It is scheduled")


def test_a_message_is_made_for_a_time(page: Page, api: Service) -> None:
    opened(page, "create?of=other", "Create")
    page.get_by_role("textbox", name="Topic").fill("by hand")
    page.get_by_label("Start").select_option("at")
    page.get_by_label("Start time").fill("2035-06-01T09:30:00")
    page.get_by_label("Attempts").fill("2")
    page.get_by_label("Input as JSON").fill('{"by": "hand"}')
    page.get_by_label("What").select_option("task text.statistics")
    page.get_by_label("What").select_option("other")
    expect(page.get_by_role("textbox", name="Topic")).to_have_value("by hand")
    expect(page.get_by_label("Input as JSON")).to_have_value(re.compile("hand"))
    page.set_viewport_size({"width": 390, "height": 800})
    assert is_as_wide_as_the_window(page)
    page.get_by_role("button", name="Publish the message").click()
    expect(page.locator("h1")).to_have_text(re.compile("pending.*by hand"))
    row = api.get("/api/job/{}/detail".format(page.locator("h1 .id").inner_text().removeprefix("#")))["row"]
    assert (row["kind"], row["maxAttempts"], row["dueAt"][:4]) == ("message", 2, "2035")


def test_a_schedule_is_made_after_a_look_at_its_next_runs(
    page: Page, api: Service, tab: tuple[Page, list[str]]
) -> None:
    opened(page, "schedules", "Schedules")
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Name", exact=True).fill("by hand")
    page.get_by_label("What it makes").select_option("task scripted")
    page.locator("h1").click()
    page.keyboard.press("Escape")  # leaves a job's page, but no form
    expect(page.get_by_label("Name", exact=True)).to_have_value("by hand")
    page.get_by_label("Cron").fill("0 25 * * *")
    expect(page.get_by_role("alert")).to_contain_text("cron")
    page.get_by_label("Cron").fill("30 2 29 2 *")
    page.get_by_label("Time zone").fill("Nowhere")
    page.get_by_role("button", name="Create the schedule").click()
    expect(page.get_by_role("alert")).to_have_count(2)
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.get_by_role("alert")).to_have_count(0)
    runs = page.locator("section", has_text="Next runs").locator("time[datetime]")
    expect(runs.first).to_have_attribute("datetime", "2028-02-29T01:30:00.000Z")
    expect(page.locator("section", has_text="Next runs").locator("li")).to_have_count(5)
    page.get_by_role("button", name="Create the schedule").click()
    expect(page.locator("h1")).to_have_text("by hand")
    found = api.get("/api/schedule/detail?name=by%20hand")
    assert (found["cron"], found["timezone"], found["task"]["type"]) == ("30 2 29 2 *", "Europe/Berlin", "scripted")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.locator("h1")).to_have_text("Schedules")
    only_refusals_in(tab)


def test_who_may_not_make_schedules_sees_no_form_for_one(page: Page, api: Service) -> None:
    me = api.get("/api/me")
    page.route("**/api/me", lambda route: route.fulfill(json={**me, "may": {**me["may"], "makeSchedules": False}}))
    opened(page, "create/schedule", "New schedule")
    expect(page.get_by_text("lacks the scope schedule")).to_be_visible()
    expect(page.get_by_role("button", name="Create the schedule")).to_have_count(0)


def test_axe_finds_nothing_serious(browser: Browser, api: Service, request: pytest.FixtureRequest) -> None:
    found = {}
    script = axe.script(request.config.cache)
    job = api.create("scripted", {"text": "to look at"})
    paths = ["", "jobs", f"jobs/{job}", "failures", "queues", "schedules", "bulk", "acts", "installation", "create"]
    paths.append("create/schedule")
    for scheme, rules in (("light", []), ("dark", ["color-contrast"])):  # which alone knows the scheme
        with browser.new_context(base_url=api.url, color_scheme=scheme) as context:
            page = context.new_page()
            page.goto("/console")
            page.evaluate(script)
            for path in paths:
                page.evaluate("hash => { location.hash = hash }", f"#/{path}")
                expect(page.locator("main .loading")).to_have_count(0)
                found[f"{scheme} {path}"] = axe.serious(page, *rules)
    assert {place: problems for place, problems in found.items() if problems} == {}


def test_the_graph_of_a_job_is_drawn_and_goes_on(page: Page, api: Service, request: pytest.FixtureRequest) -> None:
    task = {"type": "by hand", "runnerType": "manual", "targetType": "t", "targetId": "1"}
    nodes = [{"name": PROBE, "after": [], **task}, {"name": "then", "after": [PROBE], **task}]
    graph = api.post("/api/task/graph", {"name": "drawn", "nodes": nodes})["id"]
    first = str(int(graph) + 1)
    opened(page, f"jobs/{first}", re.compile("pending"))
    drawing = page.get_by_role("region", name="The graph, drawn")
    expect(drawing.get_by_role("link", name=f"{PROBE} pending, by hand, this job")).to_be_visible()
    expect(drawing.get_by_role("img", name="then blocked, by hand")).to_be_visible()
    page.evaluate(axe.script(request.config.cache))
    assert axe.serious(page) == []
    api.post("/api/task/complete", {"id": first, "status": "success"})
    drawing.get_by_role("link", name="then pending, by hand").click()
    expect(page.locator("h1 .id")).to_have_text(f"#{int(first) + 1}")
    page.get_by_text("As a table").click()
    expect(row_of(page, PROBE).first).to_contain_text("success")
    page.get_by_role("button", name="Cancel").last.click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    expect(page.get_by_text("2 nodes: 1 success, 1 canceled")).to_be_visible()
    expect(page.locator("h1")).to_have_text(re.compile("canceled"))
    page.get_by_role("button", name="Retry what failed").click()
    expect(page.locator("h1")).to_have_text(re.compile("pending"))


def test_a_limit_is_set_changed_and_taken_back_and_a_key_paused(page: Page, api: Service) -> None:
    opened(page, "queues", "Queues")
    page.get_by_role("button", name="Set a limit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("by hand")
    dialog.get_by_label("Key").fill(PROBE)
    dialog.get_by_label("At once").fill("3")
    dialog.get_by_label("Rate: jobs").fill("10")
    dialog.get_by_role("button", name="Set it").click()
    row = row_of(page, PROBE)
    expect(row).to_contain_text("10/s")
    page.set_viewport_size({"width": 390, "height": 800})
    assert is_as_wide_as_the_window(page)
    page.set_viewport_size({"width": 1280, "height": 800})
    expect(row).to_contain_text("local, ")  # who set it
    row.get_by_role("button", name="Change").click()
    dialog.get_by_label("per seconds").fill("60")
    dialog.get_by_label("Burst").fill("5")
    dialog.get_by_role("button", name="Set it").click()
    expect(row).to_contain_text("10 in 60 s, 5 at once")
    row.get_by_role("button", name="Change").click()
    dialog.get_by_label("At once").fill("2")
    dialog.get_by_label("Rate: jobs").fill("")
    dialog.get_by_role("button", name="Set it").click()
    expect(row).not_to_contain_text("10 in 60 s")
    (found,) = [each for each in api.get("/api/flow")["set"] if each["key"] == PROBE]
    assert (found["type"], found["concurrency"], found["rate"]) == ("by hand", 2, None)
    row.get_by_role("button", name="Unset").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Pause a key").click()
    dialog.get_by_label("Name", exact=True).fill("by hand")
    dialog.get_by_label("Key").fill(PROBE)
    dialog.get_by_role("button", name="Pause it").click()
    expect(row).to_contain_text("paused")
    row.get_by_role("button", name="Resume").click()
    expect(row).to_have_count(0)
