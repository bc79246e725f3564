"""Refunds: for a return by ``returnProcess``, for an order by ``refundCreate``; each carries our mark in its note."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from rmabridge.abilities import Context, Finding, PaysRefunds, Result
from rmabridge.errors import Rejected
from rmabridge.model import Money, PayRefund, RefundSeen, RefundStatus
from rmabridge.wire.bodies import dig

from . import queries
from .calls import LINES, Calls
from .terms import gid, money, nodes, number, word

_BY_HAND: Final = "look at it in the admin: what is still owed is refunded there, or by the order"

Payment = tuple[dict[str, Any], Money]


def payments(order: Any, amount: Money) -> list[Payment]:
    """Which of the buyer's payments give back how much; what they cannot give in full is refused."""
    listed = nodes(order, "transactions")
    taken, rest = [], amount
    for one in listed:
        left = _left(one, listed)
        if left is None or left.amount <= 0 or rest.amount <= 0:
            continue
        if left.currency != amount.currency:
            raise Rejected(f"the buyer paid in {left.currency}", hint=f"refund in {left.currency}")
        part = min(left, rest)
        taken.append((one, part))
        rest -= part
    if rest.amount > 0 or not taken:
        raise Rejected(f"the buyer's payments can give back {amount - rest} of {amount}")
    return taken


def _left(payment: dict[str, Any], listed: list[dict[str, Any]]) -> Money | None:
    if word(dig(payment, "kind")) not in {"SALE", "CAPTURE"} or word(dig(payment, "status")) != "SUCCESS":
        return None
    left = money(payment, "amount")
    for one in listed:
        if word(dig(one, "kind")) != "REFUND" or word(dig(one, "status")) not in {"SUCCESS", "PENDING"}:
            continue
        given = money(one, "amount")
        if left and given and dig(one, "parentTransaction", "id") == payment.get("id"):
            left -= given
    return left


def _open_lines(held: Any) -> list[dict[str, Any]]:
    counted = [(one.get("id"), one.get("processableQuantity")) for one in nodes(held, "returnLineItems")]
    return [{"id": id_, "quantity": pieces} for id_, pieces in counted if isinstance(pieces, int) and pieces > 0]


