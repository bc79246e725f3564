"""Plays on a running bridge: from a buyer's words to the closed case, with the commands of those who handle it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from cli.cli_desk import run, write
from flow.toybox import cases, command, ledger, send, shift, toybox
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.model import Case, Issue
from rmabridge.testing.simulators.sink import Sink
from worlds import World

pytestmark = pytest.mark.evidence("plays", "end_to_end")

BUYER = {"id": "B1", "name": "李雷", "email": "li@example.com", "chat": "c-1", "locale": "zh-CN"}
BOTH = "非常抱歉，我们给您全额退款，并且已加强质检，避免再次出现。"


class Floor:
    """A running bridge with its configuration file: events come in, commands are given."""

    def __init__(self, path: Path, world: World) -> None:
        self.path, self.world, self.number = path, world, 0

    def now(self) -> str:
        """This moment on the bridge's clock."""
        return self.world.bridge.store.clock.now().isoformat()

    async def tell(self, type_: str, number: str = "O1", **fields: Any) -> Case:
        """An event of this moment; the case of that order."""
        self.number += 1
        refs = [{"kind": "order", "value": number}]
        event = {"type": type_, "key": f"e{self.number}", "at": self.now(), "refs": refs, **fields}
        assert await send(self.world, event) == 200
        await self.world.settle()
        return self.case(number)

    async def says(self, text: str, author: str = "buyer", order: str = "O1", **more: Any) -> Case:
        """Somebody writes."""
        now = self.now()
        who = "ana" if author == "agent" else None
        said = {"id": f"m{self.number}", "author": author, "form": "mail", "text": text, "at": now, "who": who}
        buyer = BUYER | {"id": f"B-{order}", "email": f"{order}@example.com".lower()}
        return await self.tell("message.received", order, message=said, buyer=buyer | more, at=now)

    async def asks(self, text: str, order: str = "O1", **more: Any) -> Case:
        """A buyer writes for the first time, and the marketplace shows the order."""
        await self.says(text, order=order, **more)
        return await self.tell("order.seen", order, order={"id": order})

    def case(self, order: str = "O1") -> Case:
        """The newest case of the order."""
        return [one for one in cases(self.world) if one.ref("order") == order][-1]

    async def run(self, *arguments: str, json_: bool = False) -> Any:
        """A command as an operator's shell would run it."""
        return await asyncio.to_thread(run, self.path, *arguments, json_=json_)

    async def answer(self, *arguments: str) -> Any:
        """The JSON of a command that ends well."""
        result = await self.run(*arguments, json_=True)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def posts(self, type_: str, **wanted: Any) -> list[dict[str, Any]]:
        """What reached the outside."""
        bodies = [one["body"] for one in self.world.sink.books["posts"]]
        return [one for one in bodies if one["type"] == type_ and all(one.get(name) == v for name, v in wanted.items())]


@asynccontextmanager
async def floor(tmp_path: Path, sink: Sink, *policies: str, **settings: Any) -> AsyncIterator[Floor]:
    """The toy shop with plays, a help desk, and pages for legal and PR."""
    out = {"plugin": "http", "url": sink.url, "allow_private": True, "carries_forms": ["chat"]}
    channels = {"channels": ["mail", "dm"], "locale": "zh-CN"}
    found = toybox(tmp_path, sink.url, *policies, "plays", shop=channels)
    found["channels"] |= {name: dict(out) for name in ("dm", "law", "press")}
    pages = {"legal": {"account": "law"}, "pr": {"account": "press"}}
    found["policies"] = {"plays": {"pages": pages, **settings}}
    path = write(tmp_path / "rmabridge.toml", found)
    structlog.reset_defaults()  # the bridge's lines must not come between those of a command
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        yield Floor(path, World(bridge, sink, client))
    structlog.reset_defaults()


PLAYS = {
    "quality_defect": "product",
    "late_delivery": "logistics",
    "service_attitude": "service",
    "refund_status": "payment",
    "cancel_order": "order",
    "safety_crisis": "crisis",
}


