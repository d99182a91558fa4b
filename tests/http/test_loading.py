"""What a process has loaded before its first event."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CODE = "import json, sys; import app; print(json.dumps(list(sys.modules)))"
SELDOM = {"asyncio", "botocore.client", "chalicelib.engine.coroutines", "http.server", "urllib3"}  # and slow to load
OWN = {"worker", "dead_letters", "clock", "projector", "hooks"}


@pytest.mark.parametrize(
    ("handler", "functions", "has_routes"),
    [("", set(), False), ("app.worker", {"worker"}, False), ("app.hooks", {"hooks"}, False), ("app.app", set(), True)],
)
def test_a_process_loads_what_its_function_needs(handler: str, functions: set[str], has_routes: bool) -> None:
    environment = {**os.environ, "_HANDLER": handler, "AWS_DEFAULT_REGION": "us-east-1"}
    printed = subprocess.check_output([sys.executable, "-c", CODE], cwd=PROJECT, env=environment)
    loaded = set(json.loads(printed))
    assert {name for name in OWN if f"chalicelib.functions.{name}" in loaded} == functions
    assert ("chalicelib.api.mq" in loaded) is has_routes
    assert ("chalicelib.engine.yard" in loaded) is bool(handler)
    assert loaded & SELDOM == set()
    assert "chalicelib.tasks" not in loaded  # the handlers are yours, and come with the first event
