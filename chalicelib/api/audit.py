"""Whether all accepted jobs are accounted for: ``/api/audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from chalicelib.api.scopes import READS, READS_ANY
from chalicelib.api.shapes import ShownId, ShownTime
from chalicelib.core.access import allows
from chalicelib.core.audit import Difference
from chalicelib.core.states import Kind
from chalicelib.core.trace import iso
from chalicelib.http.exchange import Caller
from chalicelib.http.models import AnswerModel
from chalicelib.http.routes import Router

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Audit", "Whether every accepted job is pending, running, waiting, done or deleted.")
ROUTERS = (router,)


class DifferenceRecord(AnswerModel):
    """One number of the jobs of a type that does not add up: of those that were accepted on a day (UTC)."""

    day: str = Field(examples=["2026-11-30"])
    kind: str = Field(description="task or message")
    type: str
    entry: str = Field(description="A state; or accepted: what the account knows the whereabouts of")
    counted: int
    found: int = Field(description="On the ledger")
    ids: list[ShownId] = Field(description="The jobs, at most 20; where exact is false, some among which they may be")
    exact: bool
    confirmed: bool = Field(description="It was so an audit before, too: it is no lag of the change stream")


class AuditAnswer(AnswerModel):
    """What the newest audit has found; the times are null before the first."""

    audited_at: ShownTime | None
    since: ShownTime | None = Field(description="Jobs accepted before are not audited")
    unaccounted: int = Field(description="How many jobs the confirmed differences are, those of other kinds included")
    differences: list[DifferenceRecord] = Field(description="The first 50, of the kinds that the key's scopes show")


@router.get("/api/audit", scope=READS_ANY)
def show_audit(yard: Yard, caller: Caller) -> AuditAnswer:
    """Show what the clock's hourly audit has found last, with the ids of what does not add up. One read."""
    report = yard.insights.accounts.audited()
    if report is None:
        return AuditAnswer(audited_at=None, since=None, unaccounted=0, differences=[])
    seen = {kind for kind, scope in READS.items() if allows(caller.scopes, scope)}
    return AuditAnswer(
        audited_at=iso(report.at_ms),
        since=iso(report.since_ms),
        unaccounted=report.unaccounted,
        differences=[_record(each) for each in report.differences if Kind(each.account.kind) in seen],
    )


def _record(difference: Difference) -> DifferenceRecord:
    return DifferenceRecord(
        day=iso(difference.account.day_ms)[:10],
        kind=difference.account.kind,
        type=difference.account.type,
        entry=difference.entry,
        counted=difference.counted,
        found=difference.found,
        ids=[str(each) for each in difference.ids],
        exact=difference.exact,
        confirmed=difference.confirmed,
    )
