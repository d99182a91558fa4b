"""A record comes, and goes: published, and deleted for a tombstone."""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.core.job import Job, Tombstone
from chalicelib.core.limits import NOTHING, Limit
from chalicelib.core.states import Kind, State
from chalicelib.store.attribute_values import AttributeValues
from chalicelib.store.clauses import ABSENT, EXISTS, holding, in_state, same_delivery, same_uid
from chalicelib.store.concurrency import Action, Count
from chalicelib.store.expressions import Change, Clause
from chalicelib.store.job_items import BODY_PART, CHILD_PREFIX, DELETED, STATE_PART, decoded, state_key
from chalicelib.store.ledger import OBJECT_PLACE, JobRefused, Ledger
from chalicelib.store.table import Refused, TransactionRefused


@dataclass(frozen=True, slots=True)
class Recording(Ledger):
    """How a job comes onto the ledger and leaves it."""

    def record(self, job: Job, body: str | None = None) -> None:
        """Write a new record, with a large ``body`` beside it.

        Raises ``JobRefused`` when the id is taken, be it by this very job (same uid) or another.
        """
        if body is None and not job.shares:
            try:
                self.table.put(self.item(job), ABSENT)
            except Refused as refused:
                raise JobRefused(str(refused), decoded(refused.old)) from refused
        else:
            self.together(self.recording(job, body))

    def recording(self, job: Job, body: str | None = None, within: Limit | None = None) -> list[Action]:
        """The actions that write a new record (first) in a transaction.

        The last of them counts a job that has a share in a concurrency count; of its own count it is refused where that
        would exceed ``within``.
        """
        actions: list[Action] = [self.table.putting(self.item(job), ABSENT)]
        if body is not None:
            actions.append(self.table.putting({"job": job.id, "part": BODY_PART, "text": body}))
        shares = sorted(job.shares.items(), key=lambda share: share[0] == job.counted_as)
        bounds = {job.counted_as: within}
        return actions + [Count(name, change, bounds.get(name), holder=job.id) for name, change in shares]

    def adopting(self, parent_id: int, child_id: int) -> list[AttributeValues]:
        """The actions by which a child begins to wait for its parent; refused if that has succeeded, or is deleted."""
        over = {":success": State.SUCCESS.value, ":deleted": DELETED}
        waits = Clause("parent not done", "{state} <> :success AND {state} <> :deleted", over)
        return [
            self.table.updating(state_key(parent_id), Change((EXISTS, waits), sets={"has_children": True})),
            self.table.putting({"job": parent_id, "part": f"{CHILD_PREFIX}{child_id}"}),
        ]

    def delete(self, job: Job, expires_at_s: int, removal: str = "") -> Tombstone:
        """Replace a finished job by a tombstone, so that no late delivery can bring it back; then delete its parts.

        A message's tombstone keeps its trace, and where the trace is found.
        The tombstone names what is left in the bucket until ``purged`` says that nothing is. May be repeated: by its
        ``removal``, which nobody else has, a repeated write knows its own tombstone from another's.
        Raises ``JobRefused`` unless the job is as it was seen, or has this very tombstone.
        """
        fence = (in_state(job.state), same_uid(job.uid), same_delivery(job.delivery), *holding(job))
        places = [place for place in (job.body_at, job.output_at, job.context_at) if place is not None]
        unpurged = places or [BODY_PART]
        tombstone_item = {
            **state_key(job.id),
            **self.remembrance(job),
            "state": DELETED,
            "expires_at_s": expires_at_s,
            "leftovers": unpurged,
            **({"removal": removal} if removal else {}),
        }
        freed = [Count(name, NOTHING - share, holder=job.id) for name, share in job.shares.items()]
        try:
            if freed:
                self.concurrency.transact([self.table.putting(tombstone_item, *fence), *freed])
            else:
                self.table.put(tombstone_item, *fence)
        except (Refused, TransactionRefused) as refused:
            old = refused.old if isinstance(refused, Refused) else refused.old[0]
            ledger = decoded(old)
            ours = isinstance(ledger, Tombstone) and (old or {}).get("removal", "") == removal
            if not ours:  # otherwise our own write, whose answer was lost
                raise JobRefused(str(refused), ledger) from refused
        tombstone = Tombstone(job.id, tuple(unpurged), job.story if job.kind is Kind.MESSAGE else None)
        self.delete_parts(job.id)
        if not any(place.startswith(OBJECT_PLACE) for place in unpurged):
            self.purged(tombstone)
        return tombstone

    def delete_parts(self, job_id: int) -> None:
        """Delete the items beside a tombstone."""
        parts = self.table.query_all("{job} = :job", {":job": job_id}, consistent=True)
        self.table.delete_many([{"job": job_id, "part": row["part"]} for row in parts if row["part"] != STATE_PART])

    def purged(self, tombstone: Tombstone) -> None:
        """Nothing of the job is left but its tombstone."""
        deleted = Clause("deleted", "{state} = :deleted", {":deleted": DELETED})
        try:
            self.table.apply(state_key(tombstone.id), Change((deleted,), sets={"leftovers": None, "removal": None}))
        except Refused:
            return  # its time was over in between
