"""Slack: alerts to colleagues in a channel, and what they answer in the alert's thread.

What it does: posts alerts with a bot's token (chat.postMessage), or through an incoming webhook, which can do nothing
else. With a token it hears replies in the threads of its alerts (Events API, signed) and keeps them with the case as
internal notes; an address ``CHANNEL/TIMESTAMP`` answers in that thread. It reaches nobody else: buyers' messages are
refused. Enter ``/hooks/{account}`` as the app's request URL and subscribe it to ``message.channels`` (private
channels: ``message.groups``). Interactions and slash commands are taken and mean nothing: the bridge posts no
buttons.

API reference: https://docs.slack.dev/reference/methods/chat.postMessage

Slack recognises no repeat. With ``look_up`` an uncertain message is looked for in the channel by our key in its
metadata; the app needs the scope ``channels:history`` (or ``groups:history``) for it. Not verified against a live
workspace, and therefore settings: which errors mean that nothing was posted and it may be tried again
(``busy_errors``), that the token is not good (``token_errors``) or that it may have been posted (``unclear_errors``);
how soon a message shows in the channel's history (``settles_after``); whether reading metadata of one's own takes a
scope of its own. Files, and messages that share files, are not built.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import Inbound, Plugin, Receipt, ReceivesWebhooks, Reply, Secrets, WebRequest, live
from rmabridge.errors import Malformed, Unverified, WrongType
from rmabridge.model import Event
from rmabridge.wire.bodies import dig, dump_json, read_object, text
from rmabridge.wire.signing import any_matches, fresh, hmac_hex
from rmabridge.wire.times import unix

from .parsing import events, thread_of
from .posting import Posting

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
STAMP, SIGNATURE = "X-Slack-Request-Timestamp", "X-Slack-Signature"
REPLY = "reply"


class Slack(Posting, ReceivesWebhooks):
    """One app in one workspace, or one incoming webhook."""

    title: ClassVar[str] = "Slack"
    reference: ClassVar[str] = "https://docs.slack.dev/reference/methods/chat.postMessage"

    secret: Secrets | None = Field(None, description="signing secret of the app; none: nothing is heard")
    window: timedelta = Field(timedelta(minutes=5), description="how far a request's time may be from ours")
    bot_user: str | None = Field(
        None,
        pattern=r"^[UW][A-Z0-9]+$",
        description="user id of the bot: only replies to its messages are heard; `rmabridge check` shows it",
    )

    def handshake(self, request: WebRequest, now: datetime) -> Reply | None:
        """The challenge with which Slack tries the address, where Slack signed it just now."""
        if request.content_type != JSON or b"url_verification" not in request.body:
            return None
        if (challenge := _challenge(request.body)) is None:
            return None
        self.verify(request, now)
        return Reply(body=challenge.encode(), content_type="text/plain")

    def verify(self, request: WebRequest, now: datetime) -> Receipt:
        """Check the signature over time stamp and raw body."""
        if request.content_type not in {JSON, FORM}:
            raise WrongType("Slack sends JSON, or a form")
        secrets = live(self.secret, now) if self.secret else []
        if not any_matches(request.headers.get(SIGNATURE, ""), _signatures(request, secrets)):
            raise Unverified(f"{SIGNATURE} does not fit")
        try:
            at = unix(request.headers.get(STAMP, ""))
        except ValueError as error:
            raise Unverified(f"{STAMP} cannot be read") from error
        fresh(at, now, self.window)
        if request.content_type == FORM:
            return Receipt(meta={"form": "yes"})
        body = read_object(request.body)
        return Receipt(id=text(body.get("event_id")), lane=thread_of(dig(body, "event")))

    def reply(self, request: WebRequest) -> Reply:
        """Nothing: Slack would show the answer to a command to who gave it."""
        return Reply(body=b"", content_type="text/plain")

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        """Replies in threads; none of interactions and commands."""
        if inbound.meta.get("form"):
            return ()
        return list(events(read_object(inbound.body), self.bot_user))

    def samples(self) -> tuple[str, ...]:
        """The name that ``sample`` knows."""
        return (REPLY,) if self.secret else ()

    def sample(self, name: str, now: datetime) -> WebRequest | None:
        """A reply as Slack signs it."""
        secrets = live(self.secret, now) if self.secret else []
        if name != REPLY or not secrets:
            return None
        body = dump_json(_sampled(self.channel or "C0SAMPLE", self.bot_user or "U0BRIDGE", now)).encode()
        request = WebRequest(
            "POST", f"/hooks/{self.account}", {}, {"Content-Type": JSON, STAMP: str(int(now.timestamp()))}, body
        )
        signed = {**request.headers, SIGNATURE: _signatures(request, secrets)[0]}
        return WebRequest("POST", request.path, {}, signed, body)


def _signatures(request: WebRequest, secrets: list[str]) -> list[str]:
    stamp = request.headers.get(STAMP, "").encode("utf-8", "surrogatepass")
    return [f"v0={hmac_hex(one, b':'.join((b'v0', stamp, request.body)))}" for one in secrets]


def _challenge(raw: bytes) -> str | None:
    try:
        body = read_object(raw)
    except Malformed:
        return None
    return text(body.get("challenge")) if body.get("type") == "url_verification" else None


def _sampled(channel: str, bot: str, now: datetime) -> dict[str, Any]:
    stamp = int(now.timestamp())
    event = {
        "type": "message",
        "channel": channel,
        "user": "U0AGENT",
        "text": "I called the buyer.",
        "ts": f"{stamp}.000200",
        "thread_ts": f"{stamp - 60}.000100",
        "parent_user_id": bot,
    }
    return {"type": "event_callback", "team_id": "T0SAMPLE", "event_id": f"Ev{stamp}", "event": event}


@hookimpl
def register_channels() -> list[type[Plugin]]:
    """The plugin of this module."""
    return [Slack]
