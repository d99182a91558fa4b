"""What the emulators need and this machine has not."""

from __future__ import annotations

from chalicelib.core.errors import TaskyardError


class Missing(TaskyardError):
    """A program that has to be installed first, or a download that failed."""


class NotStarted(TaskyardError):
    """A server that ended, or did not answer in time."""
