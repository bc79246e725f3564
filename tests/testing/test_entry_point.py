"""A third party's channel, installed as a distribution: found, configured and heard, with no edit to the core."""

import hashlib
import hmac
import json
import sys
from importlib.metadata import distribution

import pytest

from rmabridge.config import read
from rmabridge.registry import build, sources
from worlds import document, running

PLUGIN = '''
"""Pigeon: messages by carrier pigeon. Reference: https://pigeon.example/api"""

from typing import ClassVar

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Plugin, Receipt, ReceivesWebhooks, Result, Secrets, SendsMessages, live
from rmabridge.errors import Unverified
from rmabridge.model import Author, Buyer, Form, Message, MessageReceived, Ref, RefKind
from rmabridge.wire.bodies import read_object
from rmabridge.wire.signing import any_matches, hmac_hex
from rmabridge.wire.times import instant


class Pigeon(Plugin, ReceivesWebhooks, SendsMessages):
    """One loft."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    secret: Secrets = Field(description="signs what arrives")
    url: str = Field("https://pigeon.example", description="where pigeons start")

    def verify(self, request, now):
        marks = [hmac_hex(one, request.body) for one in live(self.secret, now)]
        if not any_matches(request.headers.get("X-Pigeon", ""), marks):
            raise Unverified
        return Receipt()

    def parse(self, inbound):
        body = read_object(inbound.body)
        at = instant(body["at"])
        said = Message(id=body["id"], author=Author.BUYER, form=Form.CHAT, text=body["words"], at=at)
        refs = (Ref(kind=RefKind.THREAD, value=body["loft"]),)
        buyer = Buyer(id=body["loft"], chat=body["loft"])
        return [MessageReceived(key=body["id"], at=at, refs=refs, message=said, buyer=buyer, source="pigeon")]

    async def send(self, action, ctx):
        answer = await ctx.http.post(f"{self.url}/fly", json={"to": action.to, "words": action.text})
        answer.raise_for_status()
        return Result(id=answer.json()["id"])


@hookimpl
def register_channels():
    return [Pigeon]
'''
METADATA = "Metadata-Version: 2.1\nName: rmabridge-pigeon\nVersion: 1.0\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The plugin as an installer leaves it: a module, and a dist-info beside it."""
    site = tmp_path / "site"
    info = site / "rmabridge_pigeon-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "rmabridge_pigeon.py").write_text(PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text("[rmabridge]\npigeon = rmabridge_pigeon\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(site))
    yield
    sys.modules.pop("rmabridge_pigeon", None)


def with_pigeon(tmp_path, sink: str = "http://127.0.0.1:1"):
    config = document(tmp_path, sink)
    config["channels"]["loft"] = {"plugin": "pigeon", "secret": "coo", "url": sink, "allow_private": True}
    config["shops"]["one"]["channels"].append("loft")
    config["shops"]["one"]["sources"] = ["loft"]
    return config


def test_it_is_found_and_made_without_being_imported_before(installed, tmp_path):
    assert distribution("rmabridge-pigeon").version == "1.0"
    source = sources()["pigeon"]
    assert (source.module, source.origin) == ("rmabridge_pigeon", "installed (rmabridge-pigeon)")
    assert "rmabridge_pigeon" not in sys.modules
    made = build(read(with_pigeon(tmp_path)))
    assert type(made.accounts["loft"]).__name__ == "Pigeon"
    assert [(one.account, one.form) for one in made.shops["one"].ways] == [("loft", "chat"), ("mail", "mail")]


@pytest.mark.row("S002")
async def test_a_message_of_a_third_partys_channel_becomes_a_case(installed, tmp_path, sink):
    async with running(with_pigeon(tmp_path, sink.url), sink) as world:
        at = world.bridge.store.clock.now().isoformat()
        body = json.dumps({"id": "p-1", "loft": "L7", "at": at, "words": "坏了 - broken on arrival"}).encode()
        mark = hmac.new(b"coo", body, hashlib.sha256).hexdigest()
        status, _ = await world.post(body, account="loft", **{"X-Pigeon": mark})
        assert status == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]
        assert world.rows("SELECT shop FROM cases") == [("one",)]
        assert ("message.received",) in world.rows("SELECT type FROM timeline")
        (opened,) = [one["body"] for one in world.sink.books["posts"] if one["body"].get("type") == "ticket.open"]
        assert "broken on arrival" in json.dumps(opened, ensure_ascii=False)
        # The greeting goes back the way the words came.
        assert [one["body"]["to"] for one in world.sink.books["posts"] if one["path"].endswith("/fly")] == ["L7"]
