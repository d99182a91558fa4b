"""What axe-core finds wrong with a page for people who cannot see, or not well."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.support import npm

PACKAGE = "axe-core@4.14.1"
RUN = "rules => axe.run({ resultTypes: ['violations'], ...(rules.length && { runOnly: rules }) })"
SERIOUS = {"serious", "critical"}


def script(cache: pytest.Cache) -> str:
    """Its code, from the registry of npm, or from ``cache`` where it has been kept."""
    folder = npm.kept(cache.mkdir("axe"), PACKAGE, _download)
    return (folder / "axe.min.js").read_text()


def serious(page: Page, *rules: str) -> list[str]:
    """The ``rules`` that a page breaks, by default of all, with where; axe's code has been run there."""
    results = page.evaluate(RUN, list(rules))
    assert results["passes"]
    return [
        f"{rule['id']}: {node['html'][:200]}"
        for rule in results["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def _download(folder: Path) -> None:
    npm.pack(folder, PACKAGE)
    (archive,) = folder.iterdir()
    with tarfile.open(archive) as packed:
        packed.extract("package/axe.min.js", folder, filter="data")
    (folder / "package" / "axe.min.js").rename(folder / "axe.min.js")
