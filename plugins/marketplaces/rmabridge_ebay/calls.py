"""The account's settings, its two tokens (the seller's and the application's), and its ways to ask and to act."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import httpx
from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Plugin, granted, token_mark
from rmabridge.errors import Unauthorised, Unavailable
from rmabridge.wire.bodies import read_object

EARLY: Final = timedelta(minutes=2)
Whose = Literal["seller", "app"]


class Calls(Plugin):
    """One seller's consent for one application."""

    url: str = Field("https://api.ebay.com", description="the API's address; the sandbox has another")
    token_url: str = Field("https://api.ebay.com/identity/v1/oauth2/token", description="where access tokens come from")
    client_id: str = Field(description="the application's App ID")
    client_secret: SecretStr = Field(description="the application's Cert ID", min_length=1)
    refresh_token: SecretStr = Field(description="the seller's consent", min_length=1)
    marketplace_id: str = Field("EBAY_US", description="the marketplace, for example EBAY_GB")
    scopes: str | None = Field(None, description="scopes of the seller's token; left out, those that were consented to")
    key_scope: str = Field("https://api.ebay.com/oauth/api_scope", description="scope of the token that fetches keys")
    locale: str | None = Field(None, description="language of the marketplace's buyers, for example en-US")

    async def _token(self, ctx: Context, whose: Whose) -> str:
        """A token with two minutes left at least: the stored one, or a new one, which is stored beside the other."""
        held = await ctx.tokens.get() or {}
        if held.get("for") != self.mark():
            held = {"for": self.mark()}
        if (token := held.get(whose)) and datetime.fromisoformat(held[f"{whose}_until"]) > ctx.now() + EARLY:
            return token
        told = await self._new_token(ctx, whose)
        until = ctx.now() + timedelta(seconds=int(told.get("expires_in", 7200)))
        made = str(told["access_token"])
        await ctx.tokens.put({**held, whose: made, f"{whose}_until": until.isoformat()})
        return made

    def mark(self) -> str:
        """Which consent the stored tokens belong to: a new one in the settings makes them void."""
        return token_mark(self.token_url, self.client_id, self.refresh_token.get_secret_value(), self.scopes)

    async def _new_token(self, ctx: Context, whose: Whose) -> dict[str, Any]:
        form = {"grant_type": "client_credentials", "scope": self.key_scope}
        if whose == "seller":
            form = {"grant_type": "refresh_token", "refresh_token": self.refresh_token.get_secret_value()}
            form |= {"scope": self.scopes} if self.scopes else {}
        pair = b64encode(f"{self.client_id}:{self.client_secret.get_secret_value()}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
        try:
            answer = await ctx.http.post(self.token_url, data=form, headers=headers, extensions={"reads": True})
        except httpx.TransportError as error:
            # Nothing but a token was asked for, so a line that breaks here is no doubt about the action.
            raise Unavailable(f"no token: {type(error).__name__}") from error
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            raise Unavailable(f"no token: HTTP {answer.status_code}")
        if answer.status_code >= 300:
            raise Unauthorised(
                f"no token: HTTP {answer.status_code}", hint="check client_id, client_secret and refresh_token"
            )
        return granted(answer)

    async def _post_order(self, ctx: Context, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """A call to the Post-Order API, which writes the token's kind in its own way."""
        headers = {
            "Authorization": f"IAF {await self._token(ctx, 'seller')}",
            "X-EBAY-C-MARKETPLACE-ID": self.marketplace_id,
            "Accept": "application/json",
        }
        return await self._answer(ctx, method, f"{self.url}/post-order/v2{path}", headers, **parts)

    async def _sell(self, ctx: Context, method: str, path: str, **parts: Any) -> dict[str, Any]:
        """A call to the Fulfillment API."""
        headers = {"Authorization": f"Bearer {await self._token(ctx, 'seller')}", "Accept": "application/json"}
        return await self._answer(ctx, method, f"{self.url}/sell/fulfillment/v1{path}", headers, **parts)

    async def _answer(
        self, ctx: Context, method: str, address: str, headers: dict[str, str], **parts: Any
    ) -> dict[str, Any]:
        answer = await ctx.http.request(method, address, headers=headers, **parts)
        if answer.status_code in (401, 403):
            # When the operator has put things right, a token from before must not be taken again.
            await ctx.tokens.put({})
        answer.raise_for_status()
        if not answer.content and method != "GET":
            return {}
        told = read_object(answer.content)
        if told.get("error") or told.get("errors"):
            raise ValueError(f"HTTP {answer.status_code} with an error: it may have happened")
        return told
