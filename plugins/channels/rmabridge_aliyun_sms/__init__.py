"""Alibaba Cloud SMS (阿里云短信): text messages to buyers, from templates that the vendor approved.

What it does: sends one message to one number (SendSms), takes receipts (SmsReport) and buyers' replies (SmsUp), and
looks an uncertain delivery up (QuerySendDetails). There is no free text in mainland China: ``templates`` maps the
bridge's templates to approved ones with their parameters, and what is not mapped is refused, never sent otherwise. So
the buyer reads the approved words, which should say what ours say. The vendor knows no idempotency key; our mark
travels in OutId. Set the addresses of both pushes in the vendor's console to ``/hooks/{account}?token=…`` with the
account's ``push_token``: the vendor does not sign pushes, so without a token the door stays shut. Name the account
among the shop's ``sources`` as well as its ``channels``: then buyers' replies belong to that shop.

Reference: https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms

Not verified, and therefore settings: how long a value may be (``longest_value``), how long a text may be
(``longest_text``), how soon a message shows in the query (``settles_after``), the words by which a buyer opts out
(``ignored_replies``) or in again (``resuming_replies``), what a code means (``codes``). The shape of SmsUp and of the
query's answer is from the vendor's SDK and pages, not from a live account.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

import httpx
from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Finding,
    Handler,
    Inbound,
    Limit,
    Plugin,
    Probes,
    Receipt,
    ReceivesWebhooks,
    Reply,
    Result,
    Secrets,
    SendsMessages,
    WebRequest,
    live,
)
from rmabridge.errors import Unverified, WrongType
from rmabridge.model import Action, Event, Form, SendMessage, TemplateRef
from rmabridge.wire.bodies import dig, dump_json, text
from rmabridge.wire.signing import any_matches
from rmabridge.wire.times import CHINA

from .answers import Means, read
from .approved import Approved, chosen, known
from .calls import authorisation, headers_of, query_of
from .parsing import buyer, events, items, out_id
from .phones import dialled

PAGE_SIZE, MOST_PAGES = 50, 4
SAMPLES = {
    "receipt": {
        "phone_number": "13800138000",
        "send_time": "2026-01-02 19:59:00",
        "report_time": "2026-01-02 19:59:03",
        "success": True,
        "err_code": "DELIVERED",
        "err_msg": "用户接收成功",
        "sms_size": "1",
        "biz_id": "900619746936498440^0",
        "out_id": "rma:C1:sample",
    },
    "reply": {
        "phone_number": "13800138000",
        "send_time": "2026-01-02 19:59:30",
        "content": "收到了，谢谢",
        "sign_name": "示例",
        "dest_code": "1069000001",
        "sequence_id": 1234567890,
    },
}
LOOKS_BACK: Final = timedelta(hours=24)


class AliyunSms(Plugin, SendsMessages, ReceivesWebhooks, Probes):
    """An account at Alibaba Cloud's SMS service."""

    title: ClassVar[str] = "Alibaba Cloud SMS (阿里云短信)"
    reference: ClassVar[str] = "https://help.aliyun.com/zh/sms/developer-reference/api-dysmsapi-2017-05-25-sendsms"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.SMS})

    access_key_id: str = Field(min_length=1, description="AccessKey ID of a RAM user who may send and query messages")
    access_key_secret: SecretStr = Field(min_length=1, description="AccessKey Secret of that user")
    security_token: SecretStr | None = Field(None, description="STS token, where the key is a temporary one")
    sign: str = Field(
        min_length=1, description="approved signature (签名) without brackets; the vendor puts it in front"
    )
    templates: dict[str, Approved] = Field(
        default_factory=dict,
        description="approved template by ours: its id ('first_reply.return'), or id and locale ('….return:zh-CN')",
    )
    push_token: Secrets | None = Field(None, description="expected as ?token=… in the push addresses; none: no pushes")
    url: str = Field("https://dysmsapi.aliyuncs.com", description="address of the API")
    longest_value: int = Field(35, gt=0, description="most characters of one parameter's value")
    longest_text: int = Field(500, gt=0, description="most characters of a whole message")
    settles_after: timedelta = Field(timedelta(minutes=5), description="by when a sent message shows in the query")
    ignored_replies: tuple[str, ...] = Field(
        ("R", "T", "TD", "N", "退订"),
        description="replies by which a buyer opts out of messages; they open no case, and close the way",
    )
    resuming_replies: tuple[str, ...] = Field(
        (),
        description="replies by which a buyer who had opted out wants messages again; they open no case, and reopen "
        "the way. The vendor names none",
    )
    codes: dict[str, Means] = Field(
        default_factory=dict, description="what an answer's code means: 'retry', 'stop', 'reject' or 'unclear'"
    )
    probe_phone: str = Field("13800138000", description="number whose messages are asked for to try the account")

    def limit(self, form: Form) -> Limit | None:
        """The longest text message."""
        return Limit(characters=self.longest_text) if self.carries(form) else None

    def knows(self, template: TemplateRef | None) -> bool:
        """Whether an approved template stands for the message's; there is no free text."""
        return known(self.templates, template)

    def route(self, action: Action) -> Handler | None:
        """The handler; the query shows a message only after a while."""
        handler = super().route(action)
        return handler and replace(handler, settles_after=self.settles_after, looks_back=LOOKS_BACK)

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the approved template that stands for the message's; the id is the vendor's BizId."""
        approved, where = chosen(self.templates, action, self.account)
        number = dialled(action.to)
        params = {
            "PhoneNumbers": number,
            "SignName": approved.sign or self.sign,
            "TemplateCode": approved.code,
            "TemplateParam": dump_json(approved.fill(action.values, self.longest_value, where)),
            "OutId": out_id(ctx.case, ctx.idempotency_key),
        }
        answer = await self._call("SendSms", params, ctx)
        return Result(id=text(answer.get("BizId")), note=f"sent as {approved.code}", refs=buyer(number))

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Look through the messages to the number, today's and yesterday's, for our mark."""
        number, mark = dialled(action.to), out_id(ctx.case, ctx.idempotency_key)
        today = ctx.now().astimezone(ZoneInfo(CHINA)).date()
        for day in (today, today - timedelta(days=1)):
            for page in range(1, MOST_PAGES + 1):
                rows = await self._sent(number, f"{day:%Y%m%d}", page, ctx)
                if any(text(dig(one, "OutId")) == mark for one in rows):
                    return Finding(True, Result(refs=buyer(number)))
                if len(rows) < PAGE_SIZE:
                    break
            else:
                return Finding(None)
        return Finding(False)

    async def probe(self, ctx: Context) -> str:
        """Ask for the messages to a number; any answer shows that the key is good."""
        today = ctx.now().astimezone(ZoneInfo(CHINA)).date()
        await self._sent(dialled(self.probe_phone), f"{today:%Y%m%d}", 1, ctx)
        return f"Alibaba Cloud SMS answers; {len(self.templates)} templates are mapped, signature {self.sign}"

    async def _sent(self, number: str, day: str, page: int, ctx: Context) -> list[Any]:
        params = {"PhoneNumber": number, "SendDate": day, "PageSize": str(PAGE_SIZE), "CurrentPage": str(page)}
        answer = await self._call("QuerySendDetails", params, ctx)
        rows = dig(answer, "SmsSendDetailDTOs", "SmsSendDetailDTO")
        if not isinstance(rows, list):
            raise ValueError("the answer holds no list of messages")
        return rows

    async def _call(self, action: str, params: dict[str, str], ctx: Context) -> dict[str, Any]:
        query = query_of(params)
        address = httpx.URL(f"{self.url.rstrip('/')}/?{query}")
        token = self.security_token.get_secret_value() if self.security_token else None
        nonce = f"{ctx.idempotency_key}:{action}:{query}"
        headers = headers_of(address.netloc.decode(), action, ctx.now(), nonce, token)
        signed = authorisation(self.access_key_id, self.access_key_secret.get_secret_value(), query, headers)
        response = await ctx.http.post(address, headers=headers | {"Authorization": signed})
        return read(response, self.codes)

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the token of the address; pushes carry no signature."""
        if request.content_type not in {"", "application/json"}:
            raise WrongType("expected application/json")
        known = live(self.push_token, now) if self.push_token else []
        if not any_matches(request.query.get("token", ""), known):
            raise Unverified("the address lacks the account's push token")
        items(request.body)
        return Receipt()

    def reply(self, request: WebRequest) -> Reply:
        """What the vendor takes for success."""
        return Reply(body=dump_json({"code": 0, "msg": "接收成功"}).encode())

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """Receipts of our messages, buyers' replies, and who wants no more messages."""
        return events(inbound.body, inbound.received_at, self.ignored_replies, self.resuming_replies)

    def samples(self) -> tuple[str, ...]:
        """The pushes that ``sample`` knows."""
        return tuple(SAMPLES)

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A push as the vendor sends it."""
        if name not in SAMPLES or not self.push_token:
            return None
        query = {"token": live(self.push_token, now)[0]}
        body = dump_json([SAMPLES[name]]).encode()
        return WebRequest("POST", f"/hooks/{self.account}", query, {"Content-Type": "application/json"}, body)


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [AliyunSms]
