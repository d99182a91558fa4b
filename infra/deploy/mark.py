"""What a deployment leaves in its tables: when it was, so that what came after it can be told from what was before, and
what it costs while nobody uses it.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib import aws
from chalicelib.clocks import ledger_clock
from chalicelib.settings import Settings
from chalicelib.store.deployments import Deployments
from chalicelib.store.table import Table


def leave_mark(settings: Settings, *, changed: bool = True) -> None:
    """The code of an installation was exchanged just now; where nothing was ``changed``, a mark that is there stays."""
    _deployments(settings).note(ledger_clock(), changed=changed)


def leave_costs(settings: Settings, idle_usd: Mapping[str, float]) -> None:
    """What an idle month of an installation costs, by service, for those who look at it without these templates."""
    _deployments(settings).note_idle_costs(idle_usd)


def _deployments(settings: Settings) -> Deployments:
    return Deployments(Table(aws.client("dynamodb"), settings.directory_table, ("kind", "name")))
