"""Connected accounts are looked after: webhooks that a vendor dropped are registered again, dying tokens are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from rmabridge.flow.tokens import StoredTokens
from rmabridge.testing.simulators.shopify import ShopifySim
from rmabridge.testing.simulators.sink import Sink
from worlds import document, running


def alerts(world: object) -> list[str]:
    """The keys of what an operator should look at."""
    return [key for (key,) in world.rows("SELECT key FROM alerts WHERE resolved_at IS NULL")]  # type: ignore[attr-defined]


async def test_dropped_webhooks_are_registered_again_and_a_dying_token_is_told(tmp_path: Path, sink: Sink) -> None:
    async with ShopifySim() as shopify:
        config = document(tmp_path, sink.url, public_url="https://bridge.example")
        config["marketplaces"]["store"] = {
            "plugin": "shopify",
            "shop": "demo.myshopify.com",
            "url": shopify.url,
            "secret": shopify.secret,
            "allow_private": True,
        }
        async with running(config, sink) as world:
            plugin, pollers = world.bridge.registry.accounts["store"], world.bridge.pollers
            await pollers.check_connection("store", plugin)
            assert shopify.books["subscriptions"] == []
            soon = world.bridge.store.clock.now() + timedelta(days=2)
            tokens = StoredTokens(world.bridge.store, "store")
            await tokens.put({"access_token": shopify.access_token}, expires=soon)
            await pollers.check_connection("store", plugin)
            doors = {one["uri"] for one in shopify.books["subscriptions"]}
            assert doors == {"https://bridge.example/hooks/store"}
            assert alerts(world) == ["token:store"]
            known = len(shopify.books["subscriptions"])
            shopify.books["subscriptions"].pop()
            await pollers.check_connection("store", plugin)
            assert len(shopify.books["subscriptions"]) == known
            await tokens.put({"access_token": "wrong"})
            await pollers.check_connection("store", plugin)
            assert "webhooks:store" in alerts(world)
