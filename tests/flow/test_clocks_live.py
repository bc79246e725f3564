"""Clocks on a running bridge whose time stands still until a test moves it: to the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from toybox import cases, command, ledger, send, shift, toybox

from rmabridge.core.clocks import nearest
from rmabridge.model import EVENTS, Case, DeadlineReached, Event, Noted
from rmabridge.store.store import Clock
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running

SHANGHAI = ZoneInfo("Asia/Shanghai")
TUESDAY = datetime(2026, 11, 24, 9, 0, tzinfo=SHANGHAI)
BUYER = {
    "id": "B1",
    "name": "李雷",
    "email": "li@example.com",
    "phone": "13800001234",
    "chat": "c-1",
    "locale": "zh-CN",
}
REFS = [{"kind": "order", "value": "O1"}, {"kind": "return", "value": "R1"}]


class Still(Clock):
    """A clock that stands still where it was put; its offset is moved as ever."""

    def __init__(self, at: datetime) -> None:
        super().__init__()
        self.start = at.astimezone(UTC)

    def now(self) -> datetime:
        """The start, and how far it was moved since."""
        return self.start + self.offset


def stop_time(world: World, at: datetime = TUESDAY) -> Still:
    """Put the bridge on a clock that stands still."""
    world.bridge.store.clock = still = Still(at)
    shift(world)
    return still


def config(
    tmp_path: Path, sink: Sink, *policies: str, shop: dict[str, Any] | None = None, **set_: Any
) -> dict[str, Any]:
    """The toy shop, with a staff channel, a chat and text messages."""
    out = {"plugin": "http", "url": sink.url, "allow_private": True}
    channels = ["mail", "dm", "text"]
    facts = {"staff": ["wecom"], "channels": channels, "timezone": "Asia/Shanghai", "locale": "zh-CN", **(shop or {})}
    found = toybox(tmp_path, sink.url, *policies, shop=facts)
    forms = {"wecom": "chat", "dm": "chat", "text": "sms"}
    found["channels"] |= {name: {**out, "carries_forms": [form]} for name, form in forms.items()}
    found["policies"] = {name: dict(values) for name, values in set_.items()}
    found["routes"] = [
        {"when": {"level": 1}, "then": {"group": "first line"}},
        {"when": {"level": 2}, "then": {"group": "supervisor"}},
    ]
    return found


def happened(world: World, type_: str, key: str, **fields: Any) -> dict[str, Any]:
    """An event of this very moment."""
    now = world.bridge.store.clock.now().isoformat()
    return {"type": type_, "key": key, "at": now, "refs": REFS, **fields}


def says(
    world: World, text: str, key: str = "m1", author: str = "buyer", form: str = "mail", **more: Any
) -> dict[str, Any]:
    """Somebody writes at this very moment."""
    now = world.bridge.store.clock.now().isoformat()
    said = {"id": key, "author": author, "form": form, "text": text, "at": now}
    return happened(world, "message.received", key, message=said, buyer=BUYER, **more)


def order(
    world: World, key: str, tags: tuple[str, ...] = (), parcels: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    """The marketplace shows the order at this very moment."""
    return happened(world, "order.seen", key, order={"id": "O1", "tags": tags}, buyer=BUYER, parcels=parcels)


async def tell(world: World, *events: dict[str, Any]) -> Case:
    """Events come in; the case they made."""
    assert await send(world, *events) == 200
    await world.settle()
    return cases(world)[0]


async def move(world: World, **span: float) -> Case:
    """Let time pass; the case as it is then."""
    shift(world, **span)
    now = world.bridge.store.clock.micros()
    await world.until(lambda: not world.rows(f"SELECT 1 FROM deadlines WHERE due_at <= {now}"))
    await world.settle()
    return cases(world)[0]


def due(case: Case, name: str) -> timedelta | None:
    """When a clock is due, from the Tuesday morning on."""
    return next((one.due_at - TUESDAY for one in case.deadlines if one.name == f"due:{name}"), None)


def story(world: World) -> list[Event]:
    """The timeline of the only case."""
    rows = world.rows("SELECT key_id, doc FROM timeline ORDER BY seq")
    return [EVENTS.validate_json(world.bridge.store.vault.open(*one)) for one in rows]


def breaches(world: World) -> dict[str, timedelta]:
    """The deadlines that were reached, and when that was told, from the Tuesday morning on."""
    reached = [one for one in story(world) if isinstance(one, DeadlineReached) and one.name.startswith("due:")]
    return {one.name[4:]: one.at - TUESDAY for one in reached}


def posted(world: World, account: str, purpose: str = "") -> list[str]:
    """The texts that reached an account."""
    bodies = [one["body"] for one in world.sink.books["posts"]]
    return [one["text"] for one in bodies if one["account"] == account and one["purpose"].startswith(purpose)]


@pytest.mark.row("S033")
@pytest.mark.evidence("clocks", "end_to_end")
async def test_the_first_response_warns_at_three_hours_and_breaches_at_four_and_no_second_earlier(
    tmp_path: Path, sink: Sink
) -> None:
    set_ = {"clocks": {"solution": ["P9D", "P9D", "P9D"]}}
    async with running(config(tmp_path, sink, "first_reply", "clocks", **set_), sink) as world:
        stop_time(world)
        case = await tell(world, says(world, "水壶漏水"), order(world, "o1"))
        assert len(posted(world, "dm", "reply:first")) == 1
        assert due(case, "first_response") == timedelta(hours=4)
        await move(world, hours=2, minutes=59, seconds=59)
        assert posted(world, "wecom") == []
        await move(world, seconds=1)
        (warning,) = posted(world, "wecom")
        assert "即将超时" in warning and "2026年11月24日 13:00" in warning
        await move(world, minutes=59, seconds=59)
        assert (len(posted(world, "wecom")), breaches(world)) == (1, {})
        await move(world, seconds=1)
        assert breaches(world) == {"first_response": timedelta(hours=4)}
        assert "已超时" in posted(world, "wecom")[1]
        await move(world, hours=8)
        assert len(posted(world, "wecom")) == 2


@pytest.mark.row("P41")
async def test_the_five_clocks_of_a_case_run_out_to_the_second_and_the_nearest_first(
    tmp_path: Path, sink: Sink
) -> None:
    set_ = {"clocks": {"solution": ["PT30M", "PT4H", "PT2H"], "next_response": "PT3H"}}
    async with running(config(tmp_path, sink, "clocks", **set_), sink) as world:
        stop_time(world)
        limit = (TUESDAY + timedelta(hours=1)).isoformat()
        asked = happened(world, "case.requested", "r1", kind="return", buyer=BUYER)
        theirs = happened(world, "request.changed", "r2", status="requested", due_at=limit)
        await tell(world, asked, theirs, says(world, "你好", form="chat"))
        passed = timedelta()
        for name, ends in (
            ("chat_reply", timedelta(minutes=5)),
            ("solution:1", timedelta(minutes=30)),
            ("marketplace", timedelta(hours=1)),
            ("first_response", timedelta(hours=4)),
        ):
            case = await move(world, seconds=(ends - passed).total_seconds() - 1)
            first = nearest(case)
            assert first and (first.name, first.due_at) == (f"due:{name}", TUESDAY + ends)
            assert name not in breaches(world)
            await move(world, seconds=1)
            assert breaches(world)[name] == ends
            passed = ends
        await tell(world, says(world, "在吗", "m2"))
        case = await move(world, hours=2, minutes=59, seconds=59)
        assert due(case, "next_response") == timedelta(hours=7)
        await move(world, seconds=1)
        assert breaches(world)["next_response"] == timedelta(hours=7)


@pytest.mark.row("S034")
@pytest.mark.parametrize("agent", [True, False])
async def test_where_is_my_parcel_is_answered_after_five_minutes_unless_an_agent_was_a_second_earlier(
    tmp_path: Path, sink: Sink, agent: bool
) -> None:
    parcel = {"waybill": "SF1234567890123", "carrier": "SF", "status": "in_transit"}
    async with running(config(tmp_path, sink, "clocks"), sink) as world:
        stop_time(world)
        await tell(world, says(world, "我的包裹到哪里了", form="chat"), order(world, "o1", parcels=(parcel,)))
        await move(world, minutes=4, seconds=59)
        assert posted(world, "dm") == []
        if agent:
            await tell(world, says(world, "今天送达", "a1", "agent", "chat"))
        await move(world, seconds=1)
        assert len(posted(world, "dm", "answer:tracking:")) == (not agent)
        assert agent or "SF1234567890123" in posted(world, "dm")[0]
        await move(world, hours=1)
        assert len(posted(world, "dm")) == (not agent)


@pytest.mark.row("S035")
@pytest.mark.evidence("routing", "end_to_end")
async def test_level_one_is_the_first_lines_for_thirty_minutes_and_then_the_supervisors(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(config(tmp_path, sink, "routing", "clocks"), sink) as world:
        stop_time(world)
        case = await tell(world, says(world, "小划痕"), order(world, "o1"))
        assert (case.level, case.route.group) == (1, "first line")
        assert due(case, "solution:1") == timedelta(minutes=30)
        case = await move(world, minutes=29, seconds=59)
        assert (case.level, case.route.group) == (1, "first line")
        case = await move(world, seconds=1)
        assert (case.level, case.route.group) == (2, "supervisor")
        assert due(case, "solution:2") == timedelta(hours=4, minutes=30)
        assert breaches(world) == {"solution:1": timedelta(minutes=30)}
        assert len(posted(world, "wecom", "staff:clock:solution:1:breach")) == 1


@pytest.mark.row("S040")
async def test_a_vip_keeps_the_two_hours_when_the_tier_goes(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink, "clocks"), sink) as world:
        stop_time(world)
        asked = happened(world, "case.requested", "r1", kind="return", buyer=BUYER)
        assert due(await tell(world, asked), "return_review") == timedelta(hours=6)
        assert due(await tell(world, order(world, "o1", ("VIP",))), "return_review") == timedelta(hours=2)
        await move(world, minutes=30)
        case = await tell(world, order(world, "o2"))
        assert case.order and case.order.tags == ()
        assert due(case, "return_review") == timedelta(hours=2)
        await move(world, hours=1, minutes=29, seconds=59)
        assert "return_review" not in breaches(world)
        case = await move(world, seconds=1)
        assert breaches(world)["return_review"] == timedelta(hours=2)
        assert due(case, "return_review") is None


@pytest.mark.row("S041")
@pytest.mark.parametrize("reached", [True, False])
async def test_a_public_comment_gets_a_private_message_within_two_hours_or_an_alert(
    tmp_path: Path, sink: Sink, reached: bool
) -> None:
    async with running(config(tmp_path, sink, "first_reply", "clocks"), sink) as world:
        stop_time(world)
        buyer = BUYER if reached else {"id": "B1", "name": "李雷"}
        said = says(world, "千万别买", form="chat", source="social")
        case = await tell(world, *(one | {"buyer": buyer} for one in (said, order(world, "o1"))))
        assert len(posted(world, "dm", "reply:first")) == reached
        assert due(case, "social") == (None if reached else timedelta(hours=2))
        await move(world, hours=1, minutes=59, seconds=59)
        assert posted(world, "wecom", "staff:clock:social:breach") == []
        await move(world, seconds=1)
        assert len(posted(world, "wecom", "staff:clock:social:breach")) == (not reached)


@pytest.mark.row("S044")
async def test_a_late_step_of_the_agreed_solution_is_an_event(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink, "clocks"), sink) as world:
        stop_time(world)
        await tell(world, says(world, "少了一个杯子"))
        case = await tell(world, happened(world, "remedy.accepted", "ok", remedy="reship"))
        late = timedelta(days=2, hours=14, minutes=59, seconds=59)
        assert due(case, "step:reship") == late
        await move(world, seconds=(late - timedelta(seconds=1)).total_seconds())
        assert "step:reship" not in breaches(world)
        await move(world, seconds=1)
        assert breaches(world)["step:reship"] == late
        assert [one.text for one in story(world) if isinstance(one, Noted)][-1] == "late: step:reship"


@pytest.mark.row("P42")
async def test_clocks_wait_over_golden_week_and_run_on_its_make_up_saturday(tmp_path: Path, sink: Sink) -> None:
    hours = ["Mon-Fri 09:00-12:00", "Mon-Fri 13:30-18:00"]
    async with running(config(tmp_path, sink, "clocks", shop={"hours": hours, "holidays": "CN"}), sink) as world:
        friday = datetime(2026, 10, 9, 17, 0, tzinfo=SHANGHAI)
        stop_time(world, friday)
        case = await tell(world, says(world, "水壶漏水"))
        first = next(one.due_at for one in case.deadlines if one.name == "due:first_response")
        assert first == datetime(2026, 10, 10, 12, 0, tzinfo=SHANGHAI)
        await move(world, hours=18, minutes=59, seconds=59)
        assert "first_response" not in breaches(world)
        await move(world, seconds=1)
        assert breaches(world)["first_response"] == first - TUESDAY


@pytest.mark.row("P43")
async def test_an_amazon_case_shows_the_shops_clock_and_amazons_own(tmp_path: Path, sink: Sink) -> None:
    found = config(tmp_path, sink, "clocks", shop={"hours": ["Mon-Fri 09:00-18:00"], "marketplace": "amazon"})
    found["marketplaces"] = {"amazon": found["marketplaces"]["shop"]}
    async with running(found, sink) as world:
        friday = datetime(2026, 11, 27, 17, 0, tzinfo=SHANGHAI)
        stop_time(world, friday)
        assert await send(world, says(world, "坏了", form="thread"), account="amazon") == 200
        await world.settle()
        shown = {one.name: one.due_at for one in cases(world)[0].deadlines}
        assert shown["due:first_response"] == datetime(2026, 11, 30, 12, 0, tzinfo=SHANGHAI)
        assert shown["due:marketplace_reply"] == friday + timedelta(hours=24)
        await move(world, hours=24, seconds=-1)
        assert posted(world, "wecom", "staff:clock:marketplace_reply:breach") == []
        await move(world, seconds=1)
        assert len(posted(world, "wecom", "staff:clock:marketplace_reply:breach")) == 1


@pytest.mark.evidence("contact_windows", "end_to_end")
async def test_a_text_message_waits_for_the_buyers_window_and_goes_out_when_it_opens(
    tmp_path: Path, sink: Sink
) -> None:
    windows = {"sms": ["Mon-Fri 12:00-13:30, 18:00-20:30", "Sat-Sun 10:00-20:30"]}
    found = config(
        tmp_path, sink, "first_reply", "contact_windows", shop={"prefer": ["sms"]}, contact_windows={"windows": windows}
    )
    async with running(found, sink) as world:
        stop_time(world, TUESDAY.replace(hour=15))
        await tell(world, happened(world, "case.requested", "r1", kind="return", buyer=BUYER), order(world, "o1"))
        await move(world, hours=2, minutes=59, seconds=59)
        assert (ledger(world)["reply:first:1"], posted(world, "text")) == ("held", [])
        await move(world, seconds=1)
        assert (ledger(world)["reply:first:1"], len(posted(world, "text"))) == ("done", 1)


async def _text_in_the_evening(world: World) -> None:
    """A text that a colleague sends five minutes before the buyer's evening ends."""
    stop_time(world, TUESDAY.replace(hour=20, minute=55))
    case = await tell(world, happened(world, "case.requested", "r1", kind="complaint", buyer=BUYER))
    words = {"type": "message.send", "account": "text", "form": "sms", "to": BUYER["phone"], "text": "您好。"}
    assert (await command(world, "act", case.id, action=words | {"purpose": "late"}))[0] == "done"


