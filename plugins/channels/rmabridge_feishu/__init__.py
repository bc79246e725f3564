"""Feishu / Lark (飞书): a group's custom robot for alerts, or an app's messages to and from people.

What it does with ``robot``: posts alerts to the group of a custom robot, signed where the robot asks for it, with its
keyword added where the words lack it and colleagues mentioned. A robot reaches colleagues only, and the vendor
recognises no repeat. What it does with ``app_id`` and ``app_secret``: sends messages to a chat, an open id or a mail
address with the tenant's token, which is kept until it ends; a repeat within the hour is recognised (``uuid``). What
people write to the app comes in as buyers' messages: set the event's address in the console to ``/hooks/{account}``,
subscribe to ``im.message.receive_v1``, and give the account the ``encrypt_key`` or the ``verification_token``, without
which the door stays shut. The address's challenge is answered. Name such an account among the shop's ``sources`` as
well as its ``channels``.

All messages are rich text (``post``), in which nothing a buyer wrote can mention anybody. What is longer than the
vendor takes is cut at a whole character. For Lark set ``url`` to ``https://open.larksuite.com``.

Reference: https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot (robots),
https://open.feishu.cn/document/server-docs/im-v1/message/create (messages),
https://open.feishu.cn/document/server-docs/im-v1/message/events/receive (events)

Not verified, and therefore settings: what the codes mean (``limited_codes``, ``token_codes``, ``app_codes``,
``refused_codes``), how long a repeat is recognised (``remembered``), the most bytes of an app's message
(``app_bytes``). What a repeat within that time is answered is not known either; it is taken to be the first answer.
Buttons on cards are not built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    Handler,
    Inbound,
    Limit,
    Plugin,
    Receipt,
    ReceivesWebhooks,
    Reply,
    Result,
    Secrets,
    SendsMessages,
    WebRequest,
    live,
)
from rmabridge.errors import Malformed, Rejected, Unverified, WrongType
from rmabridge.model import Action, Event, Form, SendMessage
from rmabridge.wire.bodies import dig, dump_json, text
from rmabridge.wire.sealing import sealed
from rmabridge.wire.signing import any_matches

from .calls import Calls, Request
from .parsing import events
from .posts import Post
from .sealing import enciphered, mark, opened

ENVELOPE = 1_000
SAMPLE: dict[str, Any] = {
    "schema": "2.0",
    "header": {
        "event_id": "5e3702a84e847582be8db7fb73283c02",
        "event_type": "im.message.receive_v1",
        "create_time": "1767355200000",
        "token": "",
        "app_id": "cli_9f5343c580712544",
        "tenant_key": "2ca1d211f64f6438",
    },
    "event": {
        "sender": {"sender_id": {"open_id": "ou_84aad35d084aa403a838cf73ee18467"}, "sender_type": "user"},
        "message": {
            "message_id": "om_5ce6d572455d361153b7cb51da133945",
            "create_time": "1767355199000",
            "chat_id": "oc_5ce6d572455d361153b7xx51da133945",
            "chat_type": "p2p",
            "message_type": "text",
            "content": '{"text":"屏幕碎了，要退货"}',
        },
    },
}


class Feishu(Calls, SendsMessages, ReceivesWebhooks):
    """One custom robot in one group, or one app."""

    title: ClassVar[str] = "Feishu / Lark (飞书)"
    reference: ClassVar[str] = "https://open.feishu.cn/document/server-docs/im-v1/message/create"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    keyword: str | None = Field(
        None, min_length=1, description="a keyword of a robot that asks for one; added where a message lacks it"
    )
    mention_users: tuple[str, ...] = Field((), description="open ids of colleagues whom alerts mention")
    mention_all: bool = Field(False, description="let alerts mention everybody in the group")
    robot_bytes: int = Field(20_000, ge=2_000, description="most bytes of a robot's request")
    app_bytes: int = Field(30_000, ge=2_000, description="most bytes of an app's request")
    remembered: timedelta = Field(timedelta(hours=1), description="how long the vendor recognises an app's repeat")
    encrypt_key: Secrets | None = Field(None, description="the app's Encrypt Key: events are enciphered and signed")
    verification_token: Secrets | None = Field(None, description="the app's Verification Token, which events hold")
    chats: Literal["p2p", "all"] = Field("p2p", description="'p2p', or 'all': groups with the app are read as well")
    colleagues: tuple[str, ...] = Field((), description="open ids of colleagues: what they write opens no case")

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(bytes=self._most - ENVELOPE) if self.carries(form) else None

    def route(self, action: Action) -> Handler | None:
        """The handler; an app's repeat does no harm while the vendor recognises it."""
        handler = super().route(action)
        if handler is None or self.robot:
            return handler
        return replace(handler, repeatable=True, remembers=self.remembered)

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Post the message to the robot's group, or send it to ``action.to``; only the latter has an id."""
        if self.robot and action.audience != "staff":
            raise Rejected("a group robot reaches colleagues only", hint="name this account under staff, not channels")
        request = self._request(action, ctx)
        post = self._post(action).fitted(self._most, lambda one: len(request(one).body))
        if self.robot:
            await self.ask_robot(request(post), ctx)
            return Result(note=post.note)
        told = await self.ask_app(request(post), ctx)
        if not (id_ := text(dig(told, "data", "message_id"))):
            raise ValueError("the answer names no message: it may have been sent")
        return Result(id=id_, note=post.note)

    def _request(self, action: SendMessage, ctx: Context) -> Callable[[Post], Request]:
        if self.robot:
            return lambda post: self.to_robot(post, ctx)
        receiver = self.receiver(action)
        return lambda post: self.to_person(post, receiver, ctx)

    @property
    def _most(self) -> int:
        return self.robot_bytes if self.robot else self.app_bytes

    def _post(self, action: SendMessage) -> Post:
        links = tuple((one.name, one.url) for one in action.attachments if one.url)
        if not (action.text.strip() or links):
            raise Rejected("the message is empty")
        alert = action.audience == "staff"
        who = (*self.mention_users, *(["all"] if self.mention_all else ())) if alert else ()
        return Post(action.subject or "", action.text, links, who, self.keyword)

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """The challenge, to who knows the token or the key; other bodies are no business of the handshake."""
        keys, tokens = live(self.encrypt_key or (), now), live(self.verification_token or (), now)
        if request.method != "POST":
            return None
        try:
            asked, known = opened(request.body, keys), tokens or enciphered(request.body)
        except Malformed:
            return None
        if not known or asked.get("type") != "url_verification" or not isinstance(asked.get("challenge"), str):
            return None
        # Who could encipher the challenge knows the key; without a key the token alone tells.
        if tokens and not any_matches(text(asked.get("token")) or "", tokens):
            raise Unverified
        return Reply(body=dump_json({"challenge": asked["challenge"]}).encode())

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature where there is a key, and the token where there is one."""
        if request.content_type not in {"", "application/json"}:
            raise WrongType("expected application/json")
        keys, tokens = live(self.encrypt_key or (), now), live(self.verification_token or (), now)
        if not (keys or tokens):
            raise Unverified("the account has neither encrypt_key nor verification_token")
        if keys and not any_matches(_header(request, "Signature"), [_mark(request, one) for one in keys]):
            raise Unverified
        body = opened(request.body, keys)
        given = dig(body, "header", "token") or body.get("token")
        if tokens and not (isinstance(given, str) and any_matches(given, tokens)):
            raise Unverified("the event lacks the app's verification token")
        lane = dig(body, "event", "message", "chat_id")
        return Receipt(id=text(dig(body, "header", "event_id") or body.get("uuid")), lane=text(lane))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """A message for each that somebody wrote to the app."""
        body = opened(inbound.body, _all(self.encrypt_key))
        return events(body, inbound.received_at, self.chats == "all", self.colleagues)

    def samples(self) -> tuple[str, ...]:
        """The events that ``sample`` knows."""
        return ("message",) if self.encrypt_key or self.verification_token else ()

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """An event as the vendor sends it."""
        if name not in self.samples():
            return None
        token = next(iter(live(self.verification_token or (), now)), "")
        body = dump_json(SAMPLE | {"header": {**SAMPLE["header"], "token": token}}).encode()
        headers = {"Content-Type": "application/json"}
        if keys := live(self.encrypt_key or (), now):
            stamp, body = str(int(now.timestamp())), dump_json({"encrypt": sealed(body, keys[0])}).encode()
            headers |= {"X-Lark-Request-Timestamp": stamp, "X-Lark-Request-Nonce": "1"}
            headers["X-Lark-Signature"] = mark(stamp, "1", keys[0], body)
        return WebRequest("POST", f"/hooks/{self.account}", {}, headers, body)


def _header(request: WebRequest, name: str) -> str:
    return request.headers.get(f"X-Lark-{name}", "")


def _mark(request: WebRequest, key: str) -> str:
    stamp, nonce = _header(request, "Request-Timestamp"), _header(request, "Request-Nonce")
    return mark(stamp, nonce, key, request.body)


def _all(secrets: Secrets | None) -> list[str]:
    """The secrets, old ones too: what came in under them can still be read."""
    return [one.value.get_secret_value() for one in secrets or ()]


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Feishu]
