"""The account's address and identity, and its one way to call the API."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import ConfigDict, Field, SecretStr

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import read_object, text


class Calls(Plugin):
    """Where the account is, how it is asked, and who we are there."""

    # Ids are numbers to operators, too.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    url: str = Field("https://app.chatwoot.com", pattern=r"^https?://", description="address of the installation")
    account_id: int = Field(gt=0, description="number of the account, as in …/app/accounts/NUMBER")
    inbox_id: int = Field(gt=0, description="number of the API inbox that takes the bridge's own conversations")
    token: SecretStr = Field(
        min_length=1, description="access token of a user of the bridge's own, an administrator: Profile → Access Token"
    )
    bot_ids: frozenset[str] = Field(
        min_length=1, description="user ids of that user: what it wrote is an echo; `rmabridge check` shows the id"
    )
    attribute: str = Field(
        "rma_id", pattern=r"^[A-Za-z][\w-]*$", description="custom attribute of conversations that holds the case id"
    )

    @property
    def site(self) -> str:
        """The installation's address without a slash at its end."""
        return self.url.rstrip("/")

    def _page(self, conversation: str) -> str:
        return f"{self.site}/app/accounts/{self.account_id}/conversations/{conversation}"

    async def _call(self, ctx: Context, method: str, path: str, json: Any = None, **more: Any) -> bytes:
        return await self._ask(ctx, method, f"/accounts/{self.account_id}{path}", json, **more)

    async def _ask(
        self,
        ctx: Context,
        method: str,
        path: str,
        json: Any = None,
        params: dict[str, str] | None = None,
        **more: Any,
    ) -> bytes:
        sent = {"Accept": "application/json", "api_access_token": self.token.get_secret_value()}
        answer = await ctx.http.request(
            method, f"{self.site}/api/v1{path}", json=json, params=params, headers=sent, **more
        )
        _complain(answer)
        return answer.content


def _complain(answer: httpx.Response) -> None:
    """Give a refusal Chatwoot's words; the other statuses speak for themselves."""
    if answer.status_code in {400, 402, 404, 422}:
        raise Rejected(f"HTTP {answer.status_code}: {_reason(answer.content)}", hint=_hint(answer.status_code))
    answer.raise_for_status()


def _hint(status: int) -> str:
    if status == 404:
        return "the conversation, inbox or contact is gone, or account_id is wrong"
    return "the plan of this Chatwoot does not include it" if status == 402 else ""


def _reason(raw: bytes) -> str:
    """The reason in whichever of Chatwoot's forms of an error it comes, or the plain text."""
    try:
        body = read_object(raw)
    except Malformed:
        return raw[:300].decode("utf-8", "replace").strip() or "no reason given"
    errors = body.get("errors")
    listed = errors if isinstance(errors, list) else [errors]
    found = [text(one) for one in (body.get("error"), body.get("message"), body.get("description"), *listed)]
    return ": ".join(one for one in found if one)[:1000] or raw[:300].decode("utf-8", "replace")
