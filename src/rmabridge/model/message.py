"""Messages: what was said, by whom, on which way."""

from enum import StrEnum

from pydantic import AwareDatetime

from .people import Form
from .stored import Value


class Author(StrEnum):
    """Who speaks. ``bridge`` is an automatic message."""

    BUYER = "buyer"
    AGENT = "agent"
    BRIDGE = "bridge"
    CARRIER = "carrier"
    SYSTEM = "system"


class Attachment(Value):
    """A file of a message: by address, by the hash of the stored bytes, or made here from ``text``.

    ``text`` is the content itself; under ``application/pdf`` it is a JSON object that is set as a document when the
    file is sent (``wire.documents``), so that the ledger holds what was sent and not how it was printed.
    """

    name: str
    media_type: str = "application/octet-stream"
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    text: str | None = None


class TemplateRef(Value):
    """Which template, in which version and locale, a text came from."""

    id: str
    version: int
    locale: str


class Message(Value):
    """One message of a case; ``id`` is the entrance's own id of it."""

    id: str
    author: Author
    form: Form
    text: str
    at: AwareDatetime
    who: str | None = None
    subject: str | None = None
    public: bool = True
    attachments: tuple[Attachment, ...] = ()
    template: TemplateRef | None = None
