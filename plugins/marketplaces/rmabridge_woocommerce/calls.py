"""The shop's address and keys, and its one way to call the REST API."""

from __future__ import annotations

from typing import Any

import httpx
from pydantic import Field, SecretStr

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Malformed, Rejected
from rmabridge.wire.bodies import dig, read_json, read_object, text


class Calls(Plugin):
    """Where the shop is, and how it is asked."""

    url: str = Field(
        pattern=r"^https?://", description="address of the site with its path, such as https://shop.example/store"
    )
    consumer_key: SecretStr = Field(
        min_length=1, description="ck_…, with read and write rights: Settings → Advanced → REST API"
    )
    consumer_secret: SecretStr = Field(min_length=1, description="cs_…, shown once beside the key")

    async def _call(
        self, ctx: Context, method: str, path: str, json: Any = None, params: dict[str, str] | None = None
    ) -> Any:
        """The answer's JSON; WooCommerce takes the keys by Basic only over https."""
        keys = (self.consumer_key.get_secret_value(), self.consumer_secret.get_secret_value())
        address = f"{self.url.rstrip('/')}/wp-json/wc/v3{path}"
        answer = await ctx.http.request(method, address, json=json, params=params, auth=keys)
        _complain(answer)
        return read_json(answer.content)


def _complain(answer: httpx.Response) -> None:
    """Give a refusal WooCommerce's words; the other statuses speak for themselves."""
    if answer.status_code in {400, 404, 409, 410, 413, 422}:
        code, reason = told(answer.content)
        hint = "it is gone, or url is not the address of the site" if answer.status_code == 404 else ""
        raise Rejected(f"HTTP {answer.status_code}: {reason}{f' [{code}]' if code else ''}", hint=hint)
    answer.raise_for_status()


def told(raw: bytes) -> tuple[str | None, str]:
    """Code and words of a refusal; the beginning of what is not JSON."""
    try:
        body = read_object(raw)
    except Malformed:
        return None, raw[:300].decode("utf-8", "replace").strip() or "no reason given"
    return text(body.get("code")), text(body.get("message")) or "no reason given"


def rows(told: Any) -> list[dict[str, Any]]:
    """The objects of a list; an answer that is none is not understood."""
    if not isinstance(told, list):
        raise ValueError("WooCommerce answered without a list")
    return [one for one in told if isinstance(one, dict)]


def made(told: Any) -> str:
    """The id of what a call made; without one it may have happened all the same."""
    if not (id_ := text(dig(told, "id"))):
        raise ValueError("WooCommerce answered without an id; it may have happened")
    return id_
