"""The account's address and identity, and its one way to call the API."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
from pydantic import ConfigDict, Field, SecretStr

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import read_object, text


class Calls(Plugin):
    """Where Zammad is, how it is asked, and who we are there."""

    # Ids are numbers to operators, too.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    url: str = Field(pattern=r"^https?://", description="address of Zammad, such as https://desk.example")
    token: SecretStr = Field(
        min_length=1,
        description="access token of an agent of the bridge's own, with ticket.agent: Profile → Token Access",
    )
    bot_ids: frozenset[Annotated[str, Field(pattern=r"^[0-9]+$")]] = Field(
        min_length=1, description="user ids of that agent: what it wrote is an echo; `rmabridge check` shows the id"
    )
    tag: str = Field("rmabridge", pattern=r"^[^,]+$", description="tag of the tickets that the bridge opened")

    @property
    def site(self) -> str:
        """Zammad's address without a slash at its end."""
        return self.url.rstrip("/")

    def _page(self, ticket: str) -> str:
        return f"{self.site}/#ticket/zoom/{ticket}"

    async def _call(
        self, ctx: Context, method: str, path: str, json: Any = None, params: dict[str, str] | None = None
    ) -> bytes:
        headers = {"Accept": "application/json", "Authorization": f"Token token={self.token.get_secret_value()}"}
        answer = await ctx.http.request(method, f"{self.site}/api/v1{path}", json=json, params=params, headers=headers)
        _complain(answer)
        return answer.content


def _complain(answer: httpx.Response) -> None:
    """Give a refusal Zammad's words; the other statuses speak for themselves."""
    if answer.status_code == 403:
        # Also for a single group: the other tickets can still be worked on.
        raise Rejected(f"HTTP 403: {_reason(answer.content)}", hint="give the bridge's agent full access to the group")
    if answer.status_code in {400, 404, 409, 413, 422}:
        raise Rejected(f"HTTP {answer.status_code}: {_reason(answer.content)}")
    answer.raise_for_status()


def _reason(raw: bytes) -> str:
    try:
        body = read_object(raw)
    except Malformed:
        return raw[:300].decode("utf-8", "replace").strip() or "no reason given"
    return (text(body.get("error_human")) or text(body.get("error")) or "no reason given")[:1000]
