"""Text messages on a running bridge: out to the simulator, and receipts and replies back into the case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from rmabridge.testing.simulators.aliyun_sms import AliyunSmsSim
from rmabridge.testing.simulators.sink import Sink
from rmabridge.testing.simulators.wecom_robot import WecomRobotSim
from worlds import World, a_return, document, running

TOKEN = "push-token-9"
PHONE = "13812345678"


def sms_account(sim: AliyunSmsSim, **more: Any) -> dict[str, Any]:
    """The channel, with one approved template."""
    return {
        "plugin": "aliyun_sms",
        "access_key_id": sim.key_id,
        "access_key_secret": sim.key_secret,
        "sign": "示例商城",
        "push_token": TOKEN,
        "url": sim.url,
        "allow_private": True,
        "templates": {"first_reply.return": {"code": "SMS_100000001", "params": ["case"]}},
        **more,
    }


@asynccontextmanager
async def sms_world(
    tmp_path: Path, sink: Sink, sim: AliyunSmsSim, *, policies: Sequence[str] = ("first_reply",), **more: Any
) -> AsyncIterator[World]:
    """A bridge whose shop reaches its buyers by text message, and by mail where that fails."""
    config = document(tmp_path, sink.url, policies=list(policies))
    config["channels"]["sms"] = sms_account(sim, **more)
    ways = ["sms", "mail"] if "second_way" in policies else ["sms"]
    config["shops"]["one"] |= {"channels": ways, "sources": ["sms"], "prefer": ways}
    async with running(config, sink) as world:
        sim.hook = f"{world.bridge.url}/hooks/sms?token={TOKEN}"
        yield world


def first_reply(world: World) -> tuple[Any, ...]:
    """State, vendor's id, cause and hint of the first reply."""
    (row,) = world.rows("SELECT state, ref, cause, hint FROM outbox WHERE key = 'reply:first:1'")
    return row


def entries(world: World, kind: str) -> list[str]:
    """The cases that have an entry of this type."""
    return [one for (one,) in world.rows(f"SELECT case_id FROM timeline WHERE type = '{kind}'")]


async def test_the_first_reply_goes_by_sms_and_its_receipt_and_the_buyers_answer_come_back_into_the_case(
    tmp_path: Path, sink: Sink
) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (sent,) = sim.books["sent"]
        assert (sent["phone"], sent["text"]) == (PHONE, f"【示例商城】您的退货申请已收到，编号{case}，请留意后续消息。")
        assert first_reply(world)[:2] == ("done", sent["biz_id"])

        assert await sim.do_receipt() == await sim.do_receipt() == 200
        assert await sim.do_foreign_receipt() == 200
        await world.settle()
        assert entries(world, "message.delivered") == [case]

        assert await sim.do_reply(PHONE, "好的，谢谢") == 200
        await world.settle()
        assert entries(world, "message.received") == [case]
        assert world.rows("SELECT count(*) FROM inbox WHERE state NOT IN ('done', 'new')") == [(0,)]


async def test_an_answer_that_opts_out_closes_the_way_and_opens_no_case(tmp_path: Path, sink: Sink) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["sent"] and first_reply(world)[0] == "done")
        await sim.do_receipt()
        await world.settle()
        assert await sim.do_reply(PHONE, "退订") == await sim.do_reply("13900001111", "TD") == 200
        await world.settle()
        assert entries(world, "buyer.opted_out") == [one for (one,) in world.rows("SELECT id FROM cases")]
        assert len(entries(world, "buyer.opted_out")) == 1
        assert world.rows("SELECT count(*) FROM inbox WHERE state != 'done'") == [(0,)]


async def test_an_answer_before_any_receipt_finds_the_case_and_one_that_opts_out_closes_the_way(
    tmp_path: Path, sink: Sink
) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        await world.post(a_return())
        await world.until(lambda: sim.books["sent"] and first_reply(world)[0] == "done")
        assert await sim.do_reply(PHONE, "好的，谢谢") == await sim.do_reply(PHONE, "退订") == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        assert entries(world, "message.received") == entries(world, "buyer.opted_out") == [case]


async def test_a_push_without_the_token_stays_outside(tmp_path: Path, sink: Sink) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        sim.hook = f"{world.bridge.url}/hooks/sms?token=guessed"
        assert await sim.do_reply(PHONE, "你好") == 401
        assert world.rows("SELECT count(*) FROM inbox") == [(0,)]


