"""Two subscribers of ``order.created``: one keeps a receipt, the other reserves stock, both in the bucket.

An order completes when both have succeeded. An article whose stock sheet is not there yet is a failure that may
pass, so it is retried; a message that is no order is not.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chalicelib import Band, Context, subscribe

LANES = (Band.NORMAL,)  # orders are all alike, and each lane costs a little even when nobody uses it


class Order(BaseModel):
    """What the receipt needs of an order; other fields are passed over."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    orderId: str = Field(min_length=1, max_length=200)  # noqa: N815  # the publishers' own spelling
    amount: float = Field(default=0, ge=0)
    sku: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]{1,64}$", description="the article, if it has stock")


@subscribe("order.created", timeout_s=60, lanes=LANES)
def keep_receipt(order: Order, context: Context) -> dict[str, Any]:
    """Write the receipt under a key made of the message's id, so that a repeated attempt writes the same object."""
    receipt = {"orderId": order.orderId, "amount": order.amount, "traceId": context.job.trace_id}
    key = f"receipts/{context.job.id}.json"
    _put(context, key, receipt)
    return {"receipt": key}


@subscribe("order.created", timeout_s=60, lanes=LANES)
def reserve_stock(order: Order, context: Context) -> dict[str, Any]:
    """Note the reservation beside the article's stock sheet, ``stock/<sku>.json``; fails while there is none."""
    if order.sku is None:
        return {"reserved": None}
    sheet = f"stock/{order.sku}.json"
    try:
        context.objects.head_object(Bucket=context.bucket, Key=sheet)
    except context.objects.exceptions.ClientError as error:
        raise LookupError(f"there is no stock sheet {sheet} yet") from error
    key = f"stock/{order.sku}/{context.job.id}.json"
    _put(context, key, {"orderId": order.orderId})
    return {"reserved": key}


def _put(context: Context, key: str, document: dict[str, Any]) -> None:
    body = json.dumps(document).encode()
    context.objects.put_object(Bucket=context.bucket, Key=key, Body=body, ContentType="application/json")
