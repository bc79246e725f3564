"""The account's keys, and the one way to post a form to Kuaidi100."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Context, Plugin, Secrets, live
from rmabridge.errors import Unauthorised
from rmabridge.wire.bodies import read_object
from rmabridge.wire.signing import digest_hex

FORM: Final = "application/x-www-form-urlencoded"


def signature(*parts: str) -> str:
    """Kuaidi100's signature: the MD5 of the parts joined, in upper-case hex."""
    return digest_hex("".join(parts).encode()).upper()


class Calls(Plugin):
    """Settings that every call needs."""

    customer: str = Field(min_length=1, description="customer code, shown in Kuaidi100's console")
    api_key: Secrets = Field(description="授权key; signs queries and opens subscriptions (the first live one)")
    url: str = Field("https://poll.kuaidi100.com", description="address of queries and subscriptions")

    def _first(self, secrets: Secrets, name: str, now: datetime) -> str:
        if found := live(secrets, now):
            return found[0]
        raise Unauthorised(f"no {name} is live", hint=f"put a current {name} into the account's settings")

    async def _post(self, ctx: Context, address: str, form: dict[str, str]) -> dict[str, Any]:
        response = await ctx.http.post(address, data=form, headers={"Content-Type": f"{FORM};charset=utf-8"})
        response.raise_for_status()
        return read_object(response.content)