@pytest.mark.row("S019")
@pytest.mark.parametrize(("issue", "play"), PLAYS.items())
async def test_each_type_has_its_machine_and_an_illegal_step_is_refused_with_a_message(
    tmp_path: Path, sink: Sink, issue: str, play: str
) -> None:
    async with floor(tmp_path, sink) as one:
        await one.says("你好")
        case = await one.tell("case.classified", kind="complaint", issue=issue)
        assert case.play and (case.play.id, case.play.state) == (play, "opened")
        files = Path("plugins/policies/rmabridge_plays/workflows")
        assert (files / f"{play}.toml").is_file()
        refused = await one.run("cases", "step", case.id, "tracked")
        assert refused.exit_code == 1
        assert f"'tracked' does not follow 'opened' in the play '{play}'" in refused.stderr
        assert "what may follow: responded" in refused.stderr
        assert one.case() == case
        await one.answer("cases", "step", case.id, "responded", "rang them", "--as", "mei")
        after = one.case().play
        assert after and after.state in {"responded", "understood"}
        assert [(step.by, step.note) for step in after.steps if step.name == "responded"] == [("mei", "rang them")]


@pytest.mark.row("S163")
async def test_a_complaint_cannot_close_without_cause_solution_and_word_to_the_customer(
    tmp_path: Path, sink: Sink
) -> None:
    async with floor(tmp_path, sink, "helpdesk_sync") as one:
        await one.asks("水壶漏水")
        case = await one.tell("case.classified", kind="complaint", issue="quality_defect")
        refused = await one.run("cases", "close", case.id)
        assert refused.exit_code == 1
        assert all(word in refused.stderr for word in ("the cause", "a solution", "word to the customer"))
        case = await one.tell("ticket.seen", status="solved")
        assert case.open
        (note,) = [each for each in one.posts("ticket.comment") if each["origin"].startswith("unclosed")]
        assert all(word in note["text"] for word in ("原因", "解决方案", "对顾客的告知"))
        assert [each["status"] for each in one.posts("ticket.update") if each["origin"].startswith("unclosed")] == [
            "open"
        ]
        await one.tell("case.classified", cause="production_defect", liable="shop")
        await one.tell("remedy.offered", remedy="refund_only")
        refused = await one.run("cases", "close", case.id)
        assert "a solution" not in refused.stderr
        assert "word to the customer" in refused.stderr
        await one.answer("cases", "reply", case.id, "已为您安排全额退款")
        await one.world.settle()
        case = one.case()
        assert (case.status, case.result) == ("closed", "solved")
        names = {step.name for step in case.play.steps} if case.play else set()
        assert {"investigated", "proposed", "told"} <= names


@pytest.mark.row("S162")
async def test_a_case_passes_five_states_with_times_and_one_closed_without_tracking_fails_the_audit(
    tmp_path: Path, sink: Sink
) -> None:
    async with floor(tmp_path, sink, "helpdesk_sync") as one:
        for order in ("O1", "O2"):
            await one.asks("水壶漏水", order=order)
            case = await one.tell("case.classified", order, kind="complaint", issue="quality_defect")
            await one.answer("cases", "reply", case.id, "您好，非常抱歉")
            await one.world.settle()
            for step in ("investigated", "proposed", "told"):
                await one.answer("cases", "step", case.id, step, "noted")
        first, second = one.case("O1"), one.case("O2")
        await one.answer("cases", "step", first.id, "tracked", "they are happy")
        await one.answer("cases", "close", first.id)
        shown = await one.answer("explain", first.id)
        five = ["understood", "responded", "apologised", "proposed", "tracked"]
        assert all(each["at"] for each in shown["steps"])
        assert [each["name"] for each in shown["steps"] if each["name"] in five][-2:] == ["proposed", "tracked"]
        assert {each["name"] for each in shown["steps"]} >= set(five)
        assert (await one.answer("audit", "plays"))["skipped"] == []
        await one.answer("cases", "close", second.id)
        audit = await one.run("audit", "plays", json_=True)
        assert audit.exit_code == 1
        assert [(each["case"], each["skipped"]) for each in json.loads(audit.stdout)["skipped"]] == [
            (second.id, "tracked")
        ]


