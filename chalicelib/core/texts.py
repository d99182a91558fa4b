"""Free text (an error, a remark, a line of a log): kept in a form that everybody can show, whatever was written."""

from __future__ import annotations

import re

# Colours and cursor movements (CSI), titles and links (OSC): ECMA-48, 5.4 and 8.3.89.
_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
REPLACEMENT = "\ufffd"
CUT = "…"


def readable(text: object, max_chars: int | None = None) -> str:
    """``text`` as UTF-8, and so the ledger, the log and a terminal can hold it, of at most ``max_chars`` characters.

    Tabs and line breaks stay, what only steers a terminal goes, any other control character becomes U+FFFD, and a lone
    surrogate its escape. What is readable already stays as it is.
    """
    told = str(text).encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROL.sub(REPLACEMENT, _TERMINAL.sub("", told))[:max_chars]


def shortened(text: str, max_chars: int) -> str:
    """``text`` of at most ``max_chars`` characters; one that was longer ends in ``…``."""
    return text if len(text) <= max_chars else f"{text[: max_chars - len(CUT)]}{CUT}"
