"""``rmabridge explain`` says why a way to the buyer fell out."""

import asyncio
import json

import aiohttp
import pytest
from cli_desk import run, write

from rmabridge.config import load
from rmabridge.flow.bridge import Running
from worlds import World, a_return, document


@pytest.mark.row("P61")
async def test_explain_says_why_a_way_fell_out(tmp_path, sink):
    doc = document(tmp_path, sink.url)
    doc["channels"] |= {name: {**doc["channels"]["mail"], "carries_forms": [name]} for name in ("sms", "thread")}
    doc["shops"]["one"] |= {"reach": "amazon", "channels": ["mail", "sms", "thread"]}
    path = write(tmp_path / "rmabridge.toml", doc)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        await world.post(a_return())
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        assert not [one for one in sink.books["posts"] if one["body"].get("type") == "message.send"]
        told = await asyncio.to_thread(run, path, "explain", case, json_=True)
    assert {one["way"]: (one["used"], one["reason"]) for one in json.loads(told.stdout)["ways"]} == {
        "thread/thread": (False, "the buyer's address on it is not known"),
        "mail/mail": (False, "amazon takes mails to its own relay addresses only"),
        "sms/sms": (False, "amazon lets nobody reach its buyers by sms"),
    }


async def test_words_without_an_approved_template_go_another_way_and_explain_says_why(tmp_path, sink):
    doc = document(tmp_path, sink.url)
    sms = {"plugin": "aliyun_sms", "access_key_id": "k", "access_key_secret": "s", "sign": "示例"}
    doc["channels"]["sms"] = sms | {"url": sink.url, "templates": {"tracking.arrived": {"code": "SMS_1"}}}
    doc["shops"]["one"] |= {"channels": ["mail", "sms"], "prefer": ["sms", "mail"]}
    path = write(tmp_path / "rmabridge.toml", doc)
    async with Running(load(path)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, sink, client)
        await world.post(a_return())
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        assert set(world.rows("SELECT account, state FROM outbox WHERE type = 'message.send'")) == {("mail", "done")}
        told = await asyncio.to_thread(run, path, "explain", case, json_=True)
    found = {one["way"]: (one["used"], one["reason"]) for one in json.loads(told.stdout)["ways"]}
    assert found["mail/mail"] == (True, "")
    assert found["sms/sms"][0] is False and found["sms/sms"][1].startswith("it carries no words of ")
