"""What a browser loads for the console: a page, a style and few scripts, made of ``chalicelib/console`` at first use.

The modules there are plain ES modules. A request for each would start as many Lambda functions at once, so they are
sent as one: each in a scope of its own, behind those that it imports. For that they keep to one form of imports and
exports (``import { a } from "./b.js";``, ``export function``, ``const`` or ``class``). The libraries in ``vendor``
stay files of their own. Each file's name carries a digest of its text, so that it can be kept for ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "console"
ENTRY = "main.js"
PAGE = "index.html"
STYLES = ("vendor/uplot/uPlot.min.css", "console.css")
BASE = "{base}"
HTML, CSS, SCRIPT = (f"text/{kind}; charset=utf-8" for kind in ("html", "css", "javascript"))

# By what a module imports them; each after those that it imports itself.
VENDORED = {
    "preact": "vendor/preact/preact.mjs",
    "preact/hooks": "vendor/preact/hooks.mjs",
    "htm": "vendor/htm/htm.mjs",
    "uplot": "vendor/uplot/uPlot.iife.min.js",
}
_AS_A_MODULE = "\nexport default uPlot;\n"  # follows on the one library that is none
_OWN_IMPORT = re.compile(r'^import (\{[^}]*\}) from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_LIBRARY_IMPORT = re.compile(r'^import [^"]+ from "[a-z][a-z/]*";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:class|const|function) (\w+))", re.MULTILINE)
_LIBRARY = re.compile(r'(\bfrom\s*|\bimport\()"([a-z][a-z/]*)"')
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*\n?", re.MULTILINE)
_REFERENCE = re.compile(r"\{([a-z/.]+)\}")
_DECLARED = r"\1"
_DIGEST_CHARS = 10


@dataclass(frozen=True, slots=True)
class File:
    """What is sent of a name."""

    text: str
    content_type: str

    @property
    def etag(self) -> str:
        """By what a client says which text it has."""
        return f'"{_digest(self.text)}"'


@dataclass(frozen=True, slots=True)
class _Built:
    """Every file but the page by its name, and the page, in which the names of others follow on ``BASE``."""

    files: Mapping[str, File]
    page: str


def page(base: str) -> File:
    """The page, to which the other files stand at ``base``."""
    return File(_built().page.replace(BASE, base), HTML)


def files() -> Mapping[str, File]:
    """What the page loads, by name."""
    return _built().files


def modules() -> list[str]:
    """The console's own modules, by their paths, each behind those that it imports."""
    ordered: dict[str, None] = {}

    def visit(path: str) -> None:
        for imported in _imports(path):
            if imported not in ordered:
                visit(imported)
        ordered[path] = None

    visit(ENTRY)
    return list(ordered)


@lru_cache(maxsize=1)
def _built() -> _Built:
    found: dict[str, File] = {}
    names: dict[str, str] = {}  # of files, by what imports a library and what the page calls them

    def add(called: str, suffix: str, text: str, content_type: str) -> None:
        stem = called.removesuffix(f".{suffix}").replace("/", "-")
        names[called] = f"{stem}.{_digest(text)}.{suffix}"
        found[names[called]] = File(text, content_type)

    for imported, path in VENDORED.items():
        ending = "" if path.endswith(".mjs") else _AS_A_MODULE
        add(imported, "js", _linked(_SOURCE_MAP.sub("", _read(path)), names) + ending, SCRIPT)
    add("console.js", "js", _linked(_joined(modules()), names), SCRIPT)
    add("console.css", "css", "".join(map(_read, STYLES)), CSS)
    return _Built(found, _REFERENCE.sub(lambda match: BASE + names[match[1]], _read(PAGE)))


def _imports(path: str) -> Iterator[str]:
    for _, imported in _OWN_IMPORT.findall(_read(path)):
        yield _beside(path, imported)


def _beside(path: str, imported: str) -> str:
    return (SOURCES / path).parent.joinpath(imported).resolve().relative_to(SOURCES).as_posix()


def _joined(paths: Sequence[str]) -> str:
    """One module of several: what they import of libraries, then each as the object of what it exports."""
    libraries = [found for path in paths for found in _LIBRARY_IMPORT.findall(_read(path))]
    return "".join([*libraries, *map(_scoped, paths)])


def _scoped(path: str) -> str:
    text = _LIBRARY_IMPORT.sub("", _read(path))
    exported = ", ".join(name for _, name in _EXPORT.findall(text))
    text = _OWN_IMPORT.sub(lambda match: f"const {match[1]} = {_object_of(_beside(path, match[2]))};\n", text)
    return f"const {_object_of(path)} = (() => {{\n{_EXPORT.sub(_DECLARED, text)}return {{ {exported} }};\n}})();\n"


def _object_of(path: str) -> str:
    return "_" + re.sub(r"\W", "_", path.removesuffix(".js"))


def _linked(text: str, names: Mapping[str, str]) -> str:
    """``text`` with the names of the libraries' files in the place of their own."""
    return _LIBRARY.sub(lambda match: f'{match[1]}"./{names[match[2]]}"', text)


def _read(path: str) -> str:
    return (SOURCES / path).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
