"""The message service, as users of fastify-mq know it: ``/mq``. Shapes and words are fastify-mq's."""

from __future__ import annotations

from chalicelib.api.mq import dashboard, dead_letters, listing, messages, metrics, queues, recovery, settling, traces

ROUTERS = (
    messages.router,
    settling.router,
    listing.router,
    dead_letters.router,
    traces.router,
    queues.router,
    recovery.router,
    dashboard.router,
    metrics.router,
)
