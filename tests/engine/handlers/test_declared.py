"""Where handlers may stand in a package, and what is said of one that cannot be loaded."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from chalicelib.core.errors import InvalidInput
from chalicelib.engine.handlers.importing import HandlersBroken
from chalicelib.engine.handlers.registry import Registry, registry_of
from chalicelib.settings import Settings

HEAD = "from chalicelib.engine.handlers.declare import backoff, on, subscribe, task\n"
NAME = "handlers_of_a_test"
ELSEWHERE = "library_of_a_test"

Load = Callable[..., Registry]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """The registry of a package with these files, as a process that starts makes it."""

    def written(handlers: str = NAME, **files: str) -> Registry:
        for name, text in files.items():
            file = tmp_path / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(dedent(text))
        return registry_of(Settings(handlers=handlers))

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield written
    for module in [module for module in sys.modules if module.split(".")[0] in (NAME, ELSEWHERE)]:
        del sys.modules[module]


def handler(name: str, *above: str) -> str:
    """A module with one handler."""
    return HEAD + "".join(f"{line}\n" for line in above) + f"@task('{name}')\ndef run(value):\n    return value\n"


INIT = f"{NAME}__in____init__"
ONE = f"{NAME}__in__one"
TWO = f"{NAME}__in__two"
PLAIN = """
def noisy(function):
    def louder(value):
        return [function(value)]
    return louder
