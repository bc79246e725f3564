"""DingTalk (钉钉): alerts to a group by its custom robot (自定义机器人), or to colleagues and groups by an app's robot.

What it does with ``access_token``: posts a text or a Markdown message to the group of a custom robot, signed where the
robot asks for it (加签), with its keyword (自定义关键词) added where the words lack it, and with colleagues mentioned
by phone or user id. What it does with ``client_id`` and ``client_secret``: sends to one colleague (``to`` is a user id)
or to a group in which the app's robot is (``to`` is an openConversationId, ``cid…``), with a token that is kept until
it ends. Both reach colleagues only: buyers' messages are refused. What is longer than the vendor takes is cut at a
whole character. The vendor recognises no repeat, and messages cannot be looked up.

Reference: https://open.dingtalk.com/document/robots/custom-robot-access (robots),
https://open.dingtalk.com/document/orgapp/chatbots-send-one-on-one-chat-messages-in-batches (apps)

Not verified, and therefore settings: the most bytes of a custom robot's message (``most_bytes``), and what the codes
mean (``muted_codes``, ``busy_codes``, ``gone_codes``, ``token_codes``, ``limited_codes``). The rate is kept below the
published 20 a minute, because a custom robot that posts more is muted for ten minutes (``muted_pause``). Not built:
what colleagues say to a robot (its signature does not cover the body) and event subscriptions.
"""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Limit, Plugin, Result, SendsMessages
from rmabridge.errors import Rejected
from rmabridge.model import Form, SendMessage

from .app import App
from .robot import Robot


class DingTalk(Robot, App, SendsMessages):
    """One custom robot in one group, or one app's robot."""

    title: ClassVar[str] = "DingTalk (钉钉)"
    reference: ClassVar[str] = "https://open.dingtalk.com/document/robots/custom-robot-access"
    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        app = self.client_id is not None, self.client_secret is not None
        if any(app) != all(app) or all(app) == (self.access_token is not None):
            raise ValueError("give either access_token, or client_id and client_secret")
        return self

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(bytes=self.app_bytes if self.client_id else self.most_bytes) if self.carries(form) else None

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the message to the group of the custom robot, or to ``action.to`` by the app."""
        if action.audience != "staff":
            raise Rejected("DingTalk reaches colleagues only", hint="name this account under staff, not channels")
        return await (self.tell(action, ctx) if self.client_id else self.post(action, ctx))


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [DingTalk]
