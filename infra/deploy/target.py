"""Which installation a command works on: the environment variables that say so, set before anything reads them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path

from botocore.exceptions import ConnectionError, HTTPClientError  # noqa: A004  # as botocore calls it
from botocore.parsers import ResponseParserError

from chalicelib.core.errors import InvalidInput

LOCAL_STAGE = "local"
SHOWN_MAX_CHARS = 200  # of what came in place of an answer
LOOPBACK = ("127.0.0.1", "localhost")
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL"  # set where the installation is not on AWS
FILE_VARIABLES = ("TASKYARD_KAFKA", "TASKYARD_KAFKA_TOPICS", "TASKYARD_KAFKA_SOURCE")  # JSON, or the path of it
LOCAL_INDEX_SHARDS = "1"  # one machine never writes so much that an index needs more
ELSEWHERE = f"name another with --endpoint-url or {ENDPOINT_VARIABLE}"
MADE_UP_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def choose_local_stage(environment: MutableMapping[str, str] = os.environ) -> None:
    """Settings of this process: those of the stage that runs on one machine."""
    environment["TASKYARD_STAGE"] = LOCAL_STAGE
    environment.setdefault("TASKYARD_INDEX_SHARDS", LOCAL_INDEX_SHARDS)


def choose_emulator(endpoint_url: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """AWS for this process: the embedded emulator, whatever profile, region, endpoints or proxies the shell names."""
    for name in [name for name in environment if name.startswith("AWS_")]:
        del environment[name]
    choose_endpoint(endpoint_url, environment)


def choose_endpoint(endpoint_url: str, environment: MutableMapping[str, str] = os.environ) -> None:
    """AWS for this process: an endpoint, with the shell's credentials and region if it has any.

    Raises ``InvalidInput`` for what is no URL.
    """
    if not re.match(r"https?://[^/\s]+", endpoint_url):
        raise InvalidInput("this is no endpoint", field="endpoint-url", expected="http://host:port", got=endpoint_url)
    environment[ENDPOINT_VARIABLE] = endpoint_url
    if "AWS_PROFILE" not in environment:
        for name, value in MADE_UP_CREDENTIALS.items():
            environment.setdefault(name, value)
    for name in ("NO_PROXY", "no_proxy"):  # a proxy's 127.0.0.1 is another machine
        environment[name] = ",".join(filter(None, [environment.get(name), *LOOPBACK]))


def unreachable(error: Exception) -> str | None:
    """What is said of an AWS that does not answer, or is none, and the remedy; ``None``: another kind of error."""
    if isinstance(error, ResponseParserError):
        shown = " ".join(str(error).split())[:SHOWN_MAX_CHARS]
        return f"what answers there is not AWS, nor an emulator of it: {shown}; {ELSEWHERE}"
    if not isinstance(error, ConnectionError | HTTPClientError):
        return None
    if ENDPOINT_VARIABLE not in os.environ:
        return f"{error}; look at the network, and at the region"
    return f"{error}; start what is to answer there, or {ELSEWHERE}"


def work_from_here() -> None:
    """Let this process and its children, which run in another folder, find what settings name in the current one."""
    _find_handlers_here()
    _name_files_whole()


def _find_handlers_here() -> None:
    """What ``TASKYARD_HANDLERS`` names may be imported from the current folder."""
    sys.path.append(str(Path.cwd()))
    paths = [".", *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(str(Path(path).resolve()) for path in paths)


def _name_files_whole() -> None:
    """Files that settings name by a path from the current folder are named by their whole paths."""
    for name in FILE_VARIABLES:
        given = os.environ.get(name, "")
        if given and not given.lstrip().startswith(("{", "[")) and Path(given).is_file():
            os.environ[name] = str(Path(given).resolve())
