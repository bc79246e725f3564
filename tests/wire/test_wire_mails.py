"""Mails as they really come."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import getaddresses
from hashlib import sha256

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rmabridge.errors import Malformed
from rmabridge.wire.mailparts import _addresses
from rmabridge.wire.mails import Kind, read_mail
from rmabridge.wire.mailtext import COLONS, data, decode, own, plain, words

HEAD = "From: 李雷 <li@buyer.example>\r\nMessage-ID: <m1@buyer.example>\r\n"


def mail(body="", head="", charset="utf-8", declared=None):
    content = f"Content-Type: text/plain; charset={declared or charset}\r\n"
    return read_mail(f"{HEAD}Subject: 退货\r\n{content}{head}\r\n{body}".encode(charset))


def answer(*quoted):
    return own("\n".join(["太小了", "", *quoted]))


def test_the_lists_of_quotes_are_as_the_reading_takes_them_to_be() -> None:
    quotes = data()["quotes"]
    assert all(one.startswith("-{2,}") for one in quotes["edges"])
    assert all(one.endswith((":", f"[{''.join(COLONS)}]")) for one in quotes["intros"])
    assert all(quotes[one].endswith(f"[{''.join(COLONS)}]") for one in ("first", "others"))


@given(st.text(alphabet='ab.=?_-+/ <>@,Z9"*(', max_size=14), st.booleans())
def test_plain_addresses_are_read_as_the_standard_library_reads_them(text: str, closed: bool) -> None:
    field = f"{text} <{text.strip()}@x.y>" if closed else text
    assert _addresses([field]) == getaddresses([field])


# Charsets


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("gb18030", "退货：尺码太小，😀"),
        ("gb2312", "退货"),
        ("big5", "退貨：尺碼太小"),
        ("hz", "退货 small"),
        ("iso-2022-jp", "返品したい"),
        ("iso-2022-kr", "반품"),
        ("euc-kr", "반품"),
        ("shift_jis", "返品"),
        ("cp1252", "“Größe” – 42 €"),
        ("utf-16", "退货"),
    ],
)
def test_each_charset_is_read_by_its_name(charset, text):
    name = {"cp1252": "iso-8859-1", "hz": "HZ-GB-2312"}.get(charset, charset)
    assert decode(text.encode(charset), name) == text


@pytest.mark.parametrize("name", ["us-ascii", "utf-8", "x-unknown", "", None, "\x00", "unicode_escape", "zlib", "idna"])
def test_a_wrong_or_unknown_charset_leaves_the_bytes_to_speak(name):
    assert decode("退货了".encode("gb18030"), name) == "退货了"
    assert decode("退货了".encode(), name) == "退货了"


def test_utf_8_under_the_name_of_another_charset_is_still_read():
    assert decode("退货".encode(), "gb2312") == "退货"
    assert decode("联通".encode("gbk"), "gbk") == "联通"


def test_one_broken_byte_does_not_spoil_the_rest():
    assert decode("退货".encode("gb2312") + b"\xff", "gb2312").startswith("退货")


def test_headers_with_bare_bytes_are_read_in_the_charset_of_the_body():
    for charset in ("gb18030", "utf-8"):
        found = mail("您好", charset=charset)
        assert (found.head.subject, found.sender_name, found.sender) == ("退货", "李雷", "li@buyer.example")
    taiwan = read_mail(
        "From: 陳 <c@buyer.example>\nSubject: 退貨\nContent-Type: text/plain; charset=big5\n\n好".encode("big5")
    )
    assert (taiwan.head.subject, taiwan.sender_name) == ("退貨", "陳")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("=?gb2312?B?zcu79Q==?=", "退货"),
        ("=?gb2312?B?zcs=?= =?gb2312?B?u/U=?=", "退货"),
        ("=?utf-8?B?6YCA6LQ=?=\r\n =?utf-8?B?p+S6hg==?=", "退货了"),
        ("Re: =?UTF-8?Q?Gr=C3=B6=C3=9Fe_42?= (2)", "Re: Größe 42 (2)"),
        ("=?utf-8*en?q?a?=", "a"),
        ("=?utf-8?B?A?= x", "A x"),
        ("=?big5?Q?=B0h=B3f?=", "退貨"),
    ],
)
def test_encoded_words_are_read_also_where_a_character_is_cut_in_two(written, text):
    assert words(" ".join(written.split())) == text


# Words


def test_html_becomes_lines():
    rich = (
        "<html><head><title>x</title><style>p{}</style></head><body><p>您好&nbsp;&amp;&lt;b&gt;</p>"
        "<!-- <p>no --><div>two<br>three</div><script>alert(1)</script><ul><li>a<li>b</ul>"
        "<blockquote>old<blockquote>older</blockquote></blockquote>"
    )
    assert plain(rich).split("\n") == ["您好 &<b>", "", "two", "three", "", "a", "b", "", "> old", "> older", ">"]


def test_plain_text_is_preferred_and_html_read_where_there_is_none():
    made = EmailMessage()
    made["From"] = "li@buyer.example"
    made.set_content("plain words")
    made.add_alternative("<p>rich words</p>", subtype="html")
    assert read_mail(made.as_bytes()).text == "plain words"
    only = read_mail(b"From: a@b.example\nContent-Type: text/html\n\n<p>rich <b>words</b></p>")
    assert only.text == "rich words"


@pytest.mark.parametrize(
    "intro",
    [
        "On Fri, Jan 2, 2026 at 12:00 PM Shop <service@shop.example> wrote:",
        "On Fri, Jan 2, 2026 at 12:00 PM Shop\n<service@shop.example> wrote:",
        "Am 02.01.2026 um 12:00 schrieb Shop:",
        "在 2026-01-02 12:00:00，示例店 <service@shop.example> 写道：",
        "示例店 <service@shop.example> 于2026年1月2日周五 12:00写道：",
        "於 2026年1月2日 週五 下午12:00 寫道：",
        'At 2026-01-02 12:00:00, "示例店" <service@shop.example> wrote:',
        "------------------ 原始邮件 ------------------",
        "-----Original Message-----",
        "-----邮件原件-----",
        "From: Shop\nSent: Friday\nTo: Li\nSubject: Re",
        "发件人：示例店\n发送时间：2026年1月2日\n收件人：李雷\n主题：退货",
        "寄件者: 示例店\n寄件日期: 2026年1月2日\n收件者: 李雷",
    ],
)
def test_the_quoted_mail_is_cut_off(intro):
    assert answer(*intro.split("\n"), "我们收到了您的申请", "second line") == "太小了"


def test_words_between_and_below_quoted_lines_stay():
    quoted = "On Fri, Jan 2, 2026 at 12:00 PM Shop wrote:"
    assert own(f"{quoted}\n> which size?\n42\n> which colour?\nred") == "42\nred"
    assert own("> which size?\n42") == "42"


@pytest.mark.parametrize(
    "text",
    [
        "From: Berlin to Paris it took\nten days",
        "On my order it was written: blue",
        "主题：太小了",
        "在店里他们说了什么 我不知道",
        "-----",
        "> all of it is quoted",
        "a -- b\n--\nLi",
    ],
)
def test_what_only_looks_like_a_quote_stays(text):
    assert own(text) == text


# Files


def test_files_are_told_by_name_type_size_and_hash():
    made = EmailMessage()
    made["From"] = "li@buyer.example"
    made.set_content("see")
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="../../破损 1.png")
    made.add_attachment(b"x" * 10, maintype="application", subtype="pdf")
    made.add_attachment(EmailMessage())
    picture, paper, forwarded = read_mail(made.as_bytes()).files
    assert (picture.name, picture.media_type, picture.size) == ("破损 1.png", "image/png", 4)
    assert picture.sha256 == sha256(b"\x89PNG").hexdigest()
    assert (paper.name, paper.size) == ("file.pdf", 10)
    assert (forwarded.media_type, forwarded.sha256) == ("message/rfc822", None)


# Names


def test_a_mail_is_named_with_all_it_answers():
    found = mail(
        head="References: <a@x.example>\r\n <b@x.example>\r\nIn-Reply-To: <b@x.example> (note) <c@x.example>\r\n"
    )
    assert found.head.id == "m1@buyer.example"
    assert found.head.references == ("a@x.example", "b@x.example", "c@x.example")
    assert mail(head="Date: Fri, 02 Jan 2026 20:00:00 +0800\r\n").at == datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert mail(head="Date: the other day\r\nTo: <x>, Shop <s@shop.example>\r\n").to == ("s@shop.example",)


# Machines


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("Auto-Submitted: no", Kind.PERSON),
        ("Auto-Submitted: auto-replied; owner-email=x", Kind.AUTOMATIC),
        ("X-Autoreply: yes", Kind.AUTOMATIC),
        ("X-Auto-Response-Suppress: DR, OOF", Kind.AUTOMATIC),
        ("X-Auto-Response-Suppress: None", Kind.PERSON),
        ("Precedence: auto_reply", Kind.AUTOMATIC),
        ("Precedence: bulk", Kind.LIST),
        ("List-Id: <news.shop.example>", Kind.LIST),
        ("Return-Path: <>", Kind.AUTOMATIC),
        ("Return-Path: <li@buyer.example>", Kind.PERSON),
    ],
)
def test_a_machine_shows_by_its_header(head, kind):
    assert mail("hello", head=f"{head}\r\n").kind is kind


def test_a_machine_shows_by_its_address_or_subject():
    assert read_mail(b"From: No-Reply@shop.example\n\n").kind is Kind.AUTOMATIC
    assert read_mail("From: a@b.example\nSubject: 自动回复：我在休假\n\n".encode()).kind is Kind.AUTOMATIC
    assert read_mail(b"From: a@b.example\nSubject: Automatic reply: away\n\n").kind is Kind.AUTOMATIC


DSN = b"""From: MAILER-DAEMON@mx.example\r
Message-ID: <dsn1@mx.example>\r
Content-Type: multipart/report; report-type=delivery-status; boundary=b\r
\r
--b\r
\r
It did not work.\r
--b\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns; mx.example\r
\r
Final-Recipient: rfc822; li@buyer.example\r
Action: failed\r
Status: 5.1.1\r
Diagnostic-Code: smtp; 550 5.1.1 no such user\r
\r
Final-Recipient: rfc822; han@buyer.example\r
Action: delayed\r
Status: 4.2.2\r
\r
--b\r
Content-Type: %s\r
\r
Message-ID: <ours@shop.example>\r
References: <C0123456789A@shop.example>\r
Subject: [C0123456789A] Your return\r
\r
--b--\r
"""


@pytest.mark.parametrize("part", [b"message/rfc822", b"text/rfc822-headers"])
def test_a_report_names_the_mail_that_came_back_and_why(part):
    found = read_mail(DSN % part)
    assert found.kind is Kind.BOUNCE
    assert found.returned.id == "ours@shop.example"
    assert found.returned.references == ("C0123456789A@shop.example",)
    assert [(one.action, one.reason, one.recipient) for one in found.reports] == [
        ("failed", "550 5.1.1 no such user", "li@buyer.example"),
        ("delayed", "4.2.2", "han@buyer.example"),
    ]


def test_a_bounce_without_a_report_is_read_from_its_words():
    found = read_mail(
        b"From: Postmaster@mail.example\nSubject: failure notice\n\nSorry:\n<li@buyer.example>:\n"
        b"550 5.1.1 User not found\n\n--- Below is a copy\n\n > Message-ID: <ours@shop.example>\n > Subject: [C1] x\n"
    )
    assert found.kind is Kind.BOUNCE
    assert found.reports[0].reason == "550 5.1.1 User not found"
    assert found.returned.id == "ours@shop.example"


@pytest.mark.parametrize(
    ("words", "action"),
    [
        ("    **  THIS IS A WARNING MESSAGE ONLY  **\n\n451 4.4.1 timed out: will be retried until", "delayed"),
        ("# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #", "delayed"),
        ("A message that you sent has not yet been\ndelivered to one or more of its recipients", "delayed"),
        ("邮件暂时没有送达，系统会继续尝试。", "delayed"),
        ("Sorry.\n451 4.4.1 timed out\nI've given up.", "failed"),
        ("Sorry.\n--- Below is a copy\nSubject: Your delivery is delayed", "failed"),
    ],
)
def test_a_server_that_still_tries_says_so_in_words(words, action):
    head = b"From: MAILER-DAEMON@mail.example\nContent-Type: text/plain; charset=utf-8\nSubject: Mail\n\n"
    found = read_mail(head + words.encode() + b"\n\nMessage-ID: <ours@shop.example>\n")
    assert [one.action for one in found.reports] == [action]
    assert found.returned.id == "ours@shop.example"


def test_a_read_receipt_is_no_bounce():
    kind = b"multipart/report; report-type=disposition-notification; boundary=b"
    assert read_mail(b"From: a@b.example\nContent-Type: " + kind + b"\n\n--b--\n").kind is Kind.AUTOMATIC


# Hostile bytes

PIECES = (
    b"From: |Subject: |Date: |2026|Content-Type: multipart/mixed; boundary=b|Content-Type: text/html; charset=|gb2312|"
    b"Content-Type: message/rfc822|Content-Transfer-Encoding: base64|Content-Transfer-Encoding: x-uuencode|=?utf-8?b?|"
    b"Content-Disposition: attachment; filename*=utf-8''%ff%00|?=|--b|--b--|\r\n|\n|\n\n|<|>|(|@|\xff\xfe|\x00|"
    b"Action: failed|Content-Type: multipart/report; boundary=b|message/delivery-status|"
    b"From: postmaster@x.example|References: <a@b>"
).split(b"|")


@given(st.binary(max_size=300) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=6), max_size=40).map(b"".join))
@example(b"From: " + b"(" * 9000 + b"\n\n")
@example(b"From: a@b.example\nContent-Type: multipart/mixed; boundary=b; charset*=x''%\n\n--b\n")
@example(b"From: a@b.example\nContent-Type: text/plain; name*=\x00''x\n\n")
@example("From: a@b.example\nContent-Type: 文/本\nContent-Disposition: 附件; filename=\xff\n\n".encode())
def test_any_bytes_are_a_mail_or_malformed(raw):
    try:
        found = read_mail(raw)
    except Malformed:
        return
    for text in (found.text, found.own, found.head.subject, found.sender_name, *(one.name for one in found.files)):
        assert "\x00" not in text
        text.encode()


LEVELS = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (one, one) for one in range(3000))
MIXED = b"Content-Type: multipart/mixed; boundary=b\n\n"


@pytest.mark.parametrize(
    "rest",
    [
        LEVELS,
        LEVELS[:2500] + b"\n" * 200_000,
        b"Content-Type: message/rfc822\n\n" * 3000,
        b"Content-Type: text/plain;" + b'\r\n a="x";' * 100_000 + b"\n\n",
        MIXED + b"--b\n\nx\n" * 20_000,
        b"X: y\n" * 200_000,
    ],
    ids=["nested", "nested and long", "mails in mails", "parameters", "parts", "fields"],
)
def test_a_mail_without_end_is_malformed_before_it_costs_much(rest):
    with pytest.raises(Malformed):
        read_mail(b"From: a@b.example\n" + rest)


def test_a_large_mail_is_read():
    letters = (b"A" * 76 + b"\r\n") * 100_000
    part = b"--b\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\n"
    (file,) = read_mail(b"From: a@b.example\n" + MIXED + part + letters + b"--b--\n").files
    assert file.size == 5_700_000


@pytest.mark.parametrize("head", ["<head><meta charset=utf-8>", "<head/>", "<head><title/></head>", "<head></head>"])
def test_what_the_writer_says_is_read_however_the_head_ends(head):
    assert plain(f"<html>{head}<body><p>Hello</p></body></html>") == "Hello"


@pytest.mark.parametrize("empty", ["<>", ""])
def test_an_empty_id_names_no_mail(empty):
    raw = f"Message-ID: {empty}\r\nFrom: a@b.c\r\nSubject: s\r\n\r\nHello".encode()
    assert read_mail(raw).head.id is None
