"""A small Twilio: messages by SMS and WhatsApp, their list, and signed status callbacks and buyers' messages."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import urlencode

from aiohttp import BasicAuth, web

from .server import Simulator

NUMBER = re.compile(r"(whatsapp:)?\+[1-9]\d{6,14}")
REFUSALS = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    21211: (400, "Invalid 'To' Phone Number"),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21606: (400, "The 'From' phone number provided is not a valid message-capable Twilio phone number"),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
}
STOPS = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"}
STARTS = {"START", "UNSTOP", "YES"}
PLAIN = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "-", "–": "-", "…": "...", "\u00a0": " "})


class Refusal(Exception):
    """An error with Twilio's code."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


def signature(token: str, url: str, fields: Iterable[tuple[str, str]]) -> str:
    """X-Twilio-Signature of a form posted to the address."""
    values: dict[str, set[str]] = {}
    for name, value in fields:
        values.setdefault(name, set()).add(value)
    text = url + "".join(name + value for name in sorted(values) for value in sorted(values[name]))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


class TwilioSim(Simulator):
    """One Twilio account. ``hook`` is the address that the console holds for incoming messages."""

    name: ClassVar[str] = "twilio"

    def __init__(
        self,
        account_sid: str = "AC" + "0a" * 16,
        auth_token: str = "token-of-the-account",  # noqa: S107 - of a simulator
        *,
        senders: list[str] | None = None,
        hook: str | None = None,
    ) -> None:
        super().__init__(hook=hook)
        self.account_sid, self.auth_token = account_sid, auth_token
        self.senders = senders or ["+12025550123", "whatsapp:+12025550147"]
        self.contents = {"HX" + "0b" * 16: "Your request {{1}} has come in."}
        self.services = ["MG" + "0c" * 16]
        self.keys: dict[str, str] = {}
        self.books |= {"messages": [], "refusals": [], "stopped": []}
        self._refuse: list[int] = []
        self._lose: list[int] = []
        self._hidden = self._smart = False

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that sends from our first number."""
        given: dict[str, Any] = {"account_sid": self.account_sid, "auth_token": self.auth_token}
        return {**super().account_settings(), **given, "sender": self.senders[0]}

    def routes(self) -> list[web.RouteDef]:
        path = "/2010-04-01/Accounts/{account}/Messages.json"
        return [web.post(path, self._create), web.get(path, self._list)]

    async def _create(self, request: web.Request) -> web.Response:
        try:
            self._known(request)
            form = await request.post()
            message = self._made({name: str(value) for name, value in form.items()})
        except Refusal as refusal:
            return self._refused(refusal)
        if self._lose:
            return web.Response(status=self._lose.pop(0), text="upstream gone")
        return web.json_response(shown(message), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        try:
            self._known(request)
        except Refusal as refusal:
            return self._refused(refusal)
        to, size = request.query.get("To"), int(request.query.get("PageSize", "50"))
        page = int(request.query.get("Page", "0"))
        rows = [] if self._hidden else [one for one in reversed(self.books["messages"]) if to in {None, one["to"]}]
        part = rows[size * page : size * (page + 1)]
        following = urlencode({**request.query, "Page": page + 1}) if len(rows) > size * (page + 1) else None
        told: dict[str, Any] = {"messages": [shown(one) for one in part], "page": page, "page_size": size}
        told |= {"uri": request.path_qs, "next_page_uri": following and f"{request.path}?{following}"}
        return web.json_response(told)

    def _known(self, request: web.Request) -> None:
        """Refuse who is not let into the account."""
        header = request.headers.get("Authorization", "")
        try:
            given = BasicAuth.decode(header, encoding="utf-8")
        except ValueError as error:
            raise Refusal(20003) from error
        if {self.account_sid: self.auth_token, **self.keys}.get(given.login) != given.password:
            raise Refusal(20003)
        if request.match_info["account"] != self.account_sid:
            raise Refusal(20404)

    def _refused(self, refusal: Refusal) -> web.Response:
        status, message = REFUSALS[refusal.code]
        self.books["refusals"].append(refusal.code)
        more = f"https://www.twilio.com/docs/errors/{refusal.code}"
        told = {"code": refusal.code, "message": message, "more_info": more, "status": status}
        return web.json_response(told, status=status)

    def _made(self, form: dict[str, str]) -> dict[str, Any]:
        if self._refuse:
            raise Refusal(self._refuse.pop(0))
        to, sender = form.get("To", ""), self._from(form)
        if not NUMBER.fullmatch(to) or sender.startswith("whatsapp:") is not to.startswith("whatsapp:"):
            raise Refusal(21211)
        if to in self.books["stopped"]:
            raise Refusal(21610)
        sid = f"SM{len(self.books['messages']) + 1:032x}"
        message: dict[str, Any] = {"sid": sid, "to": to, "from": sender, "body": self._body(form), "status": "queued"}
        message["code"] = None
        message |= {"callback": form.get("StatusCallback"), "at": format_datetime(self.now()), "fields": form}
        self.books["messages"].append(message)
        return message

    def _from(self, form: dict[str, str]) -> str:
        sender = form.get("From")
        if sender is None and form.get("MessagingServiceSid") in self.services:
            return self.senders[0]
        if not sender:
            raise Refusal(21603)
        if sender not in self.senders:
            raise Refusal(21606)
        return sender

    def _body(self, form: dict[str, str]) -> str:
        if content := self.contents.get(form.get("ContentSid", "")):
            for name, value in json.loads(form.get("ContentVariables", "{}")).items():
                content = content.replace(f"{{{{{name}}}}}", value)
            return content
        body = form.get("Body", "")
        if not body:
            raise Refusal(21602)
        if len(body) > 1600:
            raise Refusal(21617)
        return body.translate(PLAIN) if self._smart else body

    async def do_status(self, status: str = "delivered", number: int = -1, code: int | None = None) -> int:
        """A sent message (the last one) comes to this status; the answer of its callback's address."""
        message = self.books["messages"][number]
        message |= {"status": status, "code": code}
        told = {"MessageSid": message["sid"], "SmsSid": message["sid"], "AccountSid": self.account_sid}
        told |= {"MessageStatus": status, "SmsStatus": status, "From": message["from"], "To": message["to"]}
        told |= {"ErrorCode": str(code)} if code else {}
        return await self._push(told, message["callback"]) if message["callback"] else 0

    async def do_write(
        self, sender: str, body: str, media: list[str] | None = None, tries: int = 1, taken_for: str = ""
    ) -> int:
        """A buyer writes to our number; STOP and its like opt out, START and its like in again. The door's status.

        ``taken_for`` is what a keyword of Advanced Opt-Out means: STOP, START or HELP.
        """
        if body.strip().upper() in STOPS or taken_for == "STOP":
            self.books["stopped"].append(sender)
        elif body.strip().upper() in STARTS or taken_for == "START":
            self.books["stopped"] = [one for one in self.books["stopped"] if one != sender]
        self.books.setdefault("incoming", []).append(body)
        sid = f"SM{0xF000 + len(self.books['incoming']):032x}"
        to = next(one for one in self.senders if one.startswith("whatsapp:") is sender.startswith("whatsapp:"))
        told = {"MessageSid": sid, "SmsSid": sid, "SmsStatus": "received", "AccountSid": self.account_sid}
        told |= {"From": sender, "To": to, "Body": body, "NumMedia": str(len(media or [])), "FromCity": ""}
        told |= {"OptOutType": taken_for} if taken_for else {}
        for number, url in enumerate(media or []):
            told |= {f"MediaUrl{number}": url, f"MediaContentType{number}": "image/jpeg"}
        return await self._push(told, self.hook, tries) if self.hook else 0

    def do_fail_next(self, code: int = 21611) -> None:
        """The next message is refused with this code."""
        self._refuse.append(code)

    def do_lose_answer(self, status: int = 502) -> None:
        """The next message is sent, but its answer gets lost on the way."""
        self._lose.append(status)

    def do_encode_smartly(self, on: bool = True) -> None:
        """Signs that cost more are replaced by plain ones before a message is sent and listed."""
        self._smart = on

    def do_hide(self, on: bool = True) -> None:
        """The list shows nothing of what was sent."""
        self._hidden = on

    async def _push(self, fields: dict[str, str], url: str, tries: int = 1) -> int:
        headers = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        headers["X-Twilio-Signature"] = signature(self.auth_token, url, fields.items())
        return await self.deliver(urlencode(fields).encode(), headers, url=url, tries=tries)


def shown(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the API shows it."""
    told = {name: message[name] for name in ("sid", "to", "from", "body", "status")}
    told |= {"direction": "outbound-api", "error_code": message["code"], "error_message": None, "num_segments": "1"}
    return told | {"date_created": message["at"], "date_sent": None, "date_updated": message["at"], "num_media": "0"}
