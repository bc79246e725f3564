"""The account's address, user and queues, and its ways to call REST 2.0."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, model_validator

from rmabridge.abilities import Context, Plugin
from rmabridge.errors import Rejected
from rmabridge.model import Attachment
from rmabridge.wire.bodies import dig, read_object
from rmabridge.wire.mailkinds import Kind, kind_of
from rmabridge.wire.mailparts import field, parsed
from rmabridge.wire.times import instant

FULL: Final = 100  # the most that RT gives on one page
LONGEST: Final = 100_000
RIGHTS: Final = "the queue does not exist or the account's user lacks a right on it: RT answers 403 to both"


class Calls(Plugin):
    """Where RT is, how it is asked, and which queues and custom field are ours."""

    url: str = Field(
        pattern=r"^https?://", description="RT's address, e.g. https://rt.example.com; REST 2.0 is below it"
    )
    user: str = Field("", description="name of the RT user of this account; not needed with a token")
    password: SecretStr | None = Field(None, description="the user's password")
    token: SecretStr | None = Field(None, description="an RT authentication token, instead of user and password")
    bot: str = Field("", description="RT name of whoever the bridge writes as, so that it knows its own; default: user")
    queue: str = Field("General", description="queue of new tickets")
    queues: dict[str, str] = Field(
        default_factory=dict, description="queue of new tickets by group of the routing rules"
    )
    settle: timedelta = Field(
        timedelta(minutes=2),
        description="how long a transaction with a lower number may still appear (see the cursor), and one that RT "
        "cannot show is asked for again",
    )
    ref_field: str = Field("rma_ref", pattern=r"^[\w .-]+$", description="custom field that holds the case id")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.token is None and not (self.user and self.password):
            raise ValueError("give user and password, or a token made under Logged in as → Settings → Auth Tokens")
        if not (self.bot or self.user):
            raise ValueError("bot is missing: name the RT user whose token this is")
        return self

    @property
    def _me(self) -> str:
        return self.bot or self.user

    @property
    def _root(self) -> str:
        return self.url.rstrip("/")

    @property
    def _all_queues(self) -> list[str]:
        return list(dict.fromkeys([self.queue, *self.queues.values()]))

    def _page(self, number: str) -> str:
        return f"{self._root}/Ticket/Display.html?id={number}"

    async def _send(self, ctx: Context, method: str, path: str, **options: Any) -> httpx.Response:
        if self.token:
            options["headers"] = {"Authorization": f"token {self.token.get_secret_value()}"}
        elif self.password:
            options["auth"] = (self.user, self.password.get_secret_value())
        return await ctx.http.request(method, f"{self._root}/REST/2.0{path}", **options)

    async def _call(self, ctx: Context, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await self._send(ctx, method, path, **options)
        if answer.status_code == 403:
            raise Rejected(f"RT: {answer.text[:300]}", hint=RIGHTS)
        return answer.raise_for_status()

    async def _get(self, ctx: Context, path: str) -> dict[str, Any]:
        return read_object((await self._call(ctx, "GET", path)).content)

    async def _once(self, ctx: Context, path: str, known: dict[str, Any]) -> dict[str, Any]:
        if path not in known:
            answer = await self._send(ctx, "GET", path)
            known[path] = {} if answer.status_code == 404 else read_object(answer.raise_for_status().content)
        found: dict[str, Any] = known[path]
        return found

    async def _rows(self, ctx: Context, path: str, **params: str) -> list[dict[str, Any]]:
        answer = await self._call(ctx, "GET", path, params=params)
        return [row for row in read_object(answer.content)["items"] if isinstance(row, dict)]

    async def _tickets(self, ctx: Context, query: str) -> list[dict[str, Any]]:
        return await self._rows(ctx, "/tickets", query=query, fields="Subject", orderby="id", per_page=str(FULL))

    async def _transactions(self, ctx: Context, query: str, *, order: str, per_page: int) -> list[dict[str, Any]]:
        params = {"orderby": "id", "order": order, "per_page": str(per_page)}
        fields = "Type,Creator,Created,NewValue,ObjectId"
        whole = f"ObjectType = 'RT::Ticket' AND {query}"
        return await self._rows(ctx, "/transactions", query=whole, fields=fields, **params)

    async def _content(self, ctx: Context, row: dict[str, Any]) -> tuple[str, bool, tuple[Attachment, ...], bool]:
        """The words, whether they are HTML, the files, and whether it is a machine that wrote them in a mail."""
        transaction = str(row["id"])
        path = f"/transaction/{transaction}/attachments"
        rows = await self._rows(ctx, path, fields="Filename,ContentType,ContentLength,Headers", per_page=str(FULL))
        automatic = bool(rows) and _automatic(min(rows, key=lambda one: int(one["id"])).get("Headers"))
        bodies = {one["ContentType"]: one for one in reversed(rows) if not one.get("Filename")}
        body = bodies.get("text/plain") or bodies.get("text/html")
        files = tuple(self._file(transaction, one) for one in rows if one.get("Filename"))
        if body is None:
            return "", False, files, automatic
        answer = await self._send(ctx, "GET", f"/attachment/{body['id']}")
        # RT answers so to an attachment that is gone; of a new transaction it rather is a server that stumbled.
        new = instant(row["Created"]) > ctx.now() - self.settle
        if answer.status_code == 404 or (answer.status_code == 500 and not new):
            return "", False, files, automatic
        coded = read_object(answer.raise_for_status().content).get("Content") or ""
        words = base64.b64decode(coded).decode(errors="replace")[:LONGEST]
        return words, body["ContentType"] == "text/html", files, automatic

    def _file(self, transaction: str, row: dict[str, Any]) -> Attachment:
        name = str(row["Filename"])
        address = f"{self._root}/Ticket/Attachment/{transaction}/{row['id']}/{quote(name, safe='')}"
        return Attachment(name=name, media_type=row["ContentType"], url=address, size=row.get("ContentLength"))


def _automatic(headers: Any) -> bool:
    """Whether a mail's header shows a machine: to RT, or to us."""
    root = parsed(str(headers or "").encode("utf-8", "replace"), head=True)
    marked = field(root, "RT-DetectedAutoGenerated").lower() == "true"
    return marked or kind_of(root, "", field(root, "Subject"))[0] in {Kind.AUTOMATIC, Kind.BOUNCE}


def quoted(value: str) -> str:
    """A text in a query of RT's."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def custom_fields(ticket: dict[str, Any]) -> dict[str, list[str]]:
    """A ticket's custom fields by name."""
    fields = ticket.get("CustomFields") or []
    return {str(dig(field, "name")): [str(one) for one in dig(field, "values") or ()] for field in fields}