"""


def test_handlers_in_the_init_of_a_package_and_of_one_within_it(load: Load) -> None:
    registry = load(
        **{
            INIT: handler("outer"),
            f"{NAME}__in__inner__in____init__": handler("inner"),
            f"{NAME}__in__inner__in__deep__in__module": handler("deep"),  # in a folder without an __init__.py
            ONE: handler("module"),
        }
    )
    assert set(registry.tasks) == {"outer", "inner", "deep", "module"}


def test_a_package_may_be_one_module(load: Load) -> None:
    assert set(load(**{NAME: handler("alone")}).tasks) == {"alone"}


def test_a_program_in_the_package_is_not_run(load: Load) -> None:
    assert set(load(**{INIT: handler("outer"), f"{NAME}__in____main__": "raise SystemExit(2)"}).tasks) == {"outer"}


def test_a_handler_that_other_modules_import_counts_once(load: Load) -> None:
    registry = load(
        handlers=f"{NAME}, {NAME}.two, {NAME}",
        **{
            INIT: f"from {NAME}.one import run, listen",
            ONE: handler("one") + "@subscribe('t')\ndef listen(value):\n    pass\n",
            TWO: f"from {NAME} import run, listen",
        },
    )
    assert registry.tasks["one"].label == f"{NAME}.one.run"
    assert len(registry.subscribers["t"]) == 1


def test_a_handler_of_another_package_is_imported_without_being_declared(load: Load) -> None:
    registry = load(
        **{ELSEWHERE: handler("elsewhere"), ONE: f"from {ELSEWHERE} import run as other\n" + handler("one")}
    )
    assert set(registry.tasks) == {"one"}


def test_what_python_gives_to_every_module_is_not_looked_through(load: Load) -> None:
    """To do so took longer than all else of finding handlers; whatever is there is nobody's module's own."""
    hiding = "import builtins\nbuiltins.holder = [run]\ndel run\n"
    try:
        assert set(load(**{ONE: handler("one") + hiding, TWO: handler("two")}).tasks) == {"two"}
    finally:
        del builtins.holder  # type: ignore[attr-defined]


def test_what_a_decorator_of_another_package_wraps_runs_with_its_wrapper(load: Load) -> None:
    """Such a wrapper says of itself that it is of the other package."""
    wrapped = f"{HEAD}from {ELSEWHERE} import noisy\n@task('one')\n@noisy\ndef run(value):\n    return value\n"
    assert load(**{ELSEWHERE: PLAIN, ONE: wrapped}).tasks["one"].function(1) == [1]


def test_what_a_factory_of_another_package_makes_is_declared_where_it_has_its_name(load: Load) -> None:
    factory = HEAD + "def make(name):\n    @task(name)\n    def run(value):\n        return name\n    return run\n"
    made = f"from {ELSEWHERE} import make\na = make('one')\nb = make('two')\n"
    assert set(load(**{ELSEWHERE: factory, ONE: made}).tasks) == {"one", "two"}


@pytest.mark.parametrize(
    ("text", "holder", "remedy"),
    [
        (PLAIN + "@noisy\n@task('one')\ndef run(value):\n    pass\n", "run", "put functools.wraps(function) on the"),
        (
            "from functools import partial\n@task('one')\ndef plain(value, x):\n    pass\nrun = partial(plain, x=1)\n"
            "del plain\n",
            "run",
            "put functools.wraps(function) on the",
        ),
        (
            "class Tools:\n    @task('one')\n    def run(self, value):\n        pass\n",
            "Tools",
            "declare a plain function",
        ),
        ("def make():\n    return task('one')(lambda value: 1)\nRUNS = [make()]\n", "RUNS", "declare a plain function"),
    ],
    ids=["wrapper", "partial", "method", "list"],
)
def test_a_declaration_that_nothing_would_find_is_refused(load: Load, text: str, holder: str, remedy: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(**{ONE: HEAD + text})
    assert refused.value.field == "one"
    assert f"is declared, but would never run: {NAME}.one.{holder} hides it" in refused.value.message
    assert f"({NAME}/one.py:" in refused.value.message
    assert (refused.value.remedy or "").startswith(remedy)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        ("x = 1 +\n", f"{NAME}/one.py:2: SyntaxError: invalid syntax"),
        (
            "import nowhere_to_be_found\n",
            f"{NAME}/one.py:2: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("raise SystemExit(3)\n", f"{NAME}/one.py:2: SystemExit: 3"),
        ("raise BaseException('own')\n", f"{NAME}/one.py:2: BaseException: own"),
        ("import json\njson.loads('{')\n", f"{NAME}/one.py:3: json.decoder.JSONDecodeError: Expecting property name"),
        ("import ast\nast.parse('1 +')\n", f"{NAME}/one.py:3: SyntaxError: invalid syntax"),
        ("@task\ndef run(value):\n    pass\n", f"{NAME}/one.py:2: type: @task stands without its parentheses"),
        ("@task('a', lanes=())\ndef run(value):\n    pass\n", f"{NAME}/one.py:2: lanes: a queue has one to five lanes"),
        ("@task('a', key='customer')\ndef run(v):\n    pass\n", f"{NAME}/one.py:2: key: this is no key"),
        ("from chalicelib import Rate\nR = Rate(0)\n", f"{NAME}/one.py:3: rate.count: this value is out of range"),
        ("from chalicelib import Unique\nU = Unique(None)\n", f"{NAME}/one.py:3: unique: this keeps nothing away"),
        ("from chalicelib import Debounce\nD = Debounce(0)\n", f"{NAME}/one.py:3: debounce.wait_s: this value is out"),
        ("from chalicelib import PerKey\nP = PerKey(0)\n", f"{NAME}/one.py:3: per_key.concurrency: this value is"),
        ("from chalicelib import Batch\nB = Batch(0)\n", f"{NAME}/one.py:3: batch.max_size: "),
        ("@task('a', backoff=5)\ndef run(v):\n    pass\n", f"{NAME}/one.py:2: "),
        ("@task('a', retries=3)\ndef run(v):\n    pass\n", f"{NAME}/one.py:2: TypeError: task() got an unexpected key"),
    ],
)
@pytest.mark.parametrize("nested", [False, True], ids=["itself", "within another"])
def test_a_module_that_does_not_load_is_told_with_its_line(load: Load, raised: str, told: str, nested: bool) -> None:
    files = {ONE: HEAD + raised, **({INIT: f"import {NAME}.one"} if nested else {})}
    with pytest.raises(HandlersBroken) as refused:
        load(**files)
    assert str(refused.value).startswith(f"TASKYARD_HANDLERS: the handlers cannot be loaded: {told}")
    assert refused.value.remedy == "mend it there"


def test_what_fails_in_a_module_beside_the_package_is_told_there(load: Load) -> None:
    with pytest.raises(HandlersBroken, match=rf"{ELSEWHERE}\.py:2: ZeroDivisionError: division by zero"):
        load(**{ELSEWHERE: "\nHALF = 1 / 0\n", ONE: f"import {ELSEWHERE}\n"})


def test_what_fails_in_a_script_is_told_there(load: Load) -> None:
    with pytest.raises(HandlersBroken, match=rf"{NAME}/report\.daily/index\.py:1: ZeroDivisionError"):
        load(**{INIT: "", f"{NAME}__in__report.daily__in__index": "HALF = 1 / 0\n"})


def test_a_package_that_is_not_there(load: Load) -> None:
    with pytest.raises(HandlersBroken) as refused:
        load()
    assert refused.value.got == NAME
    assert f"ModuleNotFoundError: No module named '{NAME}'" in refused.value.message


def test_what_is_no_handler_is_told_with_its_line(load: Load) -> None:
    with pytest.raises(InvalidInput) as refused:
        load(**{ONE: HEAD + "@task('one')\ndef run():\n    pass\n"})
    assert refused.value.message == f"a handler takes the input and, if it likes, the context ({NAME}/one.py:2)"
