"""Putting an installation on AWS, or on an emulator of it, and taking it away again."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # tells the person who deploys what was done
