"""Chatwoot's API on loopback: refuses what Chatwoot refuses, in its words."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from .chatwoot_books import ChatwootBooks, Record, RefusalError, invalid, missing

STATUSES = ("open", "resolved", "pending", "snoozed")
PRIORITIES = ("low", "medium", "high", "urgent")
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
PAGE, LISTED = 20, 25
LARGEST_FILE = 40 << 20
Handler = Callable[[web.Request], Awaitable[web.Response]]


class ChatwootDoors(ChatwootBooks):
    """The calls of the API, for one token."""

    def routes(self) -> list[web.RouteDef]:
        talk = "/conversations/{id:\\d+}"
        doors: list[tuple[str, str, Handler]] = [
            ("GET", "/contacts/search", self._search),
            ("POST", "/contacts", self._introduce),
            ("GET", "/contacts/{id:\\d+}/conversations", self._of_contact),
            ("GET", "/conversations", self._list),
            ("POST", "/conversations", self._open),
            ("GET", talk, self._show),
            ("GET", f"{talk}/messages", self._messages),
            ("POST", f"{talk}/messages", self._write),
            ("POST", f"{talk}/toggle_status", self._toggle_status),
            ("POST", f"{talk}/toggle_priority", self._toggle_priority),
            ("POST", f"{talk}/assignments", self._assign_team),
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
                raise invalid(f"{field.capitalize()} has already been taken", field)
        contact = self._contact(given)
        source = str(given.get("source_id") or uuid.uuid4())
        if given.get("inbox_id"):
            self._source(str(given["inbox_id"]), source, contact["id"])
        return web.json_response({"payload": {"contact": contact, "contact_inbox": {"source_id": source}}})

    async def _of_contact(self, request: web.Request) -> web.Response:
        number = int(request.match_info["id"])
        if str(number) not in self.books["contacts"]:
            raise missing()
        talks = [one for one in self.books["conversations"].values() if one["contact_id"] == number]
        return web.json_response({"payload": [self._shown(one) for one in talks[::-1][:PAGE]]})

    async def _open(self, request: web.Request) -> web.Response:
        given = await _read(request)
        contact, inbox = self.books["contacts"].get(str(given.get("contact_id"))), str(given.get("inbox_id"))
        if contact is None or inbox not in self.books["inboxes"]:
            raise missing()
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

    async def _list(self, request: web.Request) -> web.Response:
        status, page = request.query.get("status", "open"), int(request.query.get("page", 1))
        talks = [one for one in self.books["conversations"].values() if status in {"all", one["status"]}]
        talks.sort(key=lambda one: (one["last_activity_at"], one["id"]), reverse=True)
        shown = [self._shown(one) for one in talks[(page - 1) * LISTED : page * LISTED]]
        return web.json_response({"data": {"meta": {"all_count": len(talks)}, "payload": shown}})

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
            raise invalid("Content can't be blank", "content")
        if kind == "incoming" and self.books["inboxes"][str(talk["inbox_id"])]["channel_type"] != "Channel::Api":
            raise RefusalError(422, {"error": "Incoming messages are only allowed in Api inboxes"})
        sender = self.books["contacts"][str(talk["contact_id"])] if kind == "incoming" else self.bot
        files = await _files(request, given)
        made = self._add(talk, given["content"], kind, sender, private=str(given.get("private")).lower() == "true")
        made["attachments"] = [
            {"id": next(self._ids), "file_type": "file", "data_url": f"{self.url}/files/{one['name']}", **one}
            for one in files
        ]
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

    async def _assign_team(self, request: web.Request) -> web.Response:
        talk, team = self._talk(request.match_info["id"]), (await _read(request)).get("team_id")
        before, talk["team"] = talk["team"], team
        self._spawn(self._changed(talk, {"team_id": {"previous_value": before, "current_value": team}}))
        return web.json_response({"id": team})

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
            raise missing()
        return web.json_response(found)

    async def _hooks(self, _: web.Request) -> web.Response:
        return web.json_response({"payload": {"webhooks": list(self.books["hooks"].values())}})

    async def _hook(self, request: web.Request) -> web.Response:
        given = await _read(request)
        wanted, known = given.get("subscriptions") or [], self.books["hooks"]
        if not set(wanted) <= set(EVENTS):
            raise invalid("Subscriptions Invalid events", "subscriptions")
        if not str(given.get("url") or "").startswith(("http://", "https://")):
            raise invalid("Url is invalid", "url")
        number = request.match_info.get("id") or str(next(self._ids))
        if request.method == "POST" and any(one["url"] == given["url"] for one in known.values()):
            raise invalid("Url has already been taken", "url")
        if request.method == "PATCH" and number not in known:
            raise missing()
        secret = known.get(number, {}).get("secret") or self.secret
        known[number] = {"id": int(number), "url": given["url"], "subscriptions": wanted, "secret": secret}
        return web.json_response({"payload": {"webhook": known[number]}})

    async def _definitions(self, _: web.Request) -> web.Response:
        return web.json_response(self.books["attributes"])

    async def _define(self, request: web.Request) -> web.Response:
        given = await _read(request)
        if any(one["attribute_key"] == given.get("attribute_key") for one in self.books["attributes"]):
            raise invalid("Attribute key has already been taken", "attribute_key")
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
                answer = await handler(request)
            except RefusalError as refusal:
                return web.json_response(refusal.body, status=refusal.status)
            if self.lost and request.method == "POST":
                self.lost -= 1
                return web.Response(status=502, text="Bad Gateway")
            return answer

        return guarded


async def _files(request: web.Request, given: Record) -> list[Record]:
    """The files of a form, which were read with it; JSON carries none."""
    if "attachments" in given or "attachments[]" in given:
        raise RefusalError(422, {"error": "Attachments are no files"})
    if request.content_type != "multipart/form-data":
        return []
    found: list[Record] = []
    for one in (await request.post()).getall("attachments[]", []):
        if not isinstance(one, web.FileField):
            raise RefusalError(422, {"error": "Attachments are no files"})
        data = one.file.read()
        if len(data) > LARGEST_FILE:
            raise invalid("Attachments size is too big", "attachments")
        mark = hashlib.sha256(data).hexdigest()
        found.append({"name": one.filename, "content_type": one.content_type, "size": len(data), "sha256": mark})
    return found


async def _read(request: web.Request) -> Record:
    if request.content_type == "multipart/form-data":
        return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    try:
        given = await request.json()
    except json.JSONDecodeError:
        raise RefusalError(400, {"status": 400, "error": "Bad Request"}) from None
    return given if isinstance(given, dict) else {}
