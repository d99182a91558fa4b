"""Who asks, where no key is needed."""

from __future__ import annotations

from tests.support.service import Service


def test_here_everybody_may_do_everything(api: Service) -> None:
    assert api.get("/api/me").json["deployedAt"] is None
    api.yard.deployments.note(api.clock.ms - 5_000, changed=False)
    api.yard.deployments.note(api.clock.ms, changed=False)
    told = api.get("/api/me").json
    assert (told["name"], told["local"], told["deployedAt"]) == ("local", True, api.now(-5_000))
    assert told["may"] == {"act": True, "create": True, "publish": True, "schedules": True, "makeSchedules": True}
