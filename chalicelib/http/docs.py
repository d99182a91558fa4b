"""``GET /docs``: the OpenAPI document as a page, in one piece, that asks nobody else for anything.

Its script and style are allowed by their hashes and nothing else is, so text from the document cannot become code;
the script only ever sets text. It finds the API beside itself, whatever stage or mapping stands before the path.
"""

from __future__ import annotations

import base64
import hashlib

from chalicelib.http.confined import confining
from chalicelib.http.docs_page import SCRIPT, STYLE
from chalicelib.http.exchange import Answer

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Taskyard API</title>
<style>{STYLE}</style>
</head>
<body>
<div class="page"><nav></nav><main>Reading openapi.json ...</main></div>
<noscript>This page needs JavaScript. The same is in openapi.json, beside it.</noscript>
<script>{SCRIPT}</script>
</body>
</html>
"""


def page() -> Answer:
    """The page, with the headers that confine it to itself and the API beside it."""
    return Answer(
        body=PAGE,
        content_type="text/html; charset=utf-8",
        headers=confining(script=_hash(SCRIPT), style=_hash(STYLE)),
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"
