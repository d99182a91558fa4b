"""The documentation page: complete in itself, and confined."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess

import pytest

from chalicelib.http.docs_page import SCRIPT, STYLE
from chalicelib.http.routes import Router
from tests.support.edge import REMOTE, Reply, app_of, call
from tests.support.programs import program


@pytest.fixture(scope="module")
def page() -> Reply:
    return call(app_of(Router("toy"), settings=REMOTE), "GET", "/docs", stage="/api")


def hash_of(element: str, text: str) -> str:
    """The CSP hash of the page's only ``element``."""
    [content] = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


def test_the_page_needs_no_key(page: Reply) -> None:
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.text.startswith("<!doctype html>")


def test_only_its_own_script_and_style_run_and_only_the_api_is_asked(page: Reply) -> None:
    assert page.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"script-src {hash_of('script', page.text)}",
        f"style-src {hash_of('style', page.text)}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    headers = {name: page.headers[name] for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")}
    assert headers == {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }


def test_the_page_asks_nobody_else_for_anything(page: Reply) -> None:
    assert re.findall(r"https?://|//[a-z]+\.|@import|url\(|src=|<link", page.text) == []


def test_text_of_the_document_cannot_become_markup_or_code() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:"
    assert re.findall(forbidden, SCRIPT) == []
    assert "</script" not in SCRIPT
    assert "</style" not in STYLE


def test_the_api_is_found_beside_the_page_whatever_the_stage() -> None:
    assert 'const base = location.pathname.replace(/\\/docs\\/?$/, "");' in SCRIPT
    assert 'fetch(base + "/openapi.json"' in SCRIPT


def test_the_page_follows_the_readers_light_or_dark() -> None:
    assert "@media (prefers-color-scheme: dark)" in STYLE


def test_the_script_parses() -> None:
    command = [program("node"), "--check", "-"]
    checked = subprocess.run(command, input=SCRIPT, text=True, capture_output=True, check=False)
    assert checked.stderr == ""
