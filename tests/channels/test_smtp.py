"""SMTP against a real aiosmtpd."""

from base64 import b64decode
from datetime import timedelta
from email import message_from_bytes, policy
from types import SimpleNamespace

import aiosmtplib
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_smtp import WIRE_POLICY, Smtp

from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.model import Attachment, Form, SendMessage, TemplateRef
from rmabridge.testing.contexts import NOON, account, context
from rmabridge.testing.simulators.mail import MailSim

HEADERS = {b"from", b"to", b"subject", b"date", b"message-id", b"in-reply-to", b"references"}
HEADERS |= {b"content-type", b"content-transfer-encoding", b"mime-version"}
KEY = "7d7f5d62-93ac-5b56-9d7b-4a4f8e0b1c11"

LENT = SimpleNamespace(now=lambda: NOON, idempotency_key=KEY)


@pytest.fixture
async def sim():
    async with MailSim() as one:
        yield one


@pytest.fixture
def left():
    """What the plugin told the bridge about bytes that left."""
    return []


@pytest.fixture
async def ctx(left):
    lent = context(sent=lambda: left.append("sent"))
    yield lent
    await lent.http.aclose()


def desk(sim, **settings):
    given = {"host": "127.0.0.1", "port": sim.smtp_port, "tls": "none", "sender": "service@shop.example", "timeout": 5}
    return account(Smtp, "mail", **(given | {"allow_private": True} | settings))


def mail(**fields):
    given = {"purpose": "reply:first:1", "form": Form.MAIL, "to": "lin@buyer.example", "subject": "[C1] Your return"}
    return SendMessage(**(given | {"text": "Dear Lin,\n.\nwe have it. 谢谢"} | fields))


async def test_a_mail_arrives_as_it_was_written(sim, ctx, left):
    result = await desk(sim, sender_name="示例店").send(mail(name="林小姐"), ctx)
    (taken,) = sim.books["mails"]
    assert taken["from"] == "service@shop.example"
    assert taken["to"] == ["lin@buyer.example"]
    assert taken["subject"] == "[C1] Your return"
    assert taken["text"].splitlines() == ["Dear Lin,", ".", "we have it. 谢谢"]
    assert taken["headers"]["From"] == "示例店 <service@shop.example>"
    assert taken["headers"]["To"] == "林小姐 <lin@buyer.example>"
    assert result.note == "OK: queued as 1"
    assert left == ["sent"]


async def test_the_same_delivery_has_the_same_message_id(sim, ctx):
    first = await desk(sim).send(mail(), ctx)
    second = await desk(sim).send(mail(), ctx)
    assert first.id == second.id == f"<{KEY}@shop.example>"
    assert [one["message_id"] for one in sim.books["mails"]] == [first.id, first.id]


async def test_mails_of_a_case_share_their_root(sim, ctx):
    await desk(sim, domain="relay.example", reply_to="answers@shop.example").send(mail(thread_key="C1"), ctx)
    headers = sim.books["mails"][0]["headers"]
    assert headers["References"] == headers["In-Reply-To"] == "<C1@relay.example>"
    assert headers["Message-ID"] == f"<{KEY}@relay.example>"
    assert headers["Reply-To"] == "answers@shop.example"


async def test_a_long_thread_key_still_gives_an_id(sim, ctx):
    await desk(sim, domain="d" * 32 + ".example").send(mail(thread_key="退货 " * 30), ctx)
    root = sim.books["mails"][0]["headers"]["References"].strip()
    assert root.startswith("<")
    assert root.endswith(".example>")
    assert root.isascii()


async def test_only_a_templated_mail_says_that_a_machine_wrote_it(sim, ctx):
    await desk(sim).send(mail(template=TemplateRef(id="first", version=1, locale="en")), ctx)
    await desk(sim).send(mail(), ctx)
    machine, person = (one["headers"] for one in sim.books["mails"])
    assert machine["Auto-Submitted"] == "auto-generated"
    assert machine["X-Auto-Response-Suppress"] == "All"
    assert "Auto-Submitted" not in person


async def test_files_are_named_with_their_address(sim, ctx):
    label = Attachment(name="label.pdf", url="https://files.example/label.pdf")
    await desk(sim).send(mail(attachments=(label,)), ctx)
    assert "label.pdf: https://files.example/label.pdf" in sim.books["mails"][0]["text"]
    with pytest.raises(Rejected):
        await desk(sim).send(mail(attachments=(Attachment(name="a.png"),)), ctx)


