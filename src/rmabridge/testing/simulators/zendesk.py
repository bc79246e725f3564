"""Zendesk Support on loopback: tickets, comments, tags, and signed webhooks in both of its shapes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar

from aiohttp import web

from .server import Simulator

STATUSES = ("new", "open", "pending", "hold", "solved", "closed")
PRIORITIES = ("low", "normal", "high", "urgent")
REMEMBERED = timedelta(hours=2)
UPLOADED = timedelta(hours=1)
LARGEST_FILE = 50 << 20
Handler = Callable[[web.Request], Awaitable[web.Response]]


class RefusalError(Exception):
    """Zendesk refuses a call: the status and the body of its answer."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body


class ZendeskSim(Simulator):
    """One Zendesk account. ``books["tickets"]`` holds the tickets by id; what the API user does is told as well."""

    name: ClassVar[str] = "zendesk"

    def __init__(
        self,
        subdomain: str = "acme",
        email: str = "bridge@example.com",
        token: str = "zendesk-token",  # noqa: S107 - a simulator's token
        secret: str = "zendesk-signing-secret",  # noqa: S107
        hook: str | None = None,
        *,
        rate: int = 700,
        tries: int = 1,
    ) -> None:
        super().__init__(hook=hook)
        self.subdomain, self.email, self.token, self.secret, self.rate = subdomain, email, token, secret, rate
        self.tries = tries
        self.books["tickets"], self.books["uploads"] = {}, {}
        self.books["users"] = {"9001": {"id": 9001, "name": "Bridge", "email": email, "staff": True}}
        self.bot = "9001"
        self._ids = iter(range(35000, 1 << 30))
        self._told: dict[str, tuple[datetime, str, int, str]] = {}
        self._minute: tuple[str, int] = ("", 0)
        self._last: tuple[bytes, str] | None = None
        self._order = asyncio.Lock()
        self._under_way: set[asyncio.Task[int]] = set()

    def account_settings(self) -> dict[str, Any]:
        """Settings of an account that works as the bot."""
        return {**super().account_settings(), "bot_ids": [self.bot]}

    def routes(self) -> list[web.RouteDef]:
        doors: list[tuple[str, str, Handler]] = [
            ("GET", "/api/v2/users/me{json:(\\.json)?}", self._me),
            ("POST", "/api/v2/uploads{json:(\\.json)?}", self._upload),
            ("POST", "/api/v2/tickets{json:(\\.json)?}", self._create),
            ("GET", "/api/v2/tickets{json:(\\.json)?}", self._list),
            ("GET", "/api/v2/tickets/{id:\\d+}{json:(\\.json)?}", self._show),
            ("PUT", "/api/v2/tickets/{id:\\d+}{json:(\\.json)?}", self._update),
            ("GET", "/api/v2/tickets/{id:\\d+}/comments{json:(\\.json)?}", self._comments),
            ("PUT", "/api/v2/tickets/{id:\\d+}/tags{json:(\\.json)?}", self._tags),
            ("POST", "/api/v2/tickets/{id:\\d+}/tags{json:(\\.json)?}", self._tags),
            ("DELETE", "/api/v2/tickets/{id:\\d+}/tags{json:(\\.json)?}", self._tags),
        ]
        return [web.route(method, path, self._guarded(handler)) for method, path, handler in doors]

    async def stop(self) -> None:
        """Let webhooks under way arrive, then close."""
        await self.settle()
        await super().stop()

    async def settle(self) -> None:
        """Wait until the webhooks that the API user's own calls caused are out."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    # The world acting

    async def do_agent_reply(self, ticket_id: str, text: str, public: bool = True, author: str = "Ana") -> int:
        """An agent writes; answers the webhook's status."""
        return await self._say(str(ticket_id), text, public=public, user=self._user(author, staff=True))

    async def do_customer_reply(self, ticket_id: str, text: str, author: str = "Customer") -> int:
        """The customer writes."""
        return await self._say(str(ticket_id), text, public=True, user=self._user(author, staff=False))

    async def do_customer_writes(self, text: str, author: str = "Customer") -> str:
        """A customer writes a mail that opens a ticket of its own; the ticket's id."""
        user, now = self._user(author, staff=False), self._now()
        ticket = {
            "id": next(self._ids), "status": "new", "priority": None, "external_id": None, "group_id": None,
            "subject": text[:60], "custom_fields": [], "created_at": now, "updated_at": now, "tags": [],
            "requester": {"name": author, "email": user["email"]}, "requester_id": user["id"], "followup_ids": [],
            "comments": [],
        }  # fmt: skip
        self.books["tickets"][str(ticket["id"])] = ticket
        await self._event("created", ticket, {}, user)
        await self._say(str(ticket["id"]), text, public=True, user=user)
        return str(ticket["id"])

    async def do_set_status(self, ticket_id: str, status: str, author: str = "Ana") -> int:
        """An agent sets the status."""
        ticket = self.books["tickets"][str(ticket_id)]
        before, ticket["status"] = ticket["status"], status
        change = {"current": status.upper(), "previous": before.upper()}
        return await self._event("status_changed", ticket, change, self._user(author, staff=True))

    async def do_merge(self, ticket_id: str, into: str, author: str = "Ana") -> int:
        """An agent merges one ticket into another: both get a note that names the other one, the first is closed."""
        ana, source, target = self._user(author, staff=True), str(ticket_id), str(into)
        words = {source: f"This request was closed and merged into request #{target}"}
        words[target] = f"Request #{source} was closed and merged into this request."
        for one, said in words.items():
            await self._say(one, said, public=False, user=ana)
        self.books["tickets"][source]["tags"].append("closed_by_merge")
        return await self.do_set_status(source, "closed", author)

    async def do_redeliver(self) -> int:
        """Send the last webhook again, signed anew, under its old invocation id."""
        return await self._send(*self._last) if self._last else 0

    async def do_fire_trigger(self, ticket_id: str, template: str, current_user: str = "ana@example.com") -> int:
        """A trigger sends a body of the operator's own; as there, nothing is escaped for JSON."""
        ticket = self.books["tickets"][str(ticket_id)]
        public = [one["body"] for one in ticket["comments"] if one["public"]]
        values = {
            "ticket.id": ticket["id"],
            "ticket.external_id": ticket["external_id"],
            "ticket.status": ticket["status"].title(),
            "ticket.priority": (ticket["priority"] or "").title(),
            "ticket.tags": " ".join(ticket["tags"]),
            "ticket.updated_at_with_timestamp": ticket["updated_at"],
            "ticket.requester.email": (ticket["requester"] or {}).get("email"),
            "ticket.latest_public_comment": public[-1] if public else None,
            "current_user.email": current_user,
        }
        for name, value in values.items():
            template = template.replace(f"{{{{{name}}}}}", "" if value is None else str(value))
        return await self._send(template.encode(), uuid.uuid4().hex)

    # The vendor's doors

    async def _me(self, _: web.Request) -> web.Response:
        bot = self.books["users"][self.bot]
        return web.json_response({"user": {"id": bot["id"], "name": bot["name"], "email": bot["email"]}})

    async def _create(self, request: web.Request) -> web.Response:
        raw = await request.text()
        if (key := request.headers.get("Idempotency-Key")) is None:
            return await self._created(json.loads(raw))
        digest, now = hashlib.sha256(raw.encode()).hexdigest(), self.now()
        known = self._told.get(key)
        if known and now - known[0] < REMEMBERED:
            if known[1] != digest:
                raise RefusalError(400, {"error": "IdempotentRequestError", "description": "The key has another body"})
            return web.json_response(
                text=known[3], status=known[2], headers={"x-idempotency-lookup": "hit"}, content_type="application/json"
            )
        answer = await self._created(json.loads(raw))
        self._told[key] = (now, digest, answer.status, answer.text or "")
        answer.headers["x-idempotency-lookup"] = "miss"
        return answer

    async def _created(self, body: dict[str, Any]) -> web.Response:
        given = body.get("ticket") or {}
        _check(given)
        if not str((given.get("comment") or {}).get("body") or "").strip():
            raise _invalid(base="Description: cannot be blank")
        now, source = self._now(), self.books["tickets"].get(str(given.get("via_followup_source_id")))
        follows = source if source and source["status"] == "closed" else None
        requester = given.get("requester") or self._by_id(given.get("requester_id"))
        ticket = {
            "id": next(self._ids),
            "status": "new",
            "priority": None,
            "external_id": None,
            "group_id": None,
            "custom_fields": [],
            "created_at": now,
            "tags": list(follows["tags"]) if follows else [],
            **{name: value for name, value in given.items() if name not in {"comment", "via_followup_source_id"}},
            "requester": requester,
            "requester_id": self._requester(requester),
            "followup_ids": [],
            "updated_at": now,
            "comments": [],
        }
        if follows:
            follows["followup_ids"].append(ticket["id"])
        self.books["tickets"][str(ticket["id"])] = ticket
        self._spawn(self._event("created", ticket, {}, self.books["users"][self.bot]))
        audit = self._add(ticket, given["comment"], self.books["users"][self.bot])
        answer = {"ticket": _shown(ticket), "audit": {"events": [audit]}}
        location = f"{self.url}/api/v2/tickets/{ticket['id']}.json"
        return web.json_response(answer, status=201, headers={"Location": location})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.query.get("external_id")
        found = [one for one in self.books["tickets"].values() if wanted is None or one["external_id"] == wanted]
        return web.json_response(
            {"tickets": [_shown(one) for one in found], "next_page": None, "previous_page": None, "count": len(found)}
        )

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response({"ticket": _shown(self._ticket(request))})

    async def _update(self, request: web.Request) -> web.Response:
        ticket, given = self._open(request), (await request.json()).get("ticket") or {}
        _check(given)
        bot, events = self.books["users"][self.bot], []
        comment = given.pop("comment", None)
        if comment is not None and not str(comment.get("body") or "").strip():
            raise _invalid(base="Comment: cannot be blank")
        files = self._taken(comment or {})
        for name, value in given.items():
            before, ticket[name] = ticket.get(name), value
            if name in {"status", "priority"} and before != value:
                change = {"current": str(value).upper(), "previous": str(before).upper()}
                self._spawn(self._event(f"{name}_changed", ticket, change, bot))
                events.append({"id": next(self._ids), "type": "Change", "field_name": name, "value": value})
        if comment is not None:
            events.append(self._add(ticket, comment, bot))
            ticket["comments"][-1]["attachments"] = files
        ticket["updated_at"] = self._now()
        return web.json_response({"ticket": _shown(ticket), "audit": {"events": events}})

    async def _upload(self, request: web.Request) -> web.Response:
        name, data, now = request.query.get("filename"), await request.read(), self.now()
        if not name or not data:
            raise RefusalError(422, {"error": "AttachmentUnprocessable", "description": "No file was uploaded"})
        if len(data) > LARGEST_FILE:
            raise RefusalError(413, {"error": "AttachmentTooLarge", "description": "The file is too large"})
        token = request.query.get("token") or uuid.uuid4().hex
        upload = self.books["uploads"].setdefault(token, {"at": now, "files": []})
        file = {"id": next(self._ids), "file_name": name, "content_type": request.content_type, "size": len(data)}
        upload["files"].append({**file, "sha256": hashlib.sha256(data).hexdigest()})
        return web.json_response({"upload": {"token": token, "attachment": file}}, status=201)

    def _taken(self, given: dict[str, Any]) -> list[dict[str, Any]]:
        """The files of a comment's tokens; a token serves one comment, within its hour."""
        files: list[dict[str, Any]] = []
        for token in given.get("uploads") or ():
            upload = self.books["uploads"].get(token)
            if upload is None or self.now() - upload["at"] > UPLOADED:
                raise _invalid(uploads="Uploads: token is invalid or has expired")
            files += self.books["uploads"].pop(token)["files"]
        return files

    async def _comments(self, request: web.Request) -> web.Response:
        comments = self._ticket(request)["comments"]
        ordered = comments[::-1] if request.query.get("sort_order") == "desc" else comments
        size = min(int(request.query.get("per_page", 100)), 100)
        further = f"{self.url}{request.path}?page=2&per_page={size}" if len(ordered) > size else None
        return web.json_response({"comments": ordered[:size], "next_page": further, "count": len(ordered)})

    async def _tags(self, request: web.Request) -> web.Response:
        ticket, given = self._open(request), (await request.json()).get("tags") or []
        before = ticket["tags"]
        if request.method == "DELETE":
            ticket["tags"] = [one for one in before if one not in given]
        else:
            ticket["tags"] = list(dict.fromkeys([*(before if request.method == "PUT" else ()), *given]))
        change = {
            "tags_added": [one for one in ticket["tags"] if one not in before],
            "tags_removed": [one for one in before if one not in ticket["tags"]],
        }
        self._spawn(self._event("tags_changed", ticket, change, self.books["users"][self.bot]))
        return web.json_response({"tags": ticket["tags"]})

    def _guarded(self, handler: Handler) -> Handler:
        """Credentials first, then the account's limit, then the door; refusals in Zendesk's own words."""

        async def guarded(request: web.Request) -> web.Response:
            expected = base64.b64encode(f"{self.email}/token:{self.token}".encode()).decode()
            if request.headers.get("Authorization") not in {f"Basic {expected}", f"Bearer {self.token}"}:
                return web.json_response({"error": "Couldn't authenticate you"}, status=401)
            allowed, limits = self._count()
            if not allowed:
                return web.Response(
                    status=429, text="Number of allowed API requests per minute exceeded", headers=limits
                )
            try:
                answer = await handler(request)
            except RefusalError as refusal:
                answer = web.json_response(refusal.body, status=refusal.status)
            except json.JSONDecodeError:
                unread = {"error": {"title": "Invalid JSON", "message": "The body cannot be read"}}
                answer = web.json_response(unread, status=400)
            answer.headers.update(limits)
            return answer

        return guarded

    def _count(self) -> tuple[bool, dict[str, str]]:
        now = self.now()
        minute = now.strftime("%H:%M")
        self._minute = (minute, self._minute[1] + 1 if self._minute[0] == minute else 1)
        left = self.rate - self._minute[1]
        headers = {"X-Rate-Limit": str(self.rate), "X-Rate-Limit-Remaining": str(max(left, 0))}
        return left >= 0, headers if left >= 0 else {**headers, "Retry-After": str(60 - now.second)}

    # Records

    def _ticket(self, request: web.Request) -> dict[str, Any]:
        found: dict[str, Any] | None = self.books["tickets"].get(request.match_info["id"])
        if found is None:
            raise RefusalError(404, {"error": "RecordNotFound", "description": "Not found"})
        return found

    def _open(self, request: web.Request) -> dict[str, Any]:
        ticket = self._ticket(request)
        if ticket["status"] == "closed":
            raise _invalid(status="Status: closed prevents ticket update")
        return ticket

    def _by_id(self, given: Any) -> dict[str, Any]:
        """The requester of the id; without one it is the API user."""
        found = self.books["users"].get(str(given or self.bot))
        if found is None:
            raise _invalid(requester="Requester: is not valid")
        return {"name": found["name"], "email": found["email"]}

    def _requester(self, given: dict[str, Any]) -> int:
        users = self.books["users"]
        known = next((one["id"] for one in users.values() if one["email"] == given["email"]), None)
        if known is None:
            known = next(self._ids)
            users[str(known)] = {"id": known, "name": given["name"], "email": given["email"], "staff": False}
        made: int = known
        return made

    def _user(self, name: str, *, staff: bool) -> dict[str, Any]:
        users = self.books["users"]
        found = next((one for one in users.values() if one["name"] == name and one["staff"] == staff), None)
        if found is None:
            number = next(self._ids)
            found = {"id": number, "name": name, "email": f"{name.lower()}@example.com", "staff": staff}
            users[str(number)] = found
        made: dict[str, Any] = found
        return made

    async def _say(self, ticket_id: str, text: str, *, public: bool, user: dict[str, Any]) -> int:
        ticket = self.books["tickets"][ticket_id]
        ticket["updated_at"] = self._now()
        comment = self._comment(text, public=public, user=user)
        ticket["comments"].append(comment)
        return await self._event("comment_added", ticket, {"comment": _told(comment, user)}, user)

    def _comment(self, text: str, *, public: bool, user: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": next(self._ids),
            "type": "Comment",
            "body": text,
            "public": public,
            "author_id": user["id"],
            "created_at": self._now(),
        }

    def _add(self, ticket: dict[str, Any], given: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
        comment = self._comment(given["body"], public=bool(given.get("public", True)), user=user)
        ticket["comments"].append(comment)
        self._spawn(self._event("comment_added", ticket, {"comment": _told(comment, user)}, user))
        return {"id": comment["id"], "type": "Comment", "body": comment["body"], "public": comment["public"]}

    # Webhooks

    def _spawn(self, telling: Awaitable[int]) -> None:
        """Tell after the answer, in the order of the changes, as the vendor does."""

        async def told() -> int:
            async with self._order:
                return await telling

        task = asyncio.ensure_future(told())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    def _event(self, topic: str, ticket: dict[str, Any], event: dict[str, Any], user: dict[str, Any]) -> Awaitable[int]:
        """The envelope is made now, with the ticket as it is now; sending it may wait."""
        body = {
            "type": f"zen:event-type:ticket.{topic}",
            "account_id": 1251440,
            "id": str(uuid.uuid4()),
            "time": self._now(),
            "zendesk_event_version": "2022-11-06",
            "subject": f"zen:ticket:{ticket['id']}",
            "detail": {
                "id": str(ticket["id"]),
                "actor_id": str(user["id"]),
                "requester_id": str(ticket["requester_id"]),
                "external_id": ticket["external_id"],
                "status": ticket["status"].upper(),
                "priority": ticket["priority"].upper() if ticket["priority"] else None,
                "tags": list(ticket["tags"]),
                "created_at": ticket["created_at"],
                "updated_at": ticket["updated_at"],
            },
            "event": event,
        }
        return self._send(json.dumps(body, ensure_ascii=False).encode(), uuid.uuid4().hex)

    async def _send(self, body: bytes, invocation: str) -> int:
        self._last = (body, invocation)
        stamp = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        mac = hmac.new(self.secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "X-Zendesk-Account-Id": "1251440",
            "X-Zendesk-Webhook-Id": "01SIM",
            "X-Zendesk-Webhook-Invocation-Id": invocation,
            "X-Zendesk-Webhook-Signature": base64.b64encode(mac).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": stamp,
        }
        return await self.deliver(body, headers, tries=self.tries)

    def _now(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def _shown(ticket: dict[str, Any]) -> dict[str, Any]:
    hidden = {"comments", "requester"} | (set() if ticket["status"] == "closed" else {"followup_ids"})
    return {name: value for name, value in ticket.items() if name not in hidden}


def _told(comment: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    author = {"id": str(user["id"]), "is_staff": user["staff"], "name": user["name"]}
    return {"id": str(comment["id"]), "body": comment["body"], "is_public": comment["public"], "author": author}


def _check(ticket: dict[str, Any]) -> None:
    if ticket.get("status", "new") not in STATUSES:
        raise _invalid(status="Status: is not valid")
    if (ticket.get("priority") or "low") not in PRIORITIES:
        raise _invalid(priority="Priority: is not valid")
    if any(" " in one for one in ticket.get("tags", ())):
        raise _invalid(tags="Tags: contain a space")
    if not all(isinstance(one.get("id"), int) for one in ticket.get("custom_fields", ())):
        raise _invalid(custom_fields="Custom fields: id is not valid")
    requester = ticket.get("requester") or {}
    if requester and ("@" not in requester.get("email", "") or not requester.get("name")):
        raise _invalid(requester="Requester: name or email is not valid")


def _invalid(**problems: str) -> RefusalError:
    details = {name: [{"description": said}] for name, said in problems.items()}
    body = {"error": "RecordInvalid", "description": "Record validation errors", "details": details}
    return RefusalError(422, body)
