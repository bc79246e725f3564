"""The first four stories: each step acts at one server, waits until others' books show what follows, and tells it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from .people import EMMA, LEI, MEI, Customer
from .processes import Failed
from .settings import RELAY_SECRET
from .world import World

BOT: Final = 9001
Tell = Callable[..., None]


def expect(right: bool, otherwise: str) -> None:
    """Stop the demo with a reason unless this is so."""
    if not right:
        raise Failed(otherwise)


@dataclass
class Matter:
    """One buyer's return as the world knows it."""

    world: World
    tell: Tell
    who: Customer
    order: str = ""
    request: str = ""
    case: str = ""
    ticket: str = ""
    reply_ms: int | None = None
    begun: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> str:
        """By which both sides know the case."""
        return self.who.number

    # What the servers' books say of this matter

    def mails(self) -> list[dict[str, Any]]:
        """The buyer's mails, in order."""
        return [one for one in self.world.books("mail")["mails"] if self.who.email in one["to"]]

    def desk(self) -> dict[str, Any]:
        """The ticket in the help desk's books; empty while there is none."""
        tickets = self.world.books("zendesk")["tickets"].values()
        return next((one for one in tickets if self.who.email in one["comments"][0]["body"]), {})

    def asked(self) -> dict[str, Any]:
        """The return in the marketplace's books."""
        found: dict[str, Any] = self.world.books("shopify")["returns"][self.request]
        return found

    def refunds(self) -> list[dict[str, Any]]:
        """The order's refunds in the marketplace's books."""
        return [one for one in self.world.books("shopify")["refunds"].values() if one["order"] == self.order]

    # The steps

    def ask(self) -> None:
        """The buyer asks for a return: case, ticket, first reply, approval, next steps."""
        world, who = self.world, self.who
        self.order = world.do("shopify", "place_order", **who.order())["order"]
        self.tell("asks", name=who.name, number=who.number, note=who.note)
        began = time.monotonic()
        sent = world.later("shopify", "request_return", order_id=self.order, reason=who.reason, note=who.note)
        world.until(f"the first reply to {who.name}", self.mails)
        self.reply_ms = round((time.monotonic() - began) * 1000)
        done = sent.result(30)
        self.request = done["return"]
        self.tell("acknowledged", status=done["status"])
        ticket = world.until("the ticket", self.desk)
        self.ticket, self.case = str(ticket["id"]), ticket["external_id"]
        self.tell("ticket", case=self.case, ticket=self.ticket)
        self.tell("first_reply", ms=self.reply_ms, subject=self.mails()[0]["subject"])
        world.until("the approval", lambda: self.asked()["status"] == "OPEN")
        world.until("the next steps", lambda: len(self.mails()) == 2)
        self.tell("approved", subject=self.mails()[1]["subject"])

    def answer(self) -> None:
        """An agent answers in the help desk; the buyer gets it once, word for word."""
        self.tell("agent", ticket=self.ticket, text=self.who.answer)
        self.world.do("zendesk", "agent_reply", ticket_id=self.ticket, text=self.who.answer)
        self.world.until("the agent's answer", self.answers)
        expect(self.world.do("zendesk", "redeliver") == 200, "the help desk's repeated webhook was refused")
        self.tell("answered", times=len(self.answers()))

    def answers(self) -> list[dict[str, Any]]:
        """The mails that carry the agent's answer."""
        return [one for one in self.mails() if self.who.answer in one["text"]]

    def send_back(self) -> None:
        """The parcel gets a waybill, and the carrier is asked to tell of it."""
        world, who = self.world, self.who
        world.do("kdniao", "ship", waybill=who.waybill, shippers=who.shipper, phone_tail=who.phone[-4:])
        world.do("shopify", "attach_tracking", return_id=self.request, number=who.waybill, carrier=who.carrier)
        world.until("the subscription", lambda: who.waybill in world.books("kdniao")["subscriptions"])
        self.tell("tracked", waybill=who.waybill, carrier=who.carrier)

    def scan(self, number: int) -> bool:
        """The carrier scans the parcel, and pushes; whether the bridge took it."""
        state, text, place = self.who.scans[number]
        # Carriers tell times to the second, so the scans of a parcel in a hurry need minutes between them.
        at = (self.world.now() - timedelta(minutes=len(self.who.scans) - number)).isoformat()
        taken = self.world.do("kdniao", "scan", waybill=self.who.waybill, state_ex=state, text=text, place=place, at=at)
        self.tell("scanned", waybill=self.who.waybill, text=text, place=place)
        return bool(taken)

    def refund(self) -> None:
        """The goods are back: the refund is paid by the marketplace's own call, told, and the ticket solved."""
        world = self.world
        paid = world.until("the refund", self.refunds)
        self.tell("refunded", amount=paid[0]["amount"], currency=paid[0]["currency"], refund=paid[0]["id"])
        world.until("the ticket is solved", lambda: self.desk()["status"] == "solved")
        world.settle()
        self.tell("told", mails=len(self.mails()), subject=self.mails()[-1]["subject"])
        self.tell("closed", case=self.case, ticket=self.ticket, seconds=f"{time.monotonic() - self.begun:.1f}")


