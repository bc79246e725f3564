"""Buyers, their addresses and how to reach them."""

from enum import StrEnum

from .stored import Value


class Form(StrEnum):
    """A way in which words reach a person; a call reads the words of a chat out."""

    THREAD = "thread"
    CHAT = "chat"
    MAIL = "mail"
    SMS = "sms"
    CALL = "call"


class Address(Value):
    """A postal address, parts as the marketplace gave them."""

    name: str | None = None
    phone: str | None = None
    country: str | None = None
    region: str | None = None
    city: str | None = None
    district: str | None = None
    lines: tuple[str, ...] = ()
    postcode: str | None = None


class Buyer(Value):
    """The customer. ``locale`` is a BCP 47 tag (``zh-CN``), ``timezone`` an IANA name, ``tier`` the shop's own word."""

    id: str | None = None
    name: str | None = None
    email: str | None = None
    phone: str | None = None
    thread: str | None = None
    chat: str | None = None
    locale: str | None = None
    timezone: str | None = None
    tier: str | None = None
    orders: int | None = None
    address: Address | None = None

    def way(self, form: Form) -> str | None:
        """Where this form reaches the buyer: a thread id, a chat id, an e-mail address or a phone number."""
        match form:
            case Form.THREAD:
                return self.thread
            case Form.CHAT:
                return self.chat
            case Form.MAIL:
                return self.email
            case Form.SMS | Form.CALL:
                return self.phone
