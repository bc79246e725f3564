"""Decisions: goods back agreed to, refunds paid, each on the request as it was read right before.

Pinduoduo's calls take neither an amount nor a version: what stands in the request at that moment is paid. So the amount
is compared right before, and what was paid is read again after.
"""

from __future__ import annotations

from typing import Any, Final

from httpx import HTTPError
from pydantic import Field

from rmabridge.abilities import Context, Finding, PaysRefunds, Result, performs
from rmabridge.errors import DeliveryError, Rejected
from rmabridge.model import ApproveReturn, CaseKind, Money, PayRefund, RefundSeen, RequestChanged, RequestStatus
from rmabridge.wire.bodies import dig, text

from .feeding import Feeding
from .terms import YUAN, amount, code, kind, parts, status, table

_AGREED: Final = frozenset({RequestStatus.APPROVED, RequestStatus.CLOSED})


class Deciding(Feeding, PaysRefunds):
    """Carries decisions out, and looks up what became of them; a refusal has no call."""

    return_address_id: str | None = Field(
        None, description="id of the seller's address that returned goods go to (pdd.refund.address.list.get)"
    )
    return_remark: str = Field("请按退货地址寄回，谢谢。", description="words beside the address")
    refund_remark: str = Field("已同意退款。", description="words beside a refund without a note")
    payable: tuple[int, ...] = Field((2, 3), description="statuses in which a refund may be paid by call")

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Agree to the refund; one that is paid or on its way is answered, not paid again."""
        if not action.request:
            raise Rejected("Pinduoduo pays a refund that the buyer asked for; there is none")
        held = await self._refund(action.request, ctx)
        if _state(held) in table("refunds"):
            return self._result(action.request, held, ctx, action.amount)
        self._may_pay(action, held)
        said = {"operate_desc": action.note or self.refund_remark}
        return await self._done("pdd.refund.agree", action.request, said, ctx, action.amount)

    @performs(ApproveReturn, find="find_decision")
    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Agree that goods come back; without goods to come there is no such step, the payment is the approval."""
        held = await self._refund(action.request, ctx)
        wanted, now = kind(None, held), status(held)
        if now in _AGREED:
            return self._result(action.request, held, ctx)
        if wanted is CaseKind.REFUND and now is RequestStatus.REQUESTED:
            return self._nothing_to_tell(action.request, held, ctx)
        if wanted is not CaseKind.RETURN:
            raise Rejected(f"a {wanted} cannot be agreed to by call", hint="decide it in the seller's console")
        if self.return_address_id is None:
            raise Rejected("no address for returned goods is set", hint="set return_address_id")
        said = {"operate_desc": self.return_remark, "return_address_id": self.return_address_id}
        return await self._done("pdd.refund.returngoods.agree", action.request, said, ctx)

    async def find_decision(self, action: ApproveReturn, ctx: Context) -> Finding:
        """Whether the request stands as asked."""
        held = await self._refund(action.request, ctx)
        if (now := status(held)) in _AGREED:
            return Finding(True, self._result(action.request, held, ctx))
        return Finding(False if now is RequestStatus.REQUESTED else None)

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Whether the money is there or on its way."""
        if not action.request:
            return Finding(False)
        held = await self._refund(action.request, ctx)
        if _state(held) in table("refunds"):
            return Finding(True, self._result(action.request, held, ctx, action.amount))
        return Finding(False if int(_state(held) or 0) in self.payable else None)

    def _may_pay(self, action: PayRefund, held: dict[str, Any]) -> None:
        """What differs from what the buyer asks for now never leaves."""
        asked = amount(held.get("refund_amount"), self.detail_unit)
        if int(_state(held) or 0) not in self.payable:
            raise Rejected(f"Pinduoduo pays no refund in status {_state(held)}", hint="look at it in the console")
        if action.amount.currency != YUAN:
            raise Rejected(f"Pinduoduo refunds in {YUAN}, not in {action.amount.currency}")
        if asked is None or asked != action.amount:
            raise Rejected(
                f"the buyer asks for {asked or 'an amount that is not shown'}, the refund says {action.amount}",
                hint="refund what the buyer asks for; if one is a hundred times the other, set detail_unit",
            )

    async def _done(
        self, method: str, request: str, said: dict[str, str], ctx: Context, paid: Money | None = None
    ) -> Result:
        """Act, then show how the request stands."""
        order, id_ = parts(request)
        asked = {"after_sales_id": id_, "order_sn": order, **said}
        told = await self._call(ctx, method, acting=True, request=asked)
        _must_succeed(told)
        try:
            return self._result(request, await self._refund(request, ctx), ctx, paid)
        except (DeliveryError, HTTPError, ValueError):
            # The decision stands: a bad answer to this question must not make it look refused.
            return Result(id=id_, note="done; how the request stands now could not be read")

    def _result(self, request: str, held: dict[str, Any], ctx: Context, paid: Money | None = None) -> Result:
        """How the request stands. A detail, whose unit is not sure, tells no amount: that of the list stays."""
        order, id_ = parts(request)
        listed, known = {"id": id_, "order_sn": order}, {**held, "refund_amount": None}
        told = self.reader.request(listed, known, ctx.now(), opens=False)
        events = [one.model_copy(update={"amount": paid}) if isinstance(one, RefundSeen) else one for one in told]
        return Result(id=id_, events=tuple(events))

    def _nothing_to_tell(self, request: str, held: dict[str, Any], ctx: Context) -> Result:
        shown = self._result(request, held, ctx)
        agreed = RequestChanged(
            key=f"refund:{shown.id}:agreed:{ctx.idempotency_key}",
            at=ctx.now(),
            refs=shown.events[0].refs,
            status=RequestStatus.APPROVED,
        )
        return Result(id=shown.id, events=(agreed,), note="no goods come back: the payment is the approval")


def _state(held: dict[str, Any]) -> str:
    return code(held.get("after_sales_status"))


def _must_succeed(told: dict[str, Any]) -> None:
    result = dig(told, "result")
    done = dig(result, "succ") if isinstance(dig(result, "succ"), bool) else dig(result, "success")
    if done is False or told.get("success") is False:
        said = text(dig(result, "message")) or text(told.get("error_msg"))
        raise Rejected(said or "Pinduoduo refuses the decision")
    if done is not True:
        raise ValueError("the answer does not say whether the decision was taken")
