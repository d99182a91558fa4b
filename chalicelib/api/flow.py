"""Flow control while it runs: ``/api/flow``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from chalicelib.api.acts import record
from chalicelib.api.flow_shapes import (
    CONTROLS,
    FlowAnswer,
    JobBody,
    KeyModel,
    PassedOver,
    Resumed,
    SettingBody,
    SettingRecord,
    ShownTarget,
    StandingAnswer,
    TargetModel,
    UnsetQuery,
)
from chalicelib.api.scopes import ACTS, ACTS_ON_ANY, READS, READS_ANY
from chalicelib.core.access import Scope, allows
from chalicelib.core.flow_controls import FlowTarget
from chalicelib.core.states import Kind
from chalicelib.engine.commands import flow, lifecycle
from chalicelib.http.access import require_scope
from chalicelib.http.exchange import Caller
from chalicelib.http.routes import Router
from chalicelib.services import flow as shown
from chalicelib.services.checks import job_id as job_id_of

if TYPE_CHECKING:
    from chalicelib.engine.yard import Yard

router = Router("Flow control", "How many jobs of a type, a topic or a key run at once, and how many begin.")
ROUTERS = (router,)

NOT_SET = {404: "Nothing is set for this"}
CHANGED = {409: "Somebody has set something else meanwhile"}


@router.get("/api/flow", scope=READS_ANY)
def show_flow(yard: Yard, caller: Caller) -> FlowAnswer:
    """Show what is set, declared and paused, of task types, topics or both, as the key's scopes allow."""
    seen = {kind for kind, scope in READS.items() if allows(caller.scopes, scope)}
    return FlowAnswer.model_validate(
        {
            "set": shown.shown(yard, [each for each in flow.settings(yard) if each.target.kind in seen]),
            "declared": [shown.declaration_of(each) for each in flow.declared(yard) if each.target.kind in seen],
            "paused": [shown.paused_key_of(each) for each in flow.paused_keys(yard) if each.target.kind in seen],
        }
    )


@router.put("/api/flow", scope=ACTS_ON_ANY, answers={429: "A thousand are set already", **CHANGED})
def set_flow(yard: Yard, body: SettingBody, caller: Caller) -> SettingRecord:
    """Control a type, a topic or a key otherwise than declared; noticed within 5 s.

    What was set before is replaced; with `ifVersion` only what was seen.

    The `warning` of the answer says where nothing of that name is known: it may be a slip, or be deployed later.
    """
    (made,) = shown.shown(yard, [flow.set_flow(yard, _allowed(body, caller), body.controls, body.if_version)])
    told = body.model_dump(mode="json", by_alias=True, include=set(CONTROLS), exclude_none=True)
    record(yard, caller, "set flow", body.on, **told)
    return SettingRecord.model_validate(made)


@router.delete("/api/flow", scope=ACTS_ON_ANY, answers={**NOT_SET, **CHANGED})
def unset_flow(yard: Yard, query: UnsetQuery, caller: Caller) -> ShownTarget:
    """Bound a type, a topic or a key as it is declared."""
    flow.unset_flow(yard, _allowed(query, caller), query.if_version)
    record(yard, caller, "unset flow", query.on)
    return ShownTarget.model_validate(query)


@router.get("/api/flow/standing", scope=READS_ANY)
def show_standing(yard: Yard, query: TargetModel, caller: Caller) -> StandingAnswer:
    """Show how a type, a topic or a key stands: what bounds it, who runs, how many wait for what."""
    target = _allowed(query, caller, READS)
    return StandingAnswer.model_validate(shown.standing_of(target, flow.standing(yard, target)))


@router.post("/api/flow/pause", scope=ACTS_ON_ANY)
def pause_key(yard: Yard, body: KeyModel, caller: Caller) -> ShownTarget:
    """Begin no more jobs of a key; what runs goes on. Workers notice within 5 s."""
    flow.pause_key(yard, _allowed(body, caller))
    record(yard, caller, "pause", body.on)
    return ShownTarget.model_validate(body)


@router.post("/api/flow/resume", scope=ACTS_ON_ANY, answers={404: "The key is not paused"})
def resume_key(yard: Yard, body: KeyModel, caller: Caller) -> Resumed:
    """Let the jobs of a key begin again, those that waited first."""
    sent = flow.resume_key(yard, _allowed(body, caller))
    record(yard, caller, "resume", body.on, sent=sent)
    return Resumed(sent=sent)


@router.post(
    "/api/flow/pass", scope=ACTS_ON_ANY, answers={404: "There is no such job", 409: "Nobody waits behind this job"}
)
def pass_over(yard: Yard, body: JobBody, caller: Caller) -> PassedOver:
    """Let those run that wait behind a failed job of `order="block"`; it stays failed."""
    job_id = job_id_of(str(body.id), "job")
    require_scope(caller.scopes, ACTS[lifecycle.find(yard, job_id).kind])
    passed = lifecycle.pass_over(yard, job_id)
    record(yard, caller, "pass over", {"kind": passed.kind, "type": passed.type, "id": str(job_id)})
    return PassedOver(id=str(job_id), state=passed.state)


def _allowed(asked: TargetModel, caller: Caller, scopes: Mapping[Kind, Scope] = ACTS) -> FlowTarget:
    """What is asked about. Raises ``Forbidden`` without one of the ``scopes`` of its kind."""
    target = asked.target
    require_scope(caller.scopes, scopes[target.kind])
    return target
