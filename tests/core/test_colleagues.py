"""Words to colleagues: on the ticket, or in a group, where they must say which case is meant."""

from datetime import UTC, datetime

import pytest

from rmabridge.abilities import Shop, View
from rmabridge.core.colleagues import tell_colleagues
from rmabridge.core.templates import Rendered
from rmabridge.model import Case, CommentTicket, SendMessage, TemplateRef

NOW = datetime(2026, 1, 5, 2, tzinfo=UTC)
CASE = Case(id="C1", shop="one", opened_at=NOW, updated_at=NOW)


def told(words: str, **shop: object) -> list[CommentTicket | SendMessage]:
    said = Rendered(words, None, TemplateRef(id="t", version=1, locale="en"))
    view = View(now=NOW, shop=Shop(name="one", **shop), render=lambda *_, **__: said)
    return list(tell_colleagues(CASE, view, "parcel:1", "t"))


@pytest.mark.parametrize(
    ("words", "text"), [("the parcel does not move", "[C1] the parcel does not move"), ("C1 is late", "C1 is late")]
)
def test_words_to_a_group_name_the_case_once(words: str, text: str) -> None:
    (message,) = told(words, staff=("group",))
    assert isinstance(message, SendMessage)
    assert (message.text, message.account) == (text, "group")


def test_words_on_a_ticket_need_no_case_number() -> None:
    (note,) = told("the parcel does not move", helpdesk="desk", staff=("group",))
    assert isinstance(note, CommentTicket)
    assert note.text == "the parcel does not move"


def test_where_nobody_is_to_be_told_nothing_is_said() -> None:
    assert told("the parcel does not move") == []
