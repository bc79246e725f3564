"""Orders as the marketplace knows them."""

from pydantic import AwareDatetime

from .money import Money
from .people import Address
from .stored import Value


class OrderLine(Value):
    """One line of an order; ``id`` is the marketplace's own, ``price`` is for one piece."""

    id: str
    sku: str | None = None
    title: str = ""
    quantity: int = 1
    price: Money | None = None
    variant: str | None = None


class Order(Value):
    """An order. ``number`` is what the buyer sees, ``id`` what the marketplace's calls take."""

    id: str
    number: str | None = None
    placed_at: AwareDatetime | None = None
    delivered_at: AwareDatetime | None = None
    cancelled_at: AwareDatetime | None = None
    paid_by: str | None = None
    total: Money | None = None
    refunded: Money | None = None
    lines: tuple[OrderLine, ...] = ()
    ship_to: Address | None = None
    note: str | None = None
    tags: tuple[str, ...] = ()
