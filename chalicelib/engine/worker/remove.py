"""Removing a finished job with all it keeps; a tombstone holds its place until SQS has forgotten it."""

from __future__ import annotations

from chalicelib.core.applications import TARGET
from chalicelib.core.job import Job, Tombstone
from chalicelib.core.states import State
from chalicelib.engine.handlers.pool_files import ID_TARGET, id_of
from chalicelib.engine.publish.children import release_children
from chalicelib.engine.publish.wait_list import send_next_safely
from chalicelib.engine.yard import Yard
from chalicelib.store.ledger import OBJECT_PLACE, JobRefused
from chalicelib.store.wait_lists import of_order


def remove_seen(yard: Yard, job: Job) -> bool:
    """Remove a finished job as it was seen; false if it has changed since, or somebody needs it still."""
    if job.run_goes_on or is_needed(yard, job):
        return False
    if job.has_children and job.state is State.SUCCESS:
        release_children(yard, job)  # nobody could tell them later that it succeeded
    try:
        expires_at_s = yard.now_ms() // 1_000 + yard.settings.tombstone_ttl_s
        tombstone = yard.jobs.delete(job, expires_at_s, yard.token())
    except JobRefused:
        return False
    if job.turn:
        send_next_safely(yard, of_order(job.key_counted_as), 1)
    if job.unique_as is not None:
        yard.flow_marks.drop(job.unique_as, job.id, yard.now_ms())
    if job.target_type == ID_TARGET:
        yard.directory.drop_alias(job.alias_scope, id_of(job), job.id)
    if job.application is not None and job.target_type == TARGET:
        yard.directory.drop_alias(job.alias_scope, job.target_id or "", job.id)
    if any(place.startswith(OBJECT_PLACE) for place in tombstone.unpurged):
        yard.payloads.delete_objects(tombstone.unpurged)
        yard.jobs.purged(tombstone)
    return True


def is_needed(yard: Yard, job: Job) -> bool:
    """Whether it is a node of a graph that is not done: those after it want its result."""
    graph = None if job.graph is None else yard.graphs.find(job.graph)
    return graph is not None and not graph.state.final


def remove_if_wanted(yard: Yard, job: Job) -> None:
    """What a worker does with a finished job that is to be deleted: delete it, or leave that to the clock."""
    if job.to_be_deleted and not _keeps_something(job):
        remove_seen(yard, job)


def purge(yard: Yard, tombstone: Tombstone) -> None:
    """Delete whatever a removed job kept."""
    yard.jobs.delete_parts(tombstone.id)
    yard.payloads.delete_objects(tombstone.unpurged)
    yard.jobs.purged(tombstone)


def _keeps_something(job: Job) -> bool:
    """Whether its removal is left to the clock: who hears of it may still want a large output, and only the clock
    may delete objects."""
    objects = (place for place in (job.body_at, job.context_at) if place is not None and place.startswith(OBJECT_PLACE))
    return job.output_at is not None or any(objects)
