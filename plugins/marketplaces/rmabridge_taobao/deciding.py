"""Decisions: goods back agreed to, refunds paid or refused, each with the version that was read right before.

Taobao writes refunds in yuan and takes what is agreed to in fen; only ``fen`` crosses that line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from mimetypes import guess_type
from typing import Any, Final, Literal

from httpx import HTTPError
from pydantic import Field, FilePath

from rmabridge.abilities import Context, DecidesReturns, Finding, PaysRefunds, Result
from rmabridge.errors import DeliveryError, Rejected
from rmabridge.model import ApproveReturn, CaseKind, DeclineReturn, PayRefund, RequestChanged, RequestStatus
from rmabridge.wire.bodies import dig, text

from .calls import Files
from .feeding import Feeding
from .terms import YUAN, kind, number, rows, status, word, yuan

Step = Callable[[dict[str, Any]], Awaitable[None]]
Reason = Literal["final_sale", "period_ended", "other"]
_APPROVED: Final = frozenset({"WAIT_BUYER_RETURN_GOODS", "WAIT_SELLER_CONFIRM_GOODS", "SUCCESS"})
_WORDS: Final[dict[Reason, tuple[str, ...]]] = {
    "final_sale": ("不支持", "定制", "特殊商品"),
    "period_ended": ("超过", "期限", "时效"),
    "other": ("其他", "其它", "协商"),
}


def fen(action: PayRefund, held: dict[str, Any]) -> int:
    """What is agreed to, in fen; what differs from what the buyer asked for never leaves."""
    asked = yuan(held.get("refund_fee"))
    if action.amount.currency != YUAN:
        raise Rejected(f"Taobao refunds in {YUAN}, not in {action.amount.currency}")
    if asked is None or asked != action.amount:
        raise Rejected(
            f"the buyer asks for {asked or 'an amount that Taobao does not show'}, the refund says {action.amount}",
            hint="let the buyer change the amount in the refund, or refund what it says",
        )
    return asked.in_minor()


class Deciding(Feeding, DecidesReturns, PaysRefunds):
    """Carries decisions out, and looks up what became of them."""

    return_address_id: int | None = Field(None, description="id of the seller's address that returned goods go to")
    return_remark: str = Field(
        "请按退货地址寄回，谢谢。", description="words beside the address when a return is agreed to"
    )
    return_contact: dict[Literal["name", "address", "post", "tel", "mobile"], str] = Field(
        default_factory=dict,
        description="name, address, post, tel and mobile for returns, which Taobao shops must send",
    )
    refuse_text: str = Field(
        "抱歉，您的申请暂不符合售后条件。",
        description="words of a refusal without a note",
        min_length=2,
        max_length=200,
    )
    refuse_words: dict[Reason, tuple[str, ...]] = Field(
        default_factory=lambda: dict(_WORDS),
        description="words by which the marketplace's reason for a refusal is found",
    )
    refuse_proof: FilePath | None = Field(
        None, description="picture (GIF, JPG, PNG, at most 130000 bytes) sent with refusals; Tmall asks for one"
    )
    refuse_proof_bytes: int = Field(130_000, gt=0, description="largest picture that Taobao takes as proof")

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        """Agree to the refund; one that is paid already is answered, not paid again."""
        if not action.request:
            raise Rejected("Taobao pays a refund that the buyer asked for; there is none")

        async def pay(held: dict[str, Any]) -> None:
            if word(held.get("status")) != "SUCCESS":
                await self._agree(held, fen(action, held), ctx)

        return await self._decide(action.request, pay, ctx)

    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        """Agree that goods come back; without goods to come Taobao has no such step, the payment is the approval."""
        held = await self._refund(action.request, ctx)
        wanted = kind(held)
        if wanted is CaseKind.REFUND and status(held) is RequestStatus.REQUESTED:
            return self._nothing_to_tell(held, ctx)
        if wanted is not CaseKind.RETURN and word(held.get("status")) not in _APPROVED:
            raise Rejected(f"a {wanted} cannot be agreed to by call", hint="decide it in Qianniu")

        async def agree(held: dict[str, Any]) -> None:
            if word(held.get("status")) not in _APPROVED:
                await self._take_back(held, ctx)

        return await self._decide(action.request, agree, ctx, held)

    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        """Refuse, with words for the buyer and a reason that Taobao knows."""

        async def refuse(held: dict[str, Any]) -> None:
            if word(held.get("status")) != "SELLER_REFUSE_BUYER":
                await self._refuse(held, action, ctx)

        return await self._decide(action.request, refuse, ctx)

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        """Whether the refund stands as asked."""
        held = await self._refund(action.request, ctx)
        state, approving = word(held.get("status")), isinstance(action, ApproveReturn)
        if state in (_APPROVED if approving else {"SELLER_REFUSE_BUYER"}):
            return Finding(True, self._result(held, ctx))
        return Finding(False if state == "WAIT_SELLER_AGREE" else None)

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        """Whether the buyer has the money."""
        if not action.request:
            return Finding(False)
        held = await self._refund(action.request, ctx)
        return Finding(True, self._result(held, ctx)) if word(held.get("status")) == "SUCCESS" else Finding(False)

    async def _decide(self, request: str, step: Step, ctx: Context, held: dict[str, Any] | None = None) -> Result:
        """Take the step with the version just read; where Taobao refuses an overtaken one, once more with the new."""
        held = held or await self._refund(request, ctx)
        try:
            await step(held)
        except Rejected:
            newer = await self._refund(request, ctx)
            if newer.get("refund_version") == held.get("refund_version"):
                raise
            await step(newer)
        try:
            return self._result(await self._refund(request, ctx), ctx)
        except (DeliveryError, HTTPError):
            # The decision stands: a bad answer to this question must not make it look refused.
            return Result(id=request, note="done; how the refund stands now could not be read")

    def _result(self, held: dict[str, Any], ctx: Context) -> Result:
        events = tuple(self.reader.refund(held, ctx.now(), opens=False))
        return Result(id=number(held.get("refund_id")), events=events)

    def _nothing_to_tell(self, held: dict[str, Any], ctx: Context) -> Result:
        id_ = number(held.get("refund_id"))
        agreed = RequestChanged(
            key=f"refund:{id_}:agreed:{ctx.idempotency_key}",
            at=ctx.now(),
            refs=self.reader.refs(held),
            status=RequestStatus.APPROVED,
            amount=yuan(held.get("refund_fee")),
        )
        return Result(id=id_, events=(agreed,), note="no goods come back: the payment is the approval")

    async def _agree(self, held: dict[str, Any], amount: int, ctx: Context) -> None:
        id_, version = number(held.get("refund_id")), number(held.get("refund_version"))
        if not version:
            raise Rejected("Taobao shows no version of the refund, and takes no decision without it")
        phase = text(held.get("refund_phase"))
        infos = "|".join((f"{id_}", str(amount), version, *([phase] if phase else [])))
        told = await self._act(ctx, "taobao.rp.refunds.agree", refund_infos=infos)
        for one in rows(told, "results", "refund_mapping_result"):
            if number(one.get("refund_id")) == id_ and one.get("succ") is False:
                raise Rejected(text(one.get("message")) or "Taobao refuses the refund", hint=_BY_HAND)
        if told.get("succ") is False and told.get("msg_code") != "SOME_OP_SUCC":
            raise Rejected(text(told.get("message")) or "Taobao refuses the refund", hint=_BY_HAND)
        if told.get("succ") is not True:
            raise ValueError("the answer does not say whether the refund was agreed to")

    async def _take_back(self, held: dict[str, Any], ctx: Context) -> None:
        if self.return_address_id is None:
            raise Rejected("no address for returned goods is set", hint="set return_address_id; Qianniu shows the id")
        given: dict[str, Any] = dict(self.return_contact) | _versioned(held) | {"remark": self.return_remark}
        told = await self._act(ctx, "taobao.rp.returngoods.agree", seller_address_id=self.return_address_id, **given)
        _must_succeed(told)

    async def _refuse(self, held: dict[str, Any], action: DeclineReturn, ctx: Context) -> None:
        if held.get("operation_contraint") == "cannot_refuse":
            raise Rejected("Taobao does not let this refund be refused")
        named = await self._reason(held, action.reason, ctx)
        told = await self._act(
            ctx,
            "taobao.refund.refuse",
            files=self._proof(),
            **_versioned(held),
            refuse_message=(action.note or self.refuse_text)[:200],
            refuse_reason_id=named,
        )
        _must_succeed(told)

    async def _reason(self, held: dict[str, Any], reason: Reason, ctx: Context) -> str | None:
        """Taobao's reason whose text holds one of our words; none is named where no text does."""
        asked = {name: value for name, value in _versioned(held).items() if name != "refund_version"}
        told = await self._ask(ctx, "taobao.refund.refusereason.get", fields="reason_id,reason_text", **asked)
        listed = [
            (number(one.get("reason_id")), str(one.get("reason_text"))) for one in rows(told, "reasons", "reason")
        ]
        words = self.refuse_words.get(reason, ())
        return next((id_ for word_ in words for id_, shown in listed if word_ in shown), None)

    def _proof(self) -> Files | None:
        if self.refuse_proof is None:
            return None
        content = self.refuse_proof.read_bytes()
        if len(content) > self.refuse_proof_bytes:
            raise Rejected(f"refuse_proof is larger than {self.refuse_proof_bytes} bytes")
        media = guess_type(self.refuse_proof.name)[0] or "image/jpeg"
        return {"refuse_proof": (self.refuse_proof.name, content, media)}


_BY_HAND: Final = "where Taobao wants the code that it sent by SMS, agree to the refund in Qianniu"


def _versioned(held: dict[str, Any]) -> dict[str, Any]:
    return {name: held.get(name) for name in ("refund_id", "refund_phase", "refund_version")}


def _must_succeed(told: dict[str, Any]) -> None:
    done = dig(told, "is_success")
    if done is False:
        raise Rejected("Taobao refuses the decision")
    if done is not True:
        raise ValueError("the answer does not say whether the decision was taken")
