"""IMAP: against a real Dovecot where it is installed, against odd servers, and what each mail means to a case."""

import asyncio
import imaplib
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from pydantic import ValidationError
from rmabridge_imap import Imap
from rmabridge_imap.folder import Cursor, Folder

from rmabridge.abilities import Inbound, Item, Page
from rmabridge.core.reduce import reduce
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.flow.batch import new_case_id
from rmabridge.model import Author, Buyer, Case, Delivered, Form, MessageReceived, Noted, RefKind
from rmabridge.testing.contexts import NOON, MemoryTokens, account, context
from rmabridge.testing.contract import Contract, ParseContract
from rmabridge.testing.contract.parsing import stored
from rmabridge.testing.real_imap import PASSWORD, USER, token
from rmabridge.wire.mails import read_mail

real = pytest.mark.real("dovecot")
CASE = "C0123456789A"
FOLDER = "退货 & returns"
DSN = (
    b"From: MAILER-DAEMON@mx.example\nMessage-ID: <dsn1@mx.example>\nSubject: Undelivered\n"
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\n\nSorry.\n"
    b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\n"
    b"Final-Recipient: rfc822; li@buyer.example\nAction: failed\nStatus: 5.1.1\n"
    b"Diagnostic-Code: smtp; 550 5.1.1 no such user\n\n"
    b"--b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <ours-1@shop.example>\n"
    b"References: <C0123456789A@shop.example>\n\n--b--\n"
)


def inbox(server=None, **settings):
    given = {"host": "127.0.0.1", "user": USER, "password": PASSWORD, "allow_private": True, "timeout": 5}
    if server:
        given |= {"port": server.port, "tls": "none", "folder": FOLDER}
    if "oauth" in settings:
        del given["password"]
    return account(Imap, "inbox", **{**given, **settings})


def mail(number=1, text="太小了", subject="退货", **headers):
    made = EmailMessage()
    fields = {
        "From": "李雷 <li@buyer.example>",
        "To": USER,
        "Subject": subject,
        "Message-ID": f"<m{number}@buyer.example>",
    }
    for name, value in (fields | {one.replace("_", "-"): value for one, value in headers.items()}).items():
        made[name] = value
    made.set_content(text)
    return made


def read(raw, meta=None, **settings):
    body = raw if isinstance(raw, bytes) else raw.as_bytes()
    return list(inbox(**settings).parse(Inbound("inbox", body, meta or {}, NOON)))


def texts(plugin, page):
    events = [event for one in page.items for event in plugin.parse(Inbound("inbox", one.body, one.meta, NOON))]
    return [one.message.text for one in events if isinstance(one, MessageReceived)]


def refs(event):
    return [(one.kind.value, one.value) for one in event.refs]


@pytest.fixture
async def ctx():
    lent = context(now=lambda: datetime.now(UTC))
    yield lent
    await lent.http.aclose()


@pytest.fixture
def server(imap_server):
    imap_server.do_begin(FOLDER, "done")
    return imap_server


# The real server


@real
@pytest.mark.evidence("imap", "accepted")
async def test_the_first_poll_starts_now_and_each_later_mail_is_taken_once(server, ctx):
    plugin = inbox(server)
    server.do_deliver(mail(0, "old").as_bytes(), folder=FOLDER)
    start = await plugin.poll(ctx, None)
    assert (start.items, start.more) == ((), False)
    server.do_deliver(mail(1, "one").as_bytes(), mail(2, "two").as_bytes(), folder=FOLDER)
    page = await plugin.poll(ctx, start.cursor)
    assert texts(plugin, page) == ["one", "two"]
    assert len({one.id for one in page.items}) == 2
    again = await plugin.poll(ctx, start.cursor)
    assert [one.id for one in again.items] == [one.id for one in page.items]
    assert (await plugin.poll(ctx, page.cursor)).items == ()
    await plugin.confirm(ctx, page)
    assert server.flags(FOLDER) == ["", "", ""]


