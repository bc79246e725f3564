"""What an account can read out of a buyer's words."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..model import ClassifyText
from .context import Context, Result
from .plugin import performs


class ClassifiesText(ABC):
    """A classifier that is asked where triage abstains: a model, or somebody's service."""

    @performs(ClassifyText, repeatable=True)
    @abstractmethod
    async def classify_text(self, action: ClassifyText, ctx: Context) -> Result:
        """What the words are about: ``Result.events`` holds one ``Classified``, or nothing where it is not sure.

        Its key comes from ``action.event`` and its time is ``action.asked_at``, so that what was said later stays.
        """
