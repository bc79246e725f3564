"""Chatwoot on loopback: contacts, conversations, messages, labels, and signed webhooks for each of them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator

STATUSES = ("open", "resolved", "pending", "snoozed")
PRIORITIES = ("low", "medium", "high", "urgent")
KINDS = {"incoming": 0, "outgoing": 1, "activity": 2, "template": 3}
EVENTS = (
    "conversation_created",
    "conversation_status_changed",
    "conversation_updated",
    "contact_created",
    "contact_updated",
    "message_created",
    "message_updated",
    "webwidget_triggered",
    "conversation_typing_on",
    "conversation_typing_off",
)
PAGE = 20
Record = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class RefusalError(Exception):
    """Chatwoot refuses a call: the status and the body of its answer."""

    def __init__(self, status: int, body: Record) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class ChatwootSim(Simulator):
    """One Chatwoot account with a website inbox (chat widget) and an API inbox.

    ``books`` holds ``conversations`` by number, ``messages`` in order, ``contacts``, ``users`` and ``hooks``; what the
    API user does is told as well. ``hook`` is a webhook that was registered by hand; ``signs = False`` is an older
    Chatwoot.
    """

    name: ClassVar[str] = "chatwoot"

    def __init__(
        self,
        account_id: int = 1,
        token: str = "chatwoot-token",  # noqa: S107 - a simulator's token
        secret: str = "chatwoot-webhook-secret",  # noqa: S107
        hook: str | None = None,
        *,
        rate: int = 3000,
        tries: int = 1,
        signs: bool = True,
    ) -> None:
        super().__init__(hook=hook)
        self.account_id, self.token, self.secret = account_id, token, secret
        self.rate, self.tries, self.signs = rate, tries, signs
        self.bot = {"id": 5, "name": "Bridge", "email": "bridge@example.com", "type": "user"}
        self.books |= {
            "contacts": {},
            "conversations": {},
            "messages": [],
            "hooks": {},
            "attributes": [],
            "users": {"5": self.bot},
            "inboxes": {
                "3": {"id": 3, "name": "Website", "channel_type": "Channel::WebWidget"},
                "4": {"id": 4, "name": "RMA", "channel_type": "Channel::Api"},
            },
            "sources": {},
        }
        self._ids, self._numbers = iter(range(71, 1 << 30)), iter(range(33, 1 << 30))
        self._minute: tuple[str, int] = ("", 0)
        self._last: list[tuple[str, str | None, bytes, str]] = []
        self._order = asyncio.Lock()
        self._under_way: set[asyncio.Task[int]] = set()

    def routes(self) -> list[web.RouteDef]:
        talk = "/conversations/{id:\\d+}"
        doors: list[tuple[str, str, Handler]] = [
            ("GET", "/contacts/search", self._search),
            ("POST", "/contacts", self._introduce),
            ("GET", "/contacts/{id:\\d+}/conversations", self._of_contact),
            ("POST", "/conversations", self._open),
            ("GET", talk, self._show),
            ("GET", f"{talk}/messages", self._messages),
            ("POST", f"{talk}/messages", self._write),
            ("POST", f"{talk}/toggle_status", self._toggle_status),
            ("POST", f"{talk}/toggle_priority", self._toggle_priority),
            ("GET", f"{talk}/labels", self._labels),
            ("POST", f"{talk}/labels", self._labels),
            ("POST", f"{talk}/custom_attributes", self._attributes),
            ("GET", "/inboxes/{id:\\d+}", self._inbox),
            ("GET", "/webhooks", self._hooks),
            ("POST", "/webhooks", self._hook),
            ("PATCH", "/webhooks/{id:\\d+}", self._hook),
            ("GET", "/custom_attribute_definitions", self._definitions),
            ("POST", "/custom_attribute_definitions", self._define),
        ]
        base = f"/api/v1/accounts/{self.account_id}"
        return [
            web.get("/api/v1/profile", self._guarded(self._profile)),
            *(web.route(method, base + path, self._guarded(handler)) for method, path, handler in doors),
        ]

    async def stop(self) -> None:
        """Let webhooks under way arrive, then close."""
        await self.settle()
        await super().stop()

    async def settle(self) -> None:
        """Wait until the webhooks that the API user's own calls caused are out."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    # The world acting

    async def do_buyer_says(
        self,
        lines: list[str] | str,
        conversation: int | str | None = None,
        name: str = "Jane",
        email: str | None = "jane@example.com",
        identifier: str | None = "cust-1",
        language: str = "en",
        verified: bool = True,
    ) -> int:
        """A visitor types lines into the chat widget; answers the conversation's number. None begins a new chat."""
        talk = self._talk(conversation) if conversation is not None else None
        if talk is None:
            contact = self._visitor(name, email, identifier)
            talk = self._begin(3, contact, {"browser_language": language, "referer": "https://shop.example"}, verified)
            await self._tell_talk("conversation_created", talk)
        for line in [lines] if isinstance(lines, str) else lines:
            if talk["status"] in {"resolved", "snoozed"}:
                await self._set_status(talk, "open")
            await self._tell_message(self._add(talk, line, "incoming", self.books["contacts"][str(talk["contact_id"])]))
        return int(talk["id"])

    async def do_agent_replies(
        self, conversation: int | str, text: str, private: bool = False, agent: str = "Ana"
    ) -> int:
        """An agent writes in a conversation, or leaves a private note; answers the webhook's status."""
        talk, user = self._talk(conversation), self._user(agent)
        return await self._tell_message(self._add(talk, text, "outgoing", user, private=private))

    async def do_bot_replies(self, conversation: int | str, text: str) -> int:
        """Another bot of the account answers."""
        bot = {"id": 5, "name": "Helper", "type": "agent_bot"}
        return await self._tell_message(self._add(self._talk(conversation), text, "outgoing", bot))

    async def do_set_status(self, conversation: int | str, status: str) -> int:
        """An agent sets the status."""
        return await self._set_status(self._talk(conversation), status)

    async def do_assign(self, conversation: int | str, agent: str = "Ana") -> int:
        """The conversation is given to an agent."""
        talk = self._talk(conversation)
        talk["assignee"] = self._user(agent)
        return await self._changed(talk, {"assignee_id": {"previous_value": None, "current_value": talk["assignee"]}})

    async def do_redeliver(self) -> int:
        """Send the last webhook again, signed anew, under its old delivery id."""
        return max([await self._post(*one) for one in self._last[-1:]], default=0)

    # The vendor's doors

    async def _profile(self, _: web.Request) -> web.Response:
        account = {"id": self.account_id, "name": "Shop", "role": "administrator", "status": "active"}
        return web.json_response({**self.bot, "accounts": [account], "role": "administrator"})

    async def _search(self, request: web.Request) -> web.Response:
        wanted = request.query.get("q", "").strip().casefold()
        if not wanted:
            raise RefusalError(422, {"error": "Specify search string with parameter q"})
        found = [
            one
            for one in self.books["contacts"].values()
            if any(wanted in (one[field] or "").casefold() for field in ("name", "email", "phone_number", "identifier"))
        ]
        return web.json_response({"meta": {"count": len(found), "current_page": 1}, "payload": found[:15]})

    async def _introduce(self, request: web.Request) -> web.Response:
        given = await _read(request)
        for field in ("email", "identifier"):
            if given.get(field) and any(one[field] == given[field] for one in self.books["contacts"].values()):
                raise _invalid(f"{field.capitalize()} has already been taken", field)
        contact = self._contact(given)
        source = str(given.get("source_id") or uuid.uuid4())
        if given.get("inbox_id"):
            self._source(str(given["inbox_id"]), source, contact["id"])
        return web.json_response({"payload": {"contact": contact, "contact_inbox": {"source_id": source}}})

    async def _of_contact(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        if str(number) not in self.books["contacts"]:
            raise _missing()
        talks = [one for one in self.books["conversations"].values() if one["contact_id"] == number]
        return web.json_response({"payload": [self._shown(one) for one in talks[::-1][:PAGE]]})

    async def _open(self, request: web.Request) -> web.Response:
        given = await _read(request)
        contact, inbox = self.books["contacts"].get(str(given.get("contact_id"))), str(given.get("inbox_id"))
        if contact is None or inbox not in self.books["inboxes"]:
            raise _missing()
        if given.get("status", "open") not in STATUSES:
            raise RefusalError(500, {"status": 500, "error": "Internal Server Error"})
        self._source(inbox, str(given.get("source_id") or uuid.uuid4()), contact["id"])
        talk = self._begin(int(inbox), contact, given.get("additional_attributes") or {}, verified=False)
        talk |= {"status": given.get("status", "open"), "custom_attributes": given.get("custom_attributes") or {}}
        talk["team"] = given.get("team_id")
        self._spawn(self._tell_talk("conversation_created", talk))
        if said := given.get("message"):
            made = self._add(talk, said.get("content"), "outgoing", self.bot, private=bool(said.get("private")))
            self._spawn(self._tell_message(made))
        return web.json_response(self._shown(talk))

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._talk(request.match_info["id"])))

    async def _messages(self, request: web.Request) -> web.Response:
        talk, before = self._talk(request.match_info["id"]), int(request.query.get("before", 1 << 31))
        said = [one for one in self._of_talk(talk) if one["id"] < before]
        return web.json_response({"meta": {"labels": talk["labels"]}, "payload": said[-PAGE:]})

    async def _write(self, request: web.Request) -> web.Response:
        talk, given = self._talk(request.match_info["id"]), await _read(request)
        kind = given.get("message_type", "outgoing")
        if not str(given.get("content") or "").strip():
            raise _invalid("Content can't be blank", "content")
        if kind == "incoming" and self.books["inboxes"][str(talk["inbox_id"])]["channel_type"] != "Channel::Api":
            raise RefusalError(422, {"error": "Incoming messages are only allowed in Api inboxes"})
        sender = self.books["contacts"][str(talk["contact_id"])] if kind == "incoming" else self.bot
        made = self._add(talk, given["content"], kind, sender, private=bool(given.get("private")))
        self._spawn(self._tell_message(made))
        return web.json_response(made)

    async def _toggle_status(self, request: web.Request) -> web.Response:
        talk, status = self._talk(request.match_info["id"]), (await _read(request)).get("status")
        if status not in STATUSES:
            raise RefusalError(500, {"status": 500, "error": "Internal Server Error"})
        before, talk["status"] = talk["status"], status
        if before != status:
            self._touch(talk)
            self._spawn(self._status_told(talk, before))
        shown = {"success": True, "current_status": status, "conversation_id": talk["id"], "snoozed_until": None}
        return web.json_response({"meta": {}, "payload": shown})

    async def _toggle_priority(self, request: web.Request) -> web.Response:
        talk, priority = self._talk(request.match_info["id"]), (await _read(request)).get("priority") or None
        if priority not in {None, *PRIORITIES}:
            raise RefusalError(500, {"status": 500, "error": "Internal Server Error"})
        change = {"priority": {"previous_value": talk["priority"], "current_value": priority}}
        talk["priority"] = priority
        self._spawn(self._changed(talk, change))
        return web.Response(status=200)

    async def _labels(self, request: web.Request) -> web.Response:
        talk = self._talk(request.match_info["id"])
        if request.method == "POST":
            before, talk["labels"] = talk["labels"], list((await _read(request)).get("labels") or [])
            change = {"label_list": {"previous_value": before, "current_value": talk["labels"]}}
            self._spawn(self._changed(talk, change))
        return web.json_response({"payload": talk["labels"]})

    async def _attributes(self, request: web.Request) -> web.Response:
        talk = self._talk(request.match_info["id"])
        before, talk["custom_attributes"] = talk["custom_attributes"], (await _read(request)).get("custom_attributes")
        change = {"custom_attributes": {"previous_value": before, "current_value": talk["custom_attributes"]}}
        self._spawn(self._changed(talk, change))
        return web.json_response({"custom_attributes": talk["custom_attributes"]})

    async def _inbox(self, request: web.Request) -> web.Response:
        if (found := self.books["inboxes"].get(request.match_info["id"])) is None:
            raise _missing()
        return web.json_response(found)

    async def _hooks(self, _: web.Request) -> web.Response:
        return web.json_response({"payload": {"webhooks": list(self.books["hooks"].values())}})

    async def _hook(self, request: web.Request) -> web.Response:
        given = await _read(request)
        wanted, known = given.get("subscriptions") or [], self.books["hooks"]
        if not set(wanted) <= set(EVENTS):
            raise _invalid("Subscriptions Invalid events", "subscriptions")
        if not str(given.get("url") or "").startswith(("http://", "https://")):
            raise _invalid("Url is invalid", "url")
        number = request.match_info.get("id") or str(next(self._ids))
        if request.method == "POST" and any(one["url"] == given["url"] for one in known.values()):
            raise _invalid("Url has already been taken", "url")
        if request.method == "PATCH" and number not in known:
            raise _missing()
        secret = known.get(number, {}).get("secret") or self.secret
        known[number] = {"id": int(number), "url": given["url"], "subscriptions": wanted, "secret": secret}
        return web.json_response({"payload": {"webhook": known[number]}})

    async def _definitions(self, _: web.Request) -> web.Response:
        return web.json_response(self.books["attributes"])

    async def _define(self, request: web.Request) -> web.Response:
        given = await _read(request)
        if any(one["attribute_key"] == given.get("attribute_key") for one in self.books["attributes"]):
            raise _invalid("Attribute key has already been taken", "attribute_key")
        self.books["attributes"].append({"id": next(self._ids), **given})
        return web.json_response(self.books["attributes"][-1])

    def _guarded(self, handler: Handler) -> Handler:
        """The throttle first, then the token, then the door; refusals in Chatwoot's own words."""

        async def guarded(request: web.Request) -> web.Response:
            now = self.now()
            minute = now.strftime("%H:%M")
            self._minute = (minute, self._minute[1] + 1 if self._minute[0] == minute else 1)
            if self._minute[1] > self.rate:
                return web.Response(status=429, text="Retry later\n", headers={"Retry-After": str(60 - now.second)})
            if request.headers.get("api_access_token") != self.token:
                return web.json_response({"error": "Invalid Access Token"}, status=401)
            try:
                return await handler(request)
            except RefusalError as refusal:
                return web.json_response(refusal.body, status=refusal.status)

        return guarded

    # Records

    def _talk(self, number: int | str) -> Record:
        found: Record | None = self.books["conversations"].get(str(number))
        if found is None:
            raise _missing()
        return found

    def _of_talk(self, talk: Record) -> list[Record]:
        return [one for one in self.books["messages"] if one["conversation_id"] == talk["id"]]

    def _begin(self, inbox: int, contact: Record, additional: Record, verified: bool) -> Record:
        talk = {
            "id": next(self._numbers),
            "inbox_id": inbox,
            "contact_id": contact["id"],
            "status": "open",
            "priority": None,
            "labels": [],
            "custom_attributes": {},
            "additional_attributes": additional,
            "assignee": None,
            "team": None,
            "hmac_verified": verified,
            "created_at": int(self.now().timestamp()),
            "updated_at": self.now().timestamp(),
        }
        self.books["conversations"][str(talk["id"])] = talk
        return talk

    def _contact(self, given: Record) -> Record:
        number = next(self._ids)
        fields = ("name", "email", "phone_number", "identifier")
        contact = {"id": number, **{field: given.get(field) for field in fields}}
        self.books["contacts"][str(number)] = contact
        return contact

    def _visitor(self, name: str, email: str | None, identifier: str | None) -> Record:
        for one in self.books["contacts"].values():
            if (identifier and one["identifier"] == identifier) or (email and one["email"] == email):
                found: Record = one
                return found
        return self._contact({"name": name, "email": email, "identifier": identifier})

    def _source(self, inbox: str, source: str, contact: int) -> None:
        """A source names one contact in an inbox."""
        if self.books["sources"].setdefault(f"{inbox}:{source}", contact) != contact:
            raise RefusalError(422, {"error": "source_id should be unique"})

    def _user(self, name: str) -> Record:
        users = self.books["users"]
        found: Record | None = next((one for one in users.values() if one["name"] == name), None)
        if found is None:
            number = next(self._ids)
            found = {"id": number, "name": name, "email": f"{name.lower()}@example.com", "type": "user"}
            users[str(number)] = found
        return found

    def _add(self, talk: Record, text: str, kind: str, sender: Record, *, private: bool = False) -> Record:
        self._touch(talk)
        message = {
            "id": next(self._ids),
            "content": text,
            "conversation_id": talk["id"],
            "inbox_id": talk["inbox_id"],
            "message_type": KINDS[kind],
            "content_type": "text",
            "private": private,
            "status": "sent",
            "source_id": None,
            "created_at": int(self.now().timestamp()),
            "sender": {"type": "contact", **sender},
        }
        self.books["messages"].append(message)
        return message

    def _touch(self, talk: Record) -> None:
        talk["updated_at"] = self.now().timestamp()

    async def _set_status(self, talk: Record, status: str) -> int:
        before, talk["status"] = talk["status"], status
        self._touch(talk)
        return await self._status_told(talk, before)

    def _shown(self, talk: Record) -> Record:
        inbox, contact = self.books["inboxes"][str(talk["inbox_id"])], self.books["contacts"][str(talk["contact_id"])]
        hidden = {"assignee", "team", "hmac_verified", "contact_id"}
        meta = {
            "sender": {**contact, "type": "contact"},
            "channel": inbox["channel_type"],
            "assignee": talk["assignee"],
            "team": talk["team"],
            "hmac_verified": talk["hmac_verified"],
        }
        kept = {name: value for name, value in talk.items() if name not in hidden}
        return {**kept, "account_id": self.account_id, "meta": meta, "messages": self._of_talk(talk)[-1:]}

    # Webhooks

    def _spawn(self, telling: Awaitable[int]) -> None:
        """Tell after the answer, in the order of the changes, as the vendor does."""

        async def told() -> int:
            async with self._order:
                return await telling

        task = asyncio.ensure_future(told())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _pushed(self, talk: Record) -> Record:
        shown = self._shown(talk)
        shown["channel"] = shown["meta"].pop("channel")
        del shown["account_id"]
        return {**shown, "can_reply": True, "contact_inbox": {"hmac_verified": talk["hmac_verified"]}}

    def _tell_talk(self, event: str, talk: Record, changed: Record | None = None) -> Awaitable[int]:
        body = {**self._pushed(talk), "event": event}
        if changed:
            body["changed_attributes"] = [{name: value} for name, value in changed.items()]
        return self._deliver_all(event, body)

    def _changed(self, talk: Record, changed: Record) -> Awaitable[int]:
        self._touch(talk)
        return self._tell_talk("conversation_updated", talk, changed)

    def _status_told(self, talk: Record, before: str) -> Awaitable[int]:
        """A change of status is told twice: by its own event, and as a change of the conversation."""
        changed = {"status": {"previous_value": before, "current_value": talk["status"]}}
        first = self._tell_talk("conversation_status_changed", talk, changed)
        second = self._tell_talk("conversation_updated", talk, changed)

        async def both() -> int:
            return max(await first, await second)

        return both()

    def _tell_message(self, message: Record) -> Awaitable[int]:
        talk = self._talk(message["conversation_id"])
        inbox = self.books["inboxes"][str(talk["inbox_id"])]
        kind = next(name for name, number in KINDS.items() if number == message["message_type"])
        body = {
            **{name: message[name] for name in ("id", "content", "content_type", "private", "source_id", "sender")},
            "event": "message_created",
            "message_type": kind,
            "content_attributes": {},
            "created_at": self.now().strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "account": {"id": self.account_id, "name": "Shop"},
            "inbox": {"id": inbox["id"], "name": inbox["name"]},
            "conversation": self._pushed(talk),
        }
        return self._deliver_all("message_created", body)

    def _deliver_all(self, event: str, body: Record) -> Awaitable[int]:
        """The body is made now, as things are now; sending it may wait."""
        raw = json.dumps(body, ensure_ascii=False).encode()
        targets = [(one["url"], one["secret"]) for one in self.books["hooks"].values() if event in one["subscriptions"]]
        targets += [(self.hook, self.secret)] if self.hook else []
        self._last = [(url, secret, raw, str(uuid.uuid4())) for url, secret in targets]
        sent = list(self._last)

        async def told() -> int:
            return max([await self._post(*one) for one in sent], default=0)

        return told()

    async def _post(self, url: str, secret: str | None, raw: bytes, delivery: str) -> int:
        headers = {"Content-Type": "application/json", "X-Chatwoot-Delivery": delivery}
        if self.signs and secret:
            stamp = str(int(self.now().timestamp()))
            mac = hmac.new(secret.encode(), stamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
            headers |= {"X-Chatwoot-Timestamp": stamp, "X-Chatwoot-Signature": f"sha256={mac}"}
        return await self.deliver(raw, headers, url=url, tries=self.tries)


async def _read(request: web.Request) -> Record:
    try:
        given = await request.json()
    except json.JSONDecodeError:
        raise RefusalError(400, {"status": 400, "error": "Bad Request"}) from None
    return given if isinstance(given, dict) else {}


def _missing() -> RefusalError:
    return RefusalError(404, {"error": "Resource could not be found"})


def _invalid(said: str, *fields: str) -> RefusalError:
    return RefusalError(422, {"message": said, "attributes": list(fields)})