@real
async def test_the_time_is_when_the_server_took_the_mail(server, ctx):
    plugin = inbox(server)
    start = await plugin.poll(ctx, None)
    server.do_deliver(mail(Date="Fri, 02 Jan 2099 12:00:00 +0000").as_bytes(), folder=FOLDER)
    (item,) = (await plugin.poll(ctx, start.cursor)).items
    (event,) = plugin.parse(Inbound("inbox", item.body, item.meta, NOON))
    assert abs(event.at - datetime.now(UTC)) < timedelta(minutes=5)


@real
@pytest.mark.evidence("imap", "accepted")
async def test_many_mails_come_page_by_page(server, ctx):
    plugin = inbox(server)
    start = await plugin.poll(ctx, None)
    server.do_deliver(*(mail(one, str(one)).as_bytes() for one in range(53)), folder=FOLDER)
    first = await plugin.poll(ctx, start.cursor)
    rest = await plugin.poll(ctx, first.cursor)
    assert (len(first.items), first.more, len(rest.items), rest.more) == (50, True, 3, False)
    assert texts(plugin, rest) == ["50", "51", "52"]


@real
async def test_a_folder_numbered_anew_is_read_again_from_the_day_before(server, ctx):
    plugin = inbox(server)
    start = await plugin.poll(ctx, None)
    server.do_deliver(mail(1).as_bytes(), folder=FOLDER)
    before = await plugin.poll(ctx, start.cursor)
    server.do_begin(FOLDER)
    server.do_deliver(mail(1).as_bytes(), mail(2).as_bytes(), folder=FOLDER)
    after = await plugin.poll(ctx, before.cursor)
    assert len(after.items) == 2
    keys = [[one.key for one in plugin.parse(stored(plugin, item.body))] for item in (*before.items, *after.items)]
    assert keys == [["mail:m1@buyer.example"], ["mail:m1@buyer.example"], ["mail:m2@buyer.example"]]
    await plugin.confirm(ctx, before)  # marks nothing under the old numbers


@real
async def test_a_backlog_is_read_where_it_is_wanted(server, ctx):
    plugin = inbox(server, backlog=timedelta(days=2))
    assert (await plugin.poll(ctx, None)).items == ()
    server.do_deliver(mail(1, "old").as_bytes(), folder=FOLDER)
    assert texts(plugin, await plugin.poll(ctx, None)) == ["old"]


@real
async def test_of_a_mail_that_is_too_large_the_beginning_is_taken(server, ctx):
    plugin = inbox(server, largest=1 << 16)
    start = await plugin.poll(ctx, None)
    big = mail(1, "see the film")
    big.add_attachment(b"\x00" * 200_000, maintype="video", subtype="mp4", filename="film.mp4")
    server.do_deliver(big.as_bytes(), folder=FOLDER)
    (item,) = (await plugin.poll(ctx, start.cursor)).items
    assert len(item.body) == 1 << 16
    message, note = plugin.parse(Inbound("inbox", item.body, item.meta, NOON))
    assert message.message.text == "see the film"
    assert [(one.name, one.size, one.sha256) for one in message.message.attachments] == [("film.mp4", None, None)]
    assert "too large" in note.text
    assert note.refs == message.refs


@real
@pytest.mark.parametrize(
    ("settings", "flags", "moved"),
    [({"afterwards": "seen"}, ["\\Seen"], []), ({"afterwards": "move", "move_to": "done"}, [], [""])],
    ids=["seen", "move"],
)
async def test_a_mail_on_disk_is_marked_or_moved_where_that_is_wanted(server, ctx, settings, flags, moved):
    plugin = inbox(server, **settings)
    start = await plugin.poll(ctx, None)
    server.do_deliver(mail(1).as_bytes(), folder=FOLDER)
    page = await plugin.poll(ctx, start.cursor)
    assert server.flags(FOLDER) == [""]
    await plugin.confirm(ctx, page)
    assert (server.flags(FOLDER), server.flags("done")) == (flags, moved)
    await plugin.confirm(ctx, page)  # a second time does no harm


