"""A table when DynamoDB is busy: what passes is tried again, what does not is told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.core.errors import Unavailable
from chalicelib.store import table as tables
from chalicelib.store.expressions import Change
from chalicelib.store.table import BATCH_ROUNDS, CONFLICT_TRIES, Table, TransactionRefused

KEY = {"kind": "a", "name": "b"}
ITEM = {"kind": {"S": "a"}, "name": {"S": "b"}}


class Busy:
    """A client whose answers are told beforehand; an exception is raised, and the last one is given again and again."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Mapping[str, Any]] = []

    def __getattr__(self, _: str) -> Any:
        return self._answer

    def _answer(self, **parameters: Any) -> Any:
        self.asked.append(parameters)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def table_of(client: Busy) -> Table:
    return Table(client, "t", ("kind", "name"))


def canceled(*codes: str) -> ClientError:
    """A transaction that was canceled, for each action with a reason."""
    reasons = [{"Code": code} for code in codes]
    error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
    return ClientError(error, "TransactWriteItems")


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """For how long was slept, in seconds: nobody really does."""
    waits: list[float] = []
    monkeypatch.setattr(tables.time, "sleep", waits.append)
    return waits


class TestTransactions:
    @pytest.mark.parametrize("reason", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_what_passes_is_tried_again(self, reason: str, slept: list[float]) -> None:
        client = Busy(canceled("None", reason), canceled(reason, "None"), {})
        table_of(client).transact([{}, {}])
        assert (len(client.asked), slept) == (3, [0.02, 0.04])

    def test_but_not_for_ever(self, slept: list[float]) -> None:
        client = Busy(canceled("ThrottlingError"))
        with pytest.raises(ClientError):
            table_of(client).transact([{}])
        assert (len(client.asked), sum(slept) < 3) == (CONFLICT_TRIES, True)

    def test_a_condition_that_does_not_hold_is_told_whatever_else_was_wrong(self) -> None:
        client = Busy(canceled("ThrottlingError", "ConditionalCheckFailed", "TransactionConflict"))
        with pytest.raises(TransactionRefused) as refused:
            table_of(client).transact([{}, {}, {}])
        assert (refused.value.refused, len(client.asked)) == ([False, True, False], 1)

    @pytest.mark.parametrize("reason", ["ValidationError", "ItemCollectionSizeLimitExceeded"])
    def test_what_can_never_be_written_is_told_at_once(self, reason: str) -> None:
        client = Busy(canceled("ThrottlingError", reason))
        with pytest.raises(ClientError):
            table_of(client).transact([{}, {}])
        assert len(client.asked) == 1

    def test_a_write_alone_waits_for_a_transaction_on_its_item(self) -> None:
        conflict = ClientError({"Error": {"Code": "TransactionConflictException"}}, "UpdateItem")
        client = Busy(conflict, {})
        table_of(client).apply(KEY, Change((), sets={"at_ms": 1}))
        assert len(client.asked) == 2


class TestBatches:
    def test_what_was_left_unread_is_asked_for_after_growing_waits(self, slept: list[float]) -> None:
        left = {"t": {"Keys": [ITEM]}}
        client = Busy(
            {"Responses": {"t": []}, "UnprocessedKeys": left},
            {"Responses": {}, "UnprocessedKeys": left},
            {"Responses": {"t": [ITEM]}},
        )
        assert table_of(client).get_many([KEY]) == [KEY]
        assert ([asked["RequestItems"] for asked in client.asked[1:]], slept) == ([left] * 2, [0.02, 0.04])

    def test_what_was_left_unwritten_likewise(self, slept: list[float]) -> None:
        left = {"t": [{"PutRequest": {"Item": ITEM}}]}
        client = Busy({"UnprocessedItems": left}, {"UnprocessedItems": {}})
        table_of(client).put_many([KEY])
        assert ([asked["RequestItems"] for asked in client.asked], slept) == ([left] * 2, [0.02])

    def test_what_is_left_in_the_end_is_told(self, slept: list[float]) -> None:
        client = Busy({"Responses": {}, "UnprocessedKeys": {"t": {"Keys": [ITEM]}}})
        with pytest.raises(Unavailable, match="UnprocessedKeys"):
            table_of(client).get_many([KEY])
        assert (len(client.asked), len(slept)) == (BATCH_ROUNDS, BATCH_ROUNDS - 1)
