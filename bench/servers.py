"""The processes of the bench: a bare endpoint, a sink, and the bridge."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop
from aiohttp import web


async def serve(app: web.Application) -> None:
    """Listen on a free port and print it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


async def bare() -> None:
    """aiohttp that reads the body and answers: the ceiling."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/hooks/shop", take)
    await serve(app)


async def sink() -> None:
    """Takes every delivery and remembers when the second one of an order came."""
    seen: dict[str, list[float]] = {}

    async def take(request: web.Request) -> web.Response:
        raw = await request.read()
        at = raw.find(b"#")
        name = raw[at + 1 : at + 12].split(b'"')[0].split(b" ")[0].split(b"]")[0] if at >= 0 else b"?"
        number = "".join(one for one in name.decode(errors="replace") if one.isdigit())
        seen.setdefault(number, []).append(time.time())
        return web.json_response({"id": f"T{number}", "url": ""})

    async def show(_: web.Request) -> web.Response:
        return web.json_response(seen)

    async def forget(_: web.Request) -> web.Response:
        seen.clear()
        return web.Response()

    app = web.Application(client_max_size=1 << 22)
    app.add_routes([web.get("/_seen", show), web.post("/_forget", forget), web.post("/{path:.*}", take)])
    await serve(app)


async def bridge(config: str, only: str) -> None:
    """The bridge; with ``only`` ``intake`` nothing is routed."""
    from rmabridge.config import load
    from rmabridge.flow.bridge import Running
    from rmabridge.log import configure

    class Part(Running):
        def loops(self):  # type: ignore[no-untyped-def]
            return [self.timers.watch] if only == "intake" else super().loops()

    configure("WARNING")
    async with Part(load(Path(config))) as running:
        print(json.dumps({"port": running.port}), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """``servers.py bare | sink | bridge CONFIG [intake|all]``."""
    what, *rest = sys.argv[1:]
    jobs = {"bare": bare, "sink": sink}
    job = jobs[what]() if what in jobs else bridge(rest[0], rest[1] if len(rest) > 1 else "all")
    profile = what == "bridge" and len(rest) > 2
    if profile:
        import cProfile
        import signal

        profiler = cProfile.Profile()

        def dump(*_: object) -> None:
            profiler.disable()
            profiler.dump_stats(rest[2])
            sys.exit(0)

        signal.signal(signal.SIGTERM, dump)
        signal.signal(signal.SIGUSR1, lambda *_: profiler.enable())
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(job)


if __name__ == "__main__":
    main()