@real
@pytest.mark.parametrize("way", [("tls", "tls_port"), ("starttls", "port")])
@pytest.mark.evidence("imap", "accepted")
async def test_the_way_is_encrypted_and_the_certificate_checked(server, ctx, way):
    secure = {"tls": way[0], "port": getattr(server, way[1]), "folder": FOLDER}
    assert (
        await inbox(**secure, ca_file=server.ca_file).probe(ctx)
        == f"127.0.0.1:{secure['port']} shows 0 mails in {FOLDER}"
    )
    with pytest.raises(Unavailable, match="certificate") as caught:
        await inbox(**secure).probe(ctx)
    assert "ca_file" in caught.value.hint


@real
async def test_what_is_wrong_is_told_as_what_to_do_next(server, ctx):
    with pytest.raises(Unauthorised, match="AUTHENTICATIONFAILED") as caught:
        await inbox(server, password="wrong").poll(ctx, None)
    assert "app password" in caught.value.hint
    with pytest.raises(Rejected, match="nowhere"):
        await inbox(server, folder="nowhere").poll(ctx, None)
    with pytest.raises(Rejected, match="private address") as caught:
        await inbox(server, allow_private=False).poll(ctx, None)
    assert "allow_private" in caught.value.hint


@real
async def test_a_token_opens_the_mailbox_and_is_asked_for_only_when_it_has_died(server):
    clock, tokens = [datetime.now(UTC)], MemoryTokens()
    ctx = context(now=lambda: clock[0], tokens=tokens)
    oauth = {"token_url": "https://login.example/token", "client_id": "app", "refresh_token": "first-consent"}
    plugin = inbox(server, oauth=oauth)
    with respx.mock(using="httpx") as router:
        answer = {"access_token": token(), "expires_in": 3600, "refresh_token": "second-consent"}
        route = router.post("https://login.example/token").respond(json=answer)
        assert "0 mails" in await plugin.probe(ctx)
        assert "0 mails" in await plugin.probe(ctx)
        clock[0] += timedelta(hours=1)
        assert "0 mails" in await plugin.probe(ctx)
        asked = [parse_qs(one.request.content.decode())["refresh_token"] for one in route.calls]
        assert asked == [["first-consent"], ["second-consent"]]
        route.respond(400, json={"error": "invalid_grant"})
        with pytest.raises(Unauthorised, match="not renewed"):
            await inbox(server, oauth=oauth | {"refresh_token": "third"}).probe(ctx)
    await ctx.http.aclose()


@real
async def test_a_token_that_the_server_refuses_stops_the_account(server):
    ctx = context(now=lambda: datetime.now(UTC))
    oauth = {"token_url": "https://login.example/token", "client_id": "app", "client_secret": "s", "scope": ".default"}
    with respx.mock(using="httpx") as router:
        route = router.post("https://login.example/token").respond(json={"access_token": token(hours=-1)})
        with pytest.raises(Unauthorised):
            await inbox(server, oauth=oauth).probe(ctx)
        form = parse_qs(route.calls.last.request.content.decode())
        assert form == {
            "client_id": ["app"],
            "client_secret": ["s"],
            "grant_type": ["client_credentials"],
            "scope": [".default"],
        }
        route.mock(return_value=httpx.Response(503))
        with pytest.raises(httpx.HTTPStatusError):
            await inbox(server, oauth=oauth | {"client_id": "other"}).probe(ctx)
    await ctx.http.aclose()


# Odd servers


class Odd:
    """A server that answers each command by its name; None hangs up."""

    def __init__(self, **answers):
        self.answers = {"CAPABILITY": "* CAPABILITY IMAP4rev1\r\n{tag} OK", "LOGOUT": "* BYE\r\n{tag} OK", **answers}
        self.seen = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        writer.write(b"* OK ready\r\n")
        while line := (await reader.readline()).decode():
            tag, name, *_ = line.split()
            self.seen.append(line.strip().partition(" ")[2])
            answer = self.answers.get(name, "{tag} BAD unknown")
            if answer is None:
                break
            writer.write(answer.format(tag=tag).encode() + b" done\r\n")
        writer.close()


