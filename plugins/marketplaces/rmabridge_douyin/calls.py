"""The account's settings, the signature of its calls, its token, and what the answers say went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

from pydantic import Field, SecretStr

from rmabridge.abilities import Connects, Context, Plugin, Secrets, live
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.wire.bodies import dig, read_json, text
from rmabridge.wire.signing import hmac_hex, sorted_pairs

from .terms import canonical, code, number, table

Meaning = Literal["busy", "unsure", "expired", "credentials", "refused"]
_CONNECT: Final = "check shop_id and the shop's consent; apps that serve other shops: rmabridge accounts connect"
_DONE: Final = "10000"


def sign(params: Mapping[str, str], secret: str) -> str:
    """HMAC-SHA256 over app_key, method, param_json, timestamp and v, between the secret and the secret."""
    return hmac_hex(secret, f"{secret}{sorted_pairs(params)}{secret}".encode())


def meaning(number_: str, sub: str, own: Mapping[str, Meaning]) -> Meaning:
    """What an error is to us; a sub-code says more than the code before it, the operator's own table comes first."""
    for known in (own, table("errors")):
        beginnings = [one for one in known if not one.isdigit() and sub.startswith(one)]
        if found := max(beginnings, key=len, default=number_ if number_ in known else None):
            told: Meaning = known[found]
            return told
    return "refused"


class Expired(Exception):
    """The access token is over: the gateway refused the call before anybody looked at it."""


class Calls(Plugin, Connects):
    """One shop at one app, and its ways to ask and to act."""

    url: str = Field("https://openapi-fxg.jinritemai.com", description="the API's address; the sandbox has another")
    app_key: SecretStr = Field(description="the app's key", min_length=1)
    app_secret: Secrets = Field(description="the app's secret, which signs calls and pushes; two while one is replaced")
    shop_id: str = Field(description="the shop's id; pushes of other shops of the same app mean nothing here")
    self_use: bool = Field(True, description="the app is the shop's own and gets its token without anybody's consent")
    consent_url: str | None = Field(
        None, description="the page where a seller consents, as the app's console shows it, for apps that are not"
    )
    error_meanings: dict[str, Meaning] = Field(
        default_factory=dict,
        description="error codes, or beginnings of sub-codes, that mean something else than terms.toml says",
    )

    async def _call(self, ctx: Context, path: str, params: dict[str, Any], *, acting: bool = False) -> dict[str, Any]:
        """Ask, or (``acting``) do something; where the token is over it is renewed, and the call made once more."""
        held = await ctx.tokens.get() or {}
        token = held.get("access_token") or await self._renewed(ctx, None, "the shop has no token yet")
        try:
            return await self._post(ctx, path, params, token, acting=acting)
        except Expired as over:
            newer = await self._renewed(ctx, token, str(over))
        try:
            return await self._post(ctx, path, params, newer, acting=acting)
        except Expired as over:
            raise Unauthorised(str(over), hint=_CONNECT) from over

    async def _post(
        self, ctx: Context, path: str, params: dict[str, Any], token: str | None, *, acting: bool
    ) -> dict[str, Any]:
        body, secret = canonical(params), next(iter(live(self.app_secret, ctx.now())), "")
        signed = {
            "app_key": self.app_key.get_secret_value(),
            "method": path.replace("/", "."),
            "timestamp": str(int(ctx.now().timestamp())),
            "v": "2",
        }
        mark = sign(signed | {"param_json": body}, secret)
        query = signed | {"sign_method": "hmac-sha256", "sign": mark} | ({"access_token": token} if token else {})
        headers = {"Content-Type": "application/json", "x-open-no-old-err-code": "1"}
        answer = await ctx.http.post(
            f"{self.url}/{path}",
            params=query,
            content=body.encode(),
            headers=headers,
            extensions={"reads": not acting},
        )
        answer.raise_for_status()
        return self._outcome(path, read_json(answer.content), acting=acting)

    def _outcome(self, path: str, told: Any, *, acting: bool) -> dict[str, Any]:
        if not isinstance(told, dict) or not code(told.get("code")):
            raise ValueError(f"the answer to {path} is not of Doudian's form")
        if code(told["code"]) != _DONE:
            raise self._refusal(told, acting=acting)
        data = told.get("data")
        return data if isinstance(data, dict) else {}

    def _refusal(self, told: dict[str, Any], *, acting: bool) -> Exception:
        number_, sub = code(told["code"]), text(told.get("sub_code")) or ""
        said = f"{number_} {sub}: {text(told.get('sub_msg')) or text(told.get('msg')) or 'no reason given'}"
        match meaning(number_, sub, self.error_meanings):
            case "busy":
                return Unavailable(said)
            case "unsure":
                return ValueError(f"{said}: it may have happened") if acting else Unavailable(said)
            case "expired":
                return Expired(said)
            case "credentials":
                return Unauthorised(said, hint="check app_key, app_secret, the app's rights, its IP list and the clock")
            case _:
                return Rejected(said)

    async def _detail(self, request: str, ctx: Context) -> dict[str, Any]:
        """The request as it is now, with the update_time that the next decision must name."""
        told = await self._call(ctx, "afterSale/Detail", {"after_sale_id": request})
        if number(dig(told, "process_info", "after_sale_info", "after_sale_id")) != request:
            raise Rejected("Doudian shows no such request")
        return told

    # The token

    async def _renewed(self, ctx: Context, used: str | None, why: str) -> str:
        """The token after ``used``: another call's, or a new one."""
        async with ctx.tokens.renewing():
            held = await ctx.tokens.get() or {}
            if not held.get("access_token") or held["access_token"] == used:
                held = await self._granted(ctx, self._right(held, why))
                await ctx.tokens.put(held)
            return held["access_token"]

    def _right(self, held: dict[str, str], why: str) -> tuple[str, dict[str, Any]]:
        if self.self_use:
            # An app of the shop's own may ask again at any time, so that no dead refresh token can lock it out.
            return "token/create", {"grant_type": "authorization_self", "code": "", "shop_id": self.shop_id}
        if refresh := held.get("refresh_token"):
            return "token/refresh", {"grant_type": "refresh_token", "refresh_token": refresh}
        raise Unauthorised(why, hint=_CONNECT)

    async def _granted(self, ctx: Context, right: tuple[str, dict[str, Any]]) -> dict[str, str]:
        told = await self._post(ctx, *right, None, acting=False)
        if not (token := text(told.get("access_token"))):
            raise Unauthorised("the answer holds no token", hint=_CONNECT)
        refresh = text(told.get("refresh_token"))
        return {"access_token": token} | ({"refresh_token": refresh} if refresh else {})

    def authorise_url(self, redirect: str, state: str) -> str | None:
        """The seller's page of consent; none for the shop's own app. Where it leads back to is set in the console."""
        if self.self_use or not self.consent_url:
            return None
        return f"{self.consent_url}{'&' if '?' in self.consent_url else '?'}{urlencode({'state': state})}"

    async def exchange(self, query: dict[str, str], redirect: str, ctx: Context) -> dict[str, str]:
        """Turn the callback's code into a token."""
        if not query.get("code"):
            raise Unauthorised("the callback carries no code", hint="connect once more")
        return await self._granted(ctx, ("token/create", {"grant_type": "authorization_code", "code": query["code"]}))
