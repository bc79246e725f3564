"""Decisions and money: returns approved or declined, and refunds of returns, inquiries and whole orders."""

from __future__ import annotations

from typing import Any, Final

from httpx import HTTPError
from pydantic import Field

from rmabridge.abilities import Context, DecidesReturns, Finding, PaysRefunds, Result
from rmabridge.errors import DeliveryError, Rejected
from rmabridge.model import (
    ApproveReturn,
    DeclineReturn,
    Money,
    PayRefund,
    Ref,
    RefKind,
    RefundSeen,
    RefundStatus,
    RequestStatus,
)
from rmabridge.wire.bodies import dig, text

from .feeding import Feeding
from .terms import CASE, INQUIRY, id_of, money, rows, status, word

_BY_HAND: Final = "decide it in the Seller Hub"


class Deciding(Feeding, DecidesReturns, PaysRefunds):
    """Carries decisions out, and looks up what became of them."""

    decline_text: str = Field(
        "We are sorry, but this return does not meet our return policy.",
        description="words of a refusal without a note",
    )
    refund_part: str = Field("PURCHASE_PRICE", description="what a refund is booked under where eBay shows no parts")
    refund_reason: str = Field("BUYER_RETURN", description="reason of a refund of a whole order")

    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Approve; one that is approved already is answered, not decided again."""
        return await self._decide(action.request, {"decision": "APPROVE"}, RequestStatus.APPROVED, ctx)

    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        """Decline, with words for the buyer."""
        words = {"decision": "DECLINE", "comments": {"content": action.note or self.decline_text}}
        return await self._decide(action.request, words, RequestStatus.DECLINED, ctx)

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        """Whether the return stands as asked."""
        held = await self._known(action.request, ctx)
        now = status(dig(held, "detail", "state"), self.states)
        wanted = RequestStatus.APPROVED if isinstance(action, ApproveReturn) else RequestStatus.DECLINED
        if now is wanted:
            return Finding(True, self._shown(action.request, held, ctx))
        return Finding(False if now is RequestStatus.REQUESTED else None)

    async def _decide(self, request: str, body: dict[str, Any], wanted: RequestStatus, ctx: Context) -> Result:
        held = await self._known(request, ctx)
        if status(dig(held, "detail", "state"), self.states) is wanted:
            return self._shown(request, held, ctx)
        await self._post_order(ctx, "POST", f"/return/{request}/decide", json=body)
        return await self._afterwards(request, ctx)

    async def _known(self, request: str, ctx: Context) -> dict[str, Any]:
        """The return as it is now, before anything is done about it."""
        held = await self._return(_plain(request), ctx)
        if id_of(dig(held, "detail", "returnId")) != request:
            raise ValueError("the answer shows no such return")
        return held

    async def _afterwards(self, request: str, ctx: Context) -> Result:
        try:
            return self._shown(request, await self._return(request, ctx), ctx)
        except (DeliveryError, HTTPError, ValueError):
            # It is done: a bad answer to this question must not make it look refused.
            return Result(id=request, note="done; how the return stands now could not be read")

    def _shown(self, request: str, held: dict[str, Any], ctx: Context) -> Result:
        return Result(id=request, events=tuple(self.reader.returned(held, ctx.now(), opens=False)))

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Pay by the return or the inquiry, or where there is neither, by the order."""
        if not action.request:
            return await self._pay_order(action, ctx)
        if action.request.startswith(INQUIRY):
            return await self._pay_inquiry(action, ctx)
        request = action.request
        held = await self._known(request, ctx)
        paid = money(dig(held, "detail", "sellerTotalRefund", "actualRefundAmount"))
        if paid and paid.amount > 0:
            raise Rejected(f"eBay shows {paid} paid for this return already", hint=_BY_HAND)
        body: dict[str, Any] = {
            "refundDetail": {
                "itemizedRefundDetail": [_part(name, one) for name, one in self._parts(held, action.amount)],
                "totalAmount": _written(action.amount),
            }
        }
        if action.note:
            body["comments"] = {"content": action.note}
        await self._post_order(ctx, "POST", f"/return/{request}/issue_refund", json=body)
        return await self._afterwards(request, ctx)

    def _parts(self, held: dict[str, Any], amount: Money) -> list[tuple[str, Money]]:
        """The amount over the parts that eBay reckons with, in their order; none of them may be exceeded."""
        shown = rows(held, "detail", "refundInfo", "estimatedRefundDetail", "itemizedRefundDetails")
        found: list[tuple[str, Money]] = []
        left = amount
        for one in shown:
            most, name = money(one.get("estimatedAmount")), text(one.get("refundFeeType"))
            if name and most and most.currency == amount.currency and most.amount > 0 and left.amount > 0:
                found.append((name, min(most, left)))
                left -= found[-1][1]
        if not found:
            return [(self.refund_part, amount)]
        if left.amount > 0:
            raise Rejected(f"eBay takes at most {amount - left} for this return", hint="refund the rest by the order")
        return found

    async def _pay_inquiry(self, action: PayRefund, ctx: Context) -> Result:
        id_ = (action.request or "").removeprefix(INQUIRY)
        asked = money(dig(await self._post_order(ctx, "GET", f"/inquiry/{id_of(id_)}"), "claimAmount"))
        if asked != action.amount:
            raise Rejected(
                f"the inquiry is about {asked or 'an amount that eBay does not show'}, and eBay pays it in full",
                hint="refund a part by the order",
            )
        words = {"comments": {"content": action.note}} if action.note else {}
        await self._post_order(ctx, "POST", f"/inquiry/{id_of(id_)}/issue_refund", json=words)
        refs = (Ref(kind=RefKind.RETURN, value=f"{INQUIRY}{id_}"),)
        key = f"{INQUIRY}{id_}:refunded"
        paid = RefundSeen(key=key, at=ctx.now(), refs=refs, refund=f"{INQUIRY}{id_}", amount=action.amount)
        return Result(id=f"{INQUIRY}{id_}", events=(paid,))

    async def _pay_order(self, action: PayRefund, ctx: Context) -> Result:
        if not (order := id_of(action.order)):
            raise Rejected("the refund names neither a return nor an order")
        body = {
            "reasonForRefund": self.refund_reason,
            "comment": (action.note or "")[:100],
            "orderLevelRefundAmount": _written(action.amount),
        }
        told = await self._sell(ctx, "POST", f"/order/{order}/issue_refund", json=body)
        if not (id_ := id_of(told.get("refundId"))):
            raise ValueError("the answer shows no refund")
        return Result(id=id_, events=(_seen(order, id_, action.amount, told.get("refundStatus"), ctx),))

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Look for the money at the return, the inquiry or the order."""
        if not action.request:
            return await self._find_at_order(action, ctx)
        if action.request.startswith(INQUIRY):
            held = await self._post_order(ctx, "GET", f"/inquiry/{id_of(action.request.removeprefix(INQUIRY))}")
            return Finding(
                None
                if "CLOSED" in word(held.get("inquiryStatusEnum") or held.get("status") or held.get("state"))
                else False
            )
        held = await self._known(action.request, ctx)
        paid = money(dig(held, "detail", "sellerTotalRefund", "actualRefundAmount"))
        if paid is None or paid.amount == 0:
            return Finding(False)
        return Finding(True, self._shown(action.request, held, ctx)) if paid == action.amount else Finding(None)

    async def _find_at_order(self, action: PayRefund, ctx: Context) -> Finding:
        held = await self._sell(ctx, "GET", f"/order/{id_of(action.order)}")
        alike = [one for one in rows(held, "paymentSummary", "refunds") if money(one.get("amount")) == action.amount]
        # An equal refund may be another one's: eBay keeps no mark of ours on it.
        return Finding(None) if alike else Finding(False)


def _plain(request: str) -> str:
    """The id of a return; whatever else a request may be called, eBay takes no such call for it."""
    if request.startswith((INQUIRY, CASE)) or not id_of(request):
        raise Rejected(f"{request} is no return, and eBay takes no such call for it", hint=_BY_HAND)
    return request


def _written(amount: Money) -> dict[str, str]:
    if (whole := amount.rounded()) != amount:
        raise Rejected(f"{amount} is finer than the smallest coin")
    return {"value": f"{whole.amount:f}", "currency": amount.currency}


def _part(name: str, amount: Money) -> dict[str, Any]:
    return {"refundAmount": _written(amount), "refundFeeType": name}


def _seen(order: str, id_: str, amount: Money, told: Any, ctx: Context) -> RefundSeen:
    states = {"PENDING": RefundStatus.PENDING, "FAILED": RefundStatus.FAILED}
    return RefundSeen(
        key=f"order:{order}:refund:{id_}",
        at=ctx.now(),
        refs=(Ref(kind=RefKind.REFUND, value=id_), Ref(kind=RefKind.ORDER, value=order)),
        refund=id_,
        amount=amount,
        status=states.get(word(told), RefundStatus.DONE),
    )
