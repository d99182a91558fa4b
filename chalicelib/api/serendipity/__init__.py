"""Serendipity-Job's HTTP API: ``/application``, ``/task`` and ``/nsq``, over the same tasks as ``/api/task``.

An answer is ``{code, msg, data}``: code 0 where it was done, 1 with status 200 where an application or a task stands in
the way. What its users must know of it is in docs/serendipity.md.
"""

from __future__ import annotations

from chalicelib.api.serendipity import applications, graphs, tasks

ROUTERS = (applications.router, applications.public, tasks.router, graphs.router)
