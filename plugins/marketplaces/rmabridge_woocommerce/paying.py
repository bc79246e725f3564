"""Refunds. WooCommerce takes no idempotency key: ours is kept as a hidden field of the refund and looked for."""

from __future__ import annotations

from typing import Any, Final

import httpx
from pydantic import Field

from rmabridge.abilities import Context, Finding, PaysRefunds, Result, performs
from rmabridge.errors import Rejected
from rmabridge.model import Money, PayRefund
from rmabridge.wire.amounts import maybe_major
from rmabridge.wire.bodies import dig, text

from .calls import Calls, made, rows, told
from .parsing import left, number, refund_seen, utc

MARK: Final = "_rmabridge_key"


class Paying(Calls, PaysRefunds):
    """Pays refunds and finds them again."""

    through_gateway: bool = Field(
        True, description="let WooCommerce have the payment gateway pay; otherwise refunds are recorded, paid by hand"
    )
    restock: bool = Field(False, description="put the refunded pieces of named order lines back into stock")

    @performs(deadline=90)
    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Pay; a refund that already carries our key is answered, not paid again."""
        path = _path(action.order)
        order = await self._call(ctx, "GET", path)
        currency = text(dig(order, "currency")) or ""
        for one in rows(await self._call(ctx, "GET", f"{path}/refunds", params={"per_page": "100"})):
            if _ours(one, ctx):
                return self._result(one, currency, action, ctx)
        _check(action.amount, left(order))
        return self._result(await self._pay(path, action, ctx), currency, action, ctx)

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Look for our key; a refund of the same amount without one may be ours all the same."""
        path = _path(action.order)
        known = rows(await self._call(ctx, "GET", f"{path}/refunds", params={"per_page": "100"}))
        if paid := next((one for one in known if _ours(one, ctx)), None):
            return Finding(True, self._result(paid, action.amount.currency, action, ctx))
        alike = [one for one in known if maybe_major(one.get("amount"), action.amount.currency) == action.amount]
        return Finding(None if alike or len(known) >= 100 else False)

    async def _pay(self, path: str, action: PayRefund, ctx: Context) -> Any:
        asked: dict[str, Any] = {
            "amount": f"{action.amount.amount:f}",
            "reason": action.note or "",
            "api_refund": self.through_gateway,
            "api_restock": self.restock,
            "meta_data": [{"key": MARK, "value": ctx.idempotency_key}],
        }
        if self.restock and action.lines:
            asked["line_items"] = [{"id": id_, "quantity": pieces, "refund_total": 0} for id_, pieces in action.lines]
        try:
            return await self._call(ctx, "POST", f"{path}/refunds", asked)
        except httpx.HTTPStatusError as error:
            # Every refusal comes as a 500. Where a gateway was asked it may have paid before it failed.
            code, reason = told(error.response.content)
            if self.through_gateway or code != "woocommerce_rest_cannot_create_order_refund":
                raise
            raise Rejected(reason) from error

    def _result(self, refund: Any, currency: str, action: PayRefund, ctx: Context) -> Result:
        id_, amount = made(refund), maybe_major(dig(refund, "amount"), currency) or action.amount
        seen = refund_seen(id_, amount, number(action.order), utc(refund, "date_created") or ctx.now())
        by_hand = dig(refund, "refunded_payment") is False
        return Result(id=id_, events=(seen,), note="recorded only: pay the buyer by hand" if by_hand else None)


def _path(order: str | None) -> str:
    if not (id_ := number(order)):
        raise Rejected("the refund names no order of WooCommerce's")
    return f"/orders/{id_}"


def _ours(refund: dict[str, Any], ctx: Context) -> bool:
    fields = refund.get("meta_data")
    return isinstance(fields, list) and any(
        dig(one, "key") == MARK and dig(one, "value") == ctx.idempotency_key for one in fields
    )


def _check(amount: Money, rest: Money | None) -> None:
    if rest is None:
        raise Rejected("the order shows no total")
    if rest.currency != amount.currency:
        raise Rejected(f"the buyer paid in {rest.currency}", hint=f"refund in {rest.currency}")
    if amount > rest:
        raise Rejected(f"{rest} are left of the order, {amount} were asked for")
