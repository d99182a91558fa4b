"""The task service, as users of fastify-task know it: ``/api/task``.

Shapes and words are fastify-task's. A task's states have the engine's own names here.
"""

from __future__ import annotations

from chalicelib.api.tasks import creating, graphs, listing, settling, signed, statistics

ROUTERS = (creating.router, listing.router, settling.router, signed.router, graphs.router, statistics.router)
