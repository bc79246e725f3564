"""Any system with an HTTP interface: its address, what is sent with each request, and calls by configuration."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, get_args
from urllib.parse import urlsplit

import httpx
from pydantic import Field, SecretStr, field_validator

from rmabridge.abilities import Context, Finding, Handler, Plugin, Probes, Result, Secret, Secrets, live
from rmabridge.errors import Rejected
from rmabridge.model import Action, ClassifyText, FetchOrder, QueryParcel
from rmabridge.wire.signing import standard_sign

from .calls import LENT, Call, fields_of, fill_path

# These are wanted for what the answer says, and no table of paths reads that.
ASKED: frozenset[Any] = frozenset({FetchOrder, QueryParcel, ClassifyText})
KINDS: dict[str, Any] = {one.kind: one for one in get_args(Action) if one not in ASKED}
DEFAULT = Call()


class System(Plugin, Probes):
    """Where the system is, how it is asked, and which request each action becomes."""

    kinds: ClassVar[dict[str, Any]] = KINDS
    reference: ClassVar[str] = (
        "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"
    )

    url: str = Field(description="address of the system; paths of calls are below it")
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="headers of every request")
    bearer: SecretStr | None = Field(None, description="token for 'Authorization: Bearer'")
    secret: Secrets | None = Field(None, description="signs every request by Standard Webhooks (whsec_…)")
    calls: dict[str, Call] = Field(default_factory=dict, description="requests by type of action, e.g. 'ticket.open'")
    probe_path: str | None = Field(
        None, description="path that answers 2xx to a GET; none: any answer to a GET will do"
    )

    @field_validator("url")
    @classmethod
    def _address(cls, given: str) -> str:
        parts = urlsplit(given)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("not an http(s) address")
        return given

    @field_validator("calls")
    @classmethod
    def _known(cls, calls: dict[str, Call]) -> dict[str, Call]:
        for kind, call in calls.items():
            if kind not in cls.kinds:
                raise ValueError(f"{kind!r} is no action of this plugin; it knows {', '.join(sorted(cls.kinds))}")
            if unknown := call.names() - LENT - set(cls.kinds[kind].model_fields):
                raise ValueError(f"{kind}: {{{min(unknown)}}} is no field of this action")
        return calls

    @field_validator("secret")
    @classmethod
    def _usable(cls, secrets: tuple[Secret, ...] | None) -> tuple[Secret, ...] | None:
        for one in secrets or ():
            standard_sign(one.value.get_secret_value(), "", datetime.fromtimestamp(0, UTC), b"")
        return secrets

    def route(self, action: Action) -> Handler | None:
        """The handler, with what the configuration says of repeating and looking up."""
        handler = super().route(action)
        call = self.calls.get(action.kind)
        if call is None:
            return handler
        facts = call.facts() | ({"find": self.look_up} if call.find else {})
        return replace(handler or Handler(self.perform), **facts)

    async def perform(self, action: Action, ctx: Context) -> Result:
        """Make the action's call."""
        call = self.calls.get(action.kind, DEFAULT)
        response = await self._request(call, action, ctx)
        # Of all redirects these two say that nothing was done yet.
        if response.status_code in {307, 308}:
            raise Rejected(f"{response.status_code}: redirected", hint="configure the final address")
        response.raise_for_status()
        return self.result(call, action, response, ctx)

    def result(self, call: Call, action: Action, response: httpx.Response, ctx: Context) -> Result:
        """What the answer tells."""
        return call.result(response)

    async def look_up(self, action: Action, ctx: Context) -> Finding:
        """Ask the configured address whether the action was done."""
        find = self.calls.get(action.kind, DEFAULT).find
        if find is None:
            return Finding(None)
        url = self._below(fill_path(find.path, fields_of(action, ctx)))
        return find.finding(await ctx.http.get(url, headers=self._headers(), follow_redirects=False))

    async def probe(self, ctx: Context) -> str:
        """GET the address; without ``probe_path`` even 404 and 405 show that somebody is there."""
        response = await ctx.http.get(self._below(self.probe_path or ""), headers=self._headers())
        if self.probe_path is not None or response.status_code in {401, 403} or response.status_code >= 500:
            response.raise_for_status()
        return f"{urlsplit(self.url).hostname} answers {response.status_code}"

    async def _request(self, call: Call, action: Action, ctx: Context) -> httpx.Response:
        fields = fields_of(action, ctx)
        url, body = self._below(fill_path(call.path, fields)), call.content(fields)
        if call.method == "GET":
            url, body = f"{url}{'&' if '?' in url else '?'}{body.decode()}", b""
        headers = self._headers(ctx, body)
        if call.format == "form":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        return await ctx.http.request(call.method, url, content=body, headers=headers, follow_redirects=False)

    def _below(self, path: str) -> str:
        if not path or path.startswith(("http://", "https://")):
            return path or self.url
        return f"{self.url.rstrip('/')}/{path.lstrip('/')}"

    def _headers(self, ctx: Context | None = None, body: bytes = b"") -> dict[str, str]:
        made = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.bearer:
            made["Authorization"] = f"Bearer {self.bearer.get_secret_value()}"
        if ctx is None:
            return made
        made |= {"Content-Type": "application/json", "Idempotency-Key": ctx.idempotency_key}
        return made | self._signature(ctx, body)

    def _signature(self, ctx: Context, body: bytes) -> dict[str, str]:
        """The headers of all live secrets in one: during a rotation the receiver may know either."""
        now = ctx.now()
        signed = [standard_sign(one, ctx.idempotency_key, now, body) for one in live(self.secret or (), now)]
        if not signed:
            return {}
        return signed[0] | {"webhook-signature": " ".join(one["webhook-signature"] for one in signed)}
