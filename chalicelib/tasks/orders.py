"""A subscriber of ``order.created``: keeps a receipt of every order in the installation's bucket."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chalicelib.engine.context import Context
from chalicelib.engine.handlers import subscribe


class Order(BaseModel):
    """What the receipt needs of an order; other fields are passed over."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    orderId: str = Field(min_length=1, max_length=200)  # noqa: N815  # the publishers' own spelling
    amount: float = Field(default=0, ge=0)


@subscribe("order.created", timeout_s=60)
def keep_receipt(order: Order, context: Context) -> dict[str, Any]:
    """Write the receipt under a key made of the message's id, so that a repeated attempt writes the same object."""
    receipt = {"orderId": order.orderId, "amount": order.amount, "traceId": context.job.trace_id}
    key = f"receipts/{context.job.id}.json"
    context.objects.put_object(
        Bucket=context.bucket, Key=key, Body=json.dumps(receipt).encode(), ContentType="application/json"
    )
    return {"receipt": key}
