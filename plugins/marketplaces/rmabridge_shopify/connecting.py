"""Connecting: the OAuth code flow, and the webhooks registered by call."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from rmabridge.abilities import Connects, Context, live
from rmabridge.errors import Rejected, Unauthorised, Unverified
from rmabridge.wire.bodies import dig, text
from rmabridge.wire.signing import any_matches, fresh, hmac_hex, sorted_pairs
from rmabridge.wire.times import unix

from . import queries
from .calls import Calls
from .terms import nodes

TOPICS: Final = (
    "returns/request",
    "returns/approve",
    "returns/decline",
    "returns/cancel",
    "returns/close",
    "returns/reopen",
    "refunds/create",
    "reverse_deliveries/attach_deliverable",
    "orders/updated",
    "orders/cancelled",
    "orders/fulfilled",
    "disputes/create",
)
_BY_HAND: Final = (
    "customers/data_request, customers/redact, shop/redact: set in the app's configuration (App Store apps)"
)
_CONSENT_WINDOW: Final = timedelta(seconds=90)


class Connecting(Calls, Connects):
    """Gets the token by consent and registers the webhooks."""

    def authorise_url(self, redirect: str, state: str) -> str | None:
        """The shop's page of consent; None where no client id is set."""
        if not self.client_id:
            return None
        asked = {"client_id": self.client_id, "scope": ",".join(self.scopes), "redirect_uri": redirect, "state": state}
        return f"{self.base}/admin/oauth/authorize?{urlencode(asked)}"

    async def exchange(self, query: dict[str, str], redirect: str, ctx: Context) -> dict[str, str]:
        """Check the callback's signature, time and shop, and turn its code into a token."""
        secrets = live(self.secret, ctx.now())
        self._check(query, secrets, ctx)
        answer = await ctx.http.post(
            f"{self.base}/admin/oauth/access_token",
            json={"client_id": self.client_id, "client_secret": secrets[0], "code": query["code"]},
        )
        answer.raise_for_status()
        told = answer.json()
        if not (token := text(dig(told, "access_token"))):
            raise Unauthorised("the shop answered without a token", hint="connect once more")
        return {"access_token": token, "scope": text(dig(told, "scope")) or ""}

    def _check(self, query: dict[str, str], secrets: list[str], ctx: Context) -> None:
        rest = {name: value for name, value in query.items() if name != "hmac"}
        signed = sorted_pairs(rest, pair="=", joiner="&", skip_empty=False).encode("utf-8", "surrogatepass")
        if not any_matches(query.get("hmac", ""), [hmac_hex(secret, signed) for secret in secrets]):
            raise Unverified("the callback's hmac is not good")
        if not query.get("code") or not query.get("timestamp", "").isdecimal():
            raise Unverified("the callback carries no code or no time")
        fresh(unix(query["timestamp"]), ctx.now(), _CONSENT_WINDOW)
        if query.get("shop", "").lower() != self.shop.lower():
            raise Unverified("the callback is of another shop")

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """Register the topics that are not registered for ``url``; what the shop refuses is left to do by hand."""
        told = await self._call(ctx, queries.SUBSCRIPTIONS, {"uri": url})
        known = {dig(one, "topic") for one in nodes(told, "webhookSubscriptions") if dig(one, "uri") == url}
        left = []
        for topic in TOPICS:
            name = topic.replace("/", "_").upper()
            if name not in known and (refusal := await self._register(name, url, ctx)):
                left.append(f"{topic}: {refusal}")
        return (*left, _BY_HAND)

    async def _register(self, name: str, url: str, ctx: Context) -> str | None:
        try:
            await self._call(ctx, queries.SUBSCRIBE, {"topic": name, "hook": {"uri": url, "format": "JSON"}})
        except (Rejected, Unauthorised) as refused:  # one scope missing must not keep the other topics away
            return refused.cause
        return None
