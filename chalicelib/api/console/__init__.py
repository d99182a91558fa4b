"""How things stand here, and what to do about it: the routes that the console is made of, open to others as well.

A key with the scope ``console`` sees everything and acts on nothing; with ``console:manage`` it acts, too.
"""

from __future__ import annotations

from chalicelib.api import acts
from chalicelib.api.console import bulk, failures, handlers, installation, job, jobs, me, overview, queues

ROUTERS = (
    me.router,
    overview.router,
    jobs.router,
    job.router,
    failures.router,
    bulk.router,
    queues.router,
    handlers.router,
    acts.router,
    installation.router,
)