@pytest.mark.parametrize(
    ("answers", "settings", "error", "told"),
    [
        ({}, {"tls": "starttls"}, Unauthorised, "no STARTTLS"),
        ({"LOGIN": "{tag} NO [UNAVAILABLE] try later"}, {}, Unavailable, "UNAVAILABLE"),
        ({"LOGIN": "{tag} NO [PRIVACYREQUIRED] encrypt"}, {}, Unauthorised, "PRIVACYREQUIRED"),
        ({"LOGIN": "{tag} BAD what"}, {}, Unauthorised, "BAD"),
        ({"LOGIN": None}, {}, Unavailable, "abort"),
        ({"LOGIN": "{tag} OK", "STATUS": None}, {}, Unavailable, "abort"),
        ({"LOGIN": "{tag} OK", "STATUS": "{tag} NO"}, {}, Rejected, "INBOX"),
    ],
)
async def test_odd_servers_are_told_by_what_to_do_next(ctx, answers, settings, error, told):
    async with Odd(**answers) as odd:
        with pytest.raises(error, match=told):
            await inbox(port=odd.port, **{"tls": "none", "password": "ascii", **settings}).poll(ctx, None)


async def test_a_server_that_is_not_there_is_asked_later(ctx):
    async with Odd() as odd:
        pass
    with pytest.raises(Unavailable):
        await inbox(port=odd.port, tls="none").poll(ctx, None)


async def test_a_server_that_asks_who_we_are_is_told(ctx):
    can = "* CAPABILITY IMAP4rev1 ID\r\n{tag} OK"
    status = '* STATUS "INBOX" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 1)\r\n{tag} OK'
    async with Odd(CAPABILITY=can, LOGIN="{tag} OK", ID="* ID NIL\r\n{tag} OK", STATUS=status) as odd:
        assert "3 mails" in await inbox(port=odd.port, tls="none", password="ascii").probe(ctx)
        assert 'ID ("name" "rmabridge")' in odd.seen


async def test_without_move_a_mail_is_copied_and_only_it_expunged(ctx):
    can = "* CAPABILITY IMAP4rev1 UIDPLUS\r\n{tag} OK"
    status = '* STATUS "INBOX" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 1)\r\n{tag} OK'
    plain = {"LOGIN": "{tag} OK", "STATUS": status, "SELECT": "{tag} OK [READ-WRITE]", "UID": "{tag} OK"}
    async with Odd(CAPABILITY=can, **plain) as odd:
        plugin = inbox(port=odd.port, tls="none", password="ascii", afterwards="move", move_to="完成")
        await plugin.confirm(ctx, Page((Item(b"", "1:7"), Item(b"", "1:8")), "1:8:2026-01-02"))
        asked = [one for one in odd.seen if one.startswith("UID")]
        assert asked == ['UID COPY 7,8 "&W4xiEA-"', r"UID STORE 7,8 +FLAGS.SILENT (\Deleted)", "UID EXPUNGE 7,8"]


# What a mail means


def test_a_buyers_mail_is_a_message_with_its_sender():
    (event,) = read(mail(), {"at": "2026-01-02T11:00:00+00:00"})
    assert isinstance(event, MessageReceived)
    assert (event.key, event.at) == ("mail:m1@buyer.example", NOON - timedelta(hours=1))
    assert (event.message.author, event.message.form) == (Author.BUYER, Form.MAIL)
    assert (event.message.text, event.message.subject, event.message.who) == ("太小了", "退货", "li@buyer.example")
    assert (event.buyer.email, event.buyer.name) == ("li@buyer.example", "李雷")
    assert refs(event) == [("buyer", "li@buyer.example")]


