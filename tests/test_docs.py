"""What the pages tell people to type and to look at is there: commands, settings, paths, links, alarms, graphs."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import botocore.session
import pytest
from botocore import xform_name

from chalicelib.core.causes import Cause
from chalicelib.core.job_documents import ENVELOPE_VERSION
from chalicelib.core.lanes import Band
from chalicelib.core.reasons import Code
from chalicelib.core.states import MOVES
from chalicelib.settings import Settings
from infra.alarms import alarms_of
from infra.functions import functions_of
from infra.queues import lanes_of
from infra.watch import DASHBOARD, watch
from tests.support.commands import fits, named

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
CONCEPTS = (ROOT / "docs" / "concepts.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
STAGED = Settings(stage="dev", hooks="on")
LANES = lanes_of({"orders": (Band.HIGH,)})

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"(^|\s)# .*$", re.MULTILINE)  # the pages have no such thing within quotes
ASSIGNMENT = re.compile(r"\w+=.*")
LINK = re.compile(r"\]\(([^)\s]+)\)")
VARIABLE = re.compile(r"TASKYARD_[A-Z0-9_]+[A-Z0-9]")
PATH = re.compile(r"(?:chalicelib|infra|tests|docs|events|\.chalice)/[\w./-]*|app\.py|requirements[\w.-]*")
MODULE = re.compile(r"\b(?:chalicelib|infra|tests)(?:\.\w+)+")
# What users write, and what commands do.
WRITTEN_LATER = {"infra/policies/handlers.json", "chalicelib/tasks/greeting.py", ".chalice/deployments"}

SHELL_WORDS = {"do", "done", "in", "then"}
SETTINGS = {f"TASKYARD_{name.upper()}" for name in Settings.__slots__}
NO_SETTINGS = {"TASKYARD_URL", "TASKYARD_KEY", "TASKYARD_SECRET", "TASKYARD_TEST_DYNAMODB_LOCAL_URL"}

AWS_EVERYWHERE = {"query", "output", "region", "endpoint-url"}
# What the AWS CLI adds to the operations of AWS: AWS CLI Command Reference.
AWS_OWN = {
    ("cloudformation", "package"): {"template-file", "s3-bucket", "use-json", "output-template-file"},
    ("cloudformation", "deploy"): {"template-file", "stack-name", "s3-bucket", "capabilities"},
    ("logs", "tail"): {"since", "filter-pattern"},
}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_the_commands_that_are_shown_are_accepted(page: Path) -> None:
    for words in shown(page.read_text(), "taskyard"):
        command, rest = named(words)
        command.make_context("taskyard", rest)


def test_there_are_as_many_alarms_and_functions_as_the_pages_say() -> None:
    stated = re.search(r"(\d+) alarms \((\d+) without hooks\)", (ROOT / "docs" / "reference.md").read_text())
    assert stated is not None
    without = replace(STAGED, hooks="off")
    assert [int(number) for number in stated.groups()] == [len(alarms_of(each, [])) for each in (STAGED, without)]
    assert len(functions_of(STAGED)) == 6
    assert "All end with the same: six functions," in (ROOT / "docs" / "deploying.md").read_text()


def test_the_commands_that_are_named_exist(page: Path) -> None:
    for code in inline(page.read_text()):
        words = shlex.split(code.removeprefix(".venv/bin/"))
        if words[:1] == ["taskyard"] and words[1:]:
            assert fits(words[1:]), code


def test_the_commands_of_the_aws_cli_exist(page: Path) -> None:
    text = page.read_text()
    mentioned = (shlex.split(code)[1:] for code in inline(text) if re.match(r"aws \w+ ", code))
    for words in [*shown(text, "aws"), *mentioned]:
        service, operation, *rest = words
        given = {word.removeprefix("--") for word in rest if word.startswith("--")}
        assert given <= aws_options(service, operation, rest) | AWS_EVERYWHERE, words


def test_the_settings_exist(page: Path) -> None:
    assert set(VARIABLE.findall(page.read_text())) <= SETTINGS | NO_SETTINGS


def test_every_setting_is_in_the_table_of_settings() -> None:
    (table,) = (part for part in REFERENCE.split("\n## ") if part.startswith("Settings\n"))
    listed = {name for row in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE) for name in inline(row)}
    assert listed == SETTINGS - {"TASKYARD_REGION"}  # which is AWS_REGION


def test_the_paths_and_modules_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    words = {word for code in inline(text) for word in code.split()}
    paths = {word.rstrip("/") for word in words if PATH.fullmatch(word)}
    assert [path for path in sorted(paths - WRITTEN_LATER) if not (ROOT / path).exists()] == []
    for code in inline(text):
        for name in MODULE.findall(code):
            resolve_name(name)  # raises, with the name, if it is neither a module nor in one


def test_the_diagram_of_states_has_the_moves_of_the_engine() -> None:
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", CONCEPTS, re.DOTALL)
    arrows = re.findall(r"(\w+|\[\*\]) --> (\w+): (\w)", diagram)
    moves = {(before, after) for before, after, _ in arrows if before != "[*]"}
    assert moves == {(before, after) for before, reached in MOVES.items() for after in reached}
    letters = re.findall(r"^\| ([A-Z]) \|", CONCEPTS, re.MULTILINE)
    assert letters == sorted({letter for *_, letter in arrows})


def test_the_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_readme_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def test_every_reason_why_a_job_does_not_run_has_a_line() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .+ \| .*\|$", (ROOT / "docs" / "why.md").read_text(), re.MULTILINE)
    assert [name for name in rows if name in list(Code)] == list(Code)


def test_every_cause_of_a_dead_letter_is_named() -> None:
    (row,) = re.findall(r"^\| dead letter \|.*$", CONCEPTS, re.MULTILINE)
    assert [name for name in inline(row) if name != "cause"] == list(Cause)


def test_every_alarm_is_explained() -> None:
    quiet = replace(STAGED, metrics="off")
    bridged = replace(STAGED, kafka_topics='[{"topic": "orders", "direction": "in"}]')
    names = [alarm.name for chosen in (STAGED, quiet, bridged) for alarm in alarms_of(chosen, LANES)]
    (table,) = (part for part in OPERATIONS.split("\n## ") if part.startswith("What does this alarm mean?"))
    first_cells = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    explained = {name for cell in first_cells for name in inline(cell)}
    assert explained == {"…-age" if name.endswith("-age") else name for name in names}


def test_the_graphs_that_are_named_are_on_the_dashboard() -> None:
    body = json.loads(
        watch(replace(STAGED, watch="dashboard"), LANES)[DASHBOARD]["Properties"]["DashboardBody"]["Fn::Sub"]
    )
    titles = {widget["properties"]["title"] for widget in body["widgets"]}
    prose = re.sub(r"\s+", " ", FENCED.sub("", OPERATIONS))
    named_graphs = set(re.findall(r"(?<!\*)\*(?!\*)([^*]+)\*(?!\*)", prose))
    assert "Lag of the change stream" in named_graphs
    assert named_graphs <= titles


def test_the_envelopes_version_is_the_one_that_is_told() -> None:
    assert f"envelopes of version {ENVELOPE_VERSION}," in re.sub(r"\s+", " ", OPERATIONS)


def test_a_command_is_found_wherever_it_stands() -> None:
    block = "A=1 aws s  # why\nfor x in $(aws t --y \\\n  'a #b'); do\n  bin/aws u ${x##*/} | aws v\ndone\n"
    found = list(shown(f"```sh\n{block}```\n", "aws"))
    assert found == [["s"], ["t", "--y", "a #b"], ["u", "${x##*/}"], ["v"]]


# -- reading pages ------------------------------------------------------------------------------------


def shown(text: str, program: str) -> Iterator[list[str]]:
    """The arguments of each run of ``program`` in the shell blocks of a page."""
    for language, block in FENCED.findall(text):
        if language == "sh":
            for words in simple_commands(block):
                if words[0].rpartition("/")[-1] == program:
                    yield words[1:]


def simple_commands(block: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, those within ``$(…)`` as well, without assignments in front."""
    script = COMMENT.sub("", block).replace("\\\n", " ")
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";()<>|&\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in SHELL_WORDS or set(word) <= set(";()<>|&\n"):
            if words:
                yield words
            words = []
        elif words or not ASSIGNMENT.fullmatch(word):
            words.append(word)


def inline(text: str) -> list[str]:
    """The code within the lines of a page."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", FENCED.sub("", text))]


def aws_options(service: str, operation: str, rest: list[str]) -> set[str]:
    """The options of a command of the AWS CLI. Fails when there is no such command."""
    if (service, operation) in AWS_OWN:
        return AWS_OWN[service, operation]
    session = botocore.session.get_session()
    model = session.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if operation == "wait":
        waiters = session.get_waiter_model(service)
        waiter = {xform_name(name, "-"): name for name in waiters.waiter_names}[rest[0]]
        operation = xform_name(waiters.get_waiter(waiter).operation, "-")
    members = model.operation_model(operations[operation]).input_shape.members
    booleans = {f"no-{xform_name(name, '-')}" for name, shape in members.items() if shape.type_name == "boolean"}
    return {xform_name(name, "-") for name in members} | booleans


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
