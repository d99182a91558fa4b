"""The job store: the ledger with every transition of a job. How the table is laid out: ``ledger.py``.

Each transition is one conditional write that sets exactly its own fields; where they are, all in ``transitions``::

    recording   record, delete, ...                          a job comes onto the ledger, and leaves it
    running     claim, take_over, extend_lease, recover, ... an attempt begins, goes on, is lost with its worker
    settling    succeed, retry_later, park, dead_letter, ... an attempt ends
    sending     sent, resend, defer, release, ...            a pending job on its way to the next attempt
    commands    complete, cancel, restart, promote, ...      whatever is done to a job by request
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.store.transitions.commands import Commands
from chalicelib.store.transitions.running import Running
from chalicelib.store.transitions.sending import Sending
from chalicelib.store.transitions.settling import Settling


@dataclass(frozen=True, slots=True)
class JobStore(Running, Settling, Sending, Commands):
    """All of a job: how it is read (``Ledger``), and its transitions."""
