"""The dialects that are served over HTTP. Adding one is a module or package in ``chalicelib/api`` and a line here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One of the groups of routes: where it is, and what of an installation it takes."""

    module: str  # in chalicelib/api; its ROUTERS are served
    prefix: str  # what its paths begin with
    scopes: tuple[str, ...] = ()  # what an access key may be allowed of it, beyond the scopes of the others
    setting: str | None = None  # which setting moves it to another prefix; None: it stays
    roots: tuple[str, ...] = ("",)  # what its paths go on with behind the prefix


DIALECTS = (
    Dialect("mq", "/mq", ("message", "dlq", "dlq:manage", "trace", "dashboard"), "mq_prefix"),
    Dialect("tasks", "/api/task", ("task",), "task_prefix"),
    Dialect("kue", "", (), "kue_prefix", ("/job", "/jobs", "/stats", "/inactive")),
    Dialect("schedules", "/api/schedule", ("schedule",)),
    Dialect("serendipity", "", ("application",), "serendipity_prefix", ("/application", "/task", "/nsq")),
    Dialect("pools", "/pools"),
    Dialect("why", "/api/job/{id}/why"),  # the whole path: kue's /job may be moved behind /api
    Dialect("usage", "/api/job/{id}/usage"),
    Dialect("flow", "/api/flow"),
    Dialect("audit", "/api/audit"),
    Dialect(
        "console",
        "/api",
        ("console", "console:manage"),
        roots=(
            "/acts",
            "/bulk",
            "/failures",
            "/handlers",
            "/installation",
            "/job/count",
            "/job/{id}/act",
            "/job/{id}/detail",
            "/me",
            "/overview",
            "/queues",
        ),
    ),
    Dialect("console.page", "/console"),
    Dialect("service", "/health"),
)

SCOPES = tuple(scope for dialect in DIALECTS for scope in dialect.scopes)
TAKEN_PREFIXES = tuple(
    dialect.prefix + root for dialect in DIALECTS if dialect.setting is None for root in dialect.roots
)
