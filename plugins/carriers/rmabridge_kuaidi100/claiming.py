"""Tickets (商家寄件工单) about parcels that were ordered through Kuaidi100, as claims."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Handler, Result, TakesClaims, performs
from rmabridge.errors import Malformed, Rejected
from rmabridge.model import (
    Action,
    AnswerClaim,
    AppealClaim,
    Attachment,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    FileClaim,
    QueryClaim,
    Ref,
    RefKind,
)
from rmabridge.wire.bodies import dig, dump_json, text
from rmabridge.wire.waybills import normalise

from .calls import Calls, signature

CURRENCY: Final = "CNY"
# Kinds whose tickets name what the goods were worth.
VALUED: Final = frozenset({ClaimKind.DAMAGE, ClaimKind.LOSS, ClaimKind.PARTIAL_LOSS})
IMAGE: Final = 0


class Tickets(Calls, TakesClaims):
    """Opens tickets and answers in them, where the settings name the numbers of their kinds."""

    secret: SecretStr | None = Field(None, min_length=1, description="secret of the account; signs tickets")
    tickets_url: str = Field("https://api.kuaidi100.com/workorder/api", description="address of the tickets")
    ticket_types: dict[ClaimKind, int] = Field(
        default_factory=dict,
        description="Kuaidi100's secondType by kind of claim, as its document lists them; kinds left out are not filed",
    )
    ticket_statuses: dict[str, ClaimStatus] = Field(
        default_factory=dict, description="what the status of a new ticket means; 'submitted' for those left out"
    )

    def route(self, action: Action) -> Handler | None:
        """No handler for what Kuaidi100 does not take, so that the bridge finds another way."""
        if isinstance(action, FileClaim) and action.claim not in self.ticket_types:
            return None
        if isinstance(action, FileClaim | AnswerClaim) and self.secret is None:
            return None
        return None if isinstance(action, QueryClaim | AppealClaim) else super().route(action)

    @performs()
    async def file_claim(self, action: FileClaim, ctx: Context) -> Result:
        """Open the ticket. Kuaidi100 takes no key of ours and cannot list tickets: it is never opened twice."""
        attached, left = _attached(action.attachments)
        words = action.description or f"{action.claim} of {action.waybill}"
        # The vendor's document puts the words into desc, its own client beside it.
        param: dict[str, Any] = {"kuaidinum": normalise(action.waybill), "secondType": self.ticket_types[action.claim]}
        param |= {"desc": {"content": words, "attach": attached}, "content": words}
        if action.claim in VALUED:
            param["modityValue"] = _value(action)
        told = await self._ticket(ctx, "create", param)
        number = text(dig(told, "data", "id"))
        if number is None:
            raise Malformed("Kuaidi100 opened a ticket and does not say which")
        note = f"not attached, as they have no address: {', '.join(left)}" if left else None
        return Result(id=number, events=(self._seen(action, number, told, ctx),), note=note)

    @performs()
    async def answer_claim(self, action: AnswerClaim, ctx: Context) -> Result:
        """Add words and pictures to the ticket."""
        attached, left = _attached(action.attachments)
        param = {"consultId": action.claim, "content": action.text, "attach": attached}
        await self._ticket(ctx, "reply", param, method="addReply")
        return Result(note=f"not attached, as they have no address: {', '.join(left)}" if left else None)

    def _seen(self, action: FileClaim, number: str, told: dict[str, Any], ctx: Context) -> ClaimSeen:
        status = self.ticket_statuses.get(text(dig(told, "data", "status")) or "", ClaimStatus.SUBMITTED)
        waybill = normalise(action.waybill)
        return ClaimSeen(
            key=f"kuaidi100:ticket:{number}:{status}",
            at=ctx.now(),
            refs=(Ref(kind=RefKind.CLAIM, value=number), Ref(kind=RefKind.WAYBILL, value=waybill)),
            claim=number,
            waybill=waybill,
            carrier=action.carrier,
            kind=action.claim,
            status=status,
            amount=action.amount,
        )

    async def _ticket(self, ctx: Context, call: str, about: dict[str, Any], **more: str) -> dict[str, Any]:
        """One call; what Kuaidi100 neither grants nor refuses may have happened."""
        param, stamp = dump_json(about), str(int(ctx.now().timestamp() * 1000))
        key, secret = self._first(self.api_key, "api_key", ctx.now()), self.secret
        sign = signature(param, stamp, key, secret.get_secret_value() if secret else "")
        form = {"key": key, "t": stamp, "sign": sign, "param": param, **more}
        told = await self._post(ctx, f"{self.tickets_url.rstrip('/')}/{call}", form)
        if told.get("success") is False:
            words = text(told.get("message")) or "refused without a reason"
            raise Rejected(f"Kuaidi100: {words} ({text(told.get('code')) or 'no code'})")
        if told.get("success") is not True:
            raise Malformed("Kuaidi100 does not say whether it took the ticket")
        return told


def _attached(files: tuple[Attachment, ...]) -> tuple[list[dict[str, Any]], list[str]]:
    """The files that lie somewhere, as Kuaidi100 fetches them, and the names of the others."""
    held = [{"type": IMAGE, "uri": one.url} for one in files if one.url]
    return held, [one.name for one in files if not one.url]


def _value(action: FileClaim) -> str:
    if action.amount is None or action.amount.currency != CURRENCY:
        raise Rejected("the ticket wants the goods' value in CNY", hint="file the claim with its amount in CNY")
    return f"{action.amount.rounded().amount:f}"
