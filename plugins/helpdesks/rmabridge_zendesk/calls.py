"""The account's address and identity, and its one way to call the API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
from pydantic import ConfigDict, Field, SecretStr

from rmabridge.abilities import Context, Plugin, Secrets
from rmabridge.errors import Malformed, Rejected, Unavailable
from rmabridge.wire.bodies import dig, read_object, text


class Calls(Plugin):
    """Where the account is, how it is asked, and who we are there."""

    # Ids are numbers to operators, too.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    subdomain: str = Field(pattern=r"^[A-Za-z0-9-]+$", description="the account's name in NAME.zendesk.com")
    url: str = Field("", description="address of the account; https://SUBDOMAIN.zendesk.com where it is left out")
    email: str | None = Field(None, description="the API user's e-mail address; left out, the token is an OAuth token")
    token: SecretStr = Field(description="API token, or OAuth access token")
    secret: Secrets = Field((), description="the webhook's signing secret; until it is set no webhook is taken")
    window: timedelta = Field(timedelta(minutes=5), description="how far a webhook's time may be from ours")
    bot_ids: frozenset[str] = Field(
        frozenset(), description="user ids of the API user: what it wrote is an echo; `rmabridge check` shows the id"
    )
    bot_email: str | None = Field(None, description="the API user's address in trigger bodies; `email` where left out")
    mails_requester: bool = Field(
        True,
        description="Zendesk mails agents' public comments to the requester, as its stock trigger does: they are not "
        "carried to a customer whose ticket it is; off: the bridge carries them all",
    )
    marker: str = Field("", description="last line put under our comments; needed where an agent shares the API user")

    @property
    def site(self) -> str:
        """The account's address without a slash at its end."""
        return (self.url or f"https://{self.subdomain}.zendesk.com").rstrip("/")

    def _page(self, ticket: str) -> str:
        return f"{self.site}/agent/tickets/{ticket}"

    async def _call(
        self,
        ctx: Context,
        method: str,
        path: str,
        json: Any = None,
        *,
        params: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> bytes:
        token = self.token.get_secret_value()
        sent = {"Accept": "application/json", **(headers or {})}
        auth = httpx.BasicAuth(f"{self.email}/token", token) if self.email else None
        if auth is None:
            sent["Authorization"] = f"Bearer {token}"
        address = f"{self.site}/api/v2{path}"
        answer = await ctx.http.request(
            method, address, json=json, content=content, params=params, headers=sent, auth=auth
        )
        _complain(answer)
        return answer.content


def _complain(answer: httpx.Response) -> None:
    """Give a refusal the vendor's words; the other statuses speak for themselves."""
    if answer.status_code == 409:
        raise Unavailable(_reason(answer.content), hint="the ticket was being changed by somebody else")
    if answer.status_code in {400, 404, 413, 422}:
        reason = _reason(answer.content)
        raise Rejected(f"HTTP {answer.status_code}: {reason}", hint=_hint(answer.status_code, reason))
    answer.raise_for_status()


def _hint(status: int, reason: str) -> str:
    if status == 404:
        return "the ticket was deleted or merged, or the subdomain is wrong"
    if "closed" in reason.lower():
        return "a closed ticket takes no changes: write a follow-up in Zendesk or open another ticket"
    if "idempoten" in reason.lower():
        return "an earlier try with other words may have made the ticket: look for its external id"
    return ""


def _reason(raw: bytes) -> str:
    """The reason in whichever of Zendesk's forms of an error it comes, or the plain text."""
    try:
        body = read_object(raw)
    except Malformed:
        return raw[:300].decode("utf-8", "replace").strip() or "no reason given"
    error = body.get("error")
    named = [error.get("title"), error.get("message")] if isinstance(error, dict) else [error]
    found = [text(one) for one in (*named, body.get("description"), *_details(body.get("details")))]
    return ": ".join(one for one in found if one)[:1000] or raw[:300].decode("utf-8", "replace")


def _details(details: Any) -> Iterator[Any]:
    if not isinstance(details, dict):
        return
    for field, problems in details.items():
        for problem in problems if isinstance(problems, list) else [problems]:
            said = dig(problem, "description") if isinstance(problem, dict) else problem
            yield f"{field} {said}"
