"""The console in a browser: a tab of it, where its pages are, and what people do there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.client import Client
from tests.support.waiting import DEADLINE_S

PROBE = "<img src=x onerror=alert(1)>"
ALIKE = PROBE.replace("1", "#")  # what errors have in common has no numbers


@dataclass(frozen=True, slots=True)
class Tab:
    """A page, and what is wrong with it: errors, what breaks its policy, dialogs of the browser's own."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def only_refusals(self) -> None:
        """What is wrong is that the API has refused what it was asked, and nothing else; it is forgotten then."""
        assert self.wrong
        assert all("the server responded with a status of 4" in each for each in self.wrong), self.wrong
        self.wrong.clear()


@contextmanager
def tab_of(browser: Browser, service: Client) -> Iterator[Tab]:
    """A tab for the console of ``service``."""
    with browser.new_context(base_url=f"{service.url}/") as context:
        tab = Tab(context.new_page())
        tab.page.set_default_timeout(DEADLINE_S * 1_000)
        tab.page.on("pageerror", lambda error: tab.wrong.append(str(error)))
        tab.page.on("console", lambda told: tab.wrong.append(told.text) if told.type == "error" else None)
        tab.page.on("dialog", lambda dialog: tab.wrong.append(dialog.message))
        yield tab
        tab.page.unroute_all(behavior="ignoreErrors")  # what the page still asks for, nobody waits for


def sign_in(page: Page, key: str) -> None:
    """Enter an access key where the page asks for one."""
    page.get_by_label("Access key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def opened(page: Page, path: str, title: str | re.Pattern[str]) -> None:
    """Go where a link to the console leads."""
    page.goto("about:blank")  # else another hash is no other page
    page.goto(f"console#/{path}", wait_until="commit")
    expect(page.locator("h1")).to_have_text(title)


def goes_to(page: Page, path: str, title: str | re.Pattern[str]) -> None:
    """Go where a link on the page leads."""
    page.evaluate("hash => { location.hash = hash }", f"#/{path}")
    expect(page.locator("h1")).to_have_text(title)


def row_of(page: Page, text: str) -> Locator:
    """The row of a list that says ``text``."""
    return page.locator("[data-row]", has=page.get_by_text(text, exact=True))


def is_as_wide_as_the_window(page: Page) -> bool:
    """Whether nothing scrolls sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def state_of(service: Client, job: str) -> str:
    """The state in which a job is."""
    return str(service.get(f"/api/job/{job}/detail")["row"]["state"])
