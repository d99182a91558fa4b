"""X-Ray: each run of a job is a segment in the trace of whoever sent its message.

Lambda gives a batch of messages a trace of its own, because they may come from many; what it cannot do, and this
does, is to carry each message's trace on. No SDK: one JSON document, sent by UDP to the daemon that Lambda runs
beside a function. Formats: AWS X-Ray Developer Guide, "Tracing header", "Segment documents", "Sending trace data".
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.core.decisions import Failed, Outcome
from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard
from chalicelib.logger import logger

DAEMON_VARIABLE = "AWS_XRAY_DAEMON_ADDRESS"  # host:port, or tcp:host:port udp:host:port
DAEMON_HEADER = b'{"format":"json","version":1}\n'
ID_BYTES = 8  # of a segment or an exception, written as 16 hexadecimal digits
TRACE_ID = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
SEGMENT_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A trace, and the segment in it that comes before; ``None`` where the header names none."""

    trace_id: str
    parent_id: str | None


def report_run(yard: Yard, header: str, job: Job, started_ms: int, outcome: Outcome) -> None:
    """Tell X-Ray of a run of ``job`` that began at ``started_ms`` (since 1970) and ends now.

    ``header`` is the tracing header of its message. Nothing is told of a trace that is not sampled, or where no
    daemon is; whatever goes wrong is logged, and the job goes on.
    """
    try:
        origin, address = origin_of(header), daemon_of(os.environ.get(DAEMON_VARIABLE, ""))
        if origin is not None and address is not None:
            _send(_segment(yard, origin, job, started_ms, outcome), address)
    except Exception:  # a trace is worth less than any job
        logger.exception("the run was not traced")


def origin_of(header: str) -> Origin | None:
    """Where a tracing header says that its bearer comes from; ``None`` unless that trace is sampled."""
    fields = dict(part.strip().partition("=")[::2] for part in header.split(";"))
    root, parent = fields.get("Root", ""), fields.get("Parent", "")
    if fields.get("Sampled") != "1" or not TRACE_ID.fullmatch(root):
        return None
    return Origin(root, parent if SEGMENT_ID.fullmatch(parent) else None)


def daemon_of(text: str) -> tuple[str, int] | None:
    """The UDP address in ``AWS_XRAY_DAEMON_ADDRESS``: of ``h:1`` or ``tcp:g:2 udp:h:1`` it is h and 1."""
    for part in text.split():
        kind, _, rest = part.partition(":")
        host, _, port = (rest if kind in ("udp", "tcp") and ":" in rest else part).rpartition(":")
        if host and port.isascii() and port.isdigit() and kind != "tcp":
            return host, int(port)
    return None


def _segment(yard: Yard, origin: Origin, job: Job, started_ms: int, outcome: Outcome) -> dict[str, Any]:
    """The document: searched for by its annotations, ``trace_id`` being the one that Taskyard's API shows."""
    document: dict[str, Any] = {
        "name": f"{yard.settings.base_name}-run",
        "id": _new_id(yard),
        "trace_id": origin.trace_id,
        "start_time": started_ms / 1_000,
        "end_time": yard.now_ms() / 1_000,
        "annotations": {
            "job_id": str(job.id),
            "trace_id": job.trace_id,
            "type": job.type,
            "queue": job.queue,
            "attempt": job.attempts,
        },
    }
    if origin.parent_id is not None:
        document["parent_id"] = origin.parent_id
    if isinstance(outcome, Failed):
        # X-Ray's words: an error is of whoever asks (no other attempt can help), a fault of whoever serves.
        document["error" if outcome.final else "fault"] = True
        raised = {"id": _new_id(yard), "type": outcome.error.type, "message": outcome.error.message}
        document["cause"] = {"exceptions": [raised]}
    return document


def _new_id(yard: Yard) -> str:
    return yard.random_bytes(ID_BYTES).hex()


def _send(document: Mapping[str, Any], address: tuple[str, int]) -> None:
    """One datagram; nobody knows whether it arrives."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.setblocking(False)
        daemon.sendto(DAEMON_HEADER + json.dumps(document, separators=(",", ":")).encode(), address)
