"""Headless Chromium, of the kind that is installed on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

from tests.support.programs import program
from tests.support.waiting import DEADLINE_S

NAMES = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome")
# It calls nobody but the pages that a test opens.
SWITCHES = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed in the end."""
    executable = program(*NAMES)
    expect.set_options(timeout=DEADLINE_S * 1_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=SWITCHES)
        yield browser
        browser.close()
