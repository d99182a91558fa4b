"""`GET /console` and what it loads: small, kept by browsers, confined, whole in the package."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.api.console import files
from tests.support import npm
from tests.support.programs import program
from tests.support.service import Reply, Service

SOURCES = [files.SOURCES / path for path in files.modules()]
VENDORED = json.loads((files.SOURCES / "vendor" / "vendor.json").read_text())
FIRST_MAX_BYTES = 60_000  # compressed, of what the first page needs
ALL_MAX_BYTES = 84_000


@pytest.fixture(scope="module")
def page(prod: Service) -> Reply:
    return prod.get("/console")


def size_of(texts: Iterator[str]) -> int:
    return sum(len(gzip.compress(text.encode(), 6)) for text in texts)


class TestServing:
    def test_the_page_needs_no_key_and_loads_what_there_is(self, prod: Service, page: Reply) -> None:
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        named = re.findall(r'(?:href|src)="console/([^"]+)"', page.text)
        assert [name.split(".")[0] for name in named] == ["console", "console"]
        for name in files.files():
            reply = prod.get(f"/console/{name}")
            assert (reply.status, reply.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
            assert reply.headers["x-content-type-options"] == "nosniff"
            kind = {"css": "css", "js": "javascript"}[name.rpartition(".")[2]]
            assert reply.headers["content-type"] == f"text/{kind}; charset=utf-8"

    def test_it_may_load_and_ask_nothing_from_elsewhere(self, page: Reply) -> None:
        assert page.headers["content-security-policy"].split("; ") == [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
        assert re.findall(r"<style|<script(?! type=\"module\" src=)|\son\w+=|\sstyle=", page.text) == []

    def test_who_has_it_is_told_so(self, prod: Service, page: Reply) -> None:
        assert page.headers["cache-control"] == "no-cache"
        again = prod.get("/console", If_None_Match=f'W/{page.headers["etag"]}, "other"')
        assert (again.status, again.text, again.headers["etag"]) == (304, "", page.headers["etag"])
        name = next(iter(files.files()))
        etag = prod.get(f"/console/{name}").headers["etag"]
        assert prod.get(f"/console/{name}", If_None_Match=etag).status == 304
        assert prod.get("/console", If_None_Match='"other"').status == 200

    def test_what_there_is_not(self, prod: Service) -> None:
        for name in ("nothing.js", "index.html", "..%2Fconsole.css"):
            reply = prod.get(f"/console/{name}")
            assert (reply.status, reply.headers["cache-control"]) == (404, "no-store")

    def test_a_slash_at_the_end_changes_where_files_are(self) -> None:
        assert 'src="console.' in files.page("").text
        assert 'src="console/console.' in files.page("console/").text


class TestWhatIsServed:
    def test_it_is_small(self) -> None:
        found = files.files()
        first = {name: file for name, file in found.items() if not name.startswith("uplot")}
        assert size_of(file.text for file in first.values()) < FIRST_MAX_BYTES
        assert size_of(file.text for file in found.values()) < ALL_MAX_BYTES

    def test_every_module_is_there_once_and_the_whole_parses(self, tmp_path: Path) -> None:
        here = {path for path in files.SOURCES.rglob("*.js") if "vendor" not in path.parts}
        assert sorted(SOURCES) == sorted(here)
        for name, file in files.files().items():
            if name.endswith(".js"):
                script = tmp_path / f"{name}.mjs"
                script.write_text(file.text)
                command = [program("node"), "--check", str(script)]
                assert subprocess.run(command, text=True, capture_output=True, check=False).stderr == ""

    def test_modules_keep_to_the_form_that_can_be_joined(self) -> None:
        own = r'import \{ \w+(, \w+)* \} from "\.\.?/[\w./]+\.js";'
        library = r'import (\* as \w+|htm) from "(preact|preact/hooks|htm)";'
        export = r"export (async )?(function|const|class) \w+.*"
        lines = [(path, line) for path in SOURCES for line in path.read_text().splitlines()]
        odd = [
            (path.name, line)
            for path, line in lines
            if re.match("import |export ", line) and not re.fullmatch(f"{own}|{library}|{export}", line)
        ]
        assert odd == []

    def test_text_cannot_become_markup_or_code(self) -> None:
        forbidden = (
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|javascript:|https?://"
        )
        assert {path.name: found for path in SOURCES if (found := re.findall(forbidden, path.read_text()))} == {}

    def test_a_wheel_has_every_file(self) -> None:
        project = tomllib.loads((files.SOURCES.parents[1] / "pyproject.toml").read_text())
        patterns = project["tool"]["setuptools"]["package-data"]["chalicelib"]
        packed = {path for pattern in patterns for path in files.SOURCES.parent.glob(pattern)}
        assert {path for path in files.SOURCES.rglob("*") if path.is_file()} <= packed

    @pytest.mark.parametrize("name", VENDORED)
    def test_libraries_are_as_their_registry_has_them(self, name: str, request: pytest.FixtureRequest) -> None:
        pinned = VENDORED[name]
        package = f"{name}@{pinned['version']}"
        cache = request.config.cache.mkdir("console-libraries")
        (archive,) = npm.kept(cache, package, lambda folder: npm.pack(folder, package)).iterdir()
        algorithm, _, digest = pinned["integrity"].partition("-")
        assert algorithm == "sha512"
        assert base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode() == digest
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as packed:
            for own, theirs in pinned["files"].items():
                extracted = packed.extractfile(f"package/{theirs}")
                assert extracted is not None
                assert (files.SOURCES / "vendor" / name / own).read_bytes() == extracted.read()
