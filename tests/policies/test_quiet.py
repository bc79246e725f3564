"""Nobody is interrupted: automatic chat answers wait for the last line, and use all of them."""

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rmabridge_first_reply import FirstReply
from rmabridge_patience import Patience
from rmabridge_progress import Progress
from rmabridge_tracking import Tracking

from rmabridge.abilities import Way
from rmabridge.core.quiet import run, words
from rmabridge.core.reduce import reduce
from rmabridge.model import Case, FactMissing, Form, RefundSeen, Ruling
from rmabridge.testing.contract import PolicyContract
from rmabridge.testing.simulators.sink import Sink
from worlds import World, document, running

LINES = ("你好", "我前几天买的水壶", "订单 250101-0042", "到现在还没收到货", "有点急")
SHOP = {"quiet": timedelta(seconds=20), "quiet_most": timedelta(seconds=60)}


class TestPatienceContract(PolicyContract):
    plugin = Patience


@pytest.fixture
def desk(world):
    shop = world.shop(ways=(Way(account="chat", form=Form.CHAT),), **SHOP)

    def make(*policies):
        one = world.Desk(*(world.policy(policy) for policy in policies), the_shop=shop)
        return one.feed(FactMissing(key="none", at=one.now, fact="order"))

    return make


def write(world, one, text, number):
    buyer = world.BUYER.model_copy(update={"chat": "X1"})
    return one.feed(world.says(text, id=f"m{number}", at=one.now, buyer=buyer))


def shift(world: World, **span: float) -> None:
    """Move the bridge's clock forward."""
    world.bridge.store.clock.offset += timedelta(**span)
    for loop in (world.bridge.timers, world.bridge.router, world.bridge.dispatcher):
        loop.wake.set()


async def say(world: World, number: int, text: str) -> None:
    """The buyer writes a line in the chat, now."""
    at = world.bridge.store.clock.now().isoformat()
    buyer = {"id": "B1", "name": "李雷", "chat": "X1", "locale": "zh-CN"}
    body = {"id": f"m-{number}", "type": "message", "time": at, "data": {"text": text, "form": "chat", "buyer": buyer}}
    assert (await world.post(body))[0] == 200


def chat_world(tmp_path: Path, sink: Sink, *policies: str):
    """A shop that answers in a chat, as patient as shops are by default."""
    config = document(tmp_path, sink.url, policies=list(policies))
    config["channels"] = {"chat": {"plugin": "http", "url": sink.url, "allow_private": True, "carries_forms": ["chat"]}}
    config["shops"]["one"] |= {"channels": ["chat"], "quiet": 20}
    return running(config, sink)


def answers(sink: Sink) -> list[str]:
    """What the buyer was sent."""
    return [one["body"]["text"] for one in sink.books["posts"] if one["body"]["type"] == "message.send"]


@pytest.mark.row("S165")
@pytest.mark.evidence("patience", "end_to_end")
async def test_five_lines_within_twenty_seconds_get_one_answer_that_uses_all_five(tmp_path: Path, sink: Sink) -> None:
    async with chat_world(tmp_path, sink, "tracking", "patience") as world:
        for number, line in enumerate(LINES):
            await say(world, number, line)
            shift(world, seconds=4.5)
            await world.settle()
        assert answers(sink) == []
        shift(world, seconds=20)
        await world.until(lambda: answers(sink))
        await world.settle()
        (answer,) = answers(sink)
        assert "快递单号" in answer  # asked in the fourth line, not the last
        ((doc,),) = world.rows("SELECT count(*) FROM timeline WHERE type = 'message.received'")
        assert doc == 5


