"""The demo's ``rmabridge.toml``, an example to read: one Shopify shop with everything, and a relay of ten lines."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

SHOPIFY: Final[dict[str, Any]] = {"shop": "demo.myshopify.com", "secret": "shpss_demo_secret"}
ZENDESK: Final[dict[str, Any]] = {"token": "zendesk-token", "secret": "zendesk-signing-secret", "tries": 10}
KDNIAO: Final[dict[str, Any]] = {"business_id": "1234567", "app_key": "kdniao-demo-key"}
PUSH_TOKEN: Final = "kdniao-push-token"  # noqa: S105 - the demo's own world
RELAY_SECRET: Final = "whsec_" + base64.b64encode(b"relay-in-demo-secret-32-bytes-in").decode()
SINK_SECRET: Final = "whsec_" + base64.b64encode(b"relay-out-demo-secret-32-bytes-o").decode()

TEXT: Final = """\
# Written by `rmabridge demo`. Every address is on loopback, every secret is made up: a real file
# keeps secrets outside, as in  secret = {{ env = "SHOPIFY_SECRET" }}.

[bridge]
database = "sqlite:///bridge.db"
port = {bridge}
virtual_clock = true                     # so that `rmabridge clock advance 3h` can move the time

# A shop with all that belongs to it: where requests come from, where agents work, who carries, how buyers are told.

[shops.outdoor]
title = "Outdoor & Home"
marketplace = "shopify"
helpdesk = "zendesk"
carrier = "kdniao"
channels = ["mail"]
locale = "en"
timezone = "Asia/Shanghai"
return_window = "P30D"                   # approved without a person inside it
refund_limit = "500 CNY, 100 USD"        # refunds above it wait for an approval

[shops.outdoor.return_address]
name = "Outdoor & Home, returns"
country = "CN"
city = "Hangzhou"
lines = ["88 Sample Road, Hall 3"]

[marketplaces.shopify]
shop = "demo.myshopify.com"
url = "http://127.0.0.1:{shopify}"
access_token = "shpat_demo"
secret = "{shopify_secret}"
allow_private = true

[helpdesks.zendesk]
subdomain = "acme"
url = "http://127.0.0.1:{zendesk}"
email = "bridge@example.com"
token = "{zendesk_token}"
secret = "{zendesk_secret}"
bot_ids = ["9001"]                       # the bridge's own user there: what it writes is an echo
allow_private = true

[carriers.kdniao]
business_id = "{business_id}"
app_key = "{app_key}"
push_token = "{push_token}"
url = "http://127.0.0.1:{kdniao}"
allow_private = true

[channels.mail]
plugin = "smtp"
host = "127.0.0.1"
port = {smtp}
tls = "none"
sender = "service@outdoor.example"
sender_name = "Outdoor & Home"
allow_private = true

[[routes]]
when = {{ shop = "outdoor", issue = "quality_defect" }}
then = {{ group = "quality", tags = ["defect"] }}

# The relay: any signed webhook in, mapped by ten lines, and every change of the case out again, signed.

[shops.corner]
marketplace = "ownshop"
forwards = ["integrator"]

[marketplaces.ownshop]
plugin = "webhook"
secret = "{relay_secret}"
signature = {{ family = "standard" }}

[[marketplaces.ownshop.events]]
type = "case.requested"
when = "type == 'complaint'"
key = "id"
at = "time"
refs = {{ order = "order", buyer = "buyer.id" }}
set = {{ kind = "'complaint'", note = "words", buyer = "buyer" }}

[services.integrator]
plugin = "http"
url = "http://127.0.0.1:{sink}/after-sales"
secret = "{sink_secret}"
allow_private = true
"""


def document(ports: Mapping[str, int]) -> str:
    """The file for a world that listens on these ports."""
    return TEXT.format(
        **ports,
        shopify_secret=SHOPIFY["secret"],
        zendesk_token=ZENDESK["token"],
        zendesk_secret=ZENDESK["secret"],
        business_id=KDNIAO["business_id"],
        app_key=KDNIAO["app_key"],
        push_token=PUSH_TOKEN,
        relay_secret=RELAY_SECRET,
        sink_secret=SINK_SECRET,
    )


def servers(ports: Mapping[str, int]) -> dict[str, list[str]]:
    """Arguments of ``python -m rmabridge.testing.simulators`` for each server of the world."""
    hooks = f"http://127.0.0.1:{ports['bridge']}/hooks"
    given: dict[str, dict[str, Any]] = {
        "shopify": {**SHOPIFY, "hook": f"{hooks}/shopify"},
        "zendesk": {**ZENDESK, "hook": f"{hooks}/zendesk"},
        "kdniao": {**KDNIAO, "hook": f"{hooks}/kdniao?token={PUSH_TOKEN}"},
        "mail": {},
        "sink": {"secret": SINK_SECRET},
    }
    made = {
        name: [name, "--json", json.dumps(values), "--port", str(ports[name]), "--with-parent"]
        for name, values in given.items()
    }
    made["mail"] += ["--smtp-port", str(ports["smtp"])]
    return made
