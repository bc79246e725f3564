"""The account's settings, its token (Login with Amazon), and its ways to ask: the Selling Partner API and the queue."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, model_validator

from rmabridge.abilities import Context, Plugin, granted, held_token, keep_token, token_mark
from rmabridge.errors import Unauthorised, Unavailable
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.sigv4 import Signer

_BUSY: Final = ("Throttl", "TooManyRequests", "OverLimit", "RequestThrottled")


class Calls(Plugin):
    """One seller's consent for one application, and the access key of its queue."""

    url: str = Field(
        "https://sellingpartnerapi-na.amazon.com",
        description="the API's address: -na, -eu or -fe, as the marketplace is, or a sandbox's",
    )
    token_url: str = Field("https://api.amazon.com/auth/o2/token", description="where access tokens come from")
    client_id: str = Field(description="the application's LWA client id")
    client_secret: SecretStr = Field(description="the application's LWA client secret", min_length=1)
    refresh_token: SecretStr = Field(description="the seller's consent", min_length=1)
    seller_id: str = Field(description="the seller's merchant id; notifications of others stay in the queue")
    marketplace_id: str = Field(description="the marketplace, for example ATVPDKIKX0DER")
    agent: str = Field("rmabridge/0.1 (Language=Python)", description="how calls introduce the application")
    locale: str | None = Field(None, description="language of the marketplace's buyers, for example en-US")
    probe_span: timedelta = Field(timedelta(days=1), description="how far back a check of the account looks for orders")

    queue_url: str | None = Field(None, description="the SQS queue that Amazon sends notifications to")
    queue_region: str = Field("us-east-1", description="the AWS region of the queue")
    queue_key_id: str | None = Field(None, description="id of the AWS access key that reads the queue")
    queue_secret: SecretStr | None = Field(None, description="the AWS access key itself")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.queue_url and not (self.queue_key_id and self.queue_secret):
            raise ValueError("queue_url needs queue_key_id and queue_secret")
        return self

    async def _token(self, ctx: Context) -> str:
        """A token with two minutes left at least: the stored one, or a new one, which is stored."""
        if (held := await held_token(ctx, self.mark())) is not None:
            return held
        told = await self._new_token(ctx)
        return await keep_token(ctx, self.mark(), str(told["access_token"]), int(told.get("expires_in", 3600)))

    def mark(self) -> str:
        """Which consent a stored token belongs to: a new one in the settings makes it void."""
        return token_mark(self.token_url, self.client_id, self.refresh_token.get_secret_value())

    async def _new_token(self, ctx: Context) -> dict[str, Any]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.refresh_token.get_secret_value(),
            "client_id": self.client_id,
            "client_secret": self.client_secret.get_secret_value(),
        }
        try:
            answer = await ctx.http.post(self.token_url, data=form, extensions={"reads": True})
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

    async def _call(
        self, ctx: Context, method: str, path: str, params: dict[str, Any] | None = None, body: Any = None
    ) -> httpx.Response:
        headers = {
            "x-amz-access-token": await self._token(ctx),
            "x-amz-date": ctx.now().strftime("%Y%m%dT%H%M%SZ"),
            "User-Agent": self.agent,
        }
        answer = await ctx.http.request(method, f"{self.url}{path}", params=params, headers=headers, json=body)
        if answer.status_code in (401, 403):
            # When the operator has put things right, a token from before must not be taken again.
            await ctx.tokens.put({})
        if answer.status_code == 429 and "Retry-After" not in answer.headers:
            raise Unavailable("429: too many calls", retry_after=_pause(answer.headers.get("x-amzn-RateLimit-Limit")))
        answer.raise_for_status()
        return answer

    async def _ask(self, ctx: Context, path: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read something."""
        return read_object((await self._call(ctx, "GET", path, params)).content)

    async def _order(self, order: str, ctx: Context) -> dict[str, Any]:
        """The order and its lines, as Amazon shows them now."""
        path = f"/orders/v0/orders/{quote(order, safe='')}"
        head = (await self._ask(ctx, path)).get("payload")
        items: list[Any] = []
        asked: dict[str, Any] | None = None
        for _ in range(20):
            told = (await self._ask(ctx, f"{path}/orderItems", asked)).get("payload")
            items += dig(told, "OrderItems") or []
            if not (more := text(dig(told, "NextToken"))):
                break
            asked = {"NextToken": more}
        return {"order": head, "items": items}

    async def _queue(self, ctx: Context, action: str, **params: Any) -> dict[str, Any]:
        """One call to the queue, signed with its own key."""
        address, secret = self.queue_url or "", self.queue_secret
        signer = Signer(self.queue_key_id or "", secret.get_secret_value() if secret else "", self.queue_region, "sqs")
        body = dump_json({"QueueUrl": address, **params}).encode()
        parts = httpx.URL(address)
        root = str(parts.copy_with(raw_path=b"/"))
        more = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"}
        answer = await ctx.http.post(root, content=body, headers=signer.headers("POST", root, ctx.now(), body, more))
        if answer.status_code == 400:
            cause = _cause(answer)
            if any(one in cause for one in _BUSY):
                raise Unavailable(cause)
        answer.raise_for_status()
        return read_object(answer.content)


def _pause(limit: str | None) -> float | None:
    """Calls per second, as Amazon tells them, as the pause between two."""
    try:
        rate = float(limit or 0)
    except ValueError:
        return None
    return min(1 / rate, 600.0) if rate > 0 else None


def _cause(answer: httpx.Response) -> str:
    told = read_object(answer.content) if answer.content.startswith(b"{") else {}
    return f"{text(told.get('__type')) or ''} {text(told.get('message')) or ''}".strip()