@pytest.mark.parametrize(
    "headers",
    [
        {"References": f"<other@x.example> <{CASE}@shop.example> <key-1@shop.example>"},
        {"In_Reply_To": f"<{CASE}@SHOP.example>"},
        {"subject": f"Re: [{CASE}] 您的退货申请我们收到了"},
    ],
)
def test_an_answer_to_our_mail_joins_its_case_whoever_wrote_it(headers):
    (event,) = read(mail(**headers))
    assert refs(event) == [("case", CASE)]
    assert event.buyer is None, "an answer's sender must not become whom the case writes to"
    assert event.message.who == "li@buyer.example"


def test_ids_of_others_name_no_case():
    (event,) = read(mail(References=f"<{CASE}@evil.example> <c1@shop.example>"))
    assert refs(event) == [("buyer", "li@buyer.example")]


@pytest.mark.parametrize(
    ("subject", "numbers"),
    [
        ("订单号：TB2026-0001 退货", ["TB2026-0001"]),
        ("訂單編號 1234567890123456789", ["1234567890123456789"]),
        ("Order #1001 too small", ["1001", "#1001"]),
        ("my order no. r-4711", ["R-4711"]),
        ("Return of #1001", ["#1001"]),
        ("order status please", []),
        ("call me at 13812345678 on 2026-01-02", []),
        ("in order to return 3 shoes", []),
    ],
)
def test_an_order_number_in_the_subject_names_the_order(subject, numbers):
    (event,) = read(mail(subject=subject))
    assert [one.value for one in event.refs if one.kind is RefKind.ORDER] == numbers
    assert (event.buyer is None) is bool(numbers), "whoever knows an order's number is not its buyer yet"


def test_senders_who_name_an_order_are_trusted_where_the_operator_says_so():
    (event,) = read(mail(subject="Order 10010"), trust_order_numbers=True)
    assert event.buyer.email == "li@buyer.example"
    assert refs(event) == [("order", "10010"), ("buyer", "li@buyer.example")]


def test_our_own_mails_are_echoes():
    assert read(mail(From=f"Shop <{USER.upper()}>")) == []
    assert read(mail(From="other@shop.example"), addresses=("service@shop.example", "other@shop.example")) == []
    assert read(b"Subject: nobody wrote this\n\nx") == []


def test_what_a_machine_answers_is_noted_on_its_case_and_starts_nothing():
    away = {"subject": "Automatic reply: away", "Auto_Submitted": "auto-replied"}
    assert read(mail(**away)) == []
    (event,) = read(mail(**away, References=f"<{CASE}@shop.example>"))
    assert isinstance(event, Noted)
    assert refs(event) == [("case", CASE)]
    assert "Auto-Submitted: auto-replied" in event.text


def test_lists_are_left_alone_unless_the_address_is_one():
    assert read(mail(List_Id="<news.example>")) == []
    (event,) = read(mail(List_Id="<service.shop.example>"), lists=True)
    assert isinstance(event, MessageReceived)


def test_a_contact_forms_mail_is_the_words_of_whom_it_names():
    form = {"From": "noreply@shop.example", "Reply_To": "Han <han@buyer.example>"}
    assert read(mail(**form)) == []
    (event,) = read(mail(**form), contact_forms=("noreply@shop.example",))
    assert (event.buyer.email, event.message.who) == ("han@buyer.example", "han@buyer.example")


def test_a_mail_that_came_back_is_told_of_the_message_that_it_was():
    (event,) = read(DSN)
    assert isinstance(event, Delivered)
    assert (event.message, event.ok, event.reason) == ("<ours-1@shop.example>", False, "550 5.1.1 no such user")
    assert refs(event) == [("case", CASE)]
    assert read(DSN.replace(b"<ours-1@shop.example>", b"<theirs@elsewhere.example>")) == []
    assert read(DSN.replace(b"References: <C0123456789A@shop.example>\n", b"")) == []


