"""Coupons as discount codes, gift cards, and tags of customers.

A code is made from the delivery's key, so that a second try finds the first one's coupon.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Finding, GrantsCredit, Handler, Result, TagsBuyers
from rmabridge.errors import Rejected
from rmabridge.model import Action, GiveCredit, TagBuyer
from rmabridge.wire.bodies import dig, text

from . import queries
from .calls import Calls
from .terms import gid, number

LETTERS: Final = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


class Giving(Calls, GrantsCredit, TagsBuyers):
    """Gives credit in the shop's own currency, and marks customers."""

    code_prefix: str = Field("SORRY", description="how coupon and gift card codes begin", pattern="^[A-Za-z0-9]{0,8}$")

    def route(self, action: Action) -> Handler | None:
        """Store credit is left to other accounts, because a lost answer could not be looked up."""
        if isinstance(action, GiveCredit) and action.credit == "store_credit":
            return None
        return super().route(action)

    async def give_credit(self, action: GiveCredit, ctx: Context) -> Result:
        """Make the code; one that is there already is answered, not made again."""
        await self._same_currency(action, ctx)
        if action.credit == "gift_card":
            return await self._gift_card(action, ctx)
        found = await self.find_credit(action, ctx)
        if found.happened and found.result:
            return found.result
        told = await self._call(ctx, queries.COUPON, {"input": self._coupon(action, ctx)})
        if not dig(told, "discountCodeBasicCreate", "codeDiscountNode", "id"):
            raise ValueError("the answer names no discount")
        return Result(id=self._code(ctx))

    async def _gift_card(self, action: GiveCredit, ctx: Context) -> Result:
        asked = {
            "initialValue": f"{action.amount.amount:f}",
            "code": self._code(ctx),
            "expiresOn": (ctx.now() + timedelta(days=action.valid_days)).date().isoformat(),
            "note": f"{action.external} {ctx.idempotency_key}",
        }
        if buyer := number(action.buyer):
            asked["customerId"] = gid("Customer", buyer)
        told = await self._call(ctx, queries.GIFT_CARD, {"input": asked})
        return Result(id=text(dig(told, "giftCardCreate", "giftCardCode")) or self._code(ctx))

    async def find_credit(self, action: GiveCredit, ctx: Context) -> Finding:
        """Whether a discount of our code is there; gift cards cannot be looked up by their code."""
        if action.credit == "gift_card":
            return Finding(None)
        told = await self._call(ctx, queries.COUPON_BY_CODE, {"code": self._code(ctx)})
        if dig(told, "codeDiscountNodeByCode", "id"):
            return Finding(True, Result(id=self._code(ctx)))
        return Finding(False)

    async def tag_buyer(self, action: TagBuyer, ctx: Context) -> Result:
        """Add the tag to the customer; the next order shows it."""
        buyer = number(action.buyer)
        if buyer is None:
            raise Rejected(f"{action.buyer!r} is no customer's id")
        await self._call(ctx, queries.TAG, {"id": gid("Customer", buyer), "tags": [action.tag]})
        return Result(id=buyer)

    async def _same_currency(self, action: GiveCredit, ctx: Context) -> None:
        told = text(dig(await self._call(ctx, queries.CURRENCY), "shop", "currencyCode"))
        if told != action.amount.currency:
            raise Rejected(f"the shop's currency is {told}", hint=f"give credit in {told}")

    def _code(self, ctx: Context) -> str:
        mark = sha256(ctx.idempotency_key.encode()).digest()[:12]
        return self.code_prefix.upper() + "".join(LETTERS[one % len(LETTERS)] for one in mark)

    def _coupon(self, action: GiveCredit, ctx: Context) -> dict[str, Any]:
        buyer, now = number(action.buyer), ctx.now()
        value = {"discountAmount": {"amount": f"{action.amount.amount:f}", "appliesOnEachItem": False}}
        made: dict[str, Any] = {
            "title": f"{action.external} {action.part}",
            "code": self._code(ctx),
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(days=action.valid_days)).isoformat(),
            "usageLimit": 1,
            "appliesOncePerCustomer": True,
            "context": {"customers": {"add": [gid("Customer", buyer)]}} if buyer else {"all": "ALL"},
            "customerGets": {"value": value, "items": {"all": True}},
        }
        if action.floor:
            least = {"greaterThanOrEqualToSubtotal": f"{action.floor.amount:f}"}
            made["minimumRequirement"] = {"subtotal": least}
        return made