class Paying(Calls, PaysRefunds):
    """Pays refunds and finds them again."""

    notify_buyer: bool = Field(False, description="let Shopify mail the buyer of decisions and refunds as well")
    restock: Literal["NO_RESTOCK", "RETURN", "CANCEL"] = Field(
        "NO_RESTOCK", description="what becomes of the pieces of a refund without a return"
    )
    over_refunding: bool = Field(False, description="allow a refund above what the order's lines are worth")
    idempotent_refunds: bool = Field(
        True, description="send an idempotency key with refundCreate; required since 2026-04, unknown before 2026-01"
    )

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Pay by the call that fits; a refund that already carries our mark is answered, not paid again."""
        held = await self._payments(action, ctx)
        known = nodes(held, "refunds")
        if paid := next((one for one in known if self._ours(one, ctx)), None):
            return self._result(paid, action, held, ctx)
        if action.request and action.part == "all" and (shown := self._standing(known, action, held, ctx)):
            raise Rejected(f"Shopify shows {shown} refunded for this return already", hint=_BY_HAND)
        if action.request:
            made = await self._process(action, held, ctx)
        else:
            made = await self._refund(action, held, ctx)
        before = {one.get("id") for one in known}
        if paid := next((one for one in reversed(made) if one.get("id") not in before), None):
            return self._result(paid, action, held, ctx)
        return Result(note="accepted; the refund does not show yet")

    def _standing(self, known: list[dict[str, Any]], action: PayRefund, held: Any, ctx: Context) -> Money | None:
        """What was refunded for the return, or is about to be."""
        seen = [event for one in known if (event := self._event(one, action, held, ctx))]
        given = [one.amount for one in seen if one.amount and one.status is not RefundStatus.FAILED]
        return Money.total(given) if given else None

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Look for our mark; for a return's only refund, its amount does as well."""
        held = await self._payments(action, ctx)
        seen = [(one, self._event(one, action, held, ctx)) for one in nodes(held, "refunds")]
        if paid := next((one for one, _ in seen if self._ours(one, ctx)), None):
            return Finding(True, self._result(paid, action, held, ctx))
        alike = [one for one, event in seen if event and event.amount == action.amount]
        if not alike:
            return Finding(False)
        if action.request and action.part == "all":
            return Finding(True, self._result(alike[-1], action, held, ctx))
        return Finding(None)

    async def _payments(self, action: PayRefund, ctx: Context) -> dict[str, Any]:
        if action.request:
            asked = {"id": gid("Return", action.request), "lines": LINES}
            told = await self._call(ctx, queries.RETURN_PAYMENTS, asked)
        elif action.order:
            told = await self._call(ctx, queries.ORDER_PAYMENTS, {"id": gid("Order", action.order)})
        else:
            raise Rejected("the refund names neither a return nor an order")
        held = told.get("return" if action.request else "order")
        if not isinstance(held, dict):
            raise Rejected(f"the shop knows no {'return' if action.request else 'order'} of this id")
        return held

    async def _process(self, action: PayRefund, held: dict[str, Any], ctx: Context) -> list[dict[str, Any]]:
        asked = [{"id": gid("ReturnLineItem", id_), "quantity": pieces} for id_, pieces in action.lines]
        given = [
            {
                "parentId": payment["id"],
                "transactionAmount": {"amount": f"{part.amount:f}", "currencyCode": part.currency},
            }
            for payment, part in payments(held.get("order"), action.amount)
        ]
        variables = {
            "returnId": gid("Return", action.request or ""),
            "returnLineItems": asked or _open_lines(await self._whole_return(ctx, held)),
            "financialTransfer": {
                "issueRefund": {"orderTransactions": given, "allowOverRefunding": self.over_refunding}
            },
            "note": self._note(action, ctx),
            "notifyCustomer": self.notify_buyer,
        }
        told = await self._call(ctx, queries.PROCESS, {"input": variables})
        return nodes(told, "returnProcess", "return", "refunds")

    async def _refund(self, action: PayRefund, held: dict[str, Any], ctx: Context) -> list[dict[str, Any]]:
        order = gid("Order", action.order or "")
        given = [
            {
                "orderId": order,
                "parentId": payment["id"],
                "gateway": dig(payment, "gateway") or "",
                "kind": "REFUND",
                "amount": f"{part.amount:f}",
            }
            for payment, part in payments(held, action.amount)
        ]
        lines = [
            {"lineItemId": gid("LineItem", id_), "quantity": pieces, "restockType": self.restock}
            for id_, pieces in action.lines
        ]
        variables: dict[str, Any] = {
            "input": {
                "orderId": order,
                "currency": action.amount.currency,
                "note": self._note(action, ctx),
                "notify": self.notify_buyer,
                "refundLineItems": lines,
                "transactions": given,
                "allowOverRefunding": self.over_refunding,
            }
        }
        query = queries.REFUND_WITHOUT_KEY
        if self.idempotent_refunds:
            query, variables["key"] = queries.REFUND, ctx.idempotency_key
        made = dig(await self._call(ctx, query, variables), "refundCreate", "refund")
        return [made] if isinstance(made, dict) else []

    def _note(self, action: PayRefund, ctx: Context) -> str:
        return f"{action.note} [{ctx.idempotency_key}]" if action.note else f"[{ctx.idempotency_key}]"

    def _ours(self, refund: dict[str, Any], ctx: Context) -> bool:
        return f"[{ctx.idempotency_key}]" in str(refund.get("note") or "")

    def _event(self, refund: Any, action: PayRefund, held: Any, ctx: Context) -> RefundSeen | None:
        order = number(dig(held, "order", "id")) if action.request else number(dig(held, "id"))
        known = {**refund, "return": {"id": gid("Return", action.request)}} if action.request else refund
        return next(self.reader.refund(known, order, ctx.now()), None)

    def _result(self, refund: dict[str, Any], action: PayRefund, held: Any, ctx: Context) -> Result:
        event = self._event(refund, action, held, ctx)
        return Result(id=number(refund.get("id")), events=(event,) if event else ())
