"""Bazaar: a marketplace with calls of its own, as its simulator in ``stories`` speaks them; for tests of the engine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from rmabridge import hookimpl
from rmabridge.abilities import (
    Context,
    DecidesReturns,
    FetchesOrders,
    Finding,
    Inbound,
    PaysRefunds,
    Plugin,
    Receipt,
    ReceivesWebhooks,
    Result,
    WebRequest,
)
from rmabridge.errors import Rejected
from rmabridge.model import EVENTS, ApproveReturn, DeclineReturn, Event, FetchOrder, PayRefund


class Bazaar(Plugin, ReceivesWebhooks, FetchesOrders, PaysRefunds, DecidesReturns):
    """Webhooks are the bridge's own events; answers are ``{"id": …, "events": […]}``."""

    url: str = ""

    def verify(self, request: WebRequest, now: object) -> Receipt:
        return Receipt(id=request.headers.get("X-Id"))

    def parse(self, inbound: Inbound) -> Iterable[Event]:
        return [EVENTS.validate_python(one) for one in from_json(inbound.body)["events"]]

    async def pay_refund(self, action: PayRefund, ctx: Context) -> Result:
        facts = {"order": action.order, "request": action.request, "amount": str(action.amount.amount)}
        return await self._post("refund", {"action": action.key, **facts}, ctx)

    async def find_refund(self, action: PayRefund, ctx: Context) -> Finding:
        answer = await ctx.http.get(f"{self.url}/refund/{ctx.idempotency_key}")
        if answer.status_code == 404:
            return Finding(False)
        answer.raise_for_status()
        return Finding(True, Result(id=answer.json()["id"]))

    async def approve_return(self, action: ApproveReturn, ctx: Context) -> Result:
        return await self._post("decide", {"request": action.request, "status": "approved"}, ctx)

    async def decline_return(self, action: DeclineReturn, ctx: Context) -> Result:
        return await self._post("decide", {"request": action.request, "status": "declined"}, ctx)

    async def find_decision(self, action: ApproveReturn | DeclineReturn, ctx: Context) -> Finding:
        answer = await ctx.http.get(f"{self.url}/request/{action.request}")
        return Finding(answer.json()["status"] != "requested")

    async def fetch_order(self, action: FetchOrder, ctx: Context) -> Result:
        answer = await ctx.http.get(f"{self.url}/order/{action.order}")
        answer.raise_for_status()
        return _read(answer.json())

    async def _post(self, path: str, body: dict[str, Any], ctx: Context) -> Result:
        named = {"Idempotency-Key": ctx.idempotency_key}
        answer = await ctx.http.post(f"{self.url}/{path}", json=body, headers=named)
        if answer.status_code == 422:
            raise Rejected(answer.text)
        answer.raise_for_status()
        return _read(answer.json())


def _read(found: dict[str, Any]) -> Result:
    events = tuple(EVENTS.validate_python(one) for one in found.get("events", ()))
    return Result(id=found.get("id"), events=events)


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    return [Bazaar]
