"""Rich text: the words, links and mentions of a message."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from rmabridge.errors import Rejected

CUT: Final = "…"
Element = dict[str, str]


@dataclass(frozen=True, slots=True)
class Post:
    """One message. ``who`` are the open ids to mention, or ``all``; ``note`` says where words had to be cut."""

    title: str
    words: str
    links: tuple[tuple[str, str], ...] = ()
    who: tuple[str, ...] = ()
    keyword: str | None = None
    note: str | None = None

    def content(self) -> dict[str, Any]:
        """The message as the vendor takes it; text elements are shown as they are, whatever they hold."""
        paragraphs: list[list[Element]] = []
        if self.keyword and self.keyword not in f"{self.title}\n{self.words}":
            paragraphs.append([_text(self.keyword)])
        if self.words.strip():
            paragraphs.append([_text(self.words)])
        paragraphs += [[{"tag": "a", "text": name, "href": url}] for name, url in self.links]
        if self.who:
            paragraphs.append([{"tag": "at", "user_id": one} for one in self.who])
        return {"zh_cn": {"title": self.title, "content": paragraphs}}

    def fitted(self, most: int, size: Callable[[Post], int]) -> Post:
        """The message with as many of its words as fit."""
        if size(self) <= most:
            return self
        kept = bisect_right(range(len(self.words)), most, key=lambda end: size(self._cut(end))) - 1
        if kept < 1:
            raise Rejected("there is no room for words beside title, links and mentions")
        return replace(self._cut(kept), note=f"cut to {most} bytes")

    def _cut(self, end: int) -> Post:
        return replace(self, words=self.words[:end] + CUT)


def _text(words: str) -> Element:
    return {"tag": "text", "text": words}
