"""``/l/{token}``: pages for people without a login, each for one purpose. The token is all the right there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final

import tomli
from aiohttp import web

from ..core.links import Link
from ..core.templates import nearest
from ..errors import Unverified

if TYPE_CHECKING:
    from jinja2 import Template

    from ..flow.bridge import Running

# What follows the token in the path: "" is the page itself.
Page = Callable[[web.Request, "Running", Link, str], Awaitable[web.StreamResponse]]
LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


def routes(running: Running, pages: dict[str, Page]) -> list[web.RouteDef]:
    """The routes of all links; ``pages`` by purpose."""

    async def opened(request: web.Request) -> web.StreamResponse:
        token, links = request.match_info["token"], running.router.world.links
        try:
            link = links.read(token, running.store.clock.now())
        except Unverified:
            return notice(spoken(request), "expired" if _once_good(running, token) else "forged")
        page = pages.get(link.purpose)
        if page is None:
            return notice(spoken(request), "forged")
        return await page(request, running, link, request.match_info["rest"])

    return [web.route("*", r"/l/{token:[A-Za-z0-9_-]+}{rest:(?:/[A-Za-z0-9_-]*)*}", opened)]


def _once_good(running: Running, token: str) -> bool:
    try:
        running.router.world.links.read(token, LONG_AGO)
    except Unverified:
        return False
    return True


def spoken(request: web.Request) -> str:
    """The language of a visitor of whom nothing else is known."""
    return nearest(request.headers.get("Accept-Language", "en").split(",")[0].split(";")[0].strip() or "en")


STATUS: Final = {"forged": 404, "expired": 410, "closed": 410, "thanks": 200}


def notice(locale: str, what: str) -> web.Response:
    """A page of one sentence."""
    return show("notice.html", locale, status=STATUS[what], what=what)


def show(name: str, locale: str, status: int = 200, **values: Any) -> web.Response:
    """A page in one of our languages, with headers that let it load nothing and leak nothing."""
    tag, nonce = nearest(locale), token_urlsafe(16)
    text = _page(name).render(words=words(tag), locale=tag, nonce=nonce, **values)
    policy = (
        f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return web.Response(
        status=status,
        text=text,
        content_type="text/html",
        charset="utf-8",
        headers={
            "Content-Security-Policy": policy,
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Robots-Tag": "noindex",
        },
    )


@cache
def words(tag: str) -> dict[str, str]:
    """The words of our pages in one language."""
    text = (resources.files(__package__) / "pages" / "words.toml").read_text(encoding="utf-8")
    return dict(tomli.loads(text)[tag])


@cache
def _page(name: str) -> Template:
    from jinja2 import Environment, StrictUndefined

    text = (resources.files(__package__) / "pages" / name).read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True).from_string(text)