async def test_stored_and_made_files_go_along_and_the_words_stay_readable(sim, ctx):
    photo = await ctx.keep(b"\xff\xd8 a photo")
    told = '{"title": "理赔 YT1", "goods": [{"sku": "A", "qty": 2}]}'
    files = (
        Attachment(name="外箱.jpg", media_type="image/jpeg", sha256=photo),
        Attachment(name="claim.pdf", media_type="application/pdf", text=told),
        Attachment(name="claim.json", media_type="application/json", text=told),
    )
    await desk(sim).send(mail(attachments=files), ctx)
    (taken,) = sim.books["mails"]
    assert taken["text"].splitlines() == ["Dear Lin,", ".", "we have it. 谢谢"]
    jpg, pdf, document = taken["files"]
    assert (jpg["name"], jpg["type"], jpg["sha256"]) == ("外箱.jpg", "image/jpeg", photo)
    assert (pdf["type"], b64decode(pdf["base64"])[:5]) == ("application/pdf", b"%PDF-")
    assert b64decode(document["base64"]).decode() == told


async def test_files_beyond_the_limit_are_named_with_their_hash_or_address(sim, ctx):
    large = await ctx.keep(b"x" * 2000)
    files = (
        Attachment(name="a.mp4", sha256=large, size=2000),
        Attachment(name="b.mp4", sha256=large, url="https://files.example/b"),
    )
    await desk(sim, most_attached=1000).send(mail(attachments=files), ctx)
    (taken,) = sim.books["mails"]
    assert taken["files"] == []
    assert f"SHA-256 {large}" in taken["text"] and "b.mp4: https://files.example/b" in taken["text"]


async def test_a_file_s_name_cannot_carry_a_header(sim, ctx):
    with pytest.raises(Rejected, match="control characters"):
        await desk(sim).send(mail(attachments=(Attachment(name="a\r\nBcc: x@y.example", text="x"),)), ctx)


@pytest.mark.parametrize("code", [450, 451])
async def test_greylisting_waits_five_minutes(sim, ctx, left, code):
    sim.do_refuse(code, "greylisted, come back")
    with pytest.raises(Unavailable, match="greylisted") as caught:
        await desk(sim).send(mail(), ctx)
    assert caught.value.retry_after == 300
    assert left == []
    await desk(sim).send(mail(), ctx)
    assert len(sim.books["mails"]) == 1


@pytest.mark.parametrize(
    ("stage", "code", "error"),
    [
        ("mail", 421, Unavailable),
        ("mail", 550, Rejected),
        ("rcpt", 452, Unavailable),
        ("rcpt", 550, Rejected),
        ("data", 451, Unavailable),
        ("data", 554, Rejected),
    ],
)
async def test_a_refusal_at_any_stage_is_told_by_its_code(sim, ctx, stage, code, error):
    sim.do_refuse(code, "no", stage=stage)
    with pytest.raises(error, match=f"{code} no"):
        await desk(sim).send(mail(), ctx)
    assert sim.books["mails"] == []


async def test_a_wrong_password_stops_the_account(ctx):
    async with MailSim(user="shop", password="right") as sim:
        with pytest.raises(Unauthorised, match="535"):
            await desk(sim, user="shop", password="wrong").send(mail(), ctx)
        with pytest.raises(Unauthorised, match="530"):
            await desk(sim).send(mail(), ctx)
        await desk(sim, user="shop", password="right").send(mail(), ctx)
        assert len(sim.books["mails"]) == 1


async def test_silence_after_data_stays_an_open_question(sim, ctx, left):
    sim.do_hang()
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        await desk(sim, timeout=1.5).send(mail(), ctx)
    assert left == ["sent"]
    assert len(sim.books["mails"]) == 1


async def test_a_hang_up_after_data_stays_an_open_question(sim, ctx, left):
    sim.do_close()
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await desk(sim).send(mail(), ctx)
    assert left == ["sent"]
    assert len(sim.books["mails"]) == 1


async def test_nobody_at_home_means_later(sim, ctx, left):
    smtp = desk(sim)
    await sim.stop()
    with pytest.raises(Unavailable):
        await smtp.send(mail(), ctx)
    with pytest.raises(Unavailable):
        await smtp.probe(ctx)
    assert left == []


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "hello\r\nBcc: all@shop.example"},
        {"subject": "hello\nBcc: all@shop.example"},
        {"subject": "hello\u2028Bcc: all@shop.example"},
        {"subject": "hello\x0bBcc: all@shop.example"},
        {"name": "Lin\r\nBcc: all@shop.example"},
        {"to": "lin@buyer.example\r\nRCPT TO:<all@shop.example>"},
        {"to": "lin@buyer.example, all@shop.example"},
        {"to": "lin@buyer.example>"},
        {"to": "nobody"},
        {"to": ""},
    ],
)
async def test_nothing_slips_into_a_header_or_the_envelope(sim, ctx, left, fields):
    with pytest.raises(Rejected):
        await desk(sim).send(mail(**fields), ctx)
    assert sim.books["mails"] == []
    assert left == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_private_address_is_refused_before_anything_is_said(sim, ctx, left, host):
    smtp = desk(sim, host=host, allow_private=False, user="shop", password="right")
    for call in (smtp.send(mail(), ctx), smtp.probe(ctx)):
        with pytest.raises(Rejected, match="is a private address") as caught:
            await call
        assert "allow_private = true" in caught.value.hint
    assert sim.books["mails"] == []
    assert left == []


