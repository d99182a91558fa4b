"""The code in the documentation, by the comments that name it."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def code_of(page: str, name: str, language: str = "python") -> str:
    """The code that stands behind ``<!-- name -->``."""
    fenced = re.compile(rf"^<!-- {name} -->\n```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    (code,) = fenced.findall((DOCS / page).read_text())
    return str(code)
