"""A running bridge around one account, for live tests: a shop whose buyers ask for returns, all else left out."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp

from ..abilities import Plugin, Result
from ..config import read
from ..flow.bridge import Running
from ..loading import sources
from ..model import Action, Case, Form
from ..wire.signing import standard_sign

T = TypeVar("T")

SECRET: Final = "whsec_" + base64.b64encode(b"a secret for live tests alone").decode()
# Where a shop names an account of each section; some name several.
SLOTS: Final = {
    "marketplaces": "marketplace",
    "helpdesks": "helpdesk",
    "carriers": "carrier",
    "channels": "channels",
    "services": "forwards",
}
# Enough for a case to be told of, replied to and followed; a bridge that asks all of them takes a second more to start.
SPINE: Final = ("routing", "returns", "first_reply", "helpdesk_sync", "tracking", "progress")
SEVERAL: Final = frozenset({"channels", "forwards"})
BUSY: Final = (
    "SELECT (SELECT count(*) FROM inbox WHERE state = 'new') + "
    "(SELECT count(*) FROM outbox WHERE state = 'sending' OR (state = 'due' AND due_at <= {now}))"
)


class Live:
    """The running bridge: ``door`` is where the vendor's webhooks go, ``name`` the account that is tried."""

    def __init__(self, bridge: Running, name: str, client: aiohttp.ClientSession) -> None:
        self.bridge, self.name, self._client = bridge, name, client
        self.door = f"{bridge.url}/hooks/{name}"
        self._asked = 0

    async def ask_return(self, *, waybill: str | None = None, **buyer: str) -> Case:
        """A buyer of the shop asks for a return of what came in this parcel; the case that it opens."""
        self._asked += 1
        id_, now = f"O{self._asked}", self.bridge.store.clock.now()
        body = json.dumps(asked(id_, now, waybill, buyer)).encode()
        headers = {**standard_sign(SECRET, f"asked-{id_}", now, body), "Content-Type": "application/json"}
        async with self._client.post(f"{self.bridge.url}/hooks/shop", data=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        return await self.until(lambda: next((one for one in self.cases() if one.ref("order") == id_), None))

    async def call(self, action: Action) -> Result:
        """Carry the action out on the account, with the client that the bridge lends to it."""
        handler = self.bridge.registry.handler(self.name, action)
        assert handler is not None, f"the account does not carry out {action.kind}"
        lent = self.bridge.dispatcher.context(self.name, f"live:{action.key}", None)
        return await handler.method(action, lent) or Result()

    def cases(self) -> list[Case]:
        """Every case, the oldest first."""
        store = self.bridge.store
        found = self.rows("SELECT key_id, doc FROM cases ORDER BY id")
        store.keys_for({key for key, _ in found})
        return [Case.model_validate_json(store.vault.open(key, doc)) for key, doc in found]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on the bridge's database."""
        return self.bridge.store.read(lambda conn: [tuple(one) for one in conn.exec_driver_sql(query)])

    async def settle(self, seconds: float = 10) -> None:
        """Wait until nothing is on its way."""
        still = 0

        def quiet() -> bool:
            nonlocal still
            ((busy,),) = self.rows(BUSY.format(now=self.bridge.store.clock.micros()))
            still = 0 if busy else still + 1
            return still > 2

        await self.until(quiet, seconds)

    async def until(self, check: Callable[[], T | None], seconds: float = 10) -> T:
        """Wait until the check gives something; what it gave."""
        async with asyncio.timeout(seconds):
            while not (found := check()):  # noqa: ASYNC110 - any condition, not one that somebody announces
                await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def live(
    plugin: type[Plugin], section: str, folder: Path, *, policies: Sequence[str] = SPINE, **settings: Any
) -> AsyncIterator[Live]:
    """A bridge that serves one account of the plugin until the block ends; its database is in the folder."""
    name = plugin.__module__.partition(".")[0].removeprefix("rmabridge_")
    document = configured(name, section, settings)
    document["bridge"] = {"database": f"sqlite:///{folder / 'live.db'}", "port": 0, "policies": list(policies)}
    if name not in sources():
        document["bridge"]["plugins_dir"] = str(Path(inspect.getfile(plugin)).parent)
    async with Running(read(document)) as bridge, aiohttp.ClientSession() as client:
        yield Live(bridge, name, client)


def configured(name: str, section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """A shop with the account in the slot of its section; without one of its own it has a generic marketplace."""
    document: dict[str, Any] = {"marketplaces": {"shop": GENERIC}}
    document.setdefault(section, {})[name] = {"plugin": name, "allow_private": True, **settings}
    slot = SLOTS[section]
    shop = {"marketplace": "shop", "quiet": 0, "prefer": [*Form], slot: [name] if slot in SEVERAL else name}
    return document | {"shops": {"one": shop}}


def asked(order: str, now: datetime, waybill: str | None, buyer: dict[str, str]) -> dict[str, Any]:
    """The webhook of the generic marketplace when a buyer asks for a return."""
    return {
        "id": f"asked-{order}",
        "time": (now - timedelta(minutes=1)).isoformat(),
        "order": {"id": order, "placed_at": (now - timedelta(days=5)).isoformat()},
        "parcels": [{"waybill": waybill, "status": "in_transit", "direction": "out"}] if waybill else [],
        "buyer": {"id": f"B-{order}", "name": "Li Lei", "email": "li@example.com", "phone": "+8613812345678"} | buyer,
    }


GENERIC: Final[dict[str, Any]] = {
    "plugin": "webhook",
    "secret": SECRET,
    "signature": {"family": "standard"},
    "events": [
        {
            "type": "case.requested",
            "key": "id",
            "at": "time",
            "refs": {"return": "id", "order": "order.id", "buyer": "buyer.id"},
            "set": {"kind": "'return'", "order": "order", "buyer": "buyer"},
        },
        {
            "type": "order.seen",
            "key": "order.id",
            "at": "time",
            "refs": {"order": "order.id"},
            "set": {"order": "order", "buyer": "buyer", "parcels": "parcels"},
        },
    ],
}
