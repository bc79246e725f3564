"""What an account can give a buyer beside a refund."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..model import GiveCredit, PrintLabel, Reship, TagBuyer
from .context import Context, Finding, Result
from .plugin import performs


class GrantsCredit(ABC):
    """Issues coupons, gift cards or store credit. Money: never given twice, looked up when in doubt."""

    @performs(GiveCredit, find="find_credit")
    @abstractmethod
    async def give_credit(self, action: GiveCredit, ctx: Context) -> Result:
        """Issue it; ``Result.id`` is the code that the buyer enters."""

    async def find_credit(self, action: GiveCredit, ctx: Context) -> Finding:
        """Look whether it was issued."""
        return Finding(None)


class ShipsReplacements(ABC):
    """Makes a replacement order that the warehouse sends."""

    @performs(Reship, find="find_reship")
    @abstractmethod
    async def reship(self, action: Reship, ctx: Context) -> Result:
        """Make it; ``Result.id`` is the replacement's number."""

    async def find_reship(self, action: Reship, ctx: Context) -> Finding:
        """Look whether the replacement was made."""
        return Finding(None)


class PrintsLabels(ABC):
    """Prints labels of parcels: a warehouse, or a carrier's own system. None is printed twice."""

    @performs(PrintLabel, find="find_label")
    @abstractmethod
    async def print_label(self, action: PrintLabel, ctx: Context) -> Result:
        """Print it; ``Result.id`` is the waybill's number, ``Result.url`` the label where there is a file."""

    async def find_label(self, action: PrintLabel, ctx: Context) -> Finding:
        """Look whether the label was printed."""
        return Finding(None)


class TagsBuyers(ABC):
    """Marks buyers, so that whoever handles their next order sees it."""

    @performs(TagBuyer, repeatable=True)
    @abstractmethod
    async def tag_buyer(self, action: TagBuyer, ctx: Context) -> Result:
        """Set the tag."""
