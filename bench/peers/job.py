"""The job's requests: the bench's return requests, of which every second buyer has a telephone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time

from load import SECRET, body

KEY = base64.b64decode(SECRET.removeprefix("whsec_"))


def texted(number: int) -> bool:
    """Whether the buyer of this event is to get a text message."""
    return number % 2 == 0


def document(number: int) -> bytes:
    """The body of one event: buyers have no mail address, every second one has a telephone."""
    made = json.loads(body(number))
    buyer = made["data"]["buyer"]
    made["data"]["padding"] += "x" * 200
    del buyer["email"]
    if not texted(number):
        del buyer["phone"]
    return json.dumps(made, ensure_ascii=False).encode()


def sign(name: str, at: str, raw: bytes) -> str:
    """The mark of Standard Webhooks."""
    return base64.b64encode(hmac.digest(KEY, f"{name}.{at}.".encode() + raw, hashlib.sha256)).decode()


def request(number: int, path: str) -> bytes:
    """One signed HTTP request."""
    raw, name, at = document(number), f"msg_{number}", str(int(time.time()))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        f"webhook-id: {name}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{sign(name, at, raw)}\r\n\r\n"
    )
    return head.encode() + raw
