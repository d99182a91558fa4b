"""The payloads' contract: where a body or an output goes, by its size to the byte, and that it comes back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.documents import to_json
from chalicelib.core.errors import NotFound, TooLarge
from chalicelib.core.job import Job
from chalicelib.engine.yard import Yard
from chalicelib.store.payloads import (
    INLINE_MAX_BYTES,
    ITEM_MAX_BYTES,
    PayloadStore,
    StoredBody,
    answered_bytes,
)
from chalicelib.store.settled import StoredOutput
from tests.contract.transitions import OLD
from tests.support.backends import Ground
from tests.support.ledger import BIRTH, job_of, parts_of

BUCKET_BYTES = 400_000
QUOTES = 4  # in {"input":"..."}; what an answer escapes counts twice
ODD = {"text": "ünï 订单 \U0001f4e6 \ud800 \x00 '\"\\", "n": [0.1, -0.0, 1e308, 12345678901234567890, None, True]}


@pytest.fixture
def yard(ground: Ground) -> Yard:
    """A yard on the module's tables and bucket."""
    return ground.bench().yard


def of_size(size: int) -> str:
    """JSON text of exactly so many bytes."""
    text = to_json({"input": "x" * (size - len('{"input":""}'))}, "payload")
    assert len(text) == size
    return text


def placed(yard: Yard, text: str) -> tuple[Job, str | None]:
    """A recorded job with a body, and the body's place."""
    job = job_of(yard)
    body = yard.payloads.place_body(job.id, job.uid, text)
    job = replace(job, body=body.text if body.place is None else None, body_at=body.place)
    yard.jobs.record(job, body.text if body.place == "item" else None)
    return job, body.place


def objects_below(yard: Yard, prefix: str) -> list[str]:
    answer = yard.objects.list_objects_v2(Bucket=yard.payloads.bucket, Prefix=prefix)
    return [entry["Key"] for entry in answer.get("Contents", [])]


