"""An upgrade in the middle of everything: what an earlier release left is worked off by this one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chalicelib.core.states import Kind
from chalicelib.services import dead_letters, messages, schedules, tasks
from chalicelib.store.job_queries import INDEX_KEYS, JobQuery
from tests.support.upgrades import ENDS, EXPECTED, Found, a_world, begin, outcome, read, text_of, work_off, written
from tests.support.worlds import World

LEFT = sorted((Path(__file__).parent / "upgrades").glob("*.json"))


@pytest.mark.parametrize("left", LEFT, ids=lambda path: path.stem)
def test_what_an_earlier_release_left_ends_as_it_should(left: Path) -> None:
    with a_world() as used:
        found = read(used, json.loads(left.read_text()))
        assert_all_is_listed(used, found)
        work_off(used, found)
        assert outcome(used, found) == EXPECTED
        assert_all_is_listed(used, found)


def test_what_this_release_leaves_is_what_was_asked_for() -> None:
    """Otherwise the recorded ones would prove less than they say."""
    with a_world() as used:
        found = begin(used)
        assert found.jobs.keys() >= ENDS.keys()
        document = json.loads(text_of(written(used, found)))
    assert document["jobs"] == found.jobs
    kept = {file.stem: json.loads(file.read_text()) for file in LEFT}
    assert {stem: each["jobs"].keys() for stem, each in kept.items()} == dict.fromkeys(kept, found.jobs.keys())


def assert_all_is_listed(used: World, found: Found) -> None:
    """Whatever was accepted is in the lists of its kind, once."""
    listed = [
        job.id for kind in Kind for job in used.yard.lists.cursor_page(JobQuery(kind, None, INDEX_KEYS), 200).jobs
    ]
    assert len(listed) == len(set(listed))
    assert set(found.jobs.values()) <= set(listed)
    assert {letter.id for letter in dead_letters.list().items} == {
        found.jobs["dead message"], found.jobs["replayed message"]
    }  # fmt: skip
    assert messages.list(status="FAILED").total_count == 2
    assert tasks.list(type="old.limited").total_count == 3
    assert [each.name for each in schedules.list()] == ["old-schedule"]
    assert [key.name for key in used.yard.directory.access_keys()] == ["shop"]
    assert [hook.id for hook in used.yard.directory.webhooks()] == ["hook"]
    assert used.yard.applications.find(found.app_key) is not None
