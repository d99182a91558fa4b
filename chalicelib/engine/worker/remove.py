"""Removing a finished job with all it keeps; a tombstone holds its place until SQS has forgotten it."""

from __future__ import annotations

from chalicelib.core.errors import Conflict, NotFound
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.states import TERMINAL, Kind, State
from chalicelib.engine.handlers.pool_files import ID_TARGET, id_of
from chalicelib.engine.publish.children import release_children
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import OBJECT_PLACE, JobRefused


def remove(yard: Yard, job_id: int, kind: Kind) -> None:
    """Delete a job that is done. What an earlier removal left undone is done now.

    Raises ``NotFound``, and ``Conflict`` for a job that is not done: cancel it first.
    """
    found = yard.jobs.ledger(job_id)
    if isinstance(found, Tombstone) and found.unpurged:
        _clear(yard, found)
        return
    if not isinstance(found, Job) or found.kind is not kind:
        raise NotFound(f"there is no {kind} {job_id}", field="id", got=str(job_id))
    if not found.state.terminal:
        raise Conflict(
            "only a job that is done can be removed",
            field="id",
            expected=" or ".join(sorted(TERMINAL)),
            got=found.state.value,
            remedy="cancel it first",
        )
    if found.run_goes_on:
        raise Conflict(
            "its run is not over yet", field="id", got=str(job_id), remedy="try again once its handler has ended"
        )
    if not remove_seen(yard, found):
        raise Conflict("the job changed meanwhile", field="id", got=str(job_id), remedy="try again")


def remove_seen(yard: Yard, job: Job) -> bool:
    """Remove a finished job as it was seen; false if it has changed since, or its run is not over."""
    if job.run_goes_on:
        return False
    if job.has_children and job.state is State.SUCCESS:
        release_children(yard, job)  # nobody could tell them later that it succeeded
    try:
        expires_at_s = yard.now_ms() // 1_000 + yard.settings.tombstone_ttl_s
        tombstone = yard.jobs.delete(job, expires_at_s, yard.token())
    except JobRefused:
        return False
    if job.target_type == ID_TARGET:
        yard.directory.drop_alias(job.type, id_of(job), job.id)
    if any(place.startswith(OBJECT_PLACE) for place in tombstone.unpurged):
        yard.payloads.delete_objects(tombstone.unpurged)
        yard.jobs.purged(tombstone)
    return True


def _clear(yard: Yard, tombstone: Tombstone) -> None:
    """Delete whatever a removed job kept."""
    yard.jobs.delete_parts(tombstone.id)
    yard.payloads.delete_objects(tombstone.unpurged)
    yard.jobs.purged(tombstone)