def a_return(world: World, tell: Tell) -> Matter:
    """(a) A return from the request to the money."""
    matter = Matter(world, tell, LEI)
    matter.ask()
    matter.answer()
    matter.send_back()
    for number in range(len(matter.who.scans)):
        matter.scan(number)
    matter.refund()
    return matter


def troublemakers(world: World, tell: Tell, matter: Matter) -> None:
    """(b) Duplicate, out of order, forged, too large: nothing changes."""
    world.settle()
    before = standing(world)
    for name, arguments in (("shopify", {}), ("zendesk", {}), ("kdniao", {"waybill": matter.who.waybill})):
        told = world.do(name, "redeliver", **arguments)
        expect(told in {200, True}, f"{name}'s repeat was answered {told}")
    tell("duplicate")
    world.do("kdniao", "push_out_of_order", waybill=matter.who.waybill)
    world.do("shopify", "send_old", order_id=matter.order)
    tell("late")
    body = json.dumps({"id": 1, "order": {"id": int(matter.order)}}).encode()
    forged = {
        "Content-Type": "application/json",
        "X-Shopify-Topic": "returns/cancel",
        "X-Shopify-Shop-Domain": "demo.myshopify.com",
        "X-Shopify-Hmac-Sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
    }
    status = world.hook("shopify", body, forged)
    expect(status == 401, f"a forged webhook was answered {status}, not 401")
    tell("forged", status=status)
    status = world.hook("shopify", b" " * (2 << 20), forged)
    expect(status == 413, f"a webhook of 2 MB was answered {status}, not 413")
    tell("large", status=status)
    world.settle()
    expect(standing(world) == before, "a duplicate, late or forged webhook had an effect outside")
    tell("unmoved")


def standing(world: World) -> dict[str, Any]:
    """What may not change by itself: mails, tickets with their comments, returns, refunds, subscriptions."""
    shop, desk = world.books("shopify"), world.books("zendesk")
    return {
        "mails": len(world.books("mail")["mails"]),
        "tickets": {id_: (one["status"], len(one["comments"])) for id_, one in desk["tickets"].items()},
        "returns": {id_: one["status"] for id_, one in shop["returns"].items()},
        "refunds": sorted(shop["refunds"]),
        "subscriptions": sorted(world.books("kdniao")["subscriptions"]),
    }


def survivor(world: World, tell: Tell) -> Matter:
    """(c) The same way with two ``kill -9``: between two steps, and right after an acknowledgement."""
    matter = Matter(world, tell, EMMA)
    matter.ask()
    world.settle()
    world.kill()
    tell("killed")
    said = world.later("zendesk", "agent_reply", ticket_id=matter.ticket, text=matter.who.answer)
    tell("agent_waits", text=matter.who.answer)
    world.restart()
    expect(said.result(60) == 200, "the help desk's webhook was not taken after the restart")
    world.until("the agent's answer", matter.answers)
    tell("caught_up", times=len(matter.answers()))
    matter.send_back()
    world.settle()
    world.advance("48h")
    tell("days", hours=48)
    expect(matter.scan(0), "the carrier's push was not taken")
    world.kill()
    tell("killed_after_ack")
    world.restart()
    for number in range(1, len(matter.who.scans)):
        matter.scan(number)
    matter.refund()
    return matter


def relay(world: World, tell: Tell) -> int:
    """(d) Any signed webhook, mapped by ten lines of TOML, and out again, signed."""
    now = world.now()
    said = {
        "id": "evt-1",
        "type": "complaint",
        "time": now.isoformat(),
        "order": "7001",
        "words": "杯子碎了，请尽快联系我",
        "buyer": MEI,
    }
    body = json.dumps(said, ensure_ascii=False).encode()
    began = time.monotonic()
    status = world.hook("ownshop", body, signed("msg-1", now, body, RELAY_SECRET))
    expect(status == 200, f"the own shop's webhook was answered {status}")
    tell("relay_in")
    posts = world.until("the forwarded event", lambda: world.books("sink")["posts"])
    tell("relay_out", event=posts[0]["body"]["type"], ms=round((time.monotonic() - began) * 1000))
    expect(
        world.hook("ownshop", body, signed("msg-1", now, body, RELAY_SECRET)) == 200, "the repeated webhook was refused"
    )
    world.settle()
    books = world.books("sink")
    expect(books["refused"] == 0, "the integrator refused a signature")
    expect(all(one["times"] == 1 for one in books["ids"].values()), "a forwarded event came twice")
    tell("relay_done", posts=len(books["posts"]))
    return len(books["posts"])


def signed(name: str, at: datetime, body: bytes, secret: str) -> dict[str, str]:
    """Standard Webhooks headers, as the shop's own system makes them."""
    key, stamp = base64.b64decode(secret.removeprefix("whsec_")), str(int(at.timestamp()))
    mark = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(mark).decode(),
    }