@pytest.mark.row("S165")
async def test_five_lines_are_answered_like_one_message_of_the_same_words(tmp_path: Path, sink: Sink) -> None:
    policies = ("first_reply", "tracking", "clarify", "patience")
    async with chat_world(tmp_path / "a", sink, *policies) as world:
        for number, line in enumerate(LINES):
            await say(world, number, line)
            shift(world, seconds=4)
            await world.settle()
        assert answers(sink) == []
        shift(world, seconds=20)
        await world.until(lambda: len(answers(sink)) == 2)
        await world.settle()
    async with Sink() as other, chat_world(tmp_path / "b", other, *policies) as world:
        await say(world, 1, "\n".join(LINES))
        await world.settle()
        shift(world, seconds=21)
        await world.until(lambda: len(answers(other)) == 2)
        await world.settle()
        assert [len(one) for one in answers(sink)] == [len(one) for one in answers(other)]


@pytest.mark.row("S165")
def test_a_line_that_comes_while_the_answer_waits_starts_the_wait_again(world, desk):
    one = desk(FirstReply)
    for number in range(3):
        write(world, one, LINES[number], number).advance(seconds=19)
        assert one.proposed() == []
    one.advance(seconds=1)
    assert one.proposed() == ["reply:first:1"]


@pytest.mark.row("S165")
def test_it_waits_a_minute_at_most_and_says_the_rest_after_the_rest(world, desk):
    one = desk(FirstReply, Tracking)
    for number in range(4):
        write(world, one, LINES[number], number).advance(seconds=15)
        assert bool(one.proposed()) == (number == 3), number
    assert one.now == world.MONDAY + timedelta(seconds=60)
    first = one.proposed()
    write(world, one, "我的包裹呢，查物流", 9).advance(seconds=19)
    assert one.proposed() == first
    one.advance(seconds=1)
    assert len(one.proposed("answer:tracking:")) == 2


def test_who_writes_without_end_is_answered_after_a_minute(world, desk):
    one = desk(FirstReply)
    for number in range(20):
        assert one.proposed() == []
        write(world, one, "?", number).advance(seconds=3)
    assert one.proposed() == ["reply:first:1"]


def test_a_later_session_is_greeted_when_the_buyer_has_finished(world, desk):
    one = write(world, desk(FirstReply), "你好", 1).advance(seconds=20)
    one.advance(minutes=40)
    write(world, one, "还在吗", 2).advance(seconds=5)
    write(world, one, "我想问一下", 3)
    assert one.proposed() == ["reply:first:1"]
    one.advance(seconds=20)
    assert one.proposed() == ["reply:first:1", "greeting:m2"]


def test_other_automatic_words_are_held_until_the_buyer_is_quiet(world, desk):
    one = write(world, desk(Progress, Patience), "你好", 1)
    one.feed(RefundSeen(key="paid", at=one.now, refund="F1"))
    (held,) = one.verdicts["progress:refunded:1"]
    assert (held.ruling, held.rule, held.until) == (Ruling.HOLD, "patience.writing", one.now + timedelta(seconds=20))
    agent = one.sent("progress:refunded:1").model_copy(update={"template": None})
    assert Patience().review(agent, one.case, one.view()) is None
    assert Patience().review(agent.model_copy(update={"form": Form.MAIL}), one.case, one.view()) is None


@settings(deadline=None)
@given(st.permutations(range(6)), st.lists(st.integers(0, 40), min_size=6, max_size=6))
def test_which_lines_belong_together_does_not_depend_on_the_order_they_come_in(world, order, gaps):
    shop = world.shop(**SHOP)
    times = [world.MONDAY + timedelta(seconds=sum(gaps[: n + 1])) for n in range(6)]
    events = [world.says(f"line {n}", id=f"m{n}", at=at) for n, at in enumerate(times)]

    def told(sequence):
        case = Case(id="C1", shop="acme", opened_at=world.MONDAY, updated_at=world.MONDAY)
        for event in sequence:
            case = reduce(case, event, "mkt")
        return case

    mine, theirs = told([events[n] for n in order]), told(events)
    assert run(mine, shop) == run(theirs, shop) and words(mine, shop).endswith("line 5")
    assert run(mine, shop).over - run(mine, shop).began <= shop.quiet_most
