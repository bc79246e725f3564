"""The small servers of the comparison: ``servers.py sink | bare | insert PORT [FILE]``."""

from __future__ import annotations

import asyncio
import hmac
import re
import sqlite3
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import web

sys.path[:0] = [str(Path(__file__).parents[1])]

from peers.job import sign  # noqa: E402, the folder above is known only now

ORDER = re.compile(rb"#(\d+)")
PATHS = ("desk", "sms")


class Sink:
    """Help desk and text messages in one: remembers who was told, and refuses while it is shut."""

    def __init__(self) -> None:
        self.open = True
        self.forget()

    def forget(self) -> None:
        """Begin again."""
        self.seen: dict[str, set[int]] = {one: set() for one in PATHS}
        self.posts, self.last = 0, 0.0

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        raw, path = await request.read(), request.path.strip("/").partition("/")[0]
        if not self.open:
            return web.Response(status=503)
        self.posts += 1
        if (found := ORDER.search(raw)) and int(found[1]) not in self.seen.setdefault(path, set()):
            self.seen[path].add(int(found[1]))
            self.last = time.time()
        return web.json_response({"id": f"T{self.posts}", "url": ""})

    async def show(self, request: web.Request) -> web.Response:
        """How many of the events FIRST … FIRST+COUNT-1 were told where, and when the last new one came."""
        first, count = (int(request.query[one]) for one in ("first", "count"))
        told = {path: sum(first <= one < first + count for one in seen) for path, seen in self.seen.items()}
        return web.json_response({**told, "posts": self.posts, "last": self.last})

    async def turn(self, request: web.Request) -> web.Response:
        """Open, shut, or forget."""
        match request.match_info["how"]:
            case "forget":
                self.forget()
            case how:
                self.open = how == "open"
        return web.Response()


def sink() -> web.Application:
    """What everybody delivers to."""
    app, state = web.Application(client_max_size=1 << 22), Sink()
    app.add_routes(
        [
            web.get("/_seen", state.show),
            web.post("/_turn/{how}", state.turn),
            web.route("*", "/{path:.*}", state.take),
        ]
    )
    return app


def bare() -> web.Application:
    """aiohttp that reads the body and answers: the ceiling."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/hooks/shop", take)
    return app


def insert(file: str) -> web.Application:
    """aiohttp that verifies, and answers when the body is on disk: one transaction with fsync for each event."""
    conn = sqlite3.connect(file, isolation_level=None)
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("CREATE TABLE IF NOT EXISTS inbox (id TEXT PRIMARY KEY, body BLOB NOT NULL)")

    async def take(request: web.Request) -> web.Response:
        raw, name, at = (
            await request.read(),
            request.headers.get("webhook-id", ""),
            request.headers.get("webhook-timestamp", ""),
        )
        given = request.headers.get("webhook-signature", "")
        if not hmac.compare_digest(given, f"v1,{sign(name, at, raw)}"):
            return web.Response(status=401)
        conn.execute("INSERT OR IGNORE INTO inbox VALUES (?, ?)", (name, raw))
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/hooks/shop", take)
    return app


async def serve(app: web.Application, port: int) -> None:
    """Listen until the process is ended."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1024).start()
    await asyncio.Event().wait()


def main() -> None:
    """Serve what the first argument names at the port that the second one is."""
    what, port, *rest = sys.argv[1:]
    app = {"sink": sink, "bare": bare, "insert": insert}[what](*rest)
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(app, int(port)))


if __name__ == "__main__":
    main()
