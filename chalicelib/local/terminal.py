"""Words for whoever sits at a terminal: styled there, plain in a file or a pipe, or where ``NO_COLOR`` is set."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, TextIO

import click

# A payload's words must not steer the terminal, nor make a line: all control characters but the tabulator.
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def say(text: str, stream: TextIO | None = None, **style: Any) -> None:
    """Write one line, on standard output by default. ``style`` is that of ``click.style``."""
    stream = stream or sys.stdout
    stream.write(styled(text, stream, **style) + "\n")
    stream.flush()


def styled(text: str, stream: TextIO, **style: Any) -> str:
    """``text`` as ``stream`` shall show it."""
    return click.style(text, **style) if style and shows_styles(stream) else text


def shows_styles(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal whose user did not ask for plain text (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR")


def harmless(text: str) -> str:
    """``text`` with control characters written out."""
    return CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)
