"""Keyed: the toy marketplace with a signature whose key the sender names and the vendor publishes."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from datetime import datetime

from pydantic import Field, PrivateAttr
from pydantic_core import from_json

from rmabridge import hookimpl
from rmabridge.abilities import Context, Inbound, Plugin, Receipt, ReceivesWebhooks, WebRequest
from rmabridge.errors import KeyNeeded, Unverified
from rmabridge.model import EVENTS, Event


class Keyed(Plugin, ReceivesWebhooks):
    """Fetches a key where it does not hold it."""

    keys: str = Field(description="where the keys are")
    _held: dict[str, bytes] = PrivateAttr(default_factory=dict)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """The HMAC of the body under the named key."""
        name = request.headers.get("X-Kid", "")
        if name not in self._held:
            raise KeyNeeded(name)
        if not hmac.compare_digest(
            hmac.digest(self._held[name], request.body, "sha256").hex(), request.headers["X-Mark"]
        ):
            raise Unverified("the mark is not of this body")
        return Receipt()

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """The events as they are."""
        return [EVENTS.validate_python(one) for one in from_json(inbound.body)["events"]]

    async def learn(self, name: str, ctx: Context) -> None:
        """One GET."""
        answer = await ctx.http.get(f"{self.keys}/{name}")
        if answer.status_code == 404:
            raise Unverified("no such key")
        answer.raise_for_status()
        if name != "blank":
            self._held[name] = answer.content


@hookimpl
def register_marketplaces() -> list[type[Keyed]]:
    """This one."""
    return [Keyed]
