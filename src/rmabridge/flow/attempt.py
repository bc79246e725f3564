"""One attempt at one delivery: a deadline, quick tries where they do no harm, and what its end means."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isnan
from random import Random
from typing import Final, Literal

import httpx
from sqlalchemy.exc import OperationalError
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ..abilities import Context, Handler, Result
from ..core.masking import mask
from ..errors import DeliveryError, Rejected, Unauthorised, Unavailable
from ..model import Action
from .client import Flight, flying
from .turns import Crowded

QUICK_TRIES: Final = 3
FIRST_PAUSE: Final = 5.0
JITTER: Final = 0.2
LONGEST_PAUSE: Final = 86_400.0  # a vendor may ask for patience, but not for ever
TOO_BUSY: Final = frozenset({408, 425, 429})
LEFT: Final = "the request had left: look it up at the vendor, then 'deliveries resolve'"
UNTOUCHED: Final = frozenset({307, 308})  # of all redirects these two say that nothing was done


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. ``retry``: nothing happened, or repeating does no harm.

    ``doubtful``: a request had left and nothing definite came back, so that it may have happened. ``ours``: the bridge
    itself failed, which says nothing of the vendor. ``free``: it was not its turn, and no try is counted.
    """

    kind: Literal["done", "retry", "dead", "uncertain", "unauthorised"]
    result: Result = field(default_factory=Result)
    cause: str | None = None
    hint: str | None = None
    retry_after: float | None = None
    doubtful: bool = False
    ours: bool = False
    free: bool = False

    @property
    def healthy(self) -> bool | None:
        """What the end says of the vendor's health: a refusal is an answer too."""
        if self.kind in {"done", "dead"}:
            return True
        return None if self.ours or self.kind == "unauthorised" else False


def legible(outcome: Outcome) -> Outcome:
    """The outcome in words that can be written: a mail server answers in GBK, a plugin gives a number for an id."""
    told = outcome.result
    result = replace(told, id=_written(told.id), url=_written(told.url), note=_written(told.note))
    return replace(outcome, result=result, cause=_written(outcome.cause), hint=_written(outcome.hint))


def _written(text: object) -> str | None:
    if text is None:
        return None
    return str(text).encode("utf-8", "replace").decode().replace("\0", "?")


async def attempt(handler: Handler, action: Action, ctx: Context, flight: Flight, *, repeatable: bool) -> Outcome:
    """Carry the action out, once or (where nothing can have happened yet) a few quick times."""
    ctx.sent = lambda: setattr(flight, "sent", True)
    try:
        async with asyncio.timeout(handler.deadline):
            with flying(flight):
                try:
                    result = await handler.method(action, ctx)
                except Exception as error:
                    if not _quick(error, flight, repeatable):
                        raise
                    result = await _again(handler, action, ctx, flight, repeatable)
    except Exception as error:  # noqa: BLE001 - every way to fail is an outcome
        outcome = failed(error, flight, repeatable=repeatable)
        return replace(outcome, doubtful=outcome.doubtful or flight.earlier)
    return Outcome("done", result or Result())


async def _again(handler: Handler, action: Action, ctx: Context, flight: Flight, repeatable: bool) -> Result | None:
    async for turn in AsyncRetrying(
        stop=stop_after_attempt(QUICK_TRIES - 1),
        wait=wait_random_exponential(multiplier=0.1, max=1.0),
        retry=retry_if_exception(lambda error: _quick(error, flight, repeatable)),
        reraise=True,
    ):
        with turn:
            flight.earlier = flight.sent
            return await handler.method(action, ctx)
    return None


def _quick(error: BaseException, flight: Flight, repeatable: bool) -> bool:
    """Whether another try right now may help and cannot do harm."""
    if flight.sent and not repeatable:
        return False
    return isinstance(error, httpx.TransportError | ConnectionError) and not isinstance(error, httpx.TimeoutException)


def failed(error: Exception, flight: Flight, *, repeatable: bool) -> Outcome:
    """What a failure means: who refused, whether it may have happened all the same, and what to do."""
    found = _failed(error, flight, repeatable)
    return legible(replace(found, cause=flight.hiding(found.cause)) if found.cause else found)


