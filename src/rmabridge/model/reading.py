"""Actions that have a text read by somebody else than the bridge's own policies."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import AwareDatetime

from .acting import Base


class ClassifyText(Base):
    """Have a second classifier read a buyer's words; ``event`` is the key of what brought them."""

    kind: ClassVar[str] = "text.classify"
    type: Literal["text.classify"] = "text.classify"
    event: str
    asked_at: AwareDatetime
    text: str

    @property
    def key(self) -> str:
        return f"triage:text:{self.event}"