@pytest.mark.row("S025")
async def test_a_service_complaint_names_the_agent_and_never_stays_with_them(tmp_path: Path, sink: Sink) -> None:
    async with floor(tmp_path, sink, "helpdesk_sync") as one:
        await one.asks("请问发货了吗")
        await one.tell("ticket.seen", assignee="ana")
        await one.says("自己看", author="agent")
        case = await one.tell("case.classified", kind="complaint", issue="service_attitude")
        assert case.agent == "ana"
        assert case.play and case.play.rank and case.play.rank.queue == "supervisor"
        away = one.posts("ticket.update", unassign=True)
        assert [each["group"] for each in away] == ["supervisor"]
        await one.tell("ticket.seen", assignee="bob")
        assert len(one.posts("ticket.update", unassign=True)) == 1
        await one.tell("ticket.seen", assignee="ana")
        assert len(one.posts("ticket.update", unassign=True)) == 2
        assert (await one.answer("explain", case.id))["agent"] == "ana"


@pytest.mark.row("S028")
@pytest.mark.parametrize(
    "text", ["垃圾店铺！！！气死我了，骗子，马上给我处理！！！", "氣死我了！！！騙子店家，太噁心了！！！"]
)
async def test_an_angry_buyer_is_answered_calmly_and_goes_to_the_senior_queue(
    tmp_path: Path, sink: Sink, text: str
) -> None:
    async with floor(tmp_path, sink, "triage", "first_reply", "helpdesk_sync") as one:
        case = await one.says(text)
        assert case.anger == 2
        await one.tell("order.seen", order={"id": "O1"})
        await one.world.until(lambda: one.posts("message.send", purpose="reply:first:1"))
        (sent,) = one.posts("message.send", purpose="reply:first:1")
        assert sent["template"]["id"].startswith("calming.")
        (opened,) = one.posts("ticket.open")
        assert opened["group"] == "senior"
        assert one.case().play.rank.queue == "senior"  # type: ignore[union-attr]


@pytest.mark.row("S036")
@pytest.mark.parametrize("reply", ["抱歉，我们给您全额退款", BOTH])
async def test_a_level_two_case_goes_to_the_supervisor_and_is_settled_by_both_promises_only(
    tmp_path: Path, sink: Sink, reply: str
) -> None:
    async with floor(tmp_path, sink, "clocks", "helpdesk_sync") as one:
        await one.asks("用了一次就坏了")
        case = await one.tell(
            "case.classified", kind="complaint", issue="quality_defect", level=2, cause="production_defect"
        )
        (due,) = [each.due_at for each in case.deadlines if each.name == "due:solution:2"]
        assert (due - case.opened_at).total_seconds() == pytest.approx(4 * 3600, abs=30)
        placed = [each for each in (*one.posts("ticket.open"), *one.posts("ticket.update")) if each.get("group")]
        assert placed[-1]["group"] == "supervisor"
        await one.says(reply, author="agent")
        case = await one.tell("ticket.seen", status="solved")
        assert case.open == (reply != BOTH)


