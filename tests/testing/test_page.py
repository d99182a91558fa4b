"""The example of docs/testing-handlers.md: its tests pass."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from chalicelib.testing import Workbench

PAGE = Path(__file__).parents[2] / "docs" / "testing-handlers.md"


def test_the_example_of_the_page() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    page: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, str(PAGE), "exec"), page)  # noqa: S102  # the page is this project's own
    tests = [value for name, value in page.items() if name.startswith("test_")]
    assert len(tests) == 4
    for test in tests:
        page["DELIVERED"].clear()
        with Workbench(page["welcome"], page["send_mail"], page["note"]) as bench:
            test(bench)
