"""Stories at random: buyers, colleagues, vendors' faults and restarts in any order, and what must hold at the end.

A seed tells one story again; times of the machine still make a difference.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from aiohttp import web
from toybox import TOYS, all_cases, cases
from toybox import command as give

from rmabridge.core.reduce import reduce
from rmabridge.model import EVENTS, Case, Event
from rmabridge.store import cases as case_store
from rmabridge.testing.simulators.server import Simulator
from rmabridge.testing.simulators.sink import Sink
from stores import POSTGRES
from worlds import World, document, running

CENT = Decimal("0.01")
STEPS = 26
WORDS = (
    "同意",
    "1",
    "ok",
    "我要退款！",
    "东西坏了，全碎了",
    "I want my money back",
    "where is my parcel?",
    "发错货了，我要的是红色",
    "no thanks",
    "怎么还没退款",
    "尺码太小了想换大一码",
    "The item arrived broken",
)
ISSUES = ("damaged_in_transit", "wrong_item", "quality_defect", "late_delivery", "missing_parts", "lost_parcel")
SCANS = (("in_transit", None), ("delivered", None), ("lost", "lost"), ("exception", "damaged"), ("in_transit", None))
REMEDIES = ("refund_only", "return_refund", "partial_refund", "reship", "coupon")
OUTSIDE = frozenset({"deadlines", "previous", "merged_into"})  # what does not follow from a case's own events
Said = dict[str, Any]


def money(amount: Decimal | str | int) -> Said:
    return {"amount": str(amount), "currency": "CNY"}


class Market(Simulator):
    """Orders, requests and payments as they are, whatever the bridge believes. It pays whatever it is asked for."""

    name: ClassVar[str] = "bazaar"

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.orders: dict[str, Said] = {}
        self.requests: dict[str, Said] = {}
        self.payments: list[Said] = []
        self.faults_next: list[int | str] = []
        self.untold: list[Said] = []
        self.clock = timedelta()

    def routes(self) -> list[web.RouteDef]:
        """Its doors."""
        return [
            web.post("/refund", self._refund),
            web.get("/refund/{key}", self._find),
            web.post("/decide", self._decide),
            web.get("/request/{id}", self._request),
            web.get("/order/{id}", self._order),
        ]

    def at(self) -> str:
        """Its clock."""
        return (datetime.now(UTC) + self.clock).isoformat()

    def paid(self, order: str) -> Decimal:
        """What went back of an order."""
        return sum((one["amount"] for one in self.payments if one["order"] == order), Decimal(0))

    def total(self, order: str) -> Decimal:
        """What an order cost."""
        return Decimal(self.orders[order]["total"]["amount"])

    def pay(self, order: str, request: str | None, amount: Decimal, **facts: Any) -> Said:
        """A payment; the event that tells it."""
        refund = f"F{len(self.payments) + 1}"
        self.payments.append({"id": refund, "order": order, "request": request, "amount": amount, **facts})
        refs = [{"kind": "order", "value": order}] + ([{"kind": "return", "value": request}] if request else [])
        told = {"type": "refund.seen", "key": f"refund:{refund}", "at": self.at(), "refs": refs, "refund": refund}
        return told | {"amount": money(amount)}

    def seen(self, order: Said) -> Said:
        """The event that shows an order."""
        refs, doc = [{"kind": "order", "value": order["id"]}], {k: v for k, v in order.items() if k != "buyer"}
        if back := self.paid(order["id"]):
            doc["refunded"] = money(back)
        told = {"type": "order.seen", "key": f"seen:{order['id']}:{self.at()}", "at": self.at(), "refs": refs}
        return told | {"order": doc, "buyer": order["buyer"]}

    def _fault(self) -> int | str | None:
        return self.faults_next.pop(0) if self.faults_next else None

    async def _refund(self, request: web.Request) -> web.Response:
        fault, body = self._fault(), await request.json()
        if isinstance(fault, int):
            return web.json_response({}, status=fault)
        order = body["order"] or self.requests[body["request"]]["order"]
        key = request.headers["Idempotency-Key"]
        told = self.pay(order, body["request"], Decimal(body["amount"]), key=key, action=body["action"])
        if fault == "lost":
            return web.json_response({}, status=503)
        how = self.random.choice(["at once", "later", "never"])
        self.untold += [told] if how == "later" else []
        return web.json_response({"id": told["refund"], "events": [told] if how == "at once" else []})

    async def _find(self, request: web.Request) -> web.Response:
        if isinstance(fault := self._fault(), int):
            return web.json_response({}, status=fault)
        known = [one for one in self.payments if one.get("key") == request.match_info["key"]]
        return web.json_response({"id": known[0]["id"]}) if known else web.json_response({}, status=404)

    async def _decide(self, request: web.Request) -> web.Response:
        fault, body = self._fault(), await request.json()
        if isinstance(fault, int):
            return web.json_response({}, status=fault)
        known = self.requests.get(body["request"])
        if known is None or known["status"] == "cancelled":
            return web.json_response({"error": "no such request"}, status=422)
        known["status"] = body["status"]
        refs = [{"kind": "return", "value": body["request"]}]
        key = f"decided:{body['request']}:{self.at()}"
        self.untold.append(
            {"type": "request.changed", "key": key, "at": self.at(), "refs": refs, "status": body["status"]}
        )
        return web.json_response({"id": body["request"]}, status=503 if fault == "lost" else 200)

    async def _request(self, request: web.Request) -> web.Response:
        known = self.requests.get(request.match_info["id"])
        return web.json_response({"status": known["status"] if known else "gone"})

    async def _order(self, request: web.Request) -> web.Response:
        if isinstance(fault := self._fault(), int):
            return web.json_response({}, status=fault)
        known = self.orders.get(request.match_info["id"])
        return web.json_response({"events": [self.seen(known)]} if known else {}, status=200 if known else 404)


class Story:
    """One story; ``log`` tells it, ``wrong`` what should not be."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random, self.folder = Random(seed), folder
        self.log: list[str] = []
        self.wrong: list[str] = []
        self.number = 0
        self.late: list[Said] = []
        self.said: list[tuple[str, str]] = []
        self.paused: set[str] = set()
        self.clock = timedelta()
        self.worlds: list[World] = []

    @property
    def world(self) -> World:
        """Any of the processes."""
        return self.random.choice(self.worlds)

    def configuration(self) -> Said:
        """One shop with all default policies."""
        found = document(self.folder, self.sink.url, plugins_dir=str(TOYS))
        del found["bridge"]["policies"]
        found["marketplaces"] = {"shop": {"plugin": "bazaar", "url": self.market.url, "allow_private": True}}
        out = {"plugin": "http", "url": self.sink.url, "allow_private": True}
        forms = {"mail": "mail", "sms": "sms", "wecom": "chat"}
        found["channels"] = {name: {**out, "carries_forms": [form]} for name, form in forms.items()}
        found["services"] = {"crm": out}
        found["shops"]["one"] |= {"channels": ["mail", "sms"], "staff": ["wecom"], "staff_to": "all"}
        found["shops"]["one"] |= {"credits": "crm", "replacements": "crm", "auto_approve": self.random.random() < 0.6}
        return found

    async def run(self) -> None:
        """Tell the story, with restarts, on PostgreSQL with two processes."""
        plan = self.random.choices(*zip(*WEIGHTS.items(), strict=True), k=STEPS)
        chapters = " ".join(["order", "request", "says", *plan]).split(" restart ")
        async with Sink() as self.sink, Market(self.random) as self.market:
            config = self.configuration()
            for chapter in chapters:
                async with AsyncExitStack() as stack:
                    many = 2 if POSTGRES else 1
                    self.worlds = [await stack.enter_async_context(running(config, self.sink)) for _ in range(many)]
                    await self.wait()
                    for step in chapter.split():
                        if step != "restart":
                            await getattr(self, step)()
                    if chapter is chapters[-1]:
                        await self.end()

    async def wait(self, **span: float) -> None:
        """Let time pass."""
        self.clock += timedelta(**span)
        self.market.clock = self.clock
        for world in self.worlds:
            bridge = world.bridge
            bridge.store.clock.offset = self.clock
            for loop in (bridge.timers, bridge.router, bridge.dispatcher, bridge.lookup):
                loop.wake.set()
        await asyncio.sleep(0.05)
        await self.settle()

    async def settle(self) -> None:
        """Wait until nothing is on its way, as far as nobody stands in the way."""
        quiet, paused = 0, ",".join(f"'{one}'" for one in ("", *self.paused))
        for _ in range(150):
            now = self.worlds[0].bridge.store.clock.micros()
            due = f"state = 'sending' OR (state = 'due' AND account NOT IN ({paused}) AND due_at <= {now})"
            query = f"SELECT 1 FROM inbox WHERE state = 'new' UNION ALL SELECT 1 FROM outbox WHERE {due}"
            quiet = 0 if self.worlds[0].rows(query) else quiet + 1
            if quiet > 1:
                return
            await asyncio.sleep(0.02)

    async def push(self, *events: Said) -> None:
        """Send webhooks to any of the processes."""
        world = self.world
        async with world.client.post(f"{world.bridge.url}/hooks/shop", json={"events": events}) as answer:
            if answer.status != 200:
                self.wrong.append(f"the door said {answer.status}")

    async def tell(self, type_: str, refs: list[tuple[str, str]], **fields: Any) -> None:
        """Something happened: told at once, twice, or late."""
        self.number += 1
        at = datetime.now(UTC) + self.clock - timedelta(seconds=self.random.choice([0, 0, 1, 30, 400]))
        named = [{"kind": kind, "value": value} for kind, value in refs]
        told = {"type": type_, "key": f"e{self.number}", "at": at.isoformat(), "refs": named, **fields}
        self.log.append(f"{type_} {refs} {fields}"[:240])
        how = self.random.random()
        if how < 0.12:
            self.late.append(told)
        else:
            await self.push(told)
        if how > 0.9:
            await self.push(told)
        if self.random.random() < 0.7:
            await self.settle()

    async def command(self, name: str, case: str | None = None, **args: Any) -> None:
        """A colleague gives a command."""
        state, said = await give(self.world, name, case, **args)
        self.log.append(f"{name} {case} {args} -> {state}: {said}"[:240])

    def any_order(self) -> Said | None:
        """One of the orders."""
        return self.random.choice(list(self.market.orders.values())) if self.market.orders else None

    # -- what may happen --------------------------------------------------------------------------------------------

    async def order(self) -> None:
        """Somebody buys something."""
        name = f"O{len(self.market.orders) + 1}"
        if name == "O4":
            return
        total, buyer = Decimal(self.random.choice(["40", "120", "600", "900"])), self.random.choice([1, 2])
        half, at = (total / 2).quantize(CENT), datetime.now(UTC) + self.clock
        prices = {"L1": half, "L2": total - half}
        lines = [{"id": id_, "sku": f"S-{id_}", "quantity": 1, "price": money(one)} for id_, one in prices.items()]
        dates = {"placed_at": (at - timedelta(days=4)).isoformat()}
        if self.random.random() < 0.7:
            dates["delivered_at"] = (at - timedelta(days=self.random.choice([1, 2, 30]))).isoformat()
        mail, locale = f"b{buyer}@example.com", self.random.choice(["zh-CN", "en"])
        who = {"id": f"B{buyer}", "name": f"Buyer{buyer}", "email": mail, "locale": locale}
        doc = {"id": name, "number": name, "total": money(total), "lines": lines, **dates, "buyer": who}
        self.market.orders[name] = doc
        self.log.append(f"order {name} {total}")
        if self.random.random() < 0.5:
            await self.push(self.market.seen(doc))

    async def request(self) -> None:
        """A buyer asks for their money, or for other goods."""
        order, name = self.any_order(), f"R{len(self.market.requests) + 1}"
        if order is None or name == "R5":
            return
        total = self.market.total(order["id"])
        left = total - self.market.paid(order["id"])
        amount = min(self.random.choice([total, (total / 2).quantize(CENT)]), left)
        self.market.requests[name] = {"order": order["id"], "status": "requested", "amount": amount}
        line = {"id": "1", "order_line": "L1", "sku": "S-L1", "quantity": 1}
        facts: Said = {"amount": money(amount)} if amount and self.random.random() < 0.7 else {"lines": [line]}
        if self.random.random() < 0.4:
            facts["issue"] = self.random.choice(ISSUES)
        facts |= {"kind": self.random.choice(["return", "refund", "refund", "exchange"]), "buyer": order["buyer"]}
        await self.tell("case.requested", [("return", name), ("order", order["id"])], note="-", **facts)

    async def complains(self) -> None:
        """A buyer complains without a request."""
        if order := self.any_order():
            facts = {"kind": "complaint", "issue": self.random.choice(ISSUES), "note": "-", "buyer": order["buyer"]}
            await self.tell("case.requested", [("order", order["id"])], **facts)

    async def says(self) -> None:
        """A buyer writes."""
        if (order := self.any_order()) is None:
            return
        id_, text = f"m{self.number}", self.random.choice(WORDS)
        text += f" [{id_}]" if self.random.random() < 0.6 else ""
        self.said.append((id_, text))
        form, at = self.random.choice(["mail", "chat", "thread"]), datetime.now(UTC) + self.clock
        said = {"id": id_, "author": "buyer", "form": form, "text": text, "at": at.isoformat()}
        by = ("order", order["id"]) if self.random.random() < 0.8 else ("thread", f"T-{order['buyer']['id']}")
        await self.tell("message.received", [by], message=said, buyer=order["buyer"])

    async def changes(self) -> None:
        """The marketplace decides on a request, buyer and seller settle on less, or the buyer asks once more."""
        if not self.market.requests:
            return
        name = self.random.choice(list(self.market.requests))
        request = self.market.requests[name]
        what = self.random.choice(["approved", "approved", "cancelled", "declined", "less"])
        if request["status"] in {"cancelled", "declined"} and self.random.random() < 0.7:
            what = "requested"
        facts = {}
        if what == "less":
            request["amount"] = (request["amount"] / 2).quantize(CENT)
            facts = {"amount": money(request["amount"])}
        else:
            request["status"] = what
        await self.tell("request.changed", [("return", name)], status=request["status"], **facts)

    async def parcel(self) -> None:
        """A carrier scans a parcel."""
        if (order := self.any_order()) is None:
            return
        way, (status, exception) = self.random.choice(["out", "back"]), self.random.choice(SCANS)
        at = (datetime.now(UTC) + self.clock).isoformat()
        scan = {"at": at, "status": status, "exception": exception, "text": status}
        seen = {"waybill": f"{way}-{order['id']}", "carrier": "YTO", "direction": way, "status": status}
        seen |= {"exception": exception, "scans": [scan]}
        own = [name for name, one in self.market.requests.items() if one["order"] == order["id"]]
        refs = [("order", order["id"])]
        refs += [("return", self.random.choice(own))] if own and way == "back" else []
        await self.tell("parcel.seen", refs, parcel=seen)

    async def by_hand(self) -> None:
        """A colleague pays at the marketplace itself, having looked at what is left and on its way."""
        order = self.any_order()
        if order is None or self._coming():
            return
        own = [name for name, one in self.market.requests.items() if one["order"] == order["id"]]
        left = self.market.total(order["id"]) - self.market.paid(order["id"])
        if left > 0:
            amount = self.random.choice([left, (left / 2).quantize(CENT)])
            self.log.append(f"by hand {order['id']} {amount}")
            await self.push(self.market.pay(order["id"], self.random.choice(own) if own else None, amount))
            await self.settle()

    def _coming(self) -> Decimal:
        query = "SELECT amount FROM outbox WHERE type = 'refund.pay' AND state IN ('due', 'sending', 'uncertain')"
        return sum((Decimal(one) for (one,) in self.world.rows(query)), Decimal(0))

    async def news(self) -> None:
        """What was late arrives, in any order."""
        untold, self.market.untold = self.market.untold, []
        late, self.late = self.late, []
        self.random.shuffle(late)
        for one in (*untold, *late):
            await self.push(one)
        await self.settle()

    async def answers(self) -> None:
        """A colleague answers a question, having looked at what is left."""
        query = (
            "SELECT a.id, o.type, o.amount, o.case_id FROM approvals a JOIN outbox o ON o.id = a.outbox_id"
            " WHERE a.state = 'waiting' AND o.state = 'held' ORDER BY a.id"
        )
        if not (open_ := self.world.rows(query)):
            return
        number, type_, amount, case = self.random.choice(open_)
        word = self.random.choice(["approve", "approve", "deny"])
        if type_ == "refund.pay":
            order = next((one.order.id for one in all_cases(self.world) if one.id == case and one.order), "")
            known = order in self.market.orders
            left = self.market.total(order) - self.market.paid(order) if known else Decimal(0)
            word = word if Decimal(amount) + self._coming() <= left else "deny"
        await self.command(word, approval=number)
        await self.settle()

    async def works(self) -> None:
        """A colleague does something in a case."""
        if not (living := cases(self.world)):
            return
        case, what = (
            self.random.choice(living),
            self.random.choice(["close", "reopen", "pay", "pay", "agree", "coupon", "decide"]),
        )
        if what == "close":
            await self.command("close", case.id, result="done")
        elif what == "reopen":
            await self.command("reopen", case.id, reason="-")
        elif what == "agree":
            refs = [(one.kind.value, one.value) for one in case.refs[:1]]
            await self.tell("remedy.accepted", refs, remedy=self.random.choice(REMEDIES), by="agent")
        elif what == "decide" and case.request and case.request.id:
            decision = self.random.choice(["return.approve", "return.decline"])
            await self.command("act", case.id, action={"type": decision, "request": case.request.id})
        elif what == "coupon":
            action = {"type": "credit.give", "credit": "coupon", "external": case.id, "amount": money(5)}
            await self.command("act", case.id, action=action)
        elif case.order and case.order.id in self.market.orders:
            left = self.market.total(case.order.id) - self.market.paid(case.order.id) - self._coming()
            if left > 0:
                named = {"order": case.order.id, "request": case.request.id if case.request else None}
                amount = money(min(left, self.random.choice([left, Decimal(5)])))
                await self.command(
                    "act", case.id, action={"type": "refund.pay", "amount": amount, **named}, agreed=True
                )
        await self.settle()

    async def tends(self) -> None:
        """An operator takes a delivery back, tries one again, or says what became of it."""
        what = self.random.choice(["cancel", "retry", "resolve"])
        states = {"cancel": "'due', 'held', 'waiting'", "retry": "'dead', 'expired'", "resolve": "'uncertain'"}[what]
        rows = self.world.rows(f"SELECT id, key FROM outbox WHERE state IN ({states}) ORDER BY id")
        if not rows:
            return
        number, key = self.random.choice(rows)
        args = {"delivery": number}
        if what == "resolve":
            args["happened"] = any(one.get("action") == key for one in self.market.payments)
        await self.command(what, **args)
        await self.settle()

    async def passes(self) -> None:
        """Time passes."""
        spans = ({"minutes": 1}, {"minutes": 10}, {"hours": 1}, {"hours": 5}, {"days": 1}, {"days": 4})
        await self.wait(**self.random.choice(spans))

    async def merges(self) -> None:
        """Two requests for one order turn out to be one matter."""
        of: dict[str, list[str]] = defaultdict(list)
        for name, one in self.market.requests.items():
            of[one["order"]].append(name)
        if several := [one for one in of.values() if len(one) > 1]:
            pair = self.random.sample(self.random.choice(several), 2)
            await self.tell("ticket.seen", [("return", one) for one in pair], status="open")

    async def fails(self) -> None:
        """A vendor fails for a while."""
        times, what = self.random.choice([1, 1, 2, 5]), self.random.choice([503, "lost", 429, 422, 500])
        if self.random.random() < 0.5:
            self.market.faults_next += [what] * times
        elif isinstance(what, int):
            self.sink.do_answer(what, times=times)

    async def pauses(self) -> None:
        """An operator pauses an account, or lets it go on."""
        name = self.random.choice(["shop", "mail", "desk", "crm"])
        await self.command("resume" if name in self.paused else "pause", account=name)
        self.paused ^= {name}

    async def desk(self) -> None:
        """An agent works on a ticket."""
        rows = self.world.rows("SELECT ref FROM outbox WHERE type = 'ticket.open' AND state = 'done' ORDER BY id")
        if not rows:
            return
        ref, what = str(self.random.choice(rows)[0]), self.random.choice(["solved", "open", "says"])
        if what == "says":
            at = (datetime.now(UTC) + self.clock).isoformat()
            said = {"id": f"a{self.number}", "author": "agent", "form": "thread", "text": "We look at it.", "at": at}
            await self.tell("message.received", [("ticket", ref)], message=said)
        else:
            await self.tell("ticket.seen", [("ticket", ref)], status=what)

    # -- what must hold ---------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """All is well again, and days pass."""
        self.market.faults_next.clear()
        self.sink._answers.clear()
        for name in sorted(self.paused):
            await self.command("resume", account=name)
        self.paused.clear()
        await self.news()
        for hours in (1, 2, 13, 24, 30, 72):
            await self.wait(hours=hours)
            await self.news()
        self._money()
        self._ledger()
        self._words()
        for one in all_cases(self.world):
            self._told_again(one)

    def _money(self) -> None:
        many = defaultdict(list)
        for one in self.market.payments:
            many[one.get("action")].append(one)
        self.wrong += [f"paid {len(all_)} times: {key}" for key, all_ in many.items() if key and len(all_) > 1]
        for name in self.market.orders:
            if self.market.paid(name) > self.market.total(name):
                self.wrong.append(f"paid too much for {name}: {self.market.payments}")
        given: dict[str, set[str]] = defaultdict(set)
        for one in self.sink.books["posts"]:
            if isinstance(one["body"], dict) and one["body"].get("type") in {"goods.reship", "credit.give"}:
                given[json.dumps(one["body"], sort_keys=True)].add(one["id"])
        self.wrong += [f"given {len(ids)} times: {what}" for what, ids in given.items() if len(ids) > 1]

    def _ledger(self) -> None:
        now = self.worlds[0].bridge.store.clock.micros()
        stuck = f"state = 'sending' OR (state = 'due' AND due_at <= {now})"
        self.wrong += [f"stuck: {one}" for one in self.world.rows(f"SELECT key, state FROM outbox WHERE {stuck}")]
        self.wrong += [f"stuck: {one}" for one in self.world.rows("SELECT id, kind FROM inbox WHERE state = 'new'")]
        parked = "SELECT note FROM inbox WHERE state = 'parked' AND note != 'no case came that knows it'"
        self.wrong += [f"parked: {one}" for one in self.world.rows(parked)]
        over = "'done', 'denied', 'dead', 'cancelled', 'expired', 'superseded'"
        waits = (
            "SELECT o.key FROM outbox o JOIN outbox n ON n.case_id = o.case_id AND n.key = o.needs"
            f" WHERE o.state = 'waiting' AND n.state IN ({over})"
        )
        self.wrong += [f"waits for what is over: {one}" for one in self.world.rows(waits)]
        failed = "SELECT key, text FROM alerts WHERE key LIKE 'policy%' OR key LIKE 'bridge.%'"
        self.wrong += [f"alert: {one}" for one in self.world.rows(failed)]

    def _words(self) -> None:
        posts = [one["body"] for one in self.sink.books["posts"] if isinstance(one["body"], dict)]
        desk = json.dumps([one for one in posts if str(one.get("type")).startswith("ticket.")], ensure_ascii=False)
        for id_, text in self.said:
            found = self.world.rows(f"SELECT case_id FROM messages WHERE id = '{id_}'")
            if len(found) != 1:
                self.wrong.append(f"{id_} is in the cases {found}")
            elif text.endswith("]") and f"[{id_}]" not in desk:
                keys = f"('ticket:open', 'ticket:comment:{id_}')"
                rows = self.world.rows(f"SELECT state FROM outbox WHERE case_id = '{found[0][0]}' AND key IN {keys}")
                if not {state for (state,) in rows} & {"dead", "uncertain", "cancelled", "expired"}:
                    self.wrong.append(f"{id_} is not at the desk, and nothing says why: {rows}")

    def _told_again(self, case: Case) -> None:
        """A case is what its events say, in their order, and its chain is whole."""
        store = self.worlds[0].bridge.store
        if broken := store.read(lambda conn: case_store.broken_links(conn, case.id)):
            self.wrong.append(f"the chain of {case.id} is broken at {broken}")
        rows = store.read(lambda conn: case_store.entries(conn, case.id))
        store.keys_for({one.key_id for one in rows})
        events = [(EVENTS.validate_json(store.vault.open(one.key_id, one.doc)), one.account) for one in rows]
        if any(one.type == "case.merged" for one, _ in events):
            return
        again = _folded(case, events)
        for name in Case.model_fields.keys() - OUTSIDE:
            if getattr(again, name) != getattr(case, name):
                self.wrong.append(f"{case.id}.{name}: {getattr(case, name)!r} is stored, {getattr(again, name)!r} told")


def _folded(case: Case, events: list[tuple[Event, str]]) -> Case:
    first = events[0][0].at
    names = {"id": case.id, "shop": case.shop, "marketplace": case.marketplace, "source": case.source}
    again = Case(opened_at=first, updated_at=first, **names)
    for event, account in events:
        again = reduce(again, event, account)
    return again


WEIGHTS = {
    "order": 3,
    "request": 4,
    "says": 4,
    "changes": 4,
    "parcel": 3,
    "by_hand": 2,
    "news": 3,
    "answers": 4,
    "works": 3,
    "tends": 2,
    "passes": 4,
    "merges": 2,
    "fails": 3,
    "pauses": 1,
    "desk": 2,
    "complains": 2,
    "restart": 1,
}