@pytest.mark.row("S037")
async def test_three_similar_cases_are_one_incident_that_pages_legal_and_pr_once(tmp_path: Path, sink: Sink) -> None:
    rules = [{"id": "group_complaint", "similar": 3, "issues": ["quality_defect"]}]
    async with floor(tmp_path, sink, "clocks", incidents=rules) as one:
        for number in range(1, 6):
            order = f"O{number}"
            await one.says("水壶漏水", order=order)
            await one.tell("case.classified", order, kind="complaint", issue="quality_defect")
            assert bool(one.posts("message.send", account="law")) == (number >= 3)
            shift(one.world, minutes=1)  # similar cases are counted once a minute
        for number in (1, 2):
            await one.says("还在等", order=f"O{number}")
        known = {one.case(f"O{number}").incident for number in range(1, 6)}
        (incident,) = {each.id for each in known if each}
        assert None not in known
        assert {each.topic for each in known if each} == {"quality_defect"}
        for account in ("law", "press"):
            (paged,) = one.posts("message.send", account=account)
            assert incident in paged["text"]
        opened = one.case("O3").incident
        assert opened and (opened.due_at - opened.opened_at).total_seconds() == 7200
        shift(one.world, hours=2)
        await one.world.until(lambda: len(one.posts("message.send", account="press")) == 2)


async def test_media_words_of_two_buyers_at_once_are_one_incident(tmp_path: Path, sink: Sink) -> None:
    async with floor(tmp_path, sink) as one:
        now = one.now()
        events = [
            {
                "type": "message.received",
                "key": f"k{number}",
                "at": now,
                "refs": [{"kind": "order", "value": f"O{number}"}],
                "message": {"id": f"k{number}", "author": "buyer", "form": "mail", "text": "我找记者曝光", "at": now},
                "buyer": BUYER | {"id": f"B{number}", "email": f"{number}@example.com"},
            }
            for number in (1, 2)
        ]
        assert await send(one.world, *events) == 200
        await one.world.settle()
        assert len({each.incident.id for each in cases(one.world) if each.incident}) == 1
        assert [len(one.posts("message.send", account=each)) for each in ("law", "press")] == [1, 1]
        assert {each.level for each in cases(one.world)} == {3}


@pytest.mark.row("S164")
@pytest.mark.parametrize(
    ("buyer", "tier", "offer"), [({"tier": "VIP"}, "vip", "priority"), ({"orders": 1}, "new", "coupon")]
)
async def test_new_customers_and_vips_have_offers_and_deadlines_of_their_own_in_explain(
    tmp_path: Path, sink: Sink, buyer: dict[str, Any], tier: str, offer: str
) -> None:
    async with floor(tmp_path, sink, "clocks") as one:
        case = await one.says("你好", **buyer)
        await one.tell("case.requested", kind="return", reason="too small")
        found = (await one.answer("explain", case.id))["tier"]
        assert found["tier"] == tier
        assert offer in found["offers"]
        assert any(f"for tier {tier}" in each and ": due " in each for each in found["deadlines"])
        plain = await one.says("你好", order="O9")
        assert (await one.answer("explain", plain.id))["tier"] is None


async def test_the_queue_lists_open_cases_by_priority(tmp_path: Path, sink: Sink) -> None:
    async with floor(tmp_path, sink) as one:
        wanted = {"O1": ("product_question", 0), "O2": ("quality_defect", 2), "O3": ("late_delivery", 1)}
        for order, (issue, anger) in wanted.items():
            await one.says("你好", order=order)
            await one.tell("case.classified", order, kind="complaint", issue=issue, anger=anger)
        listed = await one.answer("cases", "queue")
        assert [each["id"] for each in listed] == [one.case(order).id for order in ("O2", "O3", "O1")]
        assert [each["priority"] for each in listed] == ["urgent", "high", "normal"]
        assert [each["id"] for each in await one.answer("cases", "queue", "--queue", "senior")] == [one.case("O2").id]
        shown = await one.answer("cases", "show", one.case("O2").id)
        assert (shown["play"]["id"], shown["play"]["rank"]["priority"]) == ("product", "urgent")


async def test_a_step_of_a_case_without_a_play_is_refused(tmp_path: Path, sink: Sink) -> None:
    async with floor(tmp_path, sink, skip_sources=["shop"]) as one:
        case = await one.says("你好")
        state, said = await command(one.world, "step", case.id, step="told")
        assert (state, "no handling play" in (said or "")) == ("refused", True)
        assert "ticket:open" not in ledger(one.world)
        assert case.issue in (None, *Issue)
