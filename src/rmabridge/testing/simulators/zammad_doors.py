"""Zammad's REST doors and its webhooks."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from .server import Simulator

API = "/api/v1"
STATES = ("new", "open", "pending reminder", "pending close", "closed", "merged")
PRIORITIES = {"1 low": 1, "2 normal": 2, "3 high": 3}
KNOWN = ("title", "group", "state", "priority", "pending_time", "owner_id")
Handler = Callable[[web.Request], Awaitable[web.Response]]


class RefusalError(Exception):
    """Zammad refuses a call."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class ZammadDoors(Simulator):
    """What the REST API answers, and how webhooks leave."""

    def __init__(
        self,
        token: str = "zammad-token",  # noqa: S107 - a simulator's token
        secret: str = "zammad-signature-token",  # noqa: S107
        hook: str | None = None,
        *,
        attributes: tuple[str, ...] = ("rma_result",),
        groups: tuple[str, ...] = ("Users", "Senior"),
    ) -> None:
        super().__init__(hook=hook)
        self.token, self.secret, self.attributes, self.groups = token, secret, attributes, groups
        self.books |= {"tickets": {}, "articles": [], "users": {}, "tags": {}, "links": [], "calls": []}
        self._ids = iter(range(81, 1 << 30))
        self.books["users"]["3"] = {"id": 3, "login": "bridge", "firstname": "Bridge", "email": "bridge@example.com"}
        self.lost, self._dropping = 0, 0
        self._sent: tuple[bytes, dict[str, str]] | None = None
        self._order = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    def routes(self) -> list[web.RouteDef]:
        doors: list[tuple[str, str, Handler]] = [
            ("GET", f"{API}/users/me", self._me),
            ("POST", f"{API}/tickets", self._create),
            ("GET", f"{API}/tickets/search", self._search),
            ("GET", f"{API}/tickets/{{id:\\d+}}", self._show),
            ("PUT", f"{API}/tickets/{{id:\\d+}}", self._update),
            ("GET", f"{API}/links", self._links),
            ("POST", f"{API}/ticket_articles", self._article),
            ("GET", f"{API}/ticket_articles/by_ticket/{{id:\\d+}}", self._articles),
            ("POST", f"{API}/tags/add", self._tag),
        ]
        return [web.route(method, path, self._guarded(handler)) for method, path, handler in doors]

    async def stop(self) -> None:
        """Let webhooks under way arrive, then close."""
        await self.settle()
        await super().stop()

    async def settle(self) -> None:
        """Wait until the webhooks that calls caused are out."""
        while self._under_way:
            await asyncio.gather(*self._under_way)

    # Doors

    async def _me(self, _: web.Request) -> web.Response:
        return web.json_response(self.books["users"]["3"])

    async def _create(self, request: web.Request) -> web.Response:
        given = await request.json()
        article = given.get("article") or {}
        if "body" not in article:
            raise RefusalError(422, 'Need at least article: { body: "some text" }')
        self._checked(given)
        made = self._open(given.get("title") or "", given["group"], self._customer(given), self.books["users"]["3"])
        made |= {name: given[name] for name in (*KNOWN, *self.attributes) if name in given}
        self.books["tags"][str(made["id"])] = [one.strip() for one in given.get("tags", "").split(",") if one.strip()]
        self._taken(str(made["id"]), article)
        self._told_later(str(made["id"]), with_article=True)
        return self._answered(self._shown(made))

    def _customer(self, given: dict[str, Any]) -> dict[str, Any]:
        customer = given.get("customer")
        if isinstance(customer, dict):
            if "@" not in str(customer.get("email")):
                raise RefusalError(422, "Invalid email")
            return self._user(customer["email"], customer.get("firstname", ""), customer.get("lastname", ""))
        found: dict[str, Any] | None = self.books["users"].get(str(given.get("customer_id")))
        if found is None:
            raise RefusalError(422, "Customer can't be blank")
        return found

    def _checked(self, given: dict[str, Any]) -> None:
        if not given.get("group", "Users"):
            raise RefusalError(422, "Group can't be blank")
        if (group := given.get("group")) is not None and group not in self.groups:
            raise RefusalError(422, f"No lookup value found for 'group': {json.dumps(group)}")
        if given.get("state", "new") not in STATES:
            raise RefusalError(422, f"No lookup value found for 'state': {json.dumps(given['state'])}")
        if given.get("priority", "2 normal") not in PRIORITIES:
            raise RefusalError(422, f"No lookup value found for 'priority': {json.dumps(given['priority'])}")
        if str(given.get("state", "")).startswith("pending") and not given.get("pending_time"):
            raise RefusalError(422, "Missing required value for field 'pending_time'!")

    async def _search(self, request: web.Request) -> web.Response:
        query = request.query
        if query.get("condition[ticket.tags][operator]") != "contains one" or query.get("expand") != "true":
            raise RefusalError(422, "the simulator searches by one tag, expanded")
        wanted = {one.strip() for one in query["condition[ticket.tags][value]"].split(",")}
        found = [one for id_, one in self.books["tickets"].items() if wanted & set(self.books["tags"].get(id_, ()))]
        found.sort(key=lambda one: str(one["updated_at"]), reverse=query.get("order_by", "desc") == "desc")
        size, page = min(int(query.get("per_page", 50)), 200), int(query.get("page", 1))
        return web.json_response([self._shown(one) for one in found[(page - 1) * size : page * size]])

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self._known(request.match_info["id"])))

    async def _links(self, request: web.Request) -> web.Response:
        asked = int(request.query["link_object_value"])
        held = [(link["parent"], "parent") for link in self.books["links"] if link["child"] == asked]
        held += [(link["child"], "child") for link in self.books["links"] if link["parent"] == asked]
        links = [{"link_type": kind, "link_object": "Ticket", "link_object_value": other} for other, kind in held]
        return web.json_response({"links": links, "assets": {}})

    async def _update(self, request: web.Request) -> web.Response:
        ticket, given = self._known(request.match_info["id"]), await request.json()
        self._checked(given)
        ticket |= {name: given[name] for name in (*KNOWN, *self.attributes) if name in given}
        self._touch(str(ticket["id"]), self.books["users"]["3"])
        self._told_later(str(ticket["id"]), with_article=False)
        return web.json_response(self._shown(ticket))

    async def _article(self, request: web.Request) -> web.Response:
        given = await request.json()
        ticket = str(self._known(str(given.get("ticket_id")))["id"])
        if not given.get("body"):
            raise RefusalError(422, 'Need at least article: { body: "some text" }')
        made = self._taken(ticket, given)
        self._told_later(ticket, with_article=True)
        return self._answered(made)

    def _taken(self, ticket: str, given: dict[str, Any]) -> dict[str, Any]:
        """An article of the API user's, with its files."""
        return self._write(
            ticket,
            self.books["users"]["3"],
            given["body"],
            given.get("type", "note"),
            sender=given.get("sender", "Agent"),
            internal=given.get("internal") is True,
            content_type=given.get("content_type", "text/plain"),
            attachments=[self._file(one) for one in given.get("attachments") or ()],
        )

    def _file(self, given: dict[str, Any]) -> dict[str, Any]:
        for key in ("mime-type", "filename", "data"):
            if not given.get(key):
                raise RefusalError(422, f"Attachment needs '{key}' param for attachment with index '0'")
        try:
            data = base64.b64decode(given["data"], validate=True)
        except binascii.Error as error:
            raise RefusalError(422, "Invalid base64 for attachment with index '0'") from error
        kept = {"filename": given["filename"], "size": str(len(data)), "sha256": hashlib.sha256(data).hexdigest()}
        return {"id": next(self._ids), **kept, "preferences": {"Mime-Type": given["mime-type"]}}

    async def _articles(self, request: web.Request) -> web.Response:
        id_ = self._known(request.match_info["id"])["id"]
        return web.json_response([one for one in self.books["articles"] if one["ticket_id"] == id_])

    async def _tag(self, request: web.Request) -> web.Response:
        given = await request.json()
        tags = self.books["tags"].setdefault(str(self._known(str(given["o_id"]))["id"]), [])
        tags.extend([given["item"]] if given["item"] not in tags else [])
        return web.json_response(True, status=201)

    # Records

    def _known(self, ticket: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self.books["tickets"].get(ticket)
        if found is None:
            raise RefusalError(404, f"Couldn't find Ticket with 'id'={ticket}")
        return found

    def _user(self, email: str, firstname: str = "", lastname: str = "") -> dict[str, Any]:
        users = self.books["users"]
        found = next((one for one in users.values() if one["email"] == email), None)
        if found is None:
            found = {
                "id": next(self._ids),
                "login": email,
                "email": email,
                "firstname": firstname,
                "lastname": lastname,
            }
            users[str(found["id"])] = found
        made: dict[str, Any] = found
        return made

    def _open(self, title: str, group: str, customer: dict[str, Any], by: dict[str, Any]) -> dict[str, Any]:
        id_, now = next(self._ids), self._now()
        made = {
            "id": id_, "number": str(10000 + id_), "title": title, "group": group, "state": "new",
            "priority": "2 normal", "owner_id": 1, "customer_id": customer["id"], "created_by_id": by["id"],
            "updated_by_id": by["id"], "created_at": now, "updated_at": now,
            **dict.fromkeys(self.attributes),
        }  # fmt: skip
        self.books["tickets"][str(id_)], self.books["tags"][str(id_)] = made, []
        return made

    def _write(
        self, ticket: str, by: dict[str, Any], body: str, kind: str, *, sender: str, internal: bool = False,
        content_type: str = "text/html", attachments: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        made = {
            "id": next(self._ids), "ticket_id": int(ticket), "body": body, "content_type": content_type, "type": kind,
            "sender": sender, "internal": internal, "subject": None, "attachments": attachments or [],
            "created_by_id": by["id"], "created_by": by["login"], "created_at": self._now(),
        }  # fmt: skip
        self.books["articles"].append(made)
        self._touch(ticket, by)
        return made

    def _touch(self, ticket: str, by: dict[str, Any]) -> dict[str, Any]:
        held: dict[str, Any] = self.books["tickets"][ticket]
        held |= {"updated_at": self._now(), "updated_by_id": by["id"]}
        return held

    def _shown(self, ticket: dict[str, Any]) -> dict[str, Any]:
        customer = self.books["users"][str(ticket["customer_id"])]
        return {**ticket, "customer": customer["login"], "article_ids": []}

    # Webhooks

    def _told_later(self, ticket: str, *, with_article: bool) -> None:
        async def told() -> int:
            async with self._order:
                return await self._fire(ticket, with_article=with_article)

        task = asyncio.ensure_future(told())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _fire(self, ticket: str, *, with_article: bool) -> int:
        """The trigger: the ticket as it is when the webhook is sent, with the newest article or none."""
        written = [one for one in self.books["articles"] if one["ticket_id"] == int(ticket)]
        article = self._full(written[-1], ticket) if with_article and written else None
        held, users = self.books["tickets"][ticket], self.books["users"]
        shown = held | {
            "customer": users[str(held["customer_id"])],
            "updated_by": users[str(held["updated_by_id"])],
            "priority": {"id": PRIORITIES[held["priority"]], "name": held["priority"]},
            "group": {"name": held["group"]},
        }
        body = json.dumps({"ticket": dict(sorted(shown.items())), "article": article}, ensure_ascii=False).encode()
        headers = {
            "User-Agent": "Zammad User Agent",
            "Content-Type": "application/json; charset=utf-8",
            "X-Zammad-Trigger": "rmabridge",
            "X-Zammad-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature": f"sha1={hmac.new(self.secret.encode(), body, hashlib.sha1).hexdigest()}",
        }
        if self._dropping:
            self._dropping -= 1
            return 0
        self._sent = (body, headers)
        return await self.deliver(body, headers)

    def _full(self, article: dict[str, Any], ticket: str) -> dict[str, Any]:
        address = f"{self.url}{API}/ticket_attachment/{ticket}/{article['id']}"
        files = [{**one, "url": f"{address}/{one['id']}"} for one in article["attachments"]]
        return article | {"created_by": self.books["users"][str(article["created_by_id"])], "attachments": files}

    # What all doors share

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            self.books["calls"].append(f"{request.method} {request.path.removeprefix(API)}")
            if request.headers.get("Authorization") != f"Token token={self.token}":
                return web.json_response({"error": "Authentication required"}, status=401)
            try:
                return await handler(request)
            except RefusalError as refusal:
                told = {"error": refusal.error, "error_human": refusal.error}
                return web.json_response(told, status=refusal.status)

        return guarded

    def _answered(self, made: dict[str, Any]) -> web.Response:
        """The answer to what was made, unless it gets lost on the way back."""
        if self.lost:
            self.lost -= 1
            return web.Response(status=504, text="Gateway time-out")
        return web.json_response(made, status=201)

    def _now(self) -> str:
        return _iso(self.now())


def _iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
