"""What the conservation audit has found, over HTTP: the answer, and who sees what of it."""

from __future__ import annotations

import os

from chalicelib.core.access import AccessKey, digest_of, new_key
from chalicelib.core.audit import AuditReport, Difference
from chalicelib.core.day_accounts import Account
from tests.support.service import service

DAY_MS = 1_749_945_600_000  # 2025-06-15


def test_the_newest_audit_is_shown_to_each_key_as_far_as_it_sees() -> None:
    with service(stage="prod", bucket="in-prod") as prod:

        def seen_with(scope: str) -> object:
            made = new_key(os.urandom)
            prod.yard.directory.put_access_key(
                AccessKey(name="t", scopes=frozenset({scope}), digest=digest_of(made), created_at_ms=prod.clock.ms)
            )
            return prod.get("/api/audit", Authorization=f"Bearer {made}").json

        nothing = {"auditedAt": None, "since": None, "unaccounted": 0, "differences": []}
        assert seen_with("task") == nothing
        of_tasks = Difference(Account(DAY_MS, "task", "t"), "success", 3, 2, (7,), confirmed=True)
        of_messages = Difference(Account(DAY_MS, "message", "news"), "accepted", 5, 3, (1, 2), exact=False)
        report = AuditReport(prod.clock.ms, DAY_MS, 1, (of_tasks, of_messages))
        prod.yard.insights.accounts.note_audit(report)
        told = {"auditedAt": prod.now(), "since": "2025-06-15T00:00:00.000Z", "unaccounted": 1}
        about = {"day": "2025-06-15", "kind": "task", "type": "t", "entry": "success", "counted": 3, "found": 2}
        task = {**about, "ids": ["7"], "exact": True, "confirmed": True}
        about = {"day": "2025-06-15", "kind": "message", "type": "news", "entry": "accepted", "counted": 5, "found": 3}
        message = {**about, "ids": ["1", "2"], "exact": False, "confirmed": False}
        assert seen_with("task") == {**told, "differences": [task]}
        assert seen_with("message") == {**told, "differences": [message]}
        assert seen_with("console") == {**told, "differences": [task, message]}
