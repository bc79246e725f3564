"""The demo's ``rmabridge.toml``, an example to read, from ``demo.toml``; and how its servers are started."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from importlib import resources
from string import Template
from typing import Any, Final

SHOPIFY: Final[dict[str, Any]] = {"shop": "demo.myshopify.com", "secret": "shpss_demo_secret"}
ZENDESK: Final[dict[str, Any]] = {"token": "zendesk-token", "secret": "zendesk-signing-secret", "tries": 10}
KDNIAO: Final[dict[str, Any]] = {"business_id": "1234567", "app_key": "kdniao-demo-key"}
TAOBAO: Final[dict[str, Any]] = {"app_key": "12345678", "secret": "demo-top-secret", "session": "demo-session"}
WECOM: Final[dict[str, Any]] = {"key": "00000000-demo-4bc4-97a0-000000000000"}
EASYPOST: Final[dict[str, Any]] = {"api_key": "EZTK-demo", "secret": "easypost-demo-secret"}
ALIYUN: Final[dict[str, Any]] = {
    "key_id": "LTAI5tDemo",
    "key_secret": "aliyun-demo-secret",
    "templates": {
        "SMS_200000001": "您的包裹${waybill}（${carrier}）很久没有新的物流消息，可能已丢失。请联系客服选择补发或退款。"
    },
}
CHATWOOT: Final[dict[str, Any]] = {"token": "chatwoot-demo-token", "secret": "chatwoot-demo-secret", "tries": 10}
PUSH_TOKEN: Final = "kdniao-push-token"  # noqa: S105 - the demo's own world
RELAY_SECRET: Final = "whsec_" + base64.b64encode(b"relay-in-demo-secret-32-bytes-in").decode()
WAREHOUSE_SECRET: Final = "whsec_" + base64.b64encode(b"warehouse-demo-secret-of-32-byte").decode()
SINK_SECRET: Final = "whsec_" + base64.b64encode(b"relay-out-demo-secret-32-bytes-o").decode()

MODULES: Final = {"wecom": "wecom_robot", "aliyun": "aliyun_sms"}
TEXT: Final = resources.files(__package__).joinpath("demo.toml").read_text(encoding="utf-8")


def document(ports: Mapping[str, int]) -> str:
    """The file for a world that listens on these ports."""
    return Template(TEXT).substitute(
        **{name: str(port) for name, port in ports.items()},
        shopify_secret=SHOPIFY["secret"],
        zendesk_token=ZENDESK["token"],
        zendesk_secret=ZENDESK["secret"],
        business_id=KDNIAO["business_id"],
        app_key=KDNIAO["app_key"],
        push_token=PUSH_TOKEN,
        relay_secret=RELAY_SECRET,
        sink_secret=SINK_SECRET,
        taobao_key=TAOBAO["app_key"],
        taobao_secret=TAOBAO["secret"],
        taobao_session=TAOBAO["session"],
        wecom_key=WECOM["key"],
        warehouse_secret=WAREHOUSE_SECRET,
        easypost_key=EASYPOST["api_key"],
        easypost_secret=EASYPOST["secret"],
        aliyun_id=ALIYUN["key_id"],
        aliyun_secret=ALIYUN["key_secret"],
        aliyun_template=next(iter(ALIYUN["templates"])),
        chatwoot_token=CHATWOOT["token"],
        chatwoot_secret=CHATWOOT["secret"],
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
        "taobao": TAOBAO,
        "wecom": WECOM,
        "easypost": {**EASYPOST, "hook": f"{hooks}/easypost"},
        "aliyun": ALIYUN,
        "chatwoot": {**CHATWOOT, "hook": f"{hooks}/chatwoot"},
    }
    made = {
        name: [MODULES.get(name, name), "--json", json.dumps(values), "--port", str(ports[name]), "--with-parent"]
        for name, values in given.items()
    }
    made["mail"] += ["--smtp-port", str(ports["smtp"])]
    return made
