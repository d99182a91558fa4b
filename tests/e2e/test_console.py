"""The console, used by hand in headless Chromium against `taskyard up`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.console_drive import Drive, Place
from tests.support import axe
from tests.support.console import PROBE, Tab, goes_to, is_as_wide_as_the_window, opened, row_of, state_of, tab_of
from tests.support.up import Service
from tests.support.waiting import becomes, until


class TestTheConsole(Drive):
    """Where no key is needed, so that who only looks is somebody of whom the page has been told so."""

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls, api: Service) -> Place:
        def told_to_look(tab: Tab) -> None:
            me = api.get("/api/me")
            looking = {**me, "may": dict.fromkeys(me["may"], False)}
            tab.page.route("**/api/me", lambda route: route.fulfill(json=looking))
            opened(tab.page, "", "Overview")

        return Place(api, lambda tab: opened(tab.page, "", "Overview"), told_to_look)


@pytest.fixture(scope="module")
def tab(api: Service, browser: Browser) -> Iterator[Tab]:
    with tab_of(browser, api) as found:
        yield found


@pytest.fixture
def page(tab: Tab) -> Iterator[Page]:
    """A page with which nothing is wrong."""
    tab.wrong.clear()
    yield tab.page
    assert tab.wrong == []


def test_the_clock_is_known_to_run(page: Page) -> None:
    opened(page, "", "Overview")
    expect(page.get_by_text("ran ").first).to_be_visible()


@pytest.mark.parametrize("lost", ["js", "{js,css}"])
def test_a_page_whose_files_do_not_come_says_so(browser: Browser, api: Service, lost: str) -> None:
    with tab_of(browser, api) as tab:
        tab.page.route(f"**/console/*.{lost}", lambda route: route.abort())
        tab.page.goto("console")
        told = tab.page.get_by_text("has not reached this browser")
        if lost == "js":  # where there is a style, it is hidden while all may be on its way
            tab.page.evaluate("document.getAnimations().forEach(each => { each.pause(); each.currentTime = 7_999; })")
            expect(told).to_be_hidden()
            tab.page.evaluate("document.getAnimations().forEach(each => each.play())")
        expect(told).to_be_visible()


def test_what_is_said_of_lost_files_goes_with_them(page: Page) -> None:
    opened(page, "", "Overview")
    expect(page.get_by_text("has not reached this browser")).to_have_count(0)


def test_charts_that_come_after_their_page_has_been_left(browser: Browser, api: Service) -> None:
    """And before the end of their effects, for which preact waits until the next frame."""
    with tab_of(browser, api) as tab:
        page = tab.page
        asked: list[Route] = []
        page.clock.install()
        page.route("**/console/uplot*", lambda route: asked.append(route))
        with page.expect_request("**/console/uplot*") as found:
            opened(page, "", "Overview")
        page.clock.pause_at(page.evaluate("Date.now() + 1_000"))  # no frame and no timer from now on
        goes_to(page, "queues", "Queues")
        asked[0].continue_()
        page.evaluate("url => import(url).then(() => null)", found.value.url)
        page.clock.resume()
        goes_to(page, "", "Overview")
        expect(page.locator(".uplot").first).to_be_visible()
        assert tab.wrong == []


def test_what_became_of_a_form_that_has_been_left_is_announced(page: Page, tab: Tab) -> None:
    """And takes nobody away from where they are by then."""
    asked: list[Route] = []
    page.route("**/create", lambda route: asked.append(route))
    for priority, announced in (("1000000000000", "got 1000000000000"), ("1", "is made")):
        opened(page, "create?of=task%20text.statistics", "Create")
        page.get_by_label("Priority").fill(priority)
        page.get_by_label(re.compile("^text")).fill("to be")
        with page.expect_request("**/create"):
            page.get_by_role("button", name="Create the task").click()
        goes_to(page, "queues", "Queues")
        asked.pop().continue_()
        expect(page.locator(".announcement")).to_contain_text(announced)
        expect(page.locator("h1")).to_have_text("Queues")
    page.unroute("**/create")
    tab.only_refusals()


def test_selected_jobs_are_one_bulk_act(page: Page, api: Service, tmp_path: Path) -> None:
    codec = tmp_path / "codec"
    films = [{"title": f"chosen {number}", "codec": str(codec)} for number in range(3)]
    jobs = [api.create("film.convert", film) for film in films]
    until(lambda: {state_of(api, job) for job in jobs} == {"failed"})
    codec.touch()
    opened(page, "jobs?kind=task&type=film.convert", "Jobs")
    for job in jobs[:2]:
        page.get_by_role("checkbox", name=f"Select job {job}").click()
    page.get_by_role("group", name="Act on jobs").get_by_role("button", name="Retry").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("This will retry 2 tasks of the type film.convert.")
    dialog.get_by_role("button", name="Retry 2 jobs").click()
    expect(page.locator("h1")).to_have_text(re.compile("^Retry 2 jobs by hand"))
    expect(page.locator(".bulk")).to_contain_text("2 done of 2")
    becomes({"success"}, lambda: {state_of(api, job) for job in jobs[:2]})
    assert state_of(api, jobs[2]) == "failed"
    api.post(f"/api/job/{jobs[2]}/act", {"act": "delete"})  # other tests count what has failed


def test_a_slip_in_the_address_does_not_ask_for_everything(page: Page, tab: Tab) -> None:
    for slip in ("state=bogus", "typ=scripted"):
        opened(page, f"jobs?{slip}", "Jobs")
        expect(page.get_by_role("alert")).to_contain_text("Change the filter.")
        expect(page.get_by_role("button", name="take all that match")).to_have_count(0)
    tab.only_refusals()


def test_a_job_that_was_deleted_meanwhile(page: Page, api: Service, tab: Tab) -> None:
    job = api.create("scripted", {"text": "soon gone"})
    until(lambda: state_of(api, job) == "success")
    opened(page, f"jobs/{job}", re.compile("success"))
    api.post(f"/api/job/{job}/act", {"act": "delete"})
    page.keyboard.press("p")
    page.keyboard.press("p")  # it is asked for again at once
    expect(page.get_by_role("alert")).to_contain_text(f"job {job} was deleted")
    expect(page.get_by_role("button", name="Delete")).to_have_count(0)
    tab.only_refusals()


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
        becomes("success", partial(state_of, api, after))
    return job if state_of(api, job) == "pending" else None


def test_what_somebody_else_did_meanwhile_is_said_and_shown(page: Page, api: Service, kept: str, tab: Tab) -> None:
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
    tab.only_refusals()


def test_a_form_is_made_of_what_a_handler_takes(page: Page) -> None:
    opened(page, "create?of=task%20text.statistics", "Create")
    page.get_by_label(re.compile("^text")).fill("to be or not to be")
    page.get_by_role("button", name="Create the task").click()
    expect(page.locator("h1")).to_have_text(re.compile("success.*text.statistics"))


def test_what_is_refused_is_said_once_where_it_stands(page: Page, tab: Tab) -> None:
    opened(page, "create?of=task%20text.statistics", "Create")
    page.get_by_label("Priority").fill("1000000000000")
    page.get_by_role("button", name="as JSON").click()
    given = page.get_by_label("Input as JSON")
    given.fill('{"text": 5}')
    page.get_by_role("button", name="Create the task").click()
    priority = page.get_by_label("Priority")
    expect(priority).to_be_focused()
    expect(priority).to_have_accessible_description(re.compile("^expected .*, got 1000000000000"))
    expect(page.get_by_text("got 1000000000000")).to_have_count(1)
    priority.fill("1")
    expect(priority).to_have_accessible_description("")
    page.get_by_role("button", name="Create the task").click()
    expect(given).to_be_focused()
    refused = re.compile("^text.statistics cannot take this input: text: expected .*, got 5$")
    expect(given).to_have_accessible_description(refused)
    given.fill('{"text": "to be"}')
    page.route("**/create", lambda route: route.fulfill(status=429, json={"message": "it is full"}))
    page.get_by_role("button", name="Create the task").click()
    expect(page.get_by_role("alert")).to_have_text("it is full")  # at the end, for it is about no field
    page.unroute("**/create")
    tab.only_refusals()


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


def test_a_schedule_is_made_after_a_look_at_its_next_runs(page: Page, api: Service, tab: Tab) -> None:
    opened(page, "schedules", "Schedules")
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Name", exact=True).fill("by hand")
    page.get_by_label("What it makes").select_option("task scripted")
    page.locator("h1").click()
    page.keyboard.press("Escape")  # leaves a job's page, but no form
    expect(page.get_by_label("Name", exact=True)).to_have_value("by hand")
    cron = page.get_by_label("Cron")
    cron.fill("0 25 * * *")
    expect(cron).to_have_accessible_description("the hour is out of range: expected 0 to 23, got 25")
    expect(page.get_by_role("alert")).to_contain_text("expected")
    cron.fill("30 2 29 2 *")
    zone = page.get_by_label("Time zone")
    zone.fill("Nowhere")
    page.locator("h1").click()
    page.get_by_role("button", name="Create the schedule").click()
    expect(zone).to_be_focused()
    expect(zone).to_have_accessible_description(re.compile("^this is no time zone: .*, got Nowhere"))
    expect(page.get_by_text("this is no time zone")).to_have_count(1)
    zone.fill("Europe/Berlin")
    expect(page.get_by_text("this is no time zone")).to_have_count(0)
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
    tab.only_refusals()


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
            page.goto("console")
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
    page.get_by_role("link", name="drawn").click()
    expect(page.locator("h1")).to_have_text(f"running Graph drawn #{graph}")
    opened(page, f"graphs/{graph}", re.compile("drawn"))
    expect(page.get_by_text("2 nodes: 1 pending, 1 blocked; made")).to_be_visible()
    page.evaluate(axe.script(request.config.cache))
    assert axe.serious(page) == []
    drawing.get_by_role("link", name=f"{PROBE} pending, by hand").click()
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


def test_the_number_of_a_graph_leads_to_it_from_where_a_job_is_looked_for(page: Page, api: Service, tab: Tab) -> None:
    node = {"name": "a", "type": "by hand", "runnerType": "manual", "targetType": "t", "targetId": "1"}
    graph = api.post("/api/task/graph", {"name": "not a job", "nodes": [node]})["id"]
    opened(page, f"jobs/{graph}", f"Job {graph}")
    page.locator("main").get_by_role("link", name="not a job").click()
    expect(page.locator("h1")).to_contain_text("Graph not a job")
    tab.only_refusals()


def test_order_unique_and_debounce_are_set_after_a_look_at_what_they_do(page: Page, api: Service, tab: Tab) -> None:
    opened(page, "queues", "Queues")
    row = page.locator(".flow [data-row]", has_text="film.convert")
    row.get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Set it")).to_be_disabled()  # nothing would change
    dialog.get_by_role("combobox", name="Order").select_option("block")
    dialog.get_by_role("combobox", name="Unique").select_option("until it ends")
    dialog.get_by_label("Alike by path").fill("output.title")
    expect(dialog.get_by_role("status")).to_contain_text("Of those alike only the first makes a job, until it ends")
    dialog.get_by_role("button", name="Set it").click()
    path = dialog.get_by_label("Alike by path")
    expect(path).to_be_focused()
    expect(path).to_have_accessible_description(re.compile("got output.title"))
    path.fill("input.title")
    dialog.get_by_role("combobox", name="Debounce").select_option("off")
    expect(dialog.get_by_role("status")).to_contain_text("those behind one that has failed wait for it")
    dialog.get_by_role("button", name="Set it").click()
    expect(row.first).to_contain_text("order: block; unique: until end, by input.title; debounce: off")
    (found,) = [each for each in api.get("/api/flow")["set"] if each["type"] == "film.convert"]
    assert (found["order"], found["debounce"]) == ("block", "off")
    assert found["unique"] == {"until": "end", "forS": None, "by": "input.title"}
    page.get_by_role("button", name="Set a limit").click()
    dialog.get_by_label("Name", exact=True).fill("film.convert")
    expect(dialog.get_by_role("combobox", name="Order")).to_have_value("block")  # what was set is not forgotten
    dialog.get_by_label("Key").fill("c-7")
    expect(dialog).to_contain_text("are of a whole type or topic")
    dialog.get_by_role("button", name="Back").click()
    row.get_by_role("button", name="Unset").click()
    expect(row).to_have_count(1)
    tab.only_refusals()


def test_a_limit_of_what_nobody_knows_is_warned_of(page: Page) -> None:
    opened(page, "queues", "Queues")
    page.get_by_role("button", name="Set a limit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name", exact=True).fill("film.covnert")
    expect(dialog.get_by_text("No handler of this name is deployed.")).to_be_visible()
    dialog.get_by_label("At once").fill("2")
    expect(dialog).to_contain_text("At most 2 at once.")
    dialog.get_by_role("button", name="Set it").click()
    row = page.locator(".flow [data-row]", has_text="film.covnert")
    expect(row).to_contain_text("no handler of the type film.covnert is deployed, and no job of it was ever seen")
    row.get_by_role("button", name="Unset").click()
    expect(row).to_have_count(0)


def test_a_form_shows_what_holds_by_default(page: Page, api: Service) -> None:
    handlers = api.get("/api/handlers")
    (found,) = [each for each in handlers if each["type"] == "text.statistics"]
    found["schema"]["properties"] |= {
        "mode": {"enum": ["fast", "slow"], "default": "slow"},
        "quiet": {"type": "boolean", "default": True},
        "tags": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
    }
    page.route("**/api/handlers", lambda route: route.fulfill(json=handlers))
    opened(page, "create?of=task%20text.statistics", "Create")
    expect(page.locator("[name='input.mode'] option:checked")).to_have_text("by default slow")
    expect(page.locator("[name='input.quiet']")).to_be_checked()
    expect(page.locator("[name='input.tags']")).to_contain_text('by default ["a"]')
    page.unroute("**/api/handlers")


def test_who_changes_a_limit_is_told_of_who_has_changed_it_meanwhile(page: Page, tab: Tab, api: Service) -> None:
    target = {"type": "text.statistics", "key": "two people"}
    assert api.call("PUT", "/api/flow", {**target, "concurrency": 3, "rate": {"count": 2}})[0] == 200
    opened(page, "queues", "Queues")
    row_of(page, "two people").get_by_role("button", name="Change").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("At once").fill("7")
    assert api.call("PUT", "/api/flow", {**target, "concurrency": 5, "rate": {"count": 2}})[0] == 200
    dialog.get_by_role("button", name="Set it").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        "local has changed this meanwhile. Now: At most 5 at once. Before: At most 3 at once. What you have written"
    )
    expect(dialog.get_by_label("At once")).to_have_value("7")
    (found,) = [each for each in api.get("/api/flow")["set"] if each["key"] == "two people"]
    assert found["concurrency"] == 5
    dialog.get_by_role("button", name="Set it").click()
    expect(row_of(page, "two people").locator("td").nth(2)).to_have_text("7")
    row_of(page, "two people").get_by_role("button", name="Unset").click()
    expect(row_of(page, "two people")).to_have_count(0)
    tab.only_refusals()


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
    assert page.locator(".flow .scrolls").evaluate("list => list.scrollWidth <= list.clientWidth")
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
