"""The browser interfaces that were made for kue, unchanged, on the same origin as the API that they call.

Their files come from npm into a folder of the tests. The browser gets them as a static server in front of the API would
send them; everything else that it asks for goes to the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Route

from tests.support import npm
from tests.support.programs import program

CLIENT_URL = "/kue/"
FIRST_URL = "/kue-ui/"
OWN_URLS = ("/active", "/inactive", "/failed", "/complete", "/delayed")

PACKAGES = ("kue@0.11.6", "kue-ui@0.1.0", "kue-ui-client@1.2.1")
PUG = ("pug@3.0.3", "--before=2026-11-01")  # renders kue's own pages; no part of it is younger than this day
RENDER = """
const [view, urls, types] = process.argv.slice(1);
const page = (url) => ({ doctype: "html", title: "Kue", state: url.slice(1), types: JSON.parse(types) });
const rendered = JSON.parse(urls).map((url) => [url, require("pug").renderFile(view, page(url))]);
console.log(JSON.stringify(Object.fromEntries(rendered)));
"""


class Interfaces:
    """kue-ui-client, its predecessor kue-ui, and kue's own pages, which offer ``types`` to filter by."""

    def __init__(self, folder: Path, types: Sequence[str]) -> None:
        self._client = folder / "kue-ui-client" / "dist"
        self._first = folder / "kue-ui" / "lib" / "client" / "dist"
        own = folder / "kue" / "lib" / "http"
        given = (str(own / "views" / "job" / "list.pug"), json.dumps(OWN_URLS), json.dumps(types))
        self._own_pages = json.loads(npm.run(program("node"), "-e", RENDER, *given, folder=folder))
        self._files = {
            **_mounted("/", self._client),
            **_mounted(FIRST_URL, self._first),
            **_mounted("/", own / "public"),
        }

    def show(self, context: BrowserContext, origin: str) -> None:
        """Let ``context`` open them at ``origin``, where the API is."""
        pages = {
            f"{CLIENT_URL}**": self._client_page(origin),
            f"{FIRST_URL}**": self._first_page(origin),
            **self._own_pages,
        }

        def send_file(route: Route) -> None:
            route.fulfill(path=self._files[urlsplit(route.request.url).path])

        # By patterns, the last first: what matches none, such as the API, does not wait for this thread.
        context.route(re.compile(f"^(?!{re.escape(origin)}/)"), lambda route: route.abort())  # fonts of public servers
        for path, page in pages.items():
            context.route(f"{origin}{path}", partial(_send_page, page))
        context.route(re.compile(f"^{re.escape(origin)}({'|'.join(map(re.escape, self._files))})$"), send_file)

    def _client_page(self, origin: str) -> str:
        """As kue-ui-express sends it."""
        settings = json.dumps({"rootUrl": CLIENT_URL, "apiURL": origin})
        script = f"<script>window.__kueUiExpress = {settings};</script>"
        return (self._client / "index.html").read_text().replace("</body>", f"{script}</body>")

    def _first_page(self, origin: str) -> str:
        """As kue-ui's own application sends it."""
        page = (self._first / "index.html").read_text().replace("/BASE_URL/", FIRST_URL)
        return page.replace("API_URL", origin).replace("UPDATE_INTERVAL", "1000")


def downloaded(cache: Path, types: Sequence[str]) -> Interfaces:
    """All of them, from the registry of npm, or from ``cache`` where they have been kept."""
    return Interfaces(npm.kept(cache, "-".join([*PACKAGES, PUG[0]]), _download), types)


def _download(folder: Path) -> None:
    """The packages alone, not what kue's server needs, each in a folder of its name; and pug, with what it needs."""
    npm.pack(folder, *PACKAGES)
    for package in PACKAGES:
        name = package.partition("@")[0]
        (folder / name).mkdir()
        archive = folder / f"{package.replace('@', '-')}.tgz"
        npm.run(program("tar"), "-xzf", str(archive), "--strip-components=1", "-C", name, folder=folder)
    npm.install(folder, *PUG)


def _send_page(page: str, route: Route) -> None:
    route.fulfill(body=page, content_type="text/html; charset=utf-8")


def _mounted(root: str, folder: Path) -> dict[str, Path]:
    """The files of ``folder`` by the paths at which the browser asks for them."""
    return {f"{root}{path.relative_to(folder).as_posix()}": path for path in folder.rglob("*") if path.is_file()}