async def test_a_text_of_a_paused_account_waits_for_the_buyers_morning_when_the_account_goes_on_at_night(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(config(tmp_path, sink, "contact_windows"), sink) as world:
        await command(world, "pause", account="text")
        await _text_in_the_evening(world)
        assert ledger(world)["late"] == "due"
        shift(world, hours=5)
        await command(world, "resume", account="text")
        await world.until(lambda: ledger(world)["late"] == "held")
        await move(world, hours=7, minutes=4, seconds=59)
        assert posted(world, "text") == []
        await move(world, seconds=1)
        assert (ledger(world)["late"], len(posted(world, "text"))) == ("done", 1)


async def test_a_text_that_is_tried_again_after_the_buyers_evening_waits_for_the_morning(
    tmp_path: Path, sink: Sink
) -> None:
    async with running(config(tmp_path, sink, "contact_windows"), sink) as world:
        sink.do_answer(429, headers={"Retry-After": "10800"})
        await _text_in_the_evening(world)
        await world.until(lambda: world.rows("SELECT 1 FROM outbox WHERE key = 'late' AND tries = 1 AND state = 'due'"))
        shift(world, hours=3)
        await world.until(lambda: ledger(world)["late"] == "held")
        await move(world, hours=9, minutes=5)
        assert (ledger(world)["late"], len(posted(world, "text"))) == ("done", 1)


async def test_who_sends_a_text_again_by_hand_is_not_asked_for_the_buyers_hours(tmp_path: Path, sink: Sink) -> None:
    async with running(config(tmp_path, sink, "contact_windows"), sink) as world:
        sink.do_answer(400)
        await _text_in_the_evening(world)
        await world.until(lambda: ledger(world)["late"] == "dead")
        shift(world, hours=1)
        [(number,)] = world.rows("SELECT id FROM outbox WHERE key = 'late'")
        assert (await command(world, "retry", delivery=number))[0] == "done"
        await world.until(lambda: ledger(world)["late"] == "done")


@pytest.mark.row("S045")
@pytest.mark.parametrize(
    ("due_at", "goes_at"),
    [
        (TUESDAY.replace(hour=15), TUESDAY.replace(hour=18)),
        (TUESDAY.replace(hour=23, minute=30), TUESDAY.replace(day=25, hour=12)),
        (TUESDAY.replace(day=28, hour=11), TUESDAY.replace(day=28, hour=11)),
    ],
    ids=["in the afternoon", "at night", "on Saturday"],
)
async def test_a_call_after_a_bad_review_goes_at_once_and_later_ones_wait_for_the_buyers_window(
    tmp_path: Path, sink: Sink, due_at: datetime, goes_at: datetime
) -> None:
    found = config(tmp_path, sink, "contact_windows", shop={"channels": ["voice"], "prefer": ["call"]})
    found["channels"]["voice"] = {**found["channels"]["dm"], "carries_forms": ["call"]}
    async with running(found, sink) as world:
        stop_time(world, TUESDAY.replace(hour=14))
        classified = happened(world, "case.classified", "c1", issue="negative_review")
        case = await tell(world, happened(world, "case.requested", "r1", kind="complaint", buyer=BUYER), classified)
        call = {"type": "message.send", "form": "call", "to": BUYER["phone"], "text": "您好，我们看到了您的评价。"}
        assert (await command(world, "act", case.id, action=call | {"purpose": "review:contact:1"}))[0] == "done"
        await world.settle()
        assert len(posted(world, "voice", "review:contact:1")) == 1
        await move(world, seconds=(due_at - TUESDAY.replace(hour=14)).total_seconds())
        assert (await command(world, "act", case.id, action=call | {"purpose": "review:contact:2"}))[0] == "done"
        await world.settle()
        if goes_at > due_at:
            await move(world, seconds=(goes_at - due_at).total_seconds() - 1)
            assert (ledger(world)["review:contact:2"], posted(world, "voice", "review:contact:2")) == ("held", [])
            await move(world, seconds=1)
        assert (ledger(world)["review:contact:2"], len(posted(world, "voice", "review:contact:2"))) == ("done", 1)
