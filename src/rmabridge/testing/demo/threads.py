"""Two stories of a Taobao shop: refunds that are polled, answered in their threads, and seen through to the end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from .people import DESK, WANG, YU
from .stories import Tell, expect
from .world import World

SELLER: Final = "2"
LONGEST: Final = 400
# Of the script's three parts: what went wrong, what the buyer gets for it, what is changed.
PARTS: Final = ("不是您订的那一件", "补发正确的商品，或者退款", "发货前会多一次核对")
APPROVER: Final = "店长"


@dataclass
class Thread:
    """One refund of the shop and the words in its thread."""

    world: World
    tell: Tell
    who: dict[str, Any]
    trade: str = ""
    refund: str = ""
    case: str = ""
    reply_ms: int | None = None

    @property
    def key(self) -> str:
        """By which both sides know the case."""
        return self.trade

    @property
    def waybill(self) -> str:
        """The parcel that the buyer got."""
        return str(self.who["order"]["waybill"])

    def said(self) -> list[str]:
        """What the seller said in the thread."""
        spoken = self.world.books("taobao")["messages"][self.refund]
        return [one["content"] for one in spoken if one["owner_role"] == SELLER]

    def group(self, word: str) -> list[str]:
        """What the colleagues' group was told with this word in it."""
        told = [one["text"]["content"] for one in self.world.books("wecom")["messages"]]
        return [one for one in told if word in one]

    def shown(self) -> dict[str, Any]:
        """The case as the bridge shows it."""
        found: dict[str, Any] = self.world.cli("cases", "show", self.case)
        return found

    def ask(self) -> None:
        """The buyer asks for the money, with words and a picture; the refund is polled and answered."""
        world, request = self.world, self.who["request"]
        self.trade = world.do("taobao", "place_order", **self.who["order"])["tid"]
        self.tell("taobao_asks", title=self.who["order"]["title"], reason=request["reason"], desc=request["desc"])
        began = time.monotonic()
        self.refund = world.do("taobao", "open_refund", tid=self.trade, **request)["refund"]
        first = world.until("the first reply in the thread", self.said)[0]
        self.reply_ms = round((time.monotonic() - began) * 1000)
        expect(len(first.encode()) <= LONGEST, f"the first reply has {len(first.encode())} bytes")
        self.tell("taobao_reply", ms=self.reply_ms, bytes=len(first.encode()), text=first)
        told = world.until("the colleagues are told", lambda: self.group(self.trade))[0]
        self.case = next(one["id"] for one in world.cli("cases", "list", "--shop", "teahouse") if one["id"] in told)
        self.tell("group_told", text=told)


def damaged(world: World, tell: Tell) -> Thread:
    """(e) Damage with words and photo, polled; the carrier's own scan makes it liable; its desk gets the dossier."""
    thread = Thread(world, tell, YU)
    world.do("kdniao", "ship", waybill=thread.waybill, shippers="SF", phone_tail="0000")
    thread.ask()
    level = thread.shown()["level"]
    expect(level == 2, f"{thread.case} is level {level}, not 2")
    tell("taobao_level", case=thread.case, level=level)
    world.until("the subscription", lambda: thread.waybill in world.books("kdniao")["subscriptions"])
    _scan(thread, "414", "快件外包装破损", 1)
    tell("taobao_scan", waybill=thread.waybill)
    dossier = world.until("the dossier", lambda: _dossiers(world, thread.waybill))[0]
    tell("dossier", to=DESK, subject=dossier["subject"], files=", ".join(one["name"] for one in dossier["files"]))
    expect(bool(world.do("kdniao", "redeliver", waybill=thread.waybill)), "the repeated push was not taken")
    _scan(thread, "301", "已签收，破损已登记", 0)
    world.settle()
    tell("dossier_once", liable=thread.shown()["liable"], times=len(_dossiers(world, thread.waybill)))
    return thread


def _scan(thread: Thread, state: str, text: str, minutes_ago: int) -> None:
    at = (thread.world.now() - timedelta(minutes=minutes_ago)).isoformat()
    taken = thread.world.do("kdniao", "scan", waybill=thread.waybill, state_ex=state, text=text, place="上海市", at=at)
    expect(bool(taken), "the carrier's push was not taken")


def _dossiers(world: World, waybill: str) -> list[dict[str, Any]]:
    return [one for one in world.books("mail")["mails"] if DESK in one["to"] and waybill in one["subject"]]


def wrong_item(world: World, tell: Tell) -> Thread:
    """(g) A shovel for a rake: a short answer, colleagues told, and money above the limit that a person releases."""
    thread = Thread(world, tell, WANG)
    thread.ask()
    first = thread.said()[0]
    expect(all(one in first for one in PARTS), f"the first reply lacks one of three parts: {first}")
    tell("three_parts")
    world.until("the offer", lambda: any("（1）" in one for one in thread.said()))
    world.do("taobao", "say", refund=thread.refund, content=WANG["answer"])
    tell("taobao_says", text=WANG["answer"])
    world.until("the buyer's no", lambda: [one for one in thread.group(thread.case) if "没有接受" in one])
    _approve(thread, "return.approve", "同意退款")
    world.until("the refund is held", lambda: [one for one in thread.group(thread.case) if "请审批：退款" in one])
    held = _waiting(thread, "refund.pay")
    expect(thread.refund not in world.books("taobao")["paid"], "the refund was paid before it was approved")
    tell("money_held", amount=WANG["order"]["payment"], reason=held["reason"])
    _approve(thread, "refund.pay", "发错货，责任在我们")
    world.until("the refund", lambda: thread.refund in world.books("taobao")["paid"])
    again = world.nursery.command(["approvals", "approve", str(held["id"]), "--config", str(world.config)])
    world.settle()
    fen = world.books("taobao")["paid"][thread.refund]
    expect(again.code != 0, "one approval was taken twice")
    expect(fen == 50001, f"{fen} fen were paid, not 50001")
    tell("money_paid", amount=WANG["order"]["payment"])
    return thread


def _waiting(thread: Thread, kind: str) -> dict[str, Any]:
    """The approval of this kind that waits in the thread's case."""
    listed = thread.world.cli("approvals", "list")
    found = [one for one in listed if one["case"] == thread.case and one["type"] == kind]
    expect(len(found) == 1, f"{len(found)} of {kind} wait for a person in {thread.case}")
    return dict(found[0])


def _approve(thread: Thread, kind: str, note: str) -> None:
    asked = _waiting(thread, kind)
    arguments = ("approvals", "approve", str(asked["id"]), "--note", note, "--as", APPROVER)
    done = thread.world.cli(*arguments)
    expect(done["state"] == "done", f"the approval was {done['state']}: {done['note']}")
    thread.tell("approved_by_hand", command=f"rmabridge approvals approve {asked['id']}", kind=kind)
