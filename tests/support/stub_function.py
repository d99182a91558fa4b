"""Stands in for ``function_process``: a child that does what its requests say.

python -m tests.support.stub_function [never-ready | dies] [--standby]

One that stands by is broken if ``STUB_IS_BROKEN`` says how. SIGTERM ends it when it is idle.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from chalicelib.local import channel as channels
from tests.support.waiting import until


def main() -> None:
    channel = channels.from_standard_input()
    behaviour = sys.argv[1:]
    if behaviour == ["dies"]:
        sys.stderr.write("no such module\n")
        sys.exit(3)
    busy, ending = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set() if busy.is_set() else sys.exit(0))
    if behaviour == ["--standby"]:
        channel.receive()
        if "STUB_IS_BROKEN" in os.environ:
            channel.send({"broken": os.environ["STUB_IS_BROKEN"]})
            return
        channel.send({"ready": True, "queues": {}, "batches": {}})
    elif behaviour != ["never-ready"]:
        channel.send({"ready": True})
    while not ending.is_set():
        try:
            request = channel.receive()
        except (EOFError, OSError):
            return
        busy.set()
        if "begun" in request:
            channel.send({"begun": request["begun"]})
        if request.get("begun") != []:
            channel.send(answer(request["event"]))
        busy.clear()


def answer(event: Any) -> Any:
    match event:
        case {"die": code}:
            os._exit(code)
        case {"hang": True}:
            threading.Event().wait()
        case {"touch": begun, "await": go_on}:
            Path(begun).touch()
            until(Path(go_on).exists)
        case {"raise": message}:
            return {"error": {"type": "ValueError", "message": message}}
        case {"say": text}:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    return {"result": {"pid": os.getpid(), "event": event}}


if __name__ == "__main__":
    main()
