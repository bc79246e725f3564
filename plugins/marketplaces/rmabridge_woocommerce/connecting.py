"""The webhooks: registered by call, and set active again after WooCommerce gave them up."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from rmabridge.abilities import Connects, Context, Probes, Secrets, live
from rmabridge.wire.bodies import text

from .calls import Calls, rows

TOPICS: Final = ("order.created", "order.updated", "order.restored")


class Connecting(Calls, Connects, Probes):
    """Registers the webhooks and looks after them."""

    secret: Secrets = Field(description="signs the webhooks; `rmabridge accounts connect` sets it on all of ours")

    async def subscribe(self, url: str, ctx: Context) -> tuple[str, ...]:
        """Register the topics that are not registered for ``url``; set disabled ones active again."""
        ours = await self._ours(url, ctx)
        secret = live(self.secret, ctx.now())[0]
        for topic in TOPICS:
            known = [one for one in ours if one.get("topic") == topic]
            if not known:
                asked = {"name": f"rmabridge {topic}", "topic": topic, "delivery_url": url, "secret": secret}
                await self._call(ctx, "POST", "/webhooks", asked)
            elif all(one.get("status") != "active" for one in known):
                await self._revive(known[0], ctx)
        return ()

    async def probe(self, ctx: Context) -> str:
        """Whether the keys are let in, and which of our webhooks are not active."""
        ours = await self._ours(self._door(ctx), ctx)
        idle = [
            f"{text(one.get('topic'))} is {text(one.get('status'))}" for one in ours if one.get("status") != "active"
        ]
        missing = sorted(set(TOPICS) - {str(one.get("topic")) for one in ours})
        known = f"signed in to {self.url}, {len(ours) - len(idle)} active webhooks"
        return "; ".join([known, *idle, *(f"no webhook {one}" for one in missing)])

    async def _mend(self, ctx: Context) -> None:
        """Set the webhooks active that WooCommerce disabled after too many failures; paused ones a person paused."""
        for one in await self._ours(self._door(ctx), ctx):
            if one.get("status") == "disabled":
                await self._revive(one, ctx)

    async def _revive(self, hook: dict[str, Any], ctx: Context) -> None:
        asked = {"status": "active", "secret": live(self.secret, ctx.now())[0]}
        await self._call(ctx, "PUT", f"/webhooks/{text(hook.get('id'))}", asked)

    def _door(self, ctx: Context) -> str:
        """Our webhooks' address, or its end where the bridge does not know its own."""
        return f"{ctx.public_url}/hooks/{self.account}"

    async def _ours(self, url: str, ctx: Context) -> list[dict[str, Any]]:
        told = rows(await self._call(ctx, "GET", "/webhooks", params={"per_page": "100"}))
        targets = [(one, text(one.get("delivery_url")) or "") for one in told]
        return [one for one, target in targets if target == url or (url.startswith("/") and target.endswith(url))]
