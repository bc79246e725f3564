"""Actions that give the buyer something beside a refund: credit, new goods and their label, a place in the queue."""

from typing import ClassVar, Literal

from pydantic import Field

from .acting import Base
from .money import Money
from .people import Address


class GiveCredit(Base):
    """Give the buyer a coupon, a gift card or store credit. ``part`` tells several credits of one case apart.

    ``floor`` is the least order value at which a coupon counts; left out, it counts on any order.
    """

    kind: ClassVar[str] = "credit.give"
    moves_money: ClassVar[bool] = True
    type: Literal["credit.give"] = "credit.give"
    credit: Literal["coupon", "gift_card", "store_credit"]
    external: str
    amount: Money
    floor: Money | None = None
    valid_days: int = 90
    buyer: str | None = None
    part: str = "all"
    reason: str = ""

    @property
    def key(self) -> str:
        return f"credit:{self.credit}:{self.external}:{self.part}"

    @property
    def effect(self) -> str | None:
        return self.key


class Reship(Base):
    """Send goods again or a part that was missing; ``lines`` are (sku, pieces), ``carrier`` where one is asked for."""

    kind: ClassVar[str] = "goods.reship"
    moves_money: ClassVar[bool] = True
    type: Literal["goods.reship"] = "goods.reship"
    external: str
    order: str | None = None
    lines: tuple[tuple[str, int], ...]
    address: Address | None = None
    carrier: str | None = None
    amount: Money | None = None
    part: str = "all"
    note: str | None = None

    @property
    def key(self) -> str:
        return f"reship:{self.external}:{self.part}"

    @property
    def stream(self) -> str:
        return f"reship:{self.order or self.external}"

    @property
    def effect(self) -> str | None:
        return self.key


class PrintLabel(Base):
    """Print the label of a parcel to the buyer.

    ``asked`` are the carriers that the buyer asked for; another one is used only with ``override``, the reason for it.
    """

    kind: ClassVar[str] = "label.print"
    type: Literal["label.print"] = "label.print"
    external: str
    order: str | None = None
    carrier: str | None = None
    address: Address
    lines: tuple[tuple[str, int], ...] = ()
    grams: int | None = Field(None, gt=0)
    millimetres: tuple[int, int, int] | None = None
    asked: tuple[str, ...] = ()
    override: str | None = Field(None, min_length=1)
    part: str = "all"

    @property
    def key(self) -> str:
        return f"label:{self.external}:{self.part}"

    @property
    def stream(self) -> str:
        return f"label:{self.order or self.external}"

    @property
    def effect(self) -> str | None:
        return self.key


class TagBuyer(Base):
    """Mark the buyer at the marketplace or shop system, so that the next order shows it (``priority``)."""

    kind: ClassVar[str] = "buyer.tag"
    type: Literal["buyer.tag"] = "buyer.tag"
    buyer: str
    tag: str

    @property
    def key(self) -> str:
        return f"buyer:tag:{self.tag}"
