"""A Node.js program written from kue's documentation of its JSON API, run against `taskyard up`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.support.programs import program
from tests.support.up import Service
from tests.support.waiting import DEADLINE_S

CLIENT = Path(__file__).parent / "kue_client.mjs"
SLIDES = [{"width": 4, "height": 3}, {"width": 16, "height": 9}]
NEW = {"made": 0, "remaining": 5, "max": 5}
STEPS = [
    ("created", "job created"),
    (
        "complete",
        {
            "type": "slideshow pdf",
            "data": {"title": "tj's slideshow", "slides": SLIDES},
            "priority": 0,
            "progress": "100",
            "progress_data": {"nextSlide": "itsdone"},
            "result": {"pages": 2},
            "attempts": {"made": 1, "remaining": 0, "max": 1},
        },
    ),
    ("times", [True, True]),
    ("log", ["rendering 4x3 slide", "rendering 16x9 slide"]),
    ("bulk", ["job created", "Must provide job type", "job created"]),
    ("found", ["welcome"]),
    ("inactive", ["welcome"]),
    ("delayed", {"count": 1}),
    ("stats", ["inactiveCount", "completeCount", "activeCount", "failedCount", "delayedCount", "workTime"]),
    ("priority", {"message": "updated priority"}),
    ("state", {"message": "updated state"}),
    ("inactive", [["welcome", -15, "inactive", NEW], ["followup", -10, "inactive", NEW]]),
    *[("deleted", True), ("gone", True)] * 3,
]


def test_what_kue_documents(api: Service) -> None:
    command = [program("node"), str(CLIENT), api.url]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert run.stderr == ""
    assert [(step["step"], step["answer"]) for step in map(json.loads, run.stdout.splitlines())] == STEPS