def test_a_delay_is_noted_and_an_arrival_seen():
    (late,) = read(DSN.replace(b"Action: failed", b"Action: delayed"))
    (there,) = read(DSN.replace(b"Action: failed", b"Action: delivered"))
    assert isinstance(late, Noted)
    assert there.ok is True
    assert read(DSN.replace(b"Action: failed", b"Action: relayed")) == []


def test_a_delay_that_a_server_tells_in_words_alone_is_noted_and_nothing_has_failed():
    told = b"From: MAILER-DAEMON@mx.example\nMessage-ID: <w1@mx.example>\nSubject: Warning\n\n%s\n\n"
    shown = b"Message-ID: <ours-1@shop.example>\nReferences: <C0123456789A@shop.example>\n"
    (late,) = read(told % b"THIS IS A WARNING MESSAGE ONLY\n451 4.4.1 timed out" + shown)
    (lost,) = read(told % b"550 5.1.1 no such user" + shown)
    assert isinstance(late, Noted)
    assert isinstance(lost, Delivered)


# Settings


@pytest.mark.parametrize("where", [{"References": "<{}@shop.example>"}, {"subject": "Re: [{}]"}])
def test_an_answer_finds_a_case_of_the_bridges_own_making(where):
    case = new_case_id(NOON)
    (event,) = read(mail(**{name: text.format(case) for name, text in where.items()}))
    assert refs(event) == [("case", case)]


CARRIERS = {"claims@yto.example": "YTO", "SF.example": "SF"}
ANSWER = {"References": f"<{CASE}@shop.example>"}


@pytest.mark.parametrize(
    ("sender", "carrier"),
    [("Claims@YTO.example", "YTO"), ("a@sf.example", "SF"), ("b@mail.sf.example", "SF"), ("claims@yto.example", "YTO")],
)
def test_a_carriers_answer_joins_the_case_as_the_carriers_words_and_never_as_the_buyers(sender, carrier):
    (event,) = read(mail(text="已受理", From=f"理赔 <{sender}>", **ANSWER), carriers=CARRIERS)
    assert (event.message.author, event.message.who) == (Author.CARRIER, carrier)
    assert (event.message.text, event.buyer, event.message.public) == ("已受理", None, False)
    assert refs(event) == [("case", CASE)]
    case = Case(id=CASE, shop="one", opened_at=NOON, updated_at=NOON, buyer=Buyer(email="li@buyer.example"))
    after = reduce(case, event, "inbox")
    assert (after.buyer, after.writers, after.talk.last_text) == (case.buyer, (), None)


@pytest.mark.parametrize("sender", ["a@notsf.example", "a@yto.example", "sf.example@buyer.example"])
def test_who_is_no_carrier_stays_a_buyer(sender):
    (event,) = read(mail(From=sender), carriers=CARRIERS)
    assert (event.message.author, event.buyer.email) == (Author.BUYER, sender)


def test_a_carriers_machine_is_heard_where_it_names_a_case_or_a_waybill():
    machine = {"From": "no-reply@sf.example", "Auto-Submitted": "auto-replied"}
    (event,) = read(mail(text="Claim 77", **machine, **ANSWER), carriers=CARRIERS)
    assert (event.message.author, event.message.text) == (Author.CARRIER, "Claim 77")
    (event,) = read(mail(subject="运单 sf1234567890123 理赔", **machine), carriers=CARRIERS)
    assert refs(event) == [("waybill", "SF1234567890123")]
    assert read(mail(subject="News", **machine), carriers=CARRIERS) == []


