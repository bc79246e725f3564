"""Each check of fetching, probing and connecting finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted

POLLING = Toy(
    contract="FetchContract",
    plugin='''"""Toy: return requests, asked for. Reference: https://toy.example/api"""

import json
from itertools import count

import httpx
from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import Item, Page, Plugin, Polls
from rmabridge.errors import Malformed
from rmabridge.model import Ref, RefKind, RequestChanged
from rmabridge.wire.bodies import read_object
from rmabridge.wire.times import instant

COUNT = count()


class Toy(Plugin, Polls):
    """One toy."""

    api_token: SecretStr = Field(description="sent with every call")
    url: str = Field("https://api.toy.example", description="address of the API")

    async def poll(self, ctx, cursor):
        response = await ctx.http.get(f"{self.url}/returns", params={"after": cursor or ""})
        response.raise_for_status()
        told = read_object(response.content)
        items = tuple(self._item(one) for one in told["rows"])
        return Page(items, told["next"] or cursor, more=told["next"] is not None)

    def _item(self, row):
        return Item(json.dumps(row).encode(), f"{row['id']}:{row['status']}", row["id"])

    def parse(self, inbound):
        row = read_object(inbound.body)
        try:
            refs = (Ref(kind=RefKind.RETURN, value=row["id"] or None),)
            at = instant(str(row["at"]), "UTC")
            return [RequestChanged(key=f"return:{row['id']}", at=at, refs=refs, status=row["status"])]
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise Malformed("the row cannot be read") from error


@hookimpl
def register_marketplaces():
    return [Toy]
''',
    tests="""
def row(id, at="2026-01-02T11:00:00Z"):
    return {"id": id, "at": at, "status": "approved"}


class TestToy(FetchContract):
    plugin = Toy
    settings = {"api_token": "token-of-a-test"}

    def fetches(self):
        first = {"rows": [row("R1"), row("R2")], "next": "2"}
        return [Fetch("poll", (first, {"rows": [row("R3")], "next": None}), cursor="1")]
""",
)
RAISE, PAGE = "        response.raise_for_status()\n", "        return Page(items, told"
POLL_FAULTS = {
    "test_a_page_holds_what_the_vendor_showed": [(PAGE, "        items = ()\n" + PAGE)],
    "test_every_fetched_item_can_be_read": [
        ("Item(json.dumps(row).encode(),", "Item(json.dumps(row).encode() if row['id'] == 'R1' else b'row',")
    ],
    "test_the_same_answer_gives_the_same_items": [
        ("f\"{row['id']}:{row['status']}\"", "f\"{row['id']}:{next(COUNT)}\"")
    ],
    "test_the_items_of_a_page_have_different_ids": [("f\"{row['id']}:{row['status']}\"", 'row["status"]')],
    "test_the_cursor_is_a_text": [('told["next"] or cursor,', 'int(told["next"] or cursor),')],
    "test_fetching_comes_to_an_end": [('more=told["next"] is not None', "more=True")],
    "test_a_fetch_that_failed_is_no_empty_page": [
        (RAISE, "        if response.status_code == 500:\n            return Page((), cursor)\n" + RAISE)
    ],
    "test_a_fetch_is_repeated_by_the_bridge_alone": [
        (RAISE, "        if response.status_code == 503:\n            await ctx.http.get(self.url)\n" + RAISE)
    ],
    "test_no_fetched_item_holds_a_secret": [
        ("f\"{row['id']}:{row['status']}\", row[\"id\"]", 'row["id"], self.api_token.get_secret_value()')
    ],
}
CONNECTING = Toy(
    contract="ConnectContract",
    plugin='''"""Toy: a shop that is connected. Reference: https://toy.example/api"""

from datetime import UTC, datetime
from urllib.parse import urlencode

import httpx
from pydantic import Field, SecretStr

from rmabridge import hookimpl
from rmabridge.abilities import Connects, Plugin, Probes
from rmabridge.errors import Unverified
from rmabridge.wire.bodies import read_object
from rmabridge.wire.signing import any_matches, hmac_hex