async def test_a_thread_key_cannot_break_a_header(sim, ctx):
    await desk(sim).send(mail(thread_key="C1>\r\nBcc: all@shop.example"), ctx)
    assert "Bcc" not in sim.books["mails"][0]["headers"]


@given(subject=st.text(max_size=200), name=st.text(max_size=40), thread=st.text(max_size=40))
def test_any_words_give_a_whole_mail_or_a_refusal(subject, name, thread):
    smtp = account(Smtp, host="mail.example", sender="service@shop.example")
    try:
        made = smtp._compose(mail(subject=subject, name=name, thread_key=thread), LENT)
        head = made.as_bytes().partition(b"\r\n\r\n")[0]
    except Rejected:
        return
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n") if not line[:1].isspace()}
    assert names <= HEADERS


async def test_a_local_part_beyond_ascii_needs_smtputf8(sim, ctx):
    with pytest.raises(Rejected, match="beyond ASCII"):
        await desk(sim).send(mail(to="用户@buyer.example"), ctx)
    async with MailSim(smtputf8=True) as wide:
        await desk(wide).send(mail(to="用户@buyer.example"), ctx)
        assert wide.books["mails"][0]["to"] == ["用户@buyer.example"]


async def test_a_domain_beyond_ascii_is_written_in_ascii(sim, ctx):
    await desk(sim).send(mail(to="lin@例子.example"), ctx)
    assert sim.books["mails"][0]["to"] == ["lin@xn--fsqu00a.example"]


async def test_starttls_is_never_given_up(sim, ctx, left):
    with pytest.raises(Unauthorised, match="STARTTLS"):
        await desk(sim, tls="starttls", user="shop", password="secret").send(mail(), ctx)
    assert left == []
    assert sim.books["mails"] == []


async def test_starttls_with_a_certificate_we_trust_takes_the_mail(ctx):
    async with MailSim(tls=True, user="shop", password="right") as sim:
        smtp = desk(sim, host="localhost", tls="starttls", ca_file=sim.ca_file, user="shop", password="right")
        assert await smtp.probe(ctx) == f"localhost:{sim.smtp_port} takes mails of shop"
        await smtp.send(mail(), ctx)
        assert len(sim.books["mails"]) == 1


async def test_a_certificate_nobody_vouches_for_gets_no_password(ctx, left):
    async with MailSim(tls=True, user="shop", password="right") as sim:
        with pytest.raises(Unavailable):
            await desk(sim, host="localhost", tls="starttls", user="shop", password="right").send(mail(), ctx)
        assert left == []


@pytest.mark.parametrize(
    "settings",
    [
        {"sender": "no address"},
        {"reply_to": "a@b, c@d"},
        {"sender_name": "Shop\nBcc: x"},
        {"user": "shop"},
        {"tls": "maybe"},
        {"domain": "d" * 41},
        {"sender": "a@" + "d" * 50 + ".example"},
    ],
)
def test_settings_that_cannot_work_are_named(settings):
    with pytest.raises(ValidationError):
        account(Smtp, **({"host": "h", "sender": "a@b.example"} | settings))


def test_the_bridge_may_not_send_a_mail_twice_by_itself():
    handler = account(Smtp, host="h", sender="a@b.example").route(mail())
    assert not handler.repeatable
    assert timedelta(seconds=handler.deadline) < timedelta(minutes=2)


@pytest.mark.parametrize(
    "name",
    [
        "Shenzhen Bright Future International Import and Export Trading Co., Ltd. (Shenzhen Nanshan Branch)",
        "International Business Machines, Research and Development, eve@evil.example, Purchasing Department",
        "x" * 200,
        "a short one, Inc.",
    ],
)
def test_a_name_of_any_length_is_the_name_of_one_address(name):
    smtp = account(Smtp, host="mail.example", sender="service@shop.example")
    made = smtp._compose(mail(name=name), LENT)
    raw = made.as_bytes(policy=WIRE_POLICY.clone(cte_type="7bit", utf8=False))
    told = message_from_bytes(raw, policy=policy.default)["To"].addresses
    assert len(told) == 1
    assert told[0].addr_spec == mail().to
