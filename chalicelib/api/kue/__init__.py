"""kue's JSON API: ``/job``, ``/jobs``, ``/stats`` and ``/inactive``, over the same tasks as ``/api/task``.

Shapes, words and statuses are those of kue 0.11.6: what is wrong with a job is told as 200 ``{"error": "..."}``. Where
kue's documentation and kue differ, its documentation is followed; docs/kue.md lists where.
"""

from __future__ import annotations

from chalicelib.api.kue import changing, creating, listing

ROUTERS = (creating.router, listing.router, changing.router)
