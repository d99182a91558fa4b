"""The mark that a deployment leaves: when it was, so that what came after it can be told from what was before."""

from __future__ import annotations

from chalicelib import aws
from chalicelib.clocks import ledger_clock
from chalicelib.settings import Settings
from chalicelib.store.directory import Directory
from chalicelib.store.table import Table


def leave_mark(settings: Settings, *, changed: bool = True) -> None:
    """The code of an installation was exchanged just now; where nothing was ``changed``, a mark that is there stays."""
    table = Table(aws.client("dynamodb"), settings.directory_table, ("kind", "name"))
    Directory(table).note_deployment(ledger_clock(), changed=changed)