class Toy(Plugin, Probes, Connects):
    """One toy."""

    client_secret: SecretStr = Field(description="signs the callback")
    url: str = Field("https://api.toy.example", description="address of the API")

    async def probe(self, ctx):
        response = await ctx.http.get(f"{self.url}/me")
        response.raise_for_status()
        return f"Toy shop {read_object(response.content)['name']}"

    def authorise_url(self, redirect, state):
        asked = urlencode({"redirect_uri": redirect, "state": state})
        return f"{self.url}/consent?{asked}"

    async def exchange(self, query, redirect, ctx):
        rest = "&".join(f"{name}={value}" for name, value in sorted(query.items()) if name != "mark")
        if not any_matches(query.get("mark", ""), [hmac_hex(self.client_secret.get_secret_value(), rest.encode())]):
            raise Unverified("the callback is not the shop's")
        response = await ctx.http.post(f"{self.url}/token", json={"code": query["code"]})
        response.raise_for_status()
        return {"access_token": str(read_object(response.content)["token"])}

    async def token_expires(self, ctx):
        return datetime(2026, 2, 1, tzinfo=UTC)


@hookimpl
def register_marketplaces():
    return [Toy]
''',
    tests="""
import hashlib, hmac


class TestToy(ConnectContract):
    plugin = Toy
    settings = {"client_secret": "secret-of-a-test"}
    token = {"access_token": "t"}
    probed = ({"name": "One"},)
    exchanged = ({"token": "t-1"},)
    signed_callback = True

    def callback(self):
        mark = hmac.new(b"secret-of-a-test", b"code=c1&shop=one", hashlib.sha256).hexdigest()
        return {"code": "c1", "shop": "one", "mark": mark}
""",
)
TOLD, MARK = "return f\"Toy shop {read_object(response.content)['name']}\"", "        if not any_matches("
CONNECT_FAULTS = {
    "test_the_probe_says_what_answered": [(TOLD, "read_object(response.content)\n        return ''")],
    "test_the_probe_tells_no_secret": [
        ('return f"Toy shop {', 'return f"Toy shop {self.client_secret.get_secret_value()} {')
    ],
    "test_a_probe_that_failed_is_no_good_news": [
        (
            f"{RAISE}        return f",
            f"        if response.status_code == 401:\n            return 'Toy'\n{RAISE}        return f",
        )
    ],
    "test_the_way_to_consent_brings_the_session_back": [('"state": state', '"state": state.upper()')],
    "test_the_way_to_consent_is_written_as_an_address": [
        ("{asked}", "state={state}&redirect_uri={redirect}"),
        ('        asked = urlencode({"redirect_uri": redirect, "state": state})\n', ""),
    ],
    "test_the_way_to_consent_holds_no_secret": [
        ('{"redirect_uri": redirect,', '{"key": self.client_secret.get_secret_value(), "redirect_uri": redirect,')
    ],
    "test_a_callback_makes_a_token_of_texts": [
        ('str(read_object(response.content)["token"])}', 'str(read_object(response.content)["token"]), "life": 3600}')
    ],
    "test_a_callback_without_a_code_makes_no_token": [(MARK, "        if not query:\n            return {}\n" + MARK)],
    "test_a_forged_callback_makes_no_token": [
        (MARK, '        if "mark" not in query:\n            raise Unverified\n        if False and not any_matches(')
    ],
    "test_the_tokens_end_is_a_time_of_some_zone": [("datetime(2026, 2, 1, tzinfo=UTC)", "datetime(2026, 2, 1)")],
}
PLANTED = [(POLLING, POLL_FAULTS), (CONNECTING, CONNECT_FAULTS)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", POLL_FAULTS)
def test_a_fault_of_fetching_fails_its_check_and_no_other(check, tmp_path):
    assert planted(POLLING, POLL_FAULTS[check], tmp_path) == {check}


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", CONNECT_FAULTS)
def test_a_fault_of_connecting_fails_its_check_and_no_other(check, tmp_path):
    assert planted(CONNECTING, CONNECT_FAULTS[check], tmp_path) == {check}
