"""Decisions: each on the request as it was read right before, whose ``update_time`` Doudian checks.

What is decided by which number (``operations``) depends on the type of the request and on where it stands.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

from httpx import HTTPError
from pydantic import Field

from rmabridge.abilities import Context, DecidesReturns, Finding, PaysRefunds, Result
from rmabridge.errors import DeliveryError, Rejected
from rmabridge.model import ApproveReturn, CaseKind, DeclineReturn, PayRefund, RequestChanged, RequestStatus
from rmabridge.wire.bodies import dig, text

from .facts import Facts, detailed
from .feeding import Feeding
from .terms import YUAN, code, number, rows, table

Reason = Literal["final_sale", "period_ended", "other"]
Step = Callable[[Facts, dict[str, Any]], Awaitable[None]]
_AGREED: Final = frozenset({RequestStatus.APPROVED, RequestStatus.CLOSED})
_MONEY: Final = frozenset({"2", "3"})
_WORDS: Final[dict[Reason, tuple[str, ...]]] = {
    "final_sale": ("不支持", "定制", "特殊商品"),
    "period_ended": ("超过", "期限", "时效"),
    "other": ("其他", "其它", "协商"),
}


class Deciding(Feeding, DecidesReturns, PaysRefunds):
    """Carries decisions out, and looks up what became of them."""

    receiver_address_id: int | None = Field(
        None, description="id of the seller's address that returned goods go to (address/list)"
    )
    operations: dict[str, int] = Field(
        default_factory=lambda: dict(table("operations")),
        description="numbers of afterSale/operate by 'approve|decline|pay:aftersale_type:aftersale_status'",
    )
    refuse_text: str = Field("抱歉，您的申请暂不符合售后条件。", description="words of a refusal without a note")
    refuse_words: dict[Reason, tuple[str, ...]] = Field(
        default_factory=lambda: dict(_WORDS),
        description="words by which the marketplace's reason for a refusal is found",
    )
    refuse_pictures: tuple[str, ...] = Field(
        (), description="addresses of pictures (of Doudian's own store) for reasons that want a proof", max_length=4
    )

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Agree to the refund; one that is paid or on its way is answered, not paid again."""
        if not action.request:
            raise Rejected("Doudian pays a refund that the buyer asked for; there is none")

        async def pay(facts: Facts, held: dict[str, Any]) -> None:
            if facts.refund not in _MONEY:
                _may_pay(action, facts)
                await self._operate("pay", facts, held, {}, ctx)

        return await self._decide(action.request, pay, ctx)

    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Agree that goods come back; without goods to come there is no such step, the payment is the approval."""
        held = await self._detail(action.request, ctx)
        facts = detailed(held)
        if facts.kind is CaseKind.REFUND and facts.status is RequestStatus.REQUESTED:
            return self._nothing_to_tell(facts, ctx)

        async def agree(facts: Facts, held: dict[str, Any]) -> None:
            if facts.status not in _AGREED:
                await self._operate("approve", facts, held, self._back(), ctx)

        return await self._decide(action.request, agree, ctx, held)

    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        """Refuse, with words for the buyer and a reason that Doudian knows."""

        async def refuse(facts: Facts, held: dict[str, Any]) -> None:
            if facts.status is not RequestStatus.DECLINED:
                self._operation("decline", facts)
                await self._operate("decline", facts, held, await self._reason(action, ctx), ctx)

        return await self._decide(action.request, refuse, ctx)

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        """Whether the request stands as asked."""
        held = await self._detail(action.request, ctx)
        now = detailed(held).status
        if now in (_AGREED if isinstance(action, ApproveReturn) else {RequestStatus.DECLINED}):
            return Finding(True, self._result(held, ctx))
        return Finding(False if now is RequestStatus.REQUESTED else None)

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Whether the money is there or on its way."""
        if not action.request:
            return Finding(False)
        held = await self._detail(action.request, ctx)
        facts = detailed(held)
        if facts.refund in _MONEY:
            return Finding(True, self._result(held, ctx))
        return Finding(False if facts.status in {RequestStatus.REQUESTED, RequestStatus.APPROVED} else None)

    async def _decide(self, request: str, step: Step, ctx: Context, held: dict[str, Any] | None = None) -> Result:
        """Take the step on what was just read; where Doudian refuses an overtaken version, once more on the new."""
        held = held or await self._detail(request, ctx)
        try:
            await step(detailed(held), held)
        except Rejected:
            newer = await self._detail(request, ctx)
            if _version(newer) == _version(held):
                raise
            await step(detailed(newer), newer)
        try:
            return self._result(await self._detail(request, ctx), ctx)
        except (DeliveryError, HTTPError, ValueError):
            # The decision stands: a bad answer to this question must not make it look refused.
            return Result(id=request, note="done; how the request stands now could not be read")

    def _operation(self, what: str, facts: Facts) -> int:
        found = self.operations.get(f"{what}:{facts.type}:{facts.state}")
        if found is None:
            place = f"type {facts.type or '?'}, status {facts.state or '?'}"
            raise Rejected(f"Doudian has no known call to {what} here ({place})", hint="decide it in the console")
        return found

    async def _operate(self, what: str, facts: Facts, held: dict[str, Any], said: dict[str, Any], ctx: Context) -> None:
        version = _version(held)
        if not version:
            raise Rejected("Doudian shows no update_time of the request, and nothing is decided without it")
        item = {"aftersale_id": facts.id, "update_time": int(version), **said}
        asked = {"type": self._operation(what, facts), "items": [item]}
        told = await self._call(ctx, "afterSale/operate", asked, acting=True)
        done = next((one for one in rows(told, "items") if number(one.get("aftersale_id")) == facts.id), None)
        if done is None or not code(done.get("status_code")):
            raise ValueError("the answer does not say whether the decision was taken")
        if code(done["status_code"]) != "0":
            raise Rejected(text(done.get("status_msg")) or "Doudian refuses the decision")

    def _back(self) -> dict[str, Any]:
        if self.receiver_address_id is None:
            raise Rejected("no address for returned goods is set", hint="set receiver_address_id")
        return {"logistics": {"receiver_address_id": self.receiver_address_id}}

    async def _reason(self, action: DeclineReturn, ctx: Context) -> dict[str, Any]:
        """A reason of Doudian's whose text holds one of our words, first one that wants no proof that we lack."""
        told = await self._call(ctx, "afterSale/rejectReasonCodeList", {"aftersale_id": int(number(action.request))})
        able = [one for one in rows(told, "items") if one.get("evidence_need") != "Y" or self.refuse_pictures]
        words = self.refuse_words.get(action.reason, ())
        fitting = [one for word in words for one in able if word in str(one.get("reason"))]
        chosen = next(iter(fitting or able), None)
        if chosen is None or not code(chosen.get("reject_reason_code")):
            raise Rejected("Doudian offers no reason to refuse that needs no proof", hint="set refuse_pictures")
        proof = [{"type": 1, "url": one, "desc": ""} for one in self.refuse_pictures]
        said: dict[str, Any] = {
            "reason": text(chosen.get("reason")) or "",
            "remark": action.note or self.refuse_text,
            "reject_reason_code": int(code(chosen["reject_reason_code"])),
        }
        return said | ({"evidence": proof} if chosen.get("evidence_need") == "Y" else {})

    def _result(self, held: dict[str, Any], ctx: Context) -> Result:
        facts = detailed(held)
        return Result(id=facts.id, events=tuple(self.reader.request(facts, ctx.now(), opens=False)))

    def _nothing_to_tell(self, facts: Facts, ctx: Context) -> Result:
        agreed = RequestChanged(
            key=f"aftersale:{facts.id}:agreed:{ctx.idempotency_key}",
            at=ctx.now(),
            refs=self.reader.changed(facts, ctx.now(), RequestStatus.APPROVED).refs,
            status=RequestStatus.APPROVED,
            amount=facts.amount,
        )
        return Result(id=facts.id, events=(agreed,), note="no goods come back: the payment is the approval")


def _may_pay(action: PayRefund, facts: Facts) -> None:
    """What differs from what the buyer asks for now never leaves."""
    if action.amount.currency != YUAN:
        raise Rejected(f"Doudian refunds in {YUAN}, not in {action.amount.currency}")
    if facts.amount is None or facts.amount != action.amount:
        raise Rejected(
            f"the buyer asks for {facts.amount or 'an amount that is not shown'}, the refund says {action.amount}",
            hint="let the buyer change the amount in the request, or refund what it says",
        )


def _version(held: dict[str, Any]) -> str:
    return number(dig(held, "process_info", "after_sale_info", "update_time"))
