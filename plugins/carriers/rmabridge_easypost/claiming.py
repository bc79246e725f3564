"""Claims on parcels that are insured at EasyPost: filed once, looked up when in doubt."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from rmabridge.abilities import Context, Finding, Handler, Result, TakesClaims, performs
from rmabridge.errors import Rejected
from rmabridge.model import (
    Action,
    AnswerClaim,
    AppealClaim,
    Attachment,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    FileClaim,
    Money,
    QueryClaim,
)
from rmabridge.wire.bodies import text
from rmabridge.wire.documents import PDF, content
from rmabridge.wire.waybills import normalise

from .calls import Calls
from .reading import CURRENCY, Claim, claim_seen, claim_status

TAKEN: Final = frozenset({PDF, "image/png", "image/jpeg"})
PAGE: Final = 100
_OVER: Final = frozenset({ClaimStatus.REJECTED, ClaimStatus.WITHDRAWN})


class Claiming(Calls, TakesClaims):
    """Files claims, asks where they stand, and answers questions where the call for that is set."""

    contact_email: str | None = Field(None, description="where EasyPost writes about claims that name no address")
    insured: Money | None = Field(
        None, description="what each parcel is insured for at EasyPost, e.g. '100 USD'; no claim asks for more"
    )
    theft: Literal["loss", "partial_loss"] = Field(
        "loss", description="what a claim of the type theft is here; with partial_loss, missing contents are filed so"
    )
    statuses: dict[str, ClaimStatus] = Field(
        default_factory=lambda: {"paid": ClaimStatus.PAID},
        description="meanings of claim statuses beyond the documented ones",
    )
    invoice_words: tuple[str, ...] = Field(
        ("invoice", "receipt", "order", "发票", "發票", "订单", "訂單"),
        description="words in a file's name that make it proof of value",
    )
    message_path: str | None = Field(
        None, description="path of the call that answers a question, e.g. '/claims/{claim}/messages'; off if left out"
    )
    look_back: int = Field(10, gt=0, description="pages of 100 claims that are searched for one that may be filed")

    @field_validator("insured")
    @classmethod
    def _in_dollars(cls, insured: Money | None) -> Money | None:
        if insured and insured.currency != CURRENCY:
            raise ValueError(f"EasyPost insures in {CURRENCY}: write for example '100 {CURRENCY}'")
        return insured

    def route(self, action: Action) -> Handler | None:
        """No handler for what EasyPost does not take, so that the bridge finds another way."""
        if isinstance(action, AppealClaim) or (isinstance(action, AnswerClaim) and not self.message_path):
            return None
        if isinstance(action, FileClaim) and self._type(action.claim) is None:
            return None
        return super().route(action)

    # EasyPost may still book while the answer is lost already, so a lookup believes in absence only later.
    @performs(deadline=60.0, settles_after=timedelta(minutes=2))
    async def file_claim(self, action: FileClaim, ctx: Context) -> Result:
        """File it; our key goes along as the reference by which it is found again."""
        asked, note = await self._asked(action, ctx)
        claim = Claim.model_validate(await self._call(ctx, "POST", "/claims", json=asked))
        return self._result(claim, ctx, action.carrier, note)

    async def query_claim(self, action: QueryClaim, ctx: Context) -> Result:
        """Where the claim stands."""
        claim = Claim.model_validate(await self._call(ctx, "GET", f"/claims/{action.claim}"))
        return self._result(claim, ctx)

    @performs()
    async def answer_claim(self, action: AnswerClaim, ctx: Context) -> Result:
        """Answer a question, with files."""
        if self.message_path is None:
            raise Rejected("the call that answers is not set", hint="answer EasyPost's e-mail, or set message_path")
        files, links = await self._files(action.attachments, ctx)
        said = {"body": "\n".join((action.text, *links)), "attachments": [data for _, data in files]}
        made = await self._call(ctx, "POST", self.message_path.replace("{claim}", action.claim), json=said)
        if (id_ := text(made.get("id"))) is None:
            raise ValueError("the answer names no message: it may have arrived")
        return Result(id=id_)

    async def find_claim(self, action: FileClaim, ctx: Context) -> Finding:
        """Look through the newest claims for ours, or for one that somebody filed for the same parcel."""
        before: str | None = None
        for _ in range(self.look_back):
            params: dict[str, Any] = {"page_size": PAGE} | ({"before_id": before} if before else {})
            told = await self._call(ctx, "GET", "/claims", params=params)
            page = [Claim.model_validate(one) for one in told.get("claims") or ()]
            for claim in page:
                if self._is(claim, action, ctx.idempotency_key):
                    return Finding(True, self._result(claim, ctx, action.carrier))
            if not told.get("has_more") or not page:
                return Finding(False)
            before = page[-1].id
        return Finding(None)

    def _is(self, claim: Claim, action: FileClaim, key: str) -> bool:
        if claim.reference == key:
            return True
        same = normalise(claim.tracking_code) == normalise(action.waybill) and self._kind(claim) is action.claim
        return same and claim_status(claim.status, self.statuses) not in _OVER

    async def _asked(self, action: FileClaim, ctx: Context) -> tuple[dict[str, Any], str | None]:
        kind, (amount, note) = self._type(action.claim), self._amount(action)
        if kind is None:
            raise Rejected(f"EasyPost takes no claims for {action.claim}")
        files, links = await self._files(action.attachments, ctx)
        words = [action.description or f"{action.claim} of {action.waybill}", *links]
        asked: dict[str, Any] = {
            "type": kind,
            "tracking_code": normalise(action.waybill),
            "amount": f"{amount.rounded().amount:f}",
            "description": "\n".join(words),
            "reference": ctx.idempotency_key,
        }
        contact = action.contact if "@" in (action.contact or "") else self.contact_email
        asked |= {"contact_email": contact} if contact else {}
        for field, data in files:
            asked.setdefault(field, []).append(data)
        return asked, note

    def _amount(self, action: FileClaim) -> tuple[Money, str | None]:
        """What is asked: in dollars, and no more than the parcel is insured for."""
        amount = action.amount or self.insured
        if amount is None:
            raise Rejected("the claim names no amount", hint="set insured in the account's settings")
        if amount.currency != CURRENCY:
            hint = f"EasyPost insures in {CURRENCY}: file it with the amount in {CURRENCY}"
            raise Rejected(f"the claim is in {amount.currency}", hint=hint)
        if self.insured and amount > self.insured:
            return self.insured, f"asked for {self.insured}, the insured value; the loss is {amount}"
        return amount, None

    async def _files(self, given: tuple[Attachment, ...], ctx: Context) -> tuple[list[tuple[str, str]], list[str]]:
        """Files as data addresses by the field that they belong to, and the addresses of those that lie elsewhere."""
        files, links = [], []
        for one in given:
            if one.media_type in TAKEN and (raw := await _bytes(one, ctx)):
                named = any(word in one.name.casefold() for word in self.invoice_words)
                field = "invoice_attachments" if named else "supporting_documentation_attachments"
                files.append((field, f"data:{one.media_type};base64,{b64encode(raw).decode()}"))
            elif one.url:
                links.append(f"{one.name}: {one.url}")
        return files, links

    def _kinds(self) -> Mapping[str, ClaimKind]:
        return {"damage": ClaimKind.DAMAGE, "loss": ClaimKind.LOSS, "theft": ClaimKind(self.theft)}

    def _kind(self, claim: Claim) -> ClaimKind | None:
        return self._kinds().get(claim.type or "")

    def _type(self, kind: ClaimKind) -> str | None:
        return next((name for name, one in self._kinds().items() if one is kind), None)

    def _result(self, claim: Claim, ctx: Context, carrier: str | None = None, note: str | None = None) -> Result:
        return Result(id=claim.id, events=self._seen(claim, ctx.now(), carrier), note=note)

    def _seen(self, claim: Claim, otherwise: datetime, carrier: str | None = None) -> tuple[ClaimSeen, ...]:
        """Where the claim stands; nothing for a type or a status that nobody knows."""
        kind, status = self._kind(claim), claim_status(claim.status, self.statuses)
        return (claim_seen(claim, kind, status, otherwise, carrier),) if kind and status else ()


async def _bytes(file: Attachment, ctx: Context) -> bytes | None:
    """The bytes of a file that the bridge makes or keeps; None for one that lies elsewhere."""
    if file.text is not None:
        return content(file)
    return await ctx.blob(file.sha256) if file.sha256 else None
