"""A load generator on raw sockets: prepared requests over keep-alive connections, each answer timed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from datetime import UTC, datetime, timedelta

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


def body(number: int) -> bytes:
    """A return request of about 2 KB."""
    now = datetime.now(UTC)
    document = {
        "id": f"evt-{number}",
        "type": "return.requested",
        "time": now.isoformat(timespec="milliseconds"),
        "data": {
            "return": f"R{number}",
            "order": f"O{number}",
            "note": "The left shoe is too small; I would like to send both back. " * 4 + "左脚太小了，想退货。" * 10,
            "buyer": {
                "id": f"B{number}",
                "name": "李雷",
                "email": f"buyer{number}@example.com",
                "locale": "zh-CN",
                "phone": "+8613812345678",
            },
            "order_doc": {
                "id": f"O{number}",
                "number": f"#{number}",
                "placed_at": (now - timedelta(days=12)).isoformat(timespec="seconds"),
                "delivered_at": (now - timedelta(days=7)).isoformat(timespec="seconds"),
                "total": {"amount": "360.00", "currency": "CNY"},
                "lines": [
                    {
                        "id": f"L{line}",
                        "sku": f"SKU-{line}",
                        "title": f"跑鞋 running shoe {line}",
                        "quantity": 1,
                        "price": {"amount": "120.00", "currency": "CNY"},
                    }
                    for line in range(3)
                ],
            },
            "padding": "x" * 300,
        },
    }
    return json.dumps(document, ensure_ascii=False).encode()


def request(number: int, path: str) -> bytes:
    """One signed HTTP request."""
    raw, name, at = body(number), f"msg_{number}", int(time.time())
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mark = base64.b64encode(hmac.new(key, f"{name}.{at}.".encode() + raw, hashlib.sha256).digest()).decode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n"
        f"webhook-id: {name}\r\nwebhook-timestamp: {at}\r\nwebhook-signature: v1,{mark}\r\n\r\n"
    )
    return head.encode() + raw


class Client(asyncio.Protocol):
    """One connection: sends the next request when the answer is complete."""

    def __init__(self, run: Run) -> None:
        self.run, self.buffer, self.started = run, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        if self.run.rate is None:
            self.send()

    def send(self) -> None:
        if (one := self.run.take()) is None:
            self.transport.close()
            return
        self.started = time.perf_counter()
        self.transport.write(one)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        self.run.answered(head[9:12], time.perf_counter() - self.started)
        if self.run.rate is None:
            self.send()
        else:
            self.run.free.append(self)

    def connection_lost(self, _: Exception | None) -> None:
        self.run.lost()


class Run:
    """All connections of one run."""

    def __init__(self, requests: list[bytes], connections: int, rate: float | None) -> None:
        self.requests, self.connections, self.rate = requests, connections, rate
        self.next, self.open = 0, connections
        self.statuses: dict[str, int] = {}
        self.times: list[float] = []
        self.sent_at: list[float] = []
        self.free: list[Client] = []
        self.over = asyncio.Event()

    def take(self) -> bytes | None:
        if self.next >= len(self.requests):
            return None
        self.next += 1
        self.sent_at.append(time.time())
        return self.requests[self.next - 1]

    def answered(self, status: bytes, took: float) -> None:
        self.statuses[status.decode()] = self.statuses.get(status.decode(), 0) + 1
        self.times.append(took)
        if len(self.times) >= len(self.requests):
            self.over.set()

    def lost(self) -> None:
        self.open -= 1
        if not self.open:
            self.over.set()

    async def go(self, host: str, port: int) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        started = time.perf_counter()
        clients = [(await loop.create_connection(lambda: Client(self), host, port))[1] for _ in range(self.connections)]
        if self.rate is not None:
            self.free = list(clients)
            for number in range(len(self.requests)):
                wait = started + number / self.rate - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                while not self.free:
                    await asyncio.sleep(0.0005)
                self.free.pop().send()
        await self.over.wait()
        took = time.perf_counter() - started
        ordered = sorted(self.times)
        return {
            "requests": len(self.times),
            "per_second": round(len(self.times) / took, 1),
            "p50_ms": round(ordered[len(ordered) // 2] * 1000, 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 2),
            "statuses": self.statuses,
            "sent_at": self.sent_at if self.rate is not None else [],
        }


def main() -> None:
    """``load.py HOST PORT PATH FIRST COUNT CONNECTIONS [RATE]`` prints one JSON line."""
    host, port, path, first, count, connections, *rate = sys.argv[1:]
    requests = [request(number, path) for number in range(int(first), int(first) + int(count))]
    import uvloop

    print("ready", flush=True)
    sys.stdin.readline()
    run = None

    async def go() -> dict[str, object]:
        nonlocal run
        run = Run(requests, int(connections), float(rate[0]) if rate else None)
        return await run.go(host, int(port))

    print(json.dumps(asyncio.Runner(loop_factory=uvloop.new_event_loop).run(go())), flush=True)


if __name__ == "__main__":
    main()
