"""What can be known before deploying: whether Lambda can load the archive, and API Gateway take the routes.

Each check yields one sentence for each thing that is wrong; nothing found means nothing wrong.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from chalice.utils import to_cfn_resource_name

from chalicelib import settings
from chalicelib.core.errors import InvalidInput
from infra.deploy.bytecode import cached
from infra.deploy.package_imports import missing_imports

# A cold start loads the whole archive. Lambda itself takes 50 MB sent with the call, 250 MB unzipped
# (AWS Lambda Developer Guide, "Lambda quotas").
ARCHIVE_MAX_BYTES = 15 * 1024 * 1024
KAFKA_BYTES = 6 * 1024 * 1024  # what confluent-kafka may take beside, where a topic goes to Kafka
# Come with the Lambda Python runtime, or are of no use there.
NEVER_PACKAGED = (
    "boto3/",
    "botocore/",
    "chalicelib/cli/",
    "chalicelib/local/",
    "chalicelib/testing/",
    "infra/",
    "tests/",
)
NEEDED = ("app.py", "chalice/app.py", "chalicelib/__init__.py")
WORKER = to_cfn_resource_name("worker")
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # what Lambda and what wheels call an architecture

# Resources of one REST API: Amazon API Gateway Developer Guide, "Quotas for configuring and running a REST API".
API_RESOURCES_MAX = 300
# What API Gateway takes between two slashes: a word, or one variable, greedy or not.
PATH_PART = re.compile(r"[A-Za-z0-9._:-]+|\{[A-Za-z0-9._:-]+\+?\}")

Template = Mapping[str, Any]


def functions_of(template: Template) -> dict[str, Mapping[str, Any]]:
    """The Lambda functions of a SAM template: logical id to properties."""
    return {
        logical_id: resource["Properties"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def routes_of(template: Template) -> list[str]:
    """The paths of every REST API in a SAM template."""
    return [
        path
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Api"
        for path in resource["Properties"]["DefinitionBody"]["paths"]
    ]


def template_problems(template: Template, config: Mapping[str, Any], stage: str) -> Iterator[str]:
    """What is wrong with a SAM template that was made for ``stage`` from Chalice's ``config``."""
    functions = functions_of(template)
    of_stage = config.get("stages", {}).get(stage, {})
    for name in {**config.get("lambda_functions", {}), **of_stage.get("lambda_functions", {})}:
        if to_cfn_resource_name(name) not in functions:
            yield f".chalice/config.json configures {name}, but app.py declares no such function"
    for logical_id, properties in functions.items():
        yield from (f"{logical_id}: {problem}" for problem in _function_problems(logical_id, properties, stage))
    yield from route_problems(routes_of(template))


def _function_problems(logical_id: str, properties: Mapping[str, Any], stage: str) -> Iterator[str]:
    environment = properties.get("Environment", {}).get("Variables", {})
    if environment.get("TASKYARD_STAGE") != stage:
        yield f"its TASKYARD_STAGE is not {stage}; declare that stage, with the variable, in .chalice/config.json"
        return
    known = {name: value for name, value in environment.items() if isinstance(value, str)}  # the rest are references
    try:
        chosen = settings.read(known)
    except InvalidInput as error:
        yield str(error)
        return
    timeout_s = properties["Timeout"]
    if timeout_s > chosen.visibility_s:
        # AWS refuses an event source mapping whose function may outlast the visibility of what it received.
        yield f"its time-out of {timeout_s} s exceeds the queues' visibility of {chosen.visibility_s} s"
    if logical_id == WORKER and timeout_s != chosen.function_timeout_s:
        yield f"its time-out of {timeout_s} s is not TASKYARD_FUNCTION_TIMEOUT_S, {chosen.function_timeout_s}"


def route_problems(paths: Iterable[str]) -> Iterator[str]:
    """The paths that API Gateway would refuse: odd characters, rival variables, too many resources."""
    variables: defaultdict[str, set[str]] = defaultdict(set)  # by the path before them
    resources = set()
    for path in paths:
        parts = path.strip("/").split("/") if path != "/" else []
        for depth, part in enumerate(parts):
            before = "/" + "/".join(parts[:depth])
            resources.add((before, part))
            if not PATH_PART.fullmatch(part):
                yield f"route {path}: API Gateway does not take {part!r} between two slashes"
            elif part.endswith("+}") and depth < len(parts) - 1:
                yield f"route {path}: {part} takes the whole rest of a path, so nothing may follow it"
            elif part.startswith("{"):
                variables[before].add(part)
    for before, names in variables.items():
        if len(names) > 1:
            yield f"routes below {before}: only one variable may stand there, not {', '.join(sorted(names))}"
    if len(resources) > API_RESOURCES_MAX:
        yield f"the routes make {len(resources)} resources of an API; API Gateway takes {API_RESOURCES_MAX}"


def size_problems(archive: Path, *, with_kafka: bool = False) -> Iterator[str]:
    """What is wrong with the size of the archive; ``with_kafka`` where confluent-kafka is in it."""
    most = ARCHIVE_MAX_BYTES + with_kafka * KAFKA_BYTES
    if archive.stat().st_size > most:
        yield f"the archive has {archive.stat().st_size} bytes, more than {most}"


def archive_problems(
    archive: Path, requirements: str, template: Template, handlers: Iterable[str] = ()
) -> Iterator[str]:
    """What is wrong with the archive of the template's functions, made from the text of a requirements file.

    ``handlers`` are the top-level packages that hold handlers beside Taskyard's own.
    """
    with ZipFile(archive) as zipped:
        names = zipped.namelist()
        yield from _content_problems(names)
        yield from _requirement_problems(names, requirements)
        for runtime, architecture in {(f["Runtime"], f["Architectures"][0]) for f in functions_of(template).values()}:
            yield from _wheel_problems(zipped, runtime, MACHINES[architecture])
        places = ("app.py", "chalicelib/", *(f"{package}{end}" for package in handlers for end in ("/", ".py")))
        own = [name for name in names if name.endswith(".py") and name.startswith(places)]
        yield from missing_imports({name: zipped.read(name).decode() for name in own}, names)


def _content_problems(names: Iterable[str]) -> Iterator[str]:
    contents = set(names)
    yield from (f"the archive lacks {name}" for name in NEEDED if name not in contents)
    sourceless = {name for name in contents if name.endswith(".pyc")} - set(map(cached, contents))
    unwanted = sourceless | {name for name in contents if name.startswith(NEVER_PACKAGED)}
    yield from (f"the archive holds {name}" for name in sorted(unwanted))


def _requirement_problems(names: Iterable[str], requirements: str) -> Iterator[str]:
    """Requirements that are not in the archive: Chalice only warns when it finds no wheel for Lambda."""
    contents = {name.split("/")[0] for name in names}
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", requirements, re.MULTILINE):
        if f"{re.sub('[-.]', '_', name)}-{version}.dist-info" not in contents:
            yield f"the archive lacks {name} {version}, which requirements.txt asks for"


def _wheel_problems(zipped: ZipFile, runtime: str, machine: str) -> Iterator[str]:
    """Compiled packages that were made for another Python or machine than that of the functions."""
    tag = re.compile(rf"Tag: (?:{runtime.replace('python3.', 'cp3')}-|cp3\d+-abi3-).*manylinux\w*_{machine}")
    for name in zipped.namelist():
        if name.endswith(".dist-info/WHEEL"):
            text = zipped.read(name).decode()
            if "Root-Is-Purelib: false" in text and not tag.search(text):
                yield f"{name.split('/')[0]} is not made for {runtime} on {machine} Linux"
