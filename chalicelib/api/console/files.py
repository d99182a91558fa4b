"""What a browser loads for the console: a page, a style and few scripts, made of ``chalicelib/console`` at first use.

The modules there are plain ES modules. A request for each would start as many Lambda functions at once, so they are
sent as one, with the libraries: each in a scope of its own, behind those that it imports. For that they keep to one
form of imports and exports (``import { a } from "./b.js";``, ``export function``, ``const`` or ``class``). What draws
charts is a file of its own, which nobody waits for. Names carry a digest of the text: files can be kept for ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
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
LIBRARIES = {"preact": "preact/preact.mjs", "preact/hooks": "preact/hooks.mjs", "htm": "htm/htm.mjs"}
CHARTS, CHARTS_PATH = "uplot", "uplot/uPlot.iife.min.js"
_AS_A_MODULE = "\nexport default uPlot;\n"  # follows on the one library that is none

_OWN_IMPORT = re.compile(r'^import (\{[^}]*\}) from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_OWN_EXPORT = re.compile(r"^export ((?:async )?(?:class|const|function) (\w+))", re.MULTILINE)
_WHOLE_IMPORT = re.compile(r'^import (\* as )?(\w+) from "([a-z/]+)";\n', re.MULTILINE)
_NAMED_IMPORT = re.compile(r'import\{([^}]*)\}from"([a-z/]+)";')
_NAMED_EXPORT = re.compile(r"export\{([^}]*)\};")
_DEFAULT_EXPORT = re.compile(r"export default (.*?);?\s*$", re.DOTALL)
_COMMENT = re.compile(r"^ *// .*\n", re.MULTILINE)  # for who reads the sources
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
    names: dict[str, str] = {}  # of files, by what they are called where they are asked for

    def add(called: str, suffix: str, text: str, content_type: str) -> None:
        names[called] = f"{called.removesuffix(f'.{suffix}')}.{_digest(text)}.{suffix}"
        found[names[called]] = File(text, content_type)

    add(CHARTS, "js", _vendored(CHARTS_PATH) + _AS_A_MODULE, SCRIPT)
    add("console.js", "js", _joined().replace(f'import("{CHARTS}")', f'import("./{names[CHARTS]}")'), SCRIPT)
    add("console.css", "css", "".join(map(_read, STYLES)), CSS)
    return _Built(found, _REFERENCE.sub(lambda match: BASE + names[match[1]], _read(PAGE)))


def _imports(path: str) -> Iterator[str]:
    for _, imported in _OWN_IMPORT.findall(_read(path)):
        yield _beside(path, imported)


def _beside(path: str, imported: str) -> str:
    return (SOURCES / path).parent.joinpath(imported).resolve().relative_to(SOURCES).as_posix()


def _joined() -> str:
    """One script of all modules: each as the object of what it exports."""
    libraries = (_scoped(name, _library(path)) for name, path in LIBRARIES.items())
    return "".join([*libraries, *(_scoped(path, _module(path)) for path in modules())])


def _scoped(name: str, body: str) -> str:
    return f"const {_object_of(name)} = (() => {{\n{body}}})();\n"


def _library(path: str) -> str:
    """A library as the body of a function that returns what it exports."""
    text = _NAMED_IMPORT.sub(lambda match: f"const {{{_renamed(match[1])}}}={_object_of(match[2])};", _vendored(path))
    text = _DEFAULT_EXPORT.sub(lambda match: f"return {{default: {match[1]}}};\n", text)
    return _NAMED_EXPORT.sub(lambda match: f"return {{{_renamed(match[1], outward=True)}}};", text)


def _renamed(names: str, *, outward: bool = False) -> str:
    """``a as b, c as d`` for an object: taken apart (``a: b``) or, ``outward``, put together (``b: a``)."""
    pairs = (entry.strip().partition(" as ") for entry in names.split(","))
    return ",".join(f"{new or old}:{old}" if outward else f"{old}:{new or old}" for old, _, new in pairs)


def _module(path: str) -> str:
    """A module of the console, likewise."""
    text = _COMMENT.sub("", _read(path))
    exported = ", ".join(name for _, name in _OWN_EXPORT.findall(text))
    text = _WHOLE_IMPORT.sub(_whole, text)
    text = _OWN_IMPORT.sub(lambda match: f"const {match[1]} = {_object_of(_beside(path, match[2]))};\n", text)
    return f"{_OWN_EXPORT.sub(_DECLARED, text)}return {{ {exported} }};\n"


def _whole(found: re.Match[str]) -> str:
    """``import * as name``, or of what is exported by default, as a constant."""
    all_of_it, name, library = found.groups()
    return f"const {name} = {_object_of(library)}{'' if all_of_it else '.default'};\n"


def _vendored(path: str) -> str:
    return _SOURCE_MAP.sub("", _read(f"vendor/{path}"))


def _object_of(path: str) -> str:
    return "_" + re.sub(r"\W", "_", path.removesuffix(".js"))


def _read(path: str) -> str:
    return (SOURCES / path).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARS]
