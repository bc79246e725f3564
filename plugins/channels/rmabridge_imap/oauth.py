"""Tokens for XOAUTH2: by a refresh token (Google, Microsoft) or as the application itself (Microsoft)."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rmabridge.abilities import Context, held_token, keep_token, token_mark
from rmabridge.errors import Unauthorised


class OAuth(BaseModel):
    """Where tokens come from (RFC 6749); without a refresh token the application asks for itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    token_url: str = Field(description="the provider's token endpoint", pattern=r"^https://|^http://(127|localhost)")
    client_id: str = Field(description="the application's id")
    client_secret: SecretStr | None = Field(None, description="the application's secret")
    refresh_token: SecretStr | None = Field(None, description="the mailbox owner's consent")
    scope: str | None = Field(None, description="what is asked for, where the provider wants to be told")


async def bearer(oauth: OAuth, ctx: Context) -> str:
    """A token with two minutes left at least: the stored one, or a new one, which is stored."""
    if (token := await held_token(ctx, _mark(oauth))) is not None:
        return token
    async with ctx.tokens.renewing():
        return await held_token(ctx, _mark(oauth)) or await _renewed(oauth, ctx)


async def _renewed(oauth: OAuth, ctx: Context) -> str:
    held = await ctx.tokens.get() or {}
    newer = held.get("refresh_token") if held.get("for") == _mark(oauth) else None
    answer = await ctx.http.post(oauth.token_url, data=_form(oauth, newer), extensions={"reads": True})
    if answer.status_code == 400:
        raise Unauthorised("the token is not renewed: HTTP 400", hint="give consent again, or check client and scope")
    answer.raise_for_status()
    told = answer.json()
    newer = told.get("refresh_token") or newer
    beside = {"refresh_token": str(newer)} if newer else {}
    seconds = int(told.get("expires_in", 3600))
    return await keep_token(ctx, _mark(oauth), str(told["access_token"]), seconds, **beside)


def _form(oauth: OAuth, newer: str | None) -> dict[str, str]:
    form = {"client_id": oauth.client_id, "grant_type": "client_credentials"}
    if oauth.refresh_token is not None:
        form |= {"grant_type": "refresh_token", "refresh_token": newer or oauth.refresh_token.get_secret_value()}
    if oauth.client_secret is not None:
        form["client_secret"] = oauth.client_secret.get_secret_value()
    return form | ({"scope": oauth.scope} if oauth.scope else {})


def _mark(oauth: OAuth) -> str:
    """Which consent the stored token belongs to: a new one in the settings makes it void."""
    consent = oauth.refresh_token.get_secret_value() if oauth.refresh_token else ""
    return token_mark(oauth.token_url, oauth.client_id, consent)
