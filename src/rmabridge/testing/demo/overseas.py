"""The story of an insured parcel that goes silent: presumed lost, claimed once, and told by text message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from .people import FANG, KETTLE
from .settings import WAREHOUSE_SECRET
from .stories import Tell, expect, signed
from .world import World

HERE: Final = ZoneInfo("America/New_York")
DAYS: Final = 10
# Text messages go out between nine and nine; the days of silence end at ten in the morning.
MORNING: Final = 10


@dataclass
class Silent:
    """The parcel's case."""

    key: str
    case: str = ""
    reply_ms: int | None = None


def insured(world: World, tell: Tell) -> Silent:
    """(f) Ten days without a scan: a claim is filed once although its first answer never comes; then an SMS."""
    parcel, story = KETTLE["waybill"], Silent(KETTLE["number"])
    world.do("easypost", "ship", tracking_code=parcel, carrier=KETTLE["carrier"], insured=KETTLE["insured"])
    world.do("easypost", "scan", tracking_code=parcel, status="in_transit", message="Departed", city="HOUSTON")
    now = world.now()
    body = json.dumps(_watched(world), ensure_ascii=False).encode()
    expect(world.hook("warehouse", body, signed("w-1", now, body, WAREHOUSE_SECRET)) == 200, "the webhook was refused")
    world.until("the tracker", lambda: world.books("easypost")["trackers"])
    story.case = world.cli("cases", "list", "--shop", "overseas")[0]["id"]
    tell("insured", waybill=parcel, amount=KETTLE["insured"])
    world.settle()
    world.do("easypost", "lose_answer", how="hang")
    hours = _until_morning(world)
    world.advance(f"{hours}h")
    tell("silent", days=hours // 24, hours=hours)
    world.until("the claim", lambda: world.books("easypost")["claims"])
    world.until("the answer is missed", lambda: world.unsettled("easypost", "uncertain"))
    tell("claim_unanswered", times=_filed(world))
    world.advance("6m")
    world.until("the claim is looked up", lambda: not world.unsettled("easypost", "uncertain"))
    world.settle()
    claim = world.cli("deliveries", "list", "--type", "claim.file", "--account", "easypost")[0]
    expect(claim["state"] == "done", f"the claim is {claim['state']}: {claim['cause']}")
    tell("claim_found", claim=claim["ref"], times=_filed(world))
    text = world.until("the text message", lambda: world.books("aliyun")["sent"])[0]
    world.settle()
    tell("text_message", text=text["text"])
    return story


def _watched(world: World) -> dict[str, Any]:
    """What the warehouse's system sends for an insured order."""
    now, price = world.now(), {"amount": KETTLE["price"], "currency": "USD"}
    line = {"id": "1", "sku": "KETTLE", "title": "Kettle", "quantity": 1, "price": price}
    placed, sent = now - timedelta(days=1), now - timedelta(hours=6)
    order = {"id": KETTLE["number"], "number": KETTLE["number"], "placed_at": placed.isoformat()}
    parcel = {"waybill": KETTLE["waybill"], "carrier": KETTLE["carrier"], "status": "in_transit"}
    return {
        "id": "w-1",
        "type": "insured",
        "time": now.isoformat(),
        "order": order | {"total": price, "lines": [line]},
        "parcels": [parcel | {"shipped_at": sent.isoformat()}],
        "buyer": FANG,
    }


def _until_morning(world: World) -> int:
    """Hours until it is morning at the shop, ten days and a little on."""
    return DAYS * 24 + 1 + (MORNING - 1 - world.now().astimezone(HERE).hour) % 24


def _filed(world: World) -> int:
    return int(world.books("easypost")["requests"].count("POST /v2/claims"))