class TestBodies:
    def test_a_small_one_stays_in_the_record(self, yard: Yard) -> None:
        text = of_size(INLINE_MAX_BYTES)
        assert yard.payloads.place_body(1, BIRTH, text) == StoredBody(text, None)
        job, _ = placed(yard, text)
        assert parts_of(yard, job.id).keys() == {"state"}
        assert yard.payloads.body(yard.jobs.find(job.id) or job) == json.loads(text)

    @pytest.mark.parametrize("size", [INLINE_MAX_BYTES + 1, ITEM_MAX_BYTES])
    def test_a_larger_one_is_an_item_beside_it(self, yard: Yard, size: int) -> None:
        text = of_size(size)
        assert yard.payloads.place_body(1, BIRTH, text) == StoredBody(text, "item", size)
        job, place = placed(yard, text)
        assert place == "item"
        assert parts_of(yard, job.id)["body"] == {"job": job.id, "part": "body", "text": text}
        assert yard.payloads.body(yard.jobs.find(job.id) or job) == json.loads(text)

    @pytest.mark.parametrize("size", [ITEM_MAX_BYTES + 1, BUCKET_BYTES])
    def test_a_large_one_is_an_object(self, yard: Yard, size: int) -> None:
        text = of_size(size)
        job, place = placed(yard, text)
        key = f"bodies/{job.id}/{BIRTH}.json"
        assert place == f"s3:{key}"
        assert yard.payloads.place_body(job.id, BIRTH, text) == StoredBody(None, f"s3:{key}", answered_bytes(text))
        found = yard.objects.get_object(Bucket=yard.payloads.bucket, Key=key)
        assert (found["Body"].read().decode(), found["ContentType"]) == (text, "application/json")
        assert yard.payloads.body(yard.jobs.find(job.id) or job) == json.loads(text)
        assert parts_of(yard, job.id).keys() == {"state"}

    def test_there_is_one_limit(self, yard: Yard) -> None:
        limited = PayloadStore(yard.jobs.table, yard.objects, yard.payloads.bucket, max_bytes=1_000)
        job_id = yard.ids.new()
        assert limited.place_body(job_id, BIRTH, of_size(1_000 - QUOTES)).place == "item"
        with pytest.raises(TooLarge) as error:
            limited.place_body(job_id, BIRTH, of_size(1_001 - QUOTES))
        assert (error.value.field, error.value.expected, error.value.got) == (
            "payload",
            "at most 1000 bytes of JSON, its quotes and backslashes counted twice",
            "1001 bytes",
        )

    def test_what_an_answer_escapes_counts_twice(self, yard: Yard) -> None:
        text = to_json({"input": '"\\ü' * 10}, "payload")  # {"input":"..."} with \\\" and \\\\ and \u00fc in it
        assert len(text) == 12 + 10 * (2 + 2 + 6)
        assert answered_bytes(text) == len(text) + QUOTES + 10 * (2 + 2 + 1)
        limited = PayloadStore(yard.jobs.table, yard.objects, yard.payloads.bucket, answered_bytes(text))
        assert limited.place_body(1, BIRTH, text).text == text
        with pytest.raises(TooLarge):
            replace(limited, max_bytes=answered_bytes(text) - 1).place_body(1, BIRTH, text)

    def test_too_large_a_body_leaves_nothing_in_the_bucket(self, yard: Yard) -> None:
        limited = PayloadStore(yard.jobs.table, yard.objects, yard.payloads.bucket, max_bytes=ITEM_MAX_BYTES)
        job_id = yard.ids.new()
        with pytest.raises(TooLarge):
            limited.place_body(job_id, BIRTH, of_size(ITEM_MAX_BYTES + 1))
        assert objects_below(yard, f"bodies/{job_id}/") == []

    @pytest.mark.parametrize("filling", [0, 1_000, 300_000])
    def test_odd_content_comes_back_as_it_was(self, yard: Yard, filling: int) -> None:
        content = {"input": ODD, "options": {"filling": "ü" * (filling // 6)}}
        job, _ = placed(yard, to_json(content, "payload"))
        assert yard.payloads.body(job) == content

    def test_a_page_of_bodies_is_read_at_once(self, yard: Yard) -> None:
        small, item, large = (placed(yard, of_size(size))[0] for size in (100, 5_000, ITEM_MAX_BYTES + 1))
        none = job_of(yard)
        assert yard.payloads.bodies([small, item, large, none]) == {
            small.id: json.loads(of_size(100)),
            item.id: json.loads(of_size(5_000)),
            large.id: None,
            none.id: {},
        }
        assert yard.payloads.body(none) == {}
        assert yard.payloads.bodies([]) == {}

    @pytest.mark.parametrize("place", ["item", "s3:bodies/nowhere.json"])
    def test_a_part_that_is_missing_is_an_error(self, place: str, yard: Yard) -> None:
        job = job_of(yard, body_at=place)
        with pytest.raises(NotFound, match=f"the body of job {job.id} is gone"):
            yard.payloads.body(job)


class TestOutputs:
    def leased(self, yard: Yard) -> Job:
        return job_of(yard, lease=OLD)

    def shown(self, yard: Yard, job: Job, output: StoredOutput) -> Any:
        return yard.payloads.output(replace(job, output=output.text, output_at=output.place))

    def test_a_small_one_stays_in_the_record(self, yard: Yard) -> None:
        job, text = self.leased(yard), of_size(INLINE_MAX_BYTES)
        output = yard.payloads.store_output(job, text)
        assert output == StoredOutput(text=text)
        assert parts_of(yard, job.id) == {}
        assert self.shown(yard, job, output) == json.loads(text)
        assert yard.payloads.inline_output(replace(job, output=text)) == json.loads(text)

    @pytest.mark.parametrize("size", [INLINE_MAX_BYTES + 1, ITEM_MAX_BYTES])
    def test_a_larger_one_is_an_item_named_by_the_lease(self, yard: Yard, size: int) -> None:
        job, text = self.leased(yard), of_size(size)
        output = yard.payloads.store_output(job, text)
        assert output == StoredOutput(place=f"output#{OLD}")
        assert parts_of(yard, job.id).keys() == {f"output#{OLD}"}
        assert self.shown(yard, job, output) == json.loads(text)
        assert yard.payloads.inline_output(replace(job, output_at=output.place)) is None

    def test_a_large_one_is_an_object_named_by_the_lease(self, yard: Yard) -> None:
        job, text = self.leased(yard), of_size(ITEM_MAX_BYTES + 1)
        output = yard.payloads.store_output(job, text)
        assert output == StoredOutput(place=f"s3:outputs/{job.id}/{OLD}.json")
        assert objects_below(yard, f"outputs/{job.id}/") == [f"outputs/{job.id}/{OLD}.json"]
        assert self.shown(yard, job, output) == json.loads(text)

    def test_a_late_worker_spoils_nothing(self, yard: Yard) -> None:
        job = self.leased(yard)
        ours = yard.payloads.store_output(job, of_size(1_000))
        yard.payloads.store_output(replace(job, lease="late"), of_size(1_001))
        assert self.shown(yard, job, ours) == json.loads(of_size(1_000))

    @pytest.mark.parametrize("value", [None, 0, "", [], {}, False, ODD])
    def test_odd_outputs_come_back_as_they_were(self, yard: Yard, value: Any) -> None:
        job = self.leased(yard)
        output = yard.payloads.store_output(job, to_json(value, "output"))
        assert self.shown(yard, job, output) == value
        assert yard.payloads.output(job) is None

    def test_the_limit_holds_for_outputs_too(self, yard: Yard) -> None:
        limited = PayloadStore(yard.jobs.table, yard.objects, yard.payloads.bucket, max_bytes=100)
        with pytest.raises(TooLarge) as error:
            limited.store_output(self.leased(yard), of_size(101))
        assert error.value.field == "output"


class TestDeleting:
    def test_the_objects_at_some_places_go(self, yard: Yard) -> None:
        job, place = placed(yard, of_size(BUCKET_BYTES))
        other, _ = placed(yard, of_size(BUCKET_BYTES))
        output = yard.payloads.store_output(replace(job, lease=OLD), of_size(BUCKET_BYTES))
        places = [str(place), str(output.place), "item", f"output#{OLD}", "s3:bodies/of/nobody.json"]
        yard.payloads.delete_objects(places)
        assert objects_below(yard, f"bodies/{job.id}/") == objects_below(yard, f"outputs/{job.id}/") == []
        assert objects_below(yard, f"bodies/{other.id}/") == [f"bodies/{other.id}/{BIRTH}.json"]
        yard.payloads.delete_objects(places)
        yard.payloads.delete_objects([])
