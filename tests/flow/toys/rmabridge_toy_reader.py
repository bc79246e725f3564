"""Toy reader: a second classifier of texts that knows one word; for tests of triage."""

from __future__ import annotations

from rmabridge import hookimpl
from rmabridge.abilities import ClassifiesText, Context, Plugin, Result
from rmabridge.model import Classified, ClassifyText, Issue


class ToyReader(Plugin, ClassifiesText):
    """Whoever writes ``knows`` means ``issue``."""

    knows: str = "zzz"
    issue: Issue = Issue.WRONG_ITEM

    async def classify_text(self, action: ClassifyText, ctx: Context) -> Result:
        if self.knows not in action.text:
            return Result(note="not sure")
        said = Classified(
            key=action.key, at=action.asked_at, issue=self.issue, confidence=0.9, why=(f"toy: {self.issue}",)
        )
        return Result(events=(said,))


@hookimpl
def register_services() -> list[type[Plugin]]:
    return [ToyReader]
