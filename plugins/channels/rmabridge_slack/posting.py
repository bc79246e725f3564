"""Posting: by the bot's token or through an incoming webhook, and what became of a post that nobody answered for."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Self

import httpx
from pydantic import Field, SecretStr, field_validator, model_validator

from rmabridge.abilities import Context, Finding, Handler, Limit, Plugin, Probes, Result, SendsMessages
from rmabridge.errors import DeliveryError, Rejected, Unauthorised, Unavailable
from rmabridge.model import Action, Delivered, Form, Ref, RefKind, SendMessage
from rmabridge.wire.bodies import dig, dump_json
from rmabridge.wire.times import unix

from .answers import Answer, History, Posted, Who
from .parsing import CHANNEL, PLACE, escaped

CUT = "…"
MARK = "rmabridge_message"
PAGE_SIZE, MOST_PAGES = 100, 4


class Posting(Plugin, SendsMessages, Probes):
    """Where and how alerts are posted."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.CHAT})

    token: SecretStr | None = Field(None, min_length=1, description="bot token xoxb-… with the scope chat:write")
    channel: str | None = Field(
        None, pattern=rf"^{CHANNEL}$", description="id of the channel, C…: in Slack at the end of the channel's details"
    )
    webhook: SecretStr | None = Field(
        None, min_length=1, description="in place of the token: an incoming webhook, what follows …/services/"
    )
    url: str = Field("https://slack.com/api", description="address of the API")
    hooks_url: str = Field("https://hooks.slack.com/services", description="address of incoming webhooks")
    longest_text: int = Field(40000, gt=16, description="most characters of a message; what is longer is cut")
    look_up: bool = Field(False, description="look for an uncertain message in the channel; needs channels:history")
    look_back: timedelta = Field(timedelta(hours=24), description="how old a message may be that a lookup finds")
    settles_after: timedelta = Field(timedelta(seconds=30), description="by when a message shows in the history")
    busy_errors: tuple[str, ...] = Field(("ratelimited",), description="errors of a method that is called too often")
    busy_pause: float = Field(30, gt=0, description="seconds to wait after such an error that names no time")
    token_errors: tuple[str, ...] = Field(
        ("invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope"),
        description="errors of a token that is not good, or may not post",
    )
    unclear_errors: tuple[str, ...] = Field(
        ("fatal_error", "internal_error", "service_unavailable"),
        description="errors after which the message may have been posted all the same",
    )
    rate: str | None = Field("1/s", description="most calls, e.g. '1/s': what Slack takes for one channel")

    @field_validator("webhook")
    @classmethod
    def _only_its_end(cls, given: SecretStr | None) -> SecretStr | None:
        return given and SecretStr(given.get_secret_value().rpartition("/services/")[2].strip("/"))

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.token is None) is (self.webhook is None):
            raise ValueError("set either token or webhook")
        if self.token and self.channel is None:
            raise ValueError("channel: a token needs to know where to post")
        return self

    def limit(self, form: Form) -> Limit | None:
        """The longest message."""
        return Limit(characters=self.longest_text) if self.carries(form) else None

    def route(self, action: Action) -> Handler | None:
        """The handler; the history shows a message only after a while."""
        handler = super().route(action)
        return handler and replace(handler, settles_after=self.settles_after, looks_back=self.look_back)

    async def send(self, action: SendMessage, ctx: Context) -> Result:
        """Post the message; the id is channel and time stamp, and the case learns of its thread."""
        if action.audience != "staff":
            raise Rejected("Slack reaches colleagues only", hint="name this account under staff, not channels")
        words, note = self._words(action)
        if self.webhook:
            return await self._hook(self.webhook, words, note, ctx)
        channel, thread = self._place(action.to)
        metadata = {"event_type": MARK, "event_payload": {"key": ctx.idempotency_key}}
        body = {"channel": channel, "text": words, "metadata": metadata} | ({"thread_ts": thread} if thread else {})
        posted = Posted.model_validate_json(await self._call(ctx, "POST", "chat.postMessage", json=body))
        return self._result(posted.channel, posted.ts, thread, note, ctx)

    async def find_message(self, action: SendMessage, ctx: Context) -> Finding:
        """Look through the channel's newest messages for our key, where that is allowed."""
        channel, thread = self._place(action.to)
        if self.webhook or thread or not self.look_up:
            return Finding(None)
        since = f"{(ctx.now() - self.look_back).timestamp():.6f}"
        asked = {"channel": channel, "oldest": since, "limit": str(PAGE_SIZE), "include_all_metadata": "true"}
        for _ in range(MOST_PAGES):
            raw = await self._call(ctx, "GET", "conversations.history", params=asked)
            page = History.model_validate_json(raw)
            for one in page.messages:
                if dig(one.metadata, "event_payload", "key") == ctx.idempotency_key:
                    return Finding(True, self._result(channel, one.ts, None, None, ctx))
            cursor = dig(page.response_metadata, "next_cursor")
            if not cursor:
                return Finding(False)
            asked["cursor"] = str(cursor)
        return Finding(None)

    async def probe(self, ctx: Context) -> str:
        """Ask whom the token is of."""
        if self.webhook:
            raise Rejected("an incoming webhook cannot be tried without a message", hint="post one by hand")
        who = Who.model_validate_json(await self._call(ctx, "POST", "auth.test"))
        return f"Slack answers for {who.team}; the bot's user id is {who.user_id}"

    def _place(self, to: str) -> tuple[str, str | None]:
        """Channel and thread of the address; the account's own channel where it names none."""
        found = PLACE.fullmatch(to.strip())
        return (found[1], found[2]) if found else (self.channel or "", None)

    def _words(self, action: SendMessage) -> tuple[str, str | None]:
        """The words, with the subject above and links below them, and a note where they had to be cut."""
        links = [f"{one.name}: {one.url}" for one in action.attachments if one.url]
        whole = escaped("\n".join(filter(None, (action.subject, action.text, *links))))
        if not whole.strip():
            raise Rejected("the message is empty")
        if len(whole) <= self.longest_text:
            return whole, None
        # No half of an escape is left at the end.
        shown = re.sub(r"&[a-z]{0,3}$", "", whole[: self.longest_text - len(CUT)]) + CUT
        return shown, f"cut to {self.longest_text} characters"

    def _result(self, channel: str, stamp: str, thread: str | None, note: str | None, ctx: Context) -> Result:
        id_ = f"{channel}/{stamp}"
        if not ctx.case:
            return Result(id=id_, note=note)
        place = Ref(kind=RefKind.THREAD, value=f"{channel}/{thread or stamp}")
        refs = (Ref(kind=RefKind.CASE, value=ctx.case), place)
        arrived = Delivered(key=f"slack:posted:{id_}", at=unix(stamp), refs=refs, message=id_, ok=True)
        return Result(id=id_, events=(arrived,), note=note)

    async def _call(self, ctx: Context, verb: str, method: str, **more: Any) -> bytes:
        secret = self.token.get_secret_value() if self.token else ""
        headers = {"Authorization": f"Bearer {secret}"}
        if body := more.pop("json", None):
            headers["Content-Type"] = "application/json; charset=utf-8"
            more["content"] = dump_json(body).encode()
        response = await ctx.http.request(verb, f"{self.url.rstrip('/')}/{method}", headers=headers, **more)
        response.raise_for_status()
        answer = Answer.model_validate_json(response.content)
        if not answer.ok:
            raise self._refusal(answer.error or "", response.headers.get("Retry-After"))
        return response.content

    def _refusal(self, error: str, pause: str | None) -> DeliveryError | ValueError:
        if error in self.unclear_errors:
            return ValueError(f"{error}: it may have been posted")
        if error in self.busy_errors:
            return Unavailable(error, retry_after=float(pause) if pause and pause.isdecimal() else self.busy_pause)
        if error in self.token_errors:
            return Unauthorised(error, hint="see the app's token and its scopes at api.slack.com/apps")
        hint = "invite the app into the channel" if error in {"not_in_channel", "channel_not_found"} else ""
        return Rejected(error or "refused without a reason", hint=hint)

    async def _hook(self, webhook: SecretStr, words: str, note: str | None, ctx: Context) -> Result:
        address = f"{self.hooks_url.rstrip('/')}/{webhook.get_secret_value()}"
        headers = {"Content-Type": "application/json; charset=utf-8"}
        response = await ctx.http.post(address, content=dump_json({"text": words}).encode(), headers=headers)
        _complain(response)
        if response.text.strip() != "ok":
            raise ValueError("the answer is not 'ok': it may have been posted")
        return Result(note=note)


def _complain(response: httpx.Response) -> None:
    """Give a refusal Slack's word, which comes as plain text; the other statuses speak for themselves."""
    if response.status_code in {400, 404, 410}:
        hint = "" if response.status_code == 400 else "the webhook or its channel is gone: make a new webhook"
        raise Rejected(f"HTTP {response.status_code}: {response.text[:100].strip()}", hint=hint)
    response.raise_for_status()