def _failed(error: Exception, flight: Flight, repeatable: bool) -> Outcome:
    if isinstance(error, httpx.HTTPStatusError):
        return _status(error, flight, repeatable)
    cause = mask(f"{type(error).__name__}: {error}" if not isinstance(error, DeliveryError) else error.cause)[:1000]
    hint = error.hint if isinstance(error, DeliveryError) else None
    if isinstance(error, Unauthorised):
        return Outcome("unauthorised", cause=cause, hint=hint or "see 'rmabridge accounts test'")
    if isinstance(error, Rejected):
        return Outcome("dead", cause=cause, hint=hint)
    if isinstance(error, Unavailable):
        return Outcome("retry", cause=cause, hint=hint, retry_after=_patience(error.retry_after))
    if isinstance(error, TimeoutError) and not str(error):
        cause = "no answer before the attempt's deadline"
    if flight.sent and not repeatable:
        return Outcome("uncertain", cause=cause, hint=LEFT, doubtful=True)
    if isinstance(error, Crowded):
        return Outcome("retry", cause=str(error), retry_after=error.wait, ours=True, free=not flight.sent)
    if isinstance(error, OperationalError):
        return Outcome("retry", cause="the bridge's own database did not answer", ours=True, doubtful=flight.sent)
    # What was asked and badly answered may be answered better later; a plugin's own fault will not.
    if flight.sent or flight.request is not None or isinstance(error, httpx.HTTPError | OSError):
        return Outcome("retry", cause=cause, doubtful=flight.sent)
    return Outcome("dead", cause=cause, hint="the plugin failed before it sent anything; this is a fault to report")


def _status(error: httpx.HTTPStatusError, flight: Flight, repeatable: bool) -> Outcome:
    status = error.response.status_code
    cause = f"HTTP {status} from {error.request.url.host}"
    after = retry_after(error.response.headers.get("Retry-After"))
    if status in {401, 403}:
        return Outcome("unauthorised", cause=cause, hint="the vendor refuses our credentials or rights")
    if status in TOO_BUSY:
        return Outcome("retry", cause=cause, retry_after=after)
    if status >= 500:
        if flight.sent and not repeatable:
            hint = "a server error does not say that nothing happened"
            return Outcome("uncertain", cause=cause, hint=hint, doubtful=True)
        return Outcome("retry", cause=cause, retry_after=after, doubtful=flight.sent)
    if status < 400:
        if flight.sent and not repeatable and status not in UNTOUCHED:
            return Outcome("uncertain", cause=cause, hint="a redirect may follow a success", doubtful=True)
        return Outcome("dead", cause=cause, hint="a redirect: the configured URL is not the right one")
    return Outcome("dead", cause=cause, hint="the vendor refuses this very request; read its answer below")


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """``Retry-After`` in seconds, from a number or an HTTP date; at most a day."""
    if not header:
        return None
    try:
        return _patience(float(header))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return _patience((at - (now or datetime.now(UTC))).total_seconds())


def _patience(asked: float | None) -> float | None:
    if asked is None or isnan(asked):
        return None
    return max(0.0, min(asked, LONGEST_PAUSE))


@lru_cache(maxsize=256)
def schedule(tries: int, over: timedelta) -> list[float]:
    """The pauses between the tries in seconds, each a fixed factor longer, together ``over``."""
    pauses = tries - 1
    if pauses < 1:
        return []
    total = over.total_seconds()
    if total <= FIRST_PAUSE * pauses:
        return [total / pauses] * pauses
    low, high = 1.0, total
    for _ in range(200):
        factor = (low + high) / 2
        if FIRST_PAUSE * sum(factor**n for n in range(pauses)) > total:
            high = factor
        else:
            low = factor
    return [FIRST_PAUSE * low**n for n in range(pauses)]


def next_pause(pauses: list[float], tries: int, asked: float | None, chance: Random) -> float | None:
    """Seconds until the next try after ``tries`` of them; None when there is none. The vendor's wish is honoured."""
    if tries > len(pauses):
        return None
    pause = pauses[tries - 1] * (1 + JITTER * (2 * chance.random() - 1))
    return max(pause, asked or 0.0)
