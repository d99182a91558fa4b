"""Stands in for ``function_process``: a child that does what its requests say.

python -m tests.support.stub_function [never-ready | dies]
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from chalicelib.local import channel as channels


def main() -> None:
    channel = channels.from_standard_input()
    behaviour = sys.argv[1:]
    if behaviour == ["dies"]:
        sys.stderr.write("no such module\n")
        sys.exit(3)
    if behaviour != ["never-ready"]:
        channel.send({"ready": True})
    while True:
        try:
            request = channel.receive()
        except (EOFError, OSError):
            return
        channel.send(answer(request["event"]))


def answer(event: Any) -> Any:
    match event:
        case {"die": code}:
            os._exit(code)
        case {"hang": True}:
            threading.Event().wait()
        case {"raise": message}:
            return {"error": {"type": "ValueError", "message": message}}
        case {"say": text}:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()
    return {"result": {"pid": os.getpid(), "event": event}}


if __name__ == "__main__":
    main()
