"""Mail both ways on a running bridge: a buyer's mail opens a case, the answer to ours joins it, a bounce is seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from rmabridge.model import EVENTS, Event
from rmabridge.testing.real_imap import PASSWORD, USER, RealImap
from rmabridge.testing.simulators.mail import MailSim
from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running

pytestmark = [pytest.mark.real("dovecot"), pytest.mark.evidence("imap", "end_to_end")]
FOLDER = "客服"
BUYER = "li@buyer.example"


@asynccontextmanager
async def mail_world(tmp_path: Path, sink: Sink, server: RealImap) -> AsyncIterator[tuple[World, MailSim]]:
    """A bridge whose shop hears and answers its buyers by mail; the first poll has been."""
    server.do_begin(FOLDER, "done")
    config = document(tmp_path, sink.url, policies=["first_reply"])
    async with MailSim() as relay:
        out = {"plugin": "smtp", "host": "127.0.0.1", "port": relay.smtp_port, "tls": "none", "sender": USER}
        out["allow_private"] = True
        came = {"plugin": "imap", "host": "127.0.0.1", "port": server.port, "tls": "none", "user": USER}
        came |= {"largest": 1 << 16, "password": PASSWORD, "folder": FOLDER, "afterwards": "move", "move_to": "done"}
        config["channels"] = {"mail": out, "inbox": {**came, "allow_private": True, "poll_every": timedelta(hours=1)}}
        config["shops"]["one"] |= {"sources": ["inbox"]}
        async with running(config, sink) as world:
            await world.until(lambda: world.rows("SELECT 1 FROM cursors WHERE kind = 'poll'"))
            yield world, relay


async def arrive(world: World, server: RealImap, *mails: EmailMessage | bytes) -> None:
    """Mails are delivered, polled and worked on."""
    server.do_deliver(*(one if isinstance(one, bytes) else one.as_bytes() for one in mails), folder=FOLDER)
    await world.bridge.pollers.turn("inbox", "poll")
    await world.settle()


def written(text: str, subject: str = "鞋子太小了", sender: str = BUYER, **headers: str) -> EmailMessage:
    """A buyer's mail."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = f"李雷 <{sender}>", USER, subject
    made["Message-ID"] = f"<{abs(hash((text, sender)))}@buyer.example>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(text)
    return made


def answering(ours: dict[str, Any], text: str, **more: str) -> EmailMessage:
    """What a mail program makes of an answer to a mail of ours."""
    heard = ours["headers"]
    chain = f"{heard['References']} {heard['Message-ID']}"
    quoted = "\n".join(f"> {line}" for line in ours["text"].splitlines())
    body = f"{text}\n\n在 2026年1月2日，<{USER}> 写道：\n{quoted}\n"
    return written(body, "回复: hello", References=chain, In_Reply_To=heard["Message-ID"], **more)


def story(world: World, case: str) -> list[Event]:
    """The events of a case."""
    store = world.bridge.store
    rows = world.rows(f"SELECT key_id, doc FROM timeline WHERE case_id = '{case}' ORDER BY seq")
    store.keys_for({key for key, _ in rows})
    return [EVENTS.validate_json(store.vault.open(key, doc)) for key, doc in rows]


async def test_a_buyers_mail_opens_a_case_and_the_answer_to_ours_joins_it(
    tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mail_world(tmp_path, sink, imap_server) as (world, relay):
        await arrive(world, imap_server, written("42 码太小，想换 43"))
        ((case,),) = world.rows("SELECT id FROM cases")
        (ours,) = relay.books["mails"]
        assert (ours["to"], case in ours["subject"]) == ([BUYER], True)
        assert imap_server.flags("done") == [""]

        await arrive(world, imap_server, answering(ours, "谢谢，还要发票", sender="wife@elsewhere.example"))
        assert world.rows("SELECT id FROM cases") == [(case,)]
        heard = [one.message.text for one in story(world, case) if one.type == "message.received"]
        assert heard == ["42 码太小，想换 43", "谢谢，还要发票"]
        assert len(relay.books["mails"]) == 1
        assert world.rows("SELECT count(*) FROM inbox WHERE state != 'done'") == [(0,)]


async def test_a_bounce_is_seen_on_the_message_and_a_machine_gets_no_answer(
    tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mail_world(tmp_path, sink, imap_server) as (world, relay):
        await arrive(world, imap_server, written("太小了"))
        ((case,),) = world.rows("SELECT id FROM cases")
        (ours,) = relay.books["mails"]
        bounce = (
            "From: MAILER-DAEMON@mx.example\r\nMessage-ID: <d1@mx.example>\r\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n\r\nNo.\r\n"
            "--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n"
            "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n"
            "--b\r\nContent-Type: text/rfc822-headers\r\n\r\n"
            + "".join(f"{name}: {ours['headers'][name]}\r\n" for name in ("Message-ID", "References"))
            + "\r\n--b--\r\n"
        ).encode()
        away = answering(ours, "I am away", Auto_Submitted="auto-replied")
        await arrive(world, imap_server, bounce, away, bounce)
        ((sent,),) = world.rows("SELECT ref FROM outbox WHERE key = 'reply:first:1'")
        (receipt,) = [one for one in story(world, case) if one.type == "message.delivered"]
        assert (receipt.message, receipt.ok, receipt.reason) == (sent, False, "550 5.1.1 no such user")
        assert [one.type for one in story(world, case)].count("noted") == 1
        assert len(relay.books["mails"]) == 1
        assert world.rows("SELECT count(*) FROM cases") == [(1,)]


async def test_a_mail_that_names_an_order_joins_its_case_but_its_sender_does_not_become_the_buyer(
    tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mail_world(tmp_path, sink, imap_server) as (world, relay):
        assert (await world.post(a_return(1, order="O1001", order_doc=None)))[0] == 200
        await world.settle()
        ((case,),) = world.rows("SELECT id FROM cases")
        (ours,) = relay.books["mails"]
        assert ours["to"] == ["buyer1@example.com"]
        stranger = written("where is it?", "Order O1001", sender="stranger@elsewhere.example")
        await arrive(world, imap_server, stranger)
        assert world.rows("SELECT id FROM cases") == [(case,)]
        assert [one.message.who for one in story(world, case) if one.type == "message.received"] == [
            "stranger@elsewhere.example"
        ]
        assert all(one["to"] == ["buyer1@example.com"] for one in relay.books["mails"])


async def test_a_mail_that_is_too_large_opens_a_case_that_says_so(
    tmp_path: Path, sink: Sink, imap_server: RealImap
) -> None:
    async with mail_world(tmp_path, sink, imap_server) as (world, relay):
        film = written("see the film")
        film.add_attachment(b"\x00" * 200_000, maintype="video", subtype="mp4", filename="film.mp4")
        await arrive(world, imap_server, film)
        ((case,),) = world.rows("SELECT id FROM cases")
        assert {"message.received", "noted"} <= {one.type for one in story(world, case)}
        assert len(relay.books["mails"]) == 1
