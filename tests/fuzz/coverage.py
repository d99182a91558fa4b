"""Inputs found by coverage: atheris (libFuzzer) on one target of ``parsers``, in a process of its own, which it ends.

    python -m tests.fuzz.coverage TARGET SECONDS FOLDER

``FOLDER`` keeps what led to new code, for the next time, and an input that failed (``crash-...``). Needs the extra
``fuzz``.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path

import atheris


def main() -> None:
    """Fuzz until the time is over, or an input fails: then the exit code is not 0."""
    logging.disable()
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    with atheris.instrument_imports(include=["chalicelib"]):
        from tests.fuzz.parsers import SEEDS, TARGETS
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS[name]:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=4096",
        "-timeout=10",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], str(corpus), f"-artifact_prefix={folder}/{name}-", *limits], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