async def test_a_message_whose_answer_was_lost_is_looked_up_and_not_sent_again(tmp_path: Path, sink: Sink) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        sim.do_lose_answer(502)
        await world.post(a_return())
        await world.until(lambda: sim.books["sent"] and first_reply(world)[0] == "uncertain")
        world.bridge.store.clock.offset += timedelta(minutes=6)
        sim.offset += timedelta(minutes=6)
        await world.until(lambda: first_reply(world)[0] == "done")
        assert len(sim.books["sent"]) == 1
        assert sim.books["queries"]


async def test_a_message_whose_number_only_its_receipt_tells_goes_another_way_when_it_was_lost(
    tmp_path: Path, sink: Sink
) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim, policies=["first_reply", "second_way"]) as world:
        sim.do_lose_answer(502)
        await world.post(a_return())
        await world.until(lambda: sim.books["sent"] and first_reply(world)[0] == "uncertain")
        world.bridge.store.clock.offset += timedelta(minutes=6)
        sim.offset += timedelta(minutes=6)
        await world.until(lambda: first_reply(world)[0] == "done")
        assert first_reply(world)[1] is None  # the query tells no BizId
        assert await sim.do_receipt(err_code="MOBILE_NOT_ON_SERVICE") == 200
        await world.settle()
        assert world.rows("SELECT account, state FROM outbox WHERE key = 'again:reply:first:1'") == [("mail", "done")]
        assert len(sim.books["sent"]) == 1


async def test_a_message_that_only_its_receipt_tells_of_is_not_sent_again(tmp_path: Path, sink: Sink) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        sim.do_lose_answer(502)
        sim.do_hide()
        await world.post(a_return())
        await world.until(lambda: sim.books["sent"] and first_reply(world)[0] == "uncertain")
        assert await sim.do_receipt() == 200
        await world.until(lambda: first_reply(world)[0] == "done")
        world.bridge.store.clock.offset += timedelta(minutes=6)
        await world.settle()
        (sent,) = sim.books["sent"]
        assert first_reply(world)[1] == sent["biz_id"]


async def test_a_template_that_is_not_mapped_is_a_dead_letter_that_names_the_setting(
    tmp_path: Path, sink: Sink
) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim, templates={}) as world:
        await world.post(a_return())
        await world.settle()
        state, _, cause, hint = first_reply(world)
        assert (state, sim.books["sent"], sim.books["refusals"]) == ("dead", [], [])
        assert "first_reply.return" in cause
        assert '[channels.sms.templates."first_reply.return"]' in hint


async def test_a_masked_phone_is_never_dialled(tmp_path: Path, sink: Sink) -> None:
    async with AliyunSmsSim() as sim, sms_world(tmp_path, sink, sim) as world:
        asked = a_return()
        asked["data"]["buyer"]["phone"] = "138****5678"
        await world.post(asked)
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]
        assert world.rows("SELECT key FROM outbox WHERE type = 'message.send'") == []
        assert sim.books["sent"] == sim.books["refusals"] == []


async def test_the_robot_of_the_group_tells_of_a_new_case_and_is_asked_again_when_it_was_busy(
    tmp_path: Path, sink: Sink
) -> None:
    async with WecomRobotSim() as sim:
        sim.do_fail_next(45009)
        config = document(tmp_path, sink.url, policies=["routing"])
        robot = {"plugin": "wecom_robot", "key": sim.key, "url": f"{sim.url}/cgi-bin/webhook/send"}
        config["channels"]["wecom"] = robot | {"allow_private": True, "mention_mobiles": ["13800001111"]}
        config["shops"]["one"]["staff"] = ["wecom"]
        async with running(config, sink) as world:
            await world.post(a_return())
            await world.until(lambda: sim.books["refusals"])
            await world.settle()
            world.bridge.store.clock.offset += timedelta(minutes=2)
            await world.until(lambda: sim.books["messages"])
            (message,) = sim.books["messages"]
            ((case,),) = world.rows("SELECT id FROM cases")
            assert case in message["text"]["content"]
            assert message["text"]["mentioned_mobile_list"] == ["13800001111"]
