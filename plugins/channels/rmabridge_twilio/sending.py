"""Sending: which sender, which words, and what became of a message that nobody answered for."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import ClassVar, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from rmabridge.abilities import (
    Context,
    Finding,
    Handler,
    Limit,
    Plugin,
    Probes,
    Result,
    Secrets,
    SendsMessages,
    live,
)
from rmabridge.errors import Rejected, Unauthorised
from rmabridge.model import Action, Form, SendMessage
from rmabridge.wire.bodies import dump_json

from .addresses import WHATSAPP, dialled
from .answers import Listed, Listing, Made, Means, complain
from .parsing import buyer, mark_of

PAGE_SIZE, MOST_PAGES = 100, 4
WORD = re.compile(r"\w+")


class Content(BaseModel):
    """One content template of Twilio's: its id, and which of our values stand for its variables."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    sid: str = Field(pattern=r"^HX[0-9a-fA-F]{32}$", description="ContentSid")
    variables: dict[str, str] = Field(default_factory=dict, description="our value by Twilio's variable, {'1': 'case'}")


class Sending(Plugin, SendsMessages, Probes):
    """The account's senders, and its calls."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.SMS, Form.CHAT})

    account_sid: str = Field(pattern=r"^AC[0-9a-fA-F]{32}$", description="Account SID, AC…")
    auth_token: Secrets = Field(description="Auth Token; it signs webhooks, and calls where there is no API key")
    api_key_sid: str | None = Field(None, pattern=r"^SK[0-9a-fA-F]{32}$", description="API key for calls, SK…")
    api_key_secret: SecretStr | None = Field(None, min_length=1, description="secret of that API key")
    sender: str | None = Field(None, min_length=1, description="From of text messages: a number in E.164, a short code")
    messaging_service_sid: str | None = Field(
        None, pattern=r"^MG[0-9a-fA-F]{32}$", description="messaging service that picks the sender of text messages"
    )
    whatsapp_sender: str | None = Field(
        None, pattern=r"^\+[1-9]\d{6,14}$", description="number that WhatsApp messages come from; none: no WhatsApp"
    )
    templates: dict[str, Content] = Field(
        default_factory=dict,
        description="content template for WhatsApp by ours: its id, or id and locale ('first_reply.return:zh-CN')",
    )
    webhook_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s#]+$",
        description="public address of this account's door, exactly as Twilio calls it; none: the door stays shut",
    )
    url: str = Field("https://api.twilio.com", description="address of the API")
    country_code: str | None = Field(
        None, pattern=r"^[1-9]\d{0,2}$", description="country of numbers that are written without one, such as '1'"
    )
    longest_text: int = Field(1600, gt=0, description="most characters of a message")
    look_back: timedelta = Field(timedelta(hours=24), description="how old a message may be that a lookup finds")
    settles_after: timedelta = Field(timedelta(minutes=1), description="by when a sent message shows in the list")
    codes: dict[str, Means] = Field(
        default_factory=dict, description="what an error code means: 'retry', 'stop' or 'reject'"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not (self.sender or self.messaging_service_sid or self.whatsapp_sender):
            raise ValueError("set sender, messaging_service_sid or whatsapp_sender: a message needs one it comes from")
        if (self.api_key_sid is None) is not (self.api_key_secret is None):
            raise ValueError("api_key_sid and api_key_secret belong together")
        return self

    def carries(self, form: Form) -> bool:
        """Whether there is a sender for the form; WhatsApp is a chat."""
        senders = {Form.SMS: self.sender or self.messaging_service_sid, Form.CHAT: self.whatsapp_sender}
        return bool(senders.get(form))

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(characters=self.longest_text) if self.carries(form) else None

    def route(self, action: Action) -> Handler | None:
        """The handler; the list shows a message only after a while."""
        handler = super().route(action)
        return handler and replace(handler, settles_after=self.settles_after, looks_back=self.look_back)

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Send the message; the id is Twilio's sid of it."""
        if not self.carries(action.form):
            raise Rejected(f"the account has no sender for {action.form}", hint="set sender or whatsapp_sender")
        to = dialled(action.to, action.form, self.country_code)
        fields = {"To": to} | self._sender(action.form) | self._words(action)
        if self.webhook_url:
            fields["StatusCallback"] = self._called(mark_of(ctx.case, ctx.idempotency_key))
        response = await ctx.http.post(self._messages, data=fields, auth=self._auth(ctx))
        complain(response, self.codes)
        return Result(id=Made.model_validate_json(response.content).sid, refs=buyer(to))

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Look through the newest messages to the number for one with these words."""
        since, to = ctx.now() - self.look_back, dialled(action.to, action.form, self.country_code)
        seen, whole = await self._listed(to, ctx)
        ours = [one for one in seen if one.direction == "outbound-api" and _recent(one, since)]
        words = self._words(action).get("Body")
        if words is None:  # Twilio fills in a content template: its words are not ours
            return Finding(None if ours or not whole else False)
        same = next((one for one in ours if _said(one.body or "") == _said(words)), None)
        if same:
            return Finding(True, Result(id=same.sid, refs=buyer(to)))
        return Finding(False if whole else None)

    async def probe(self, ctx: Context) -> str:
        """Ask for one message of the account."""
        response = await ctx.http.get(self._messages, params={"PageSize": "1"}, auth=self._auth(ctx))
        complain(response, self.codes)
        Listing.model_validate_json(response.content)
        return f"Twilio answers for account {self.account_sid}"

    @property
    def _messages(self) -> str:
        return f"{self.url.rstrip('/')}/2010-04-01/Accounts/{self.account_sid}/Messages.json"

    def _auth(self, ctx: Context) -> tuple[str, str]:
        if self.api_key_sid and self.api_key_secret:
            return self.api_key_sid, self.api_key_secret.get_secret_value()
        tokens = live(self.auth_token, ctx.now())
        if not tokens:
            raise Unauthorised("auth_token is past its time", hint="set the new one")
        return self.account_sid, tokens[0]

    def _called(self, mark: str) -> str:
        """Our public address with the mark, as it is given to Twilio and comes back signed."""
        url = self.webhook_url or ""
        return f"{url}{'&' if '?' in url else '?'}rma={mark}"

    def _sender(self, form: Form) -> dict[str, str]:
        if form is Form.CHAT:
            return {"From": f"{WHATSAPP}{self.whatsapp_sender}"}
        service = {"MessagingServiceSid": self.messaging_service_sid} if self.messaging_service_sid else {}
        return service | ({"From": self.sender} if self.sender else {})

    def _words(self, action: SendMessage) -> dict[str, str]:
        """The content template that stands for the message's, else the words themselves."""
        ref = action.template if action.form is Form.CHAT else None
        names = (f"{ref.id}:{ref.locale}", ref.id) if ref else ()
        if content := next((self.templates[one] for one in names if one in self.templates), None):
            values = {name: action.values.get(ours, "") for name, ours in content.variables.items()}
            if missing := [content.variables[name] for name, value in values.items() if not value]:
                raise Rejected(f"no value for {', '.join(missing)}", hint=f"see [channels.{self.account}.templates]")
            return {"ContentSid": content.sid, "ContentVariables": dump_json(values)}
        links = [f"{one.name}: {one.url}" for one in action.attachments if one.url]
        whole = "\n".join([action.text, *links])
        if not whole.strip() or len(whole) > self.longest_text:
            raise Rejected(f"the message is empty, or longer than {self.longest_text} characters")
        return {"Body": whole}

    async def _listed(self, to: str, ctx: Context) -> tuple[list[Listed], bool]:
        """The messages to the number, and whether these are all."""
        url, found = httpx.URL(self._messages, params={"To": to, "PageSize": str(PAGE_SIZE)}), list[Listed]()
        for _ in range(MOST_PAGES):
            response = await ctx.http.get(url, auth=self._auth(ctx))
            complain(response, self.codes)
            page = Listing.model_validate_json(response.content)
            found += page.messages
            if page.next_page_uri is None:
                return found, True
            url = httpx.URL(f"{self.url.rstrip('/')}{page.next_page_uri}")
        return found, False


def _said(text: str) -> list[str]:
    """The words alone: Smart Encoding puts other signs for quotation marks, dashes and spaces."""
    return WORD.findall(unicodedata.normalize("NFKC", text)) or text.split()


def _recent(one: Listed, since: datetime) -> bool:
    """Whether it was made since then; one without a time counts."""
    if one.date_created is None:
        return True
    made = parsedate_to_datetime(one.date_created)
    return (made if made.tzinfo else made.replace(tzinfo=UTC)) >= since
