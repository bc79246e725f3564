"""The words of a message: put together, named and cut."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from rmabridge.abilities import Plugin
from rmabridge.errors import Rejected
from rmabridge.model import SendMessage

TITLE: Final = 64


class Worded(Plugin):
    """How messages are written."""

    format: Literal["text", "markdown"] = Field("text", description="'text', or 'markdown' (a buyer's links turn blue)")


def whole(action: SendMessage) -> str:
    """Subject, words and links to the files."""
    links = (f"{one.name}: {one.url}" for one in action.attachments if one.url)
    words = "\n".join(filter(None, (action.subject, action.text, *links)))
    if not words.strip():
        raise Rejected("the message is empty")
    return words


def title(action: SendMessage, words: str) -> str:
    """What a notification shows: the subject, or the first line."""
    lines = (action.subject or "", *words.splitlines())
    return next(line.strip() for line in lines if line.strip())[:TITLE]
