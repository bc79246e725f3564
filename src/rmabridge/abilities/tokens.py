"""A token that a vendor hands out for a while: kept in ``ctx.tokens`` under a mark of the settings it was made with."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import httpx

from ..errors import Unavailable
from ..wire.bodies import read_object
from .context import Context

# A token is not used in its last minutes: the vendor's clock may be ahead, and the call takes its time.
EARLY: Final = timedelta(minutes=2)


def token_mark(*settings: str | None) -> str:
    """Which settings a stored token belongs to: others make it void. It tells nothing of them."""
    return sha256(" ".join(one or "" for one in settings).encode()).hexdigest()[:16]


async def held_token(ctx: Context, mark: str, name: str = "access_token", early: timedelta = EARLY) -> str | None:
    """The stored token, if it is of these settings and lives for longer than ``early``."""
    held = await ctx.tokens.get() or {}
    if held.get("for") != mark or datetime.fromisoformat(held["expires"]) <= ctx.now() + early:
        return None
    return held.get(name)


async def keep_token(
    ctx: Context, mark: str, token: str, seconds: int, name: str = "access_token", **beside: str
) -> str:
    """Store a token that lives for so many ``seconds``, before it is used; ``beside`` is what renewing it needs."""
    expires = ctx.now() + timedelta(seconds=seconds)
    await ctx.tokens.put({name: token, "expires": expires.isoformat(), "for": mark, **beside}, expires=expires)
    return token


def granted(answer: httpx.Response) -> dict[str, Any]:
    """What a token endpoint answered; raises ``Unavailable`` where that holds no ``access_token``."""
    try:
        told = read_object(answer.content)
    except ValueError as error:
        raise Unavailable("the token's answer is no JSON object") from error
    if not told.get("access_token"):
        raise Unavailable("the answer holds no access_token")
    return told
