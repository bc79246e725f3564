"""A small Request Tracker: tickets, replies, comments and attachments by REST 2.0, as a running RT 5.0 answers.

It understands of RT's query language what a bridge asks: conditions joined by AND and OR. RT's core sends no webhooks.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, Final

from aiohttp import web

from .server import Simulator

Record = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.Response]]
REST: Final = "/REST/2.0"
STATUSES: Final = frozenset({"new", "open", "stalled", "resolved", "rejected", "deleted"})
CONDITION: Final = re.compile(
    r"(?P<name>CF\.\{[^}]*\}|\w+) *(?P<sign>!=|=|>|LIKE) *(?:'(?P<text>(?:[^'\\]|\\.)*)'|(?P<number>\d+))"
)


class RefusalError(Exception):
    """RT refuses a call: the status and the message of its answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class RequestTrackerSim(Simulator):
    """One RT with its users; ``books`` hold ``tickets`` and ``transactions`` by number.

    A user with an ``@`` is a buyer who mails, everybody else is privileged. ``lag`` is how long a change was under way
    before it shows.
    """

    name: ClassVar[str] = "request_tracker"

    def __init__(
        self,
        user: str = "bridge",
        password: str = "rt-password",  # noqa: S107 - a simulator's
        queues: tuple[str, ...] = ("General",),
        ref_field: str = "rma_ref",
    ) -> None:
        super().__init__()
        self.user, self.password, self.queues, self.ref_field = user, password, queues, ref_field
        self.books |= {"tickets": {}, "transactions": {}, "attachments": {}, "calls": []}
        self.lag = timedelta()

    def routes(self) -> list[web.RouteDef]:
        doors: list[tuple[str, str, Handler]] = [
            ("GET", "/rt", self._version),
            ("GET", "/queue/{name}", self._queue),
            ("GET", "/user/{name}", self._user),
            ("POST", "/ticket", self._create),
            ("GET", "/tickets", self._search),
            ("GET", "/ticket/{id:\\d+}", self._show),
            ("PUT", "/ticket/{id:\\d+}", self._update),
            ("POST", "/ticket/{id:\\d+}/{kind:comment|correspond}", self._write),
            ("GET", "/transactions", self._transactions),
            ("GET", "/transaction/{id:\\d+}/attachments", self._attachments),
            ("GET", "/attachment/{id:\\d+}", self._attachment),
        ]
        return [web.route(method, REST + path, self._guarded(handler)) for method, path, handler in doors]

    # The world acting

    def do_reply(self, ticket: str, text: str, by: str = "buyer@example.com", headers: str = "") -> str:
        """Somebody replies by mail or in RT; the number of the transaction."""
        return self._said(self.books["tickets"][str(ticket)], "Correspond", text, by, headers=headers)

    def do_comment(self, ticket: str, text: str, by: str = "alice") -> str:
        """An agent leaves a note; the number of the transaction."""
        return self._said(self.books["tickets"][str(ticket)], "Comment", text, by)

    def do_set_status(self, ticket: str, status: str, by: str = "alice") -> str:
        """An agent sets the status; the number of the transaction."""
        return self._turn(self.books["tickets"][str(ticket)], status, by)

    # The doors

    def _guarded(self, handler: Handler) -> Handler:
        """The login first, then the door; refusals in RT's own words."""

        async def guarded(request: web.Request) -> web.Response:
            expected = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            if request.headers.get("Authorization") != expected:
                return web.json_response({"message": "Unauthorized"}, status=401)
            self.books["calls"].append(f"{request.method} {request.path.removeprefix(REST)}")
            try:
                return await handler(request)
            except RefusalError as refusal:
                return web.json_response({"message": refusal.message}, status=refusal.status)

        return guarded

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"Version": "5.0.3"})

    async def _queue(self, request: web.Request) -> web.Response:
        if request.match_info["name"] not in self.queues:
            raise RefusalError(404, "Queue not found")
        return web.json_response({"Name": request.match_info["name"], "TicketCustomFields": [{"name": self.ref_field}]})

    async def _user(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return web.json_response({"Name": name, "Privileged": int("@" not in name)})

    async def _create(self, request: web.Request) -> web.Response:
        given = await request.json()
        if given.get("Queue") not in self.queues:
            raise RefusalError(403, f"No permission to create tickets in the queue '{given.get('Queue')}'")
        number = str(len(self.books["tickets"]) + 1)
        fields = {name: value for name, value in (given.get("CustomFields") or {}).items() if name == self.ref_field}
        ticket = self.books["tickets"][number] = {
            "id": int(number), "Subject": given.get("Subject", ""), "Status": "new", "Queue": given["Queue"],
            "Priority": str(given.get("Priority") or 0), "Requestor": given.get("Requestor") or "", "fields": fields,
        }  # fmt: skip
        self._said(ticket, "Create", given.get("Content", ""), self.user)
        return web.json_response(
            {"id": number, "type": "ticket", "_url": f"{self.url}{REST}/ticket/{number}"}, status=201
        )

    async def _search(self, request: web.Request) -> web.Response:
        found = [one for one in self.books["tickets"].values() if _meets(request, partial(self._of, one))]
        return _listed(request, [{"id": str(one["id"]), "Subject": one["Subject"]} for one in found])

    async def _show(self, request: web.Request) -> web.Response:
        ticket = self._ticket(request, 404)
        fields = [{"id": "1", "name": name, "values": [value]} for name, value in ticket["fields"].items()]
        asked = [{"id": ticket["Requestor"], "type": "user"}] if ticket["Requestor"] else []
        kept = {name: value for name, value in ticket.items() if name not in {"fields", "Queue"}}
        shown = {**kept, "Queue": {"id": "1", "Name": ticket["Queue"]}, "Requestor": asked, "CustomFields": fields}
        return web.json_response(shown)

    async def _update(self, request: web.Request) -> web.Response:
        ticket, given, said = self._ticket(request, 404), await request.json(), []
        if (status := given.get("Status")) and status not in STATUSES:
            said.append(f"Status '{status}' isn't a valid status for this ticket.")
        elif status and status != ticket["Status"]:
            self._turn(ticket, status, self.user)
            said.append(f"Ticket {ticket['id']}: Status changed to '{status}'")
        if "Priority" in given:
            ticket["Priority"] = str(given["Priority"]) if str(given["Priority"]).isdecimal() else "0"
        ticket["fields"] |= {
            name: one for name, one in (given.get("CustomFields") or {}).items() if name in ticket["fields"]
        }
        return web.json_response(said)

    async def _write(self, request: web.Request) -> web.Response:
        ticket, kind = self._ticket(request, 400), request.match_info["kind"]
        given, files = await _form(request)
        number = self._said(ticket, kind.title(), given.get("Content", ""), self.user, files)
        where = {"Location": f"{self.url}{REST}/transaction/{number}"}
        done = "Comments added" if kind == "comment" else "Correspondence added"
        return web.json_response([done], status=201, headers=where)

    async def _transactions(self, request: web.Request) -> web.Response:
        known = self.books["transactions"].values()
        return _listed(request, [one for one in known if _meets(request, partial(self._of, one))])

    async def _attachments(self, request: web.Request) -> web.Response:
        held = self.books["attachments"].values()
        mine = [one for one in held if one["transaction"] == request.match_info["id"]]
        asked = request.query.get("fields", "").split(",")
        return _listed(
            request,
            [{name: one.get(name, "") for name in (*asked, "id")} for one in mine],
        )

    async def _attachment(self, request: web.Request) -> web.Response:
        if (found := self.books["attachments"].get(request.match_info["id"])) is None:
            raise RefusalError(500, "Internal Server Error")
        return web.json_response({**found, "Content": base64.b64encode(found["Content"].encode()).decode()})

    # Records

    def _ticket(self, request: web.Request, otherwise: int) -> Record:
        found: Record | None = self.books["tickets"].get(request.match_info["id"])
        if found is None:
            raise RefusalError(otherwise, "Not Found" if otherwise == 404 else "Invalid resource id")
        return found

    def _of(self, row: Record, name: str) -> str:
        """What a condition's name means for a ticket or a transaction."""
        if name.startswith("CF."):
            return str(row["fields"].get(name[4:-1], ""))
        if name == "ObjectType":
            return "RT::Ticket"
        if name == "TicketId":
            return str(row["ObjectId"])
        if name == "TicketQueue":
            return str(self.books["tickets"][row["ObjectId"]]["Queue"])
        value = row[name]
        return str(value["id"] if isinstance(value, dict) else value)

    def _turn(self, ticket: Record, status: str, by: str) -> str:
        before, ticket["Status"] = ticket["Status"], status
        return self._happened(ticket, "Status", by, OldValue=before, NewValue=status)

    def _said(
        self, ticket: Record, kind: str, text: str, by: str, files: tuple[Record, ...] = (), headers: str = ""
    ) -> str:
        number = self._happened(ticket, kind, by, NewValue="")
        words = {"Filename": "", "ContentType": "text/plain", "Content": text, "ContentLength": len(text.encode())}
        words["Headers"] = headers
        for one in (words, *files):
            id_ = str(len(self.books["attachments"]) + 1)
            self.books["attachments"][id_] = {"id": id_, "transaction": number, **one}
        return number

    def _happened(self, ticket: Record, kind: str, by: str, **facts: str) -> str:
        number, at = str(len(self.books["transactions"]) + 1), self.now() - self.lag
        self.books["transactions"][number] = {
            "id": number, "type": "transaction", "Type": kind, "ObjectId": str(ticket["id"]),
            "Creator": {"id": by, "type": "user"}, "Created": at.strftime("%Y-%m-%dT%H:%M:%SZ"), **facts,
        }  # fmt: skip
        return number


def _meets(request: web.Request, value: Callable[[str], str]) -> bool:
    """Whether a row meets the query: conditions joined by AND, some of them brackets of conditions joined by OR."""
    query = request.query.get("query", "")
    return all(any(_holds(one, value) for one in CONDITION.finditer(part)) for part in _and(query))


def _and(query: str) -> list[str]:
    """The parts between the ANDs that stand outside of quotes."""
    parts, last = [], 0
    quoted = [found.span() for found in re.finditer(r"'(?:[^'\\]|\\.)*'", query)]
    for found in re.finditer(r" AND ", query):
        if not any(start <= found.start() < end for start, end in quoted):
            parts.append(query[last : found.start()])
            last = found.end()
    return [*parts, query[last:]]


def _holds(condition: re.Match[str], value: Callable[[str], str]) -> bool:
    held, text = value(condition["name"]), condition["text"]
    wanted = condition["number"] if text is None else re.sub(r"\\(.)", r"\1", text)
    match condition["sign"]:
        case ">":
            return int(held) > int(wanted)
        case "LIKE":
            return wanted.casefold() in held.casefold()
        case "!=":
            return held != wanted
        case _:
            return held == wanted


def _listed(request: web.Request, rows: list[Record]) -> web.Response:
    """One page; ``total`` and ``pages`` are null for a user who is no superuser."""
    ordered = sorted(rows, key=lambda one: int(one["id"]), reverse=request.query.get("order") == "DESC")
    shown = ordered[: int(request.query.get("per_page", 20))]
    return web.json_response({"items": shown, "count": len(shown), "total": None, "pages": None, "page": 1})


async def _form(request: web.Request) -> tuple[Record, tuple[Record, ...]]:
    """The JSON of a comment, alone or as the first part of a form with files."""
    if request.content_type != "multipart/form-data":
        return await request.json(), ()
    form = await request.post()
    held = form["JSON"]
    raw = (
        held.file.read() if isinstance(held, web.FileField) else held.encode() if isinstance(held, str) else bytes(held)
    )
    files = [one for one in form.getall("Attachments", []) if isinstance(one, web.FileField)]
    return json.loads(raw), tuple(_file(one) for one in files)


def _file(one: web.FileField) -> Record:
    data = one.file.read()
    told = {"Filename": one.filename, "ContentType": one.content_type, "ContentLength": len(data)}
    return {**told, "Content": data.decode("utf-8", "replace")}
