"""docs/serendipity.md: what a receiver checks is run, in Python and in Node.js. Its PHP client: tests/e2e."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.applications import digest_of, sign, signature_of
from tests.support.programs import program

PAGE = (Path(__file__).parents[2] / "docs" / "serendipity.md").read_text()
SECRET = "FzG0d7yQk1bV8uHcW2nTxR5mPaJ9eLs3"  # noqa: S105  # as on the page
NODE = """
for (const line of require('fs').readFileSync(0, 'utf8').trim().split('\\n')) {
  const [headers, body] = JSON.parse(line)
  console.log(isFromTaskyard(headers, Buffer.from(body, 'base64')))
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def requests() -> list[tuple[dict[str, str], bytes, bool]]:
    """Headers, body, and whether they are to be accepted."""
    body, now_ms = b'{"data":{"amount":5}}', time.time_ns() // 1_000_000

    def made(at_ms: int = now_ms, of: bytes = body, secret: str = SECRET) -> dict[str, str]:
        return sign("A" * 16, secret, digest_of(of), at_ms, os.urandom).to_send()

    once = made()
    shifted = {**once, "timestamps": once["timestamps"][:9], "nonce": once["timestamps"][9] + once["nonce"]}

    def garbled(timestamps: str, nonce: str = "n") -> dict[str, str]:
        """Signed by who has the secret, with a time that is none."""
        over = signature_of(SECRET, timestamps, nonce, digest_of(body))
        return {**made(), "timestamps": timestamps, "nonce": nonce, "signature": over}

    now = str(now_ms // 1_000)
    return [
        (once, body, True),
        (once, body, False),
        (made(), b"{}", False),
        (made(of=b"{}"), body, False),
        (made(now_ms - 600_000), body, False),
        (made(secret="s" * 32), body, False),
        ({**made(), "nonce": "another"}, body, False),
        ({}, body, False),
        (shifted, body, False),
        *[
            (garbled(each), body, False)
            for each in ("", "now", f"{now}e0", f"{now}.0", f" {now}", f"0x{now}", "1" * 11)
        ],
        (garbled(now, "\u00e9"), body, True),
        ({**made(), "signature": "\u00e9"}, body, False),
        (made(), body, True),
    ]


def test_what_a_receiver_in_python_accepts() -> None:
    (code,) = [block for block in blocks("python") if "is_from_taskyard" in block]
    found: dict[str, Any] = {}
    exec(code, found)  # noqa: S102  # the page's own
    asked = requests()
    assert [found["is_from_taskyard"](headers, body) for headers, body, _ in asked] == [good for *_, good in asked]


def test_what_a_receiver_in_node_accepts(tmp_path: Path) -> None:
    (code,) = blocks("js")
    script = tmp_path / "receiver.cjs"
    imports, rest = code.split("\n", 1)
    names = re.search(r"{.*}", imports)
    assert names is not None
    script.write_text(f"const {names[0]} = require('node:crypto'){rest.replace('export ', '')}{NODE}")
    asked = requests()
    lines = [json.dumps([headers, base64.b64encode(body).decode()]) for headers, body, _ in asked]
    run = subprocess.run(
        [program("node"), str(script)], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line) for line in run.stdout.splitlines()] == [good for *_, good in asked]


@pytest.mark.parametrize("language", ["python", "js", "php"])
def test_the_code_is_short(language: str) -> None:
    assert max(len(block.splitlines()) for block in blocks(language)) <= 25
