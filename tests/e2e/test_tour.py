"""The README's first handler and its five-minute tour, which ends in docs/yao-pools.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.up import Service, running
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
POOLS = ROOT / "docs" / "yao-pools.md"
HANDLER = re.compile(r"<!-- handler: (\w+)\.py -->\n```python\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"<!-- tour(?:: once the trace says (\w+))? -->\n```sh\n(.*?)```", re.DOTALL)
TOUR_TRACE = "tour-2"


def test_the_first_handler_and_the_tour_go_as_the_pages_say(tmp_path: Path) -> None:
    ((handler, code),) = HANDLER.findall(README.read_text())
    (tmp_path / f"{handler}.py").write_text(code)
    blocks = BLOCK.findall(README.read_text() + POOLS.read_text())
    assert len(blocks) == 7
    handlers = {"TASKYARD_HANDLERS": f"chalicelib.tasks,{handler}", "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with running(tmp_path, **handlers) as service:
        answers = [_run(service, tmp_path, awaited, commands) for awaited, commands in blocks]
        greeted, created, polled, failing, dead, added, listed = answers
        assert re.search(r"^type +greeting\.write$", greeted, re.MULTILINE)
        (greeting,) = service.get("/api/task/list?filter.type=greeting.write")["pageData"]
        assert until(lambda: service.task(greeting["id"])["output"]) == {"text": "Hello Ada"}
        assert re.findall(r'"event":"(\w+)"', polled) == ["PUBLISHED", "PROCESSING", "COMPLETED"]
        assert '"event":"PUBLISHED"' in failing
        assert "order.created" in dead
        pooled = until(lambda: service.get(f"/pools/csv_summary/jobs/{json.loads(added)['id']}")["response"])
        assert pooled["rows"] == 1
        assert "pools.csv_summary" in listed
        task_id = json.loads(created)["id"]
        task = until(lambda: (found := service.task(task_id))["status"] == "success" and found)
        assert (task["output"]["words"], task["output"]["mostFrequent"][0]) == (6, {"word": "be", "count": 2})
        replayed = service.get("/mq/dlq/list?topic=order.created&replayed=true")
        assert replayed["totalCount"] == 1


def _run(service: Service, folder: Path, awaited: str, commands: str) -> str:
    """Run one block of the tour in ``folder``, against ``service``; returns what it printed."""
    if awaited:
        until(lambda: [e for e in service.events(TOUR_TRACE) if e["event"] == awaited])
    programs = {"taskyard": f"{sys.executable} -m chalicelib.cli.main", "python": sys.executable}
    script = re.sub(r"\.venv/bin/(\w+)", lambda found: programs[found[1]], commands)
    script = script.replace("http://127.0.0.1:8000", service.url)
    environment = {**os.environ, "TASKYARD_URL": service.url, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(  # noqa: S602  # the pages' own commands
        script, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
