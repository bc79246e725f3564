"""The HTTP doors of the bridge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic_core import to_json

from ..abilities import Connects, WebRequest
from ..errors import Malformed, Overloaded, Refused, TooLarge, UnknownAccount, Unverified
from . import approving, links
from .evidence import EvidenceDoor
from .guarding import Guard

if TYPE_CHECKING:
    from ..flow.bridge import Running

log = structlog.get_logger("web")
RUNNING: Final[web.AppKey[Running]] = web.AppKey("running")
GUARD: Final = web.AppKey("guard", Guard)
PROBLEM: Final = "application/problem+json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(error: Refused) -> web.Response:
    """A refusal as RFC 9457 says. (What it quotes of a header may be no UTF-8.)"""
    detail = error.detail.encode(errors="replace").decode()
    body = {"type": "about:blank", "title": error.title, "status": error.status, "detail": detail}
    headers = {"Retry-After": str(min(60, error.retry_after))} if error.retry_after is not None else None
    return web.Response(status=error.status, body=to_json(body), content_type=PROBLEM, headers=headers)


def hooks(running: Running, guards: Guard) -> Handler:
    """``/hooks/{account}``: verify, store, then answer."""
    intake, refused, observe = running.intake, running.metrics.refused, running.metrics.ack_seconds.observe

    async def hook(request: web.Request) -> web.StreamResponse:
        name = request.match_info["account"]
        started = perf_counter()
        try:
            plugin = intake.door(name)
            guards.admit(request, plugin)
            body = await _body(request, plugin.max_body)
            peer = guards.told(request)
            given = WebRequest(request.method, request.path, request.query, request.headers, body, peer)
            reply = await intake.webhook(name, given)
        except Refused as error:
            refused.labels(name if name in running.registry.accounts else "?", str(error.status)).inc()
            answer = problem(error)
        else:
            observe(perf_counter() - started)
            answer = web.Response(
                status=reply.status, body=reply.body, content_type=reply.content_type, headers=reply.headers or None
            )
        if running.leaving:
            answer.force_close()
        return answer

    return hook


async def _body(request: web.Request, most: int) -> bytes:
    size = request.content_length
    if size is not None and size > most:
        raise TooLarge(f"more than {most} bytes")
    if size is not None and "Content-Encoding" not in request.headers:
        return await request.read()  # what is packed is counted while it is unpacked
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > most:
                raise TooLarge(f"more than {most} bytes")
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise Malformed("the body does not arrive as its headers say") from error
    return bytes(body)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Doors that are not listed stay closed; whatever goes wrong is a problem body, and a fault of ours asks the sender
    to come back."""
    try:
        request.app[GUARD].enter(request)
        return await handler(request)
    except Refused as error:
        return problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        refused = UnknownAccount() if error.status == 404 else Refused(error.reason)
        refused.status, refused.title = error.status, error.reason
        refused.detail = error.reason
        return problem(refused)
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        resource = request.match_info.route.resource  # its pattern: the path itself may hold a link's token
        log.exception("a door failed", door=resource.canonical if resource else None)
        return problem(Overloaded("the bridge failed; send it again", retry_after=30))


async def healthz(_: web.Request) -> web.Response:
    """The process lives."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """The process takes webhooks: the store answers, the loops run, and it is not draining."""
    problems = await request.app[RUNNING].problems()
    told = {"problems": problems} if request.app[GUARD].trusted(request) else {}
    return web.json_response({"ready": not problems, **told}, status=503 if problems else 200)


async def metrics(request: web.Request) -> web.Response:
    """Prometheus metrics."""
    running = request.app[RUNNING]
    await running.measure()
    return web.Response(
        body=running.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


async def oauth(request: web.Request) -> web.Response:
    """``/oauth/{account}``: the way back from a vendor's consent page."""
    running = request.app[RUNNING]
    name = request.match_info["account"]
    plugin = running.registry.accounts.get(name)
    if not isinstance(plugin, Connects):
        raise UnknownAccount(f"no account {name!r} signs in")
    state = request.query.get("state", "")
    if not running.take_state(name, state):
        raise Unverified("this sign-in was not begun here, or its time is over: rmabridge accounts connect " + name)
    ctx = running.dispatcher.context(name, f"oauth:{name}", None)
    redirect = f"{running.public_url}/oauth/{name}"
    token = await plugin.exchange(dict(request.query), redirect, ctx)
    await ctx.tokens.put(token)
    left = await plugin.subscribe(f"{running.public_url}/hooks/{name}", ctx)
    text = f"{name} is connected." + "".join(f"\n- {one}" for one in left)
    return web.Response(text=text)


def make(running: Running) -> web.Application:
    """The application of a running bridge."""
    guards = Guard(running.config.bridge)
    app = web.Application(middlewares=[guard], client_max_size=64 << 20)
    app[RUNNING], app[GUARD] = running, guards
    app.add_routes(
        [
            *([web.route("*", "/hooks/{account}", hooks(running, guards))] if "intake" in running.roles else []),
            web.get("/oauth/{account}", oauth),
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/metrics", metrics),
            *links.routes(running, {"evidence": EvidenceDoor(running).page, "approve": approving.page}),
        ]
    )
    return app
