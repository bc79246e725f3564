"""Who takes part: the buyers, with what goes wrong for them. All names, numbers and addresses are invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Customer:
    """A buyer with an order, the parcel that goes back, and the words that are said."""

    name: str
    email: str
    phone: str
    locale: str
    number: str
    line: dict[str, Any]
    currency: str
    reason: str
    note: str
    waybill: str
    carrier: str
    shipper: str
    answer: str
    scans: tuple[tuple[str, str, str], ...]

    def order(self) -> dict[str, Any]:
        """The arguments of ``do_place_order``."""
        return {
            "number": self.number,
            "email": self.email,
            "name": self.name,
            "locale": self.locale,
            "lines": [self.line],
            "currency": self.currency,
            "phone": self.phone,
            "tracking": f"OUT{self.number}",
            "carrier": self.carrier,
        }

    @property
    def price(self) -> str:
        """What the refund must be."""
        return str(self.line["price"])


LEI: Final = Customer(
    name="李雷",
    email="li.lei@buyers.example",
    phone="+8613912340678",
    locale="zh-CN",
    number="1001",
    line={"sku": "JACKET-L", "title": "防风外套", "quantity": 1, "price": "299.00"},
    currency="CNY",
    reason="SIZE_TOO_SMALL",
    note="尺码偏小，想退货。有事请打 13912340678。",
    waybill="SF7000000001001",
    carrier="SF Express",
    shipper="SF",
    answer="您好！吊牌不用挂回去，放进包裹里一起寄回就行。",
    scans=(
        ("1", "已揽收", "上海市"),
        ("2", "运输中", "嘉兴市"),
        ("201", "到达目的城市", "杭州市"),
        ("301", "已签收", "杭州市"),
    ),
)
EMMA: Final = Customer(
    name="Emma Weaver",
    email="emma.weaver@buyers.example",
    phone="+442079460958",
    locale="en",
    number="1002",
    line={"sku": "LAMP-2", "title": "Desk lamp", "quantity": 1, "price": "64.50"},
    currency="USD",
    reason="DEFECTIVE",
    note="It flickers, then it goes out. I live at 7 Imaginary Mews, Flat 3.",
    waybill="1ZDEMO0000001002",
    carrier="UPS",
    shipper="UPS",
    answer="Hello Emma, sorry about the lamp! Keep the bulb, please send back the lamp alone.",
    scans=(
        ("1", "Picked up", "London"),
        ("2", "Departed", "Cologne"),
        ("201", "Arrived at the destination", "Hangzhou"),
        ("301", "Delivered", "Hangzhou"),
    ),
)
BUYERS: Final = (LEI, EMMA)

MEI: Final[dict[str, Any]] = {
    "id": "B-77",
    "name": "韩梅梅",
    "email": "han.meimei@buyers.example",
    "phone": "+8613700000077",
    "address": {"city": "杭州市", "lines": ["虚构路 18 弄 6 号 502 室"]},
}
STREETS: Final = ("7 Imaginary Mews", "虚构路 18 弄")


def secrets() -> list[str]:
    """Every phone number, e-mail address and street of the buyers, which no file of the bridge may hold in clear."""
    phones = [LEI.phone, EMMA.phone, MEI["phone"]]
    mails = [LEI.email, EMMA.email, MEI["email"]]
    return [*(one[-10:] for one in phones), *mails, *STREETS]
