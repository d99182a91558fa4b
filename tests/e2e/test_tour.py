"""The README's five-minute tour, its commands run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.up import Service, running
from tests.support.waiting import until

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"<!-- tour(?:: once the trace says (\w+))? -->\n```sh\n(.*?)```", re.DOTALL)
TOUR_TRACE = "tour-2"


def test_the_tour_goes_as_the_readme_says(tmp_path: Path) -> None:
    shutil.copy(README, tmp_path)
    blocks = BLOCK.findall(README.read_text())
    assert len(blocks) == 7
    with running(tmp_path) as service:
        answers = [_run(service, tmp_path, awaited, commands) for awaited, commands in blocks]
        created, listed, published, polled, failing, buried, added = answers
        assert json.loads(created)["type"] == "text.statistics"
        assert "text.statistics" in listed
        assert "order.created" in published
        assert re.findall(r'"event":"(\w+)"', polled) == ["PUBLISHED", "PROCESSING", "COMPLETED"]
        assert '"event":"PUBLISHED"' in failing
        assert "order.created" in buried
        pooled = until(lambda: service.get(f"/pools/csv_summary/jobs/{json.loads(added)['id']}")["response"])
        assert pooled["rows"] == 1
        task_id = json.loads(created)["id"]
        task = until(lambda: (found := service.task(task_id))["status"] == "success" and found)
        assert task["output"]["bytes"] == README.stat().st_size
        replayed = service.get("/mq/dlq/list?topic=order.created&replayed=true")
        assert replayed["totalCount"] == 1


def _run(service: Service, folder: Path, awaited: str, commands: str) -> str:
    """Run one block of the tour in ``folder``, against ``service``; answers what it printed."""
    if awaited:
        until(lambda: [e for e in service.events(TOUR_TRACE) if e["event"] == awaited])
    programs = {"taskyard": f"{sys.executable} -m chalicelib.cli.main", "python": sys.executable}
    script = re.sub(r"\.venv/bin/(\w+)", lambda found: programs[found[1]], commands)
    script = script.replace("http://127.0.0.1:8000", service.url)
    environment = {**os.environ, "TASKYARD_URL": service.url, "PYTHONPATH": str(README.parent)}
    run = subprocess.run(  # noqa: S602  # the README's own commands
        script, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
