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
YU: Final[dict[str, Any]] = {
    "order": {
        "nick": "小**鱼",
        "open_uid": "AAHd-demo-yu",
        "payment": "168.00",
        "waybill": "SF7000000002001",
        "company": "顺丰速运",
        "title": "紫砂茶壶",
        "days_ago": 3,
    },
    "request": {
        "reason": "收到商品破损",
        "desc": "茶壶碎了一地，要投诉你们，请尽快处理",
        "pictures": ["https://img.example.com/broken.jpg"],
    },
}
WANG: Final[dict[str, Any]] = {
    "order": {
        "nick": "老**王",
        "open_uid": "AAHd-demo-wang",
        "payment": "500.01",
        "waybill": "YT7000000003001",
        "company": "圆通速递",
        "title": "园艺耙子 十二齿",
        "days_ago": 4,
        "finished": True,
    },
    "request": {
        "reason": "卖家发错货",
        "desc": "我买的是耙子，发来的却是铲子！",
        "pictures": ["https://img.example.com/shovel.jpg"],
    },
    "answer": "不同意，铲子我用不上，请全额退款",
}
FANG: Final[dict[str, Any]] = {"id": "B-99", "name": "王芳", "phone": "+8613800000990", "locale": "zh-CN"}
KETTLE: Final[dict[str, Any]] = {
    "number": "9901",
    "price": "80.00",
    "waybill": "9400100208303109500669",
    "carrier": "USPS",
    "insured": "100.00",
}
JONAS: Final[dict[str, Any]] = {
    "name": "Jonas Berg",
    "email": "jonas.berg@buyers.example",
    "identifier": "cust-77",
    "lines": [
        "Hello",
        "I am looking at your oak desk",
        "the one of 140 cm",
        "Does it come with the screws?",
        "and is it in stock in black?",
    ],
}
DESK: Final = "claims@carrier.example"
STREETS: Final = ("7 Imaginary Mews", "虚构路 18 弄")


def secrets() -> list[str]:
    """Every phone number, e-mail address and street of the buyers, which no file of the bridge may hold in clear."""
    phones = [LEI.phone, EMMA.phone, MEI["phone"], FANG["phone"]]
    mails = [LEI.email, EMMA.email, MEI["email"], JONAS["email"]]
    return [*(one[-10:] for one in phones), *mails, *STREETS]
