"""The account's settings, the signature of its calls, its token, and what the answers say went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

from pydantic import Field, SecretStr

from rmabridge.abilities import Connects, Context, Plugin
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import dig, dump_json, read_json, text
from rmabridge.wire.signing import digest_hex, sorted_pairs

from .terms import code, parts, request_of, table

Meaning = Literal["busy", "unsure", "expired", "credentials", "refused"]
_CONNECT: Final = "give consent again: rmabridge accounts connect"


def sign(params: Mapping[str, str], secret: str) -> str:
    """Upper-case MD5 of all parameters, sorted and run together, between the secret and the secret."""
    return digest_hex(f"{secret}{sorted_pairs(params)}{secret}".encode()).upper()


class Expired(Exception):
    """The access token is over: the gateway refused the call before anybody looked at it."""


class Calls(Plugin, Connects):
    """One shop's token at one app, and its ways to ask and to act."""

    url: str = Field("https://gw-api.pinduoduo.com/api/router", description="the API's address")
    token_url: str = Field("https://open-api.pinduoduo.com/oauth/token", description="where tokens are had and renewed")
    consent_url: str = Field("https://mms.pinduoduo.com/open.html", description="the page where a seller consents")
    client_id: str = Field(description="the app's client_id", min_length=1)
    client_secret: SecretStr = Field(description="the app's client_secret, which signs every call", min_length=1)
    access_token: SecretStr | None = Field(
        None, description="the shop's token; left out, the one that 'rmabridge accounts connect' has stored"
    )
    error_meanings: dict[str, Meaning] = Field(
        default_factory=dict, description="error codes that mean something else than terms.toml says"
    )
    rate: str | None = Field("9/s", description="most calls to the vendor, e.g. '10/s' or '200/min'")

    async def _call(self, ctx: Context, method: str, *, acting: bool = False, **params: Any) -> dict[str, Any]:
        """Ask, or (``acting``) do something; where the token is over it is renewed, and the call made once more."""
        token = await self._token(ctx)
        try:
            return await self._post(ctx, method, params, token, acting=acting)
        except Expired as over:
            newer = await self._renewed(ctx, token, over)
        try:
            return await self._post(ctx, method, params, newer, acting=acting)
        except Expired as over:
            raise Unauthorised(str(over), hint=_CONNECT) from over

    async def _post(
        self, ctx: Context, method: str, params: dict[str, Any], token: str, *, acting: bool
    ) -> dict[str, Any]:
        given = {
            "type": method,
            "client_id": self.client_id,
            "access_token": token,
            "timestamp": str(int(ctx.now().timestamp())),
            "data_type": "JSON",
            "version": "V1",
            **{name: _written(value) for name, value in params.items() if value not in (None, "")},
        }
        signed = given | {"sign": sign(given, self.client_secret.get_secret_value())}
        answer = await ctx.http.post(self.url, data=signed, extensions={"reads": not acting})
        answer.raise_for_status()
        return self._outcome(method, read_json(answer.content), acting=acting)

    def _outcome(self, method: str, told: Any, *, acting: bool) -> dict[str, Any]:
        refusal = dig(told, "error_response")
        if isinstance(refusal, dict):
            raise self._refusal(refusal, acting=acting)
        if not isinstance(told, dict):
            raise ValueError(f"the answer to {method} is not of Pinduoduo's form")
        # Some answers lie in one wrapper more (refund_increment_get_response, response), some do not.
        inner = next((one for name, one in told.items() if name.endswith("response")), told)
        if not isinstance(inner, dict) or not inner:
            raise ValueError(f"the answer to {method} is not of Pinduoduo's form")
        return inner

    def _refusal(self, told: dict[str, Any], *, acting: bool) -> Exception:
        number, sub = code(told.get("error_code")), text(told.get("sub_code")) or ""
        reason = text(told.get("sub_msg")) or text(told.get("error_msg")) or "no reason given"
        said = f"{number} {sub}: {reason}" if sub else f"{number}: {reason}"
        match self.error_meanings.get(number) or table("errors").get(number, "refused"):
            case "busy":
                return Unavailable(said)
            case "unsure":
                return ValueError(f"{said}: it may have happened") if acting else Unavailable(said)
            case "expired":
                return Expired(said)
            case "credentials":
                return Unauthorised(said, hint="check client_id, client_secret, the token and the clock")
            case _:
                return Rejected(said)

    async def _refund(self, request: str, ctx: Context) -> dict[str, Any]:
        """The request as it is now."""
        order, id_ = parts(request)
        held = await self._call(ctx, "pdd.refund.information.get", after_sales_id=id_, order_sn=order)
        if request_of({"order_sn": order} | held) != request:
            raise Rejected("Pinduoduo shows no such request")
        return held

    # The token

    async def _token(self, ctx: Context) -> str:
        if self.access_token is not None:
            return self.access_token.get_secret_value()
        if token := (await ctx.tokens.get() or {}).get("access_token"):
            return token
        raise Unauthorised("the shop was never connected", hint="set access_token, or: rmabridge accounts connect")

    async def _renewed(self, ctx: Context, used: str, over: Expired) -> str:
        """The token after ``used``: another call's, or a new one for the stored refresh token."""
        async with ctx.tokens.renewing():
            held = await ctx.tokens.get() or {}
            if self.access_token is not None or not held.get("refresh_token"):
                raise Unauthorised(str(over), hint=_CONNECT) from over
            if held["access_token"] == used:
                asked = {"grant_type": "refresh_token", "refresh_token": held["refresh_token"]}
                held = await self._granted(ctx, asked)
                await ctx.tokens.put(held)
            return held["access_token"]

    async def _granted(self, ctx: Context, asked: dict[str, str]) -> dict[str, str]:
        app = {"client_id": self.client_id, "client_secret": self.client_secret.get_secret_value()}
        answer = await ctx.http.post(self.token_url, json=app | asked, extensions={"reads": True})
        answer.raise_for_status()
        told = read_json(answer.content)
        if not (token := text(dig(told, "access_token"))):
            why = text(dig(told, "error_response", "error_msg")) or "the answer holds no token"
            raise Unauthorised(f"no token was given: {why}", hint=_CONNECT)
        refresh = text(dig(told, "refresh_token")) or asked.get("refresh_token")
        return {"access_token": token} | ({"refresh_token": refresh} if refresh else {})

    def authorise_url(self, redirect: str, state: str) -> str | None:
        """The seller's page of consent."""
        asked = {"response_type": "code", "client_id": self.client_id, "redirect_uri": redirect, "state": state}
        return f"{self.consent_url}?{urlencode(asked)}"

    async def exchange(self, query: dict[str, str], redirect: str, ctx: Context) -> dict[str, str]:
        """Turn the callback's code into a token."""
        if not query.get("code"):
            raise Unauthorised("the callback carries no code", hint="connect once more")
        asked = {"grant_type": "authorization_code", "code": query["code"], "redirect_uri": redirect}
        return await self._granted(ctx, asked)


def _written(value: Any) -> str:
    """A parameter as it is signed and sent: objects as JSON text."""
    return dump_json(value) if isinstance(value, dict | list) else str(value)