def test_a_colleagues_mail_is_an_internal_word_or_nothing():
    wang = {"From": "wang@staff.example"}
    (event,) = read(mail(**wang, **ANSWER), staff=("staff.example",))
    assert (event.message.author, event.message.who) == (Author.AGENT, "wang@staff.example")
    assert (event.buyer, event.message.public, refs(event)) == (None, False, [("case", CASE)])
    assert read(mail(**wang), staff=("staff.example",)) == []
    assert read(mail(**wang, **ANSWER), staff=("staff.example",), staff_mails="ignore") == []
    (away,) = read(mail(Auto_Submitted="auto-replied", **wang, **ANSWER), staff=("staff.example",))
    assert isinstance(away, Noted)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"password": None}, "give one of them"),
        ({"afterwards": "move"}, "move_to"),
        ({"move_to": "done"}, "move_to"),
        ({"user": "service"}, "addresses"),
        ({"order_numbers": ("(",)}, "not a pattern"),
        ({"order_numbers": (r"\d+",)}, "one group"),
        ({"carriers": {"yto": "YTO"}}, "neither an address nor a domain"),
        ({"staff": ("a b",)}, "neither an address nor a domain"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        inbox(**settings)


class TestContract(ParseContract):
    plugin = Imap
    settings = {"host": "imap.example", "user": USER, "password": "pass-word-9"}  # noqa: RUF012
    kinds = ("channels",)

    def inbound(self, account):
        meta = {"at": "2026-01-02T11:00:00+00:00", "size": "9000000"}
        answer = mail(2, References=f"<{CASE}@shop.example>")
        return [stored(account, one, meta) for one in (mail().as_bytes(), answer.as_bytes(), DSN)]


class TestContractWithTokens(Contract):
    plugin = Imap
    settings = {  # noqa: RUF012
        "host": "imap.example",
        "user": USER,
        "oauth": {"token_url": "https://login.example/token", "client_id": "app", "client_secret": "word-9"},
    }
    kinds = ("channels",)


class Refusing:
    """A mailbox with the mails 4 to 9, of which the server does not give the fifth; a client that ``imaplib`` is."""

    def __init__(self, arrived: str) -> None:
        self.arrived, self.client, self.folder = arrived, self, self

    def uids(self, *_, **__):
        return [str(one) for one in range(4, 10)]

    def status(self, *_):
        return {"MESSAGES": 9, "UIDNEXT": 10, "UIDVALIDITY": 1}

    def set(self, *_, **__):
        pass

    def uid(self, command, which, what):
        numbers = [int(one) for one in which.split(",")]
        if "SIZE" in what:
            facts = f'RFC822.SIZE 100 INTERNALDATE "{self.arrived}"'
            return "OK", [f"{one} (UID {one} {facts})".encode() for one in numbers]
        if numbers == [5] and "HEADER" not in what:
            return "NO", [b"The requested message could not be converted to an RFC-822 compatible format."]
        head = f"Message-ID: <{numbers[0]}@x>\r\nFrom: a@b.c\r\nSubject: s\r\n"
        return "OK", [(b"1", head.encode() + (b"" if "HEADER" in what else b"\r\nhi")), b")"]


def test_a_mail_that_the_server_does_not_give_keeps_no_other_back():
    place = Cursor(1, 3, NOON.date())
    young, old = (f"{NOON - timedelta(hours=hours):%d-%b-%Y %H:%M:%S} +0000" for hours in (0, 2))
    for arrived in (young, old):
        taken, behind, more = Folder(Refusing(arrived), "INBOX").news(place, NOON, timedelta(), 1 << 20)
        assert ([one.uid for one in taken], behind.last, more) == ([4], 4, True), "what came before it is taken"
    with pytest.raises(imaplib.IMAP4.error, match="INBOX, UID 5"):
        Folder(Refusing(young), "INBOX").news(behind, NOON, timedelta(), 1 << 20)
    taken, behind, more = Folder(Refusing(old), "INBOX").news(Cursor(1, 4, NOON.date()), NOON, timedelta(), 1 << 20)
    assert ([one.uid for one in taken][-1], behind.last, more) == (9, 9, False)
    stand_in = read_mail(next(one for one in taken if one.uid == 5).raw)
    assert (stand_in.head.id, stand_in.sender) == ("5@x", "a@b.c")
    assert "did not give this mail (INBOX, UID 5)" in stand_in.text
