"""Who writes: whether it is the buyer of the order, by what the marketplace knows of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple
from unicodedata import normalize

from ..model import Case, Identity
from ..model.case import Writer
from .told import CLAIMED

TAIL: Final = 4
PHONE: Final = 7
MOST_WORDS: Final = 3  # of numbers that could be the answer those after these are guesses, or a signature
_DIGITS: Final = re.compile(r"[0-9]+")
_LETTER: Final = re.compile(r"[a-z]")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")


class Standing(NamedTuple):
    """What is known of the last writer, and what that rests on."""

    identity: Identity
    why: tuple[str, ...]
    writer: Writer


def digest(writer: Writer) -> str:
    """A short name of the writer that tells nothing about them."""
    told = writer.model_dump_json(exclude={"at", "orders"})
    return blake2b(told.encode(), digest_size=4).hexdigest()


def tail(phone: str | None) -> str | None:
    """The last four digits, where they are shown."""
    shown = (phone or "").strip()[-TAIL:]
    return shown if len(shown) == TAIL and shown.isascii() and shown.isdigit() else None


def known(case: Case, name: str) -> str | None:
    """The buyer's ``id`` or ``email`` as the marketplace gave it, not as somebody wrote it."""
    value: str | None = getattr(case.buyer, name, None)
    return value if f"buyer.{name}{CLAIMED}" not in case.stamps or f"buyer.{name}" in case.stamps else None


def tails(case: Case) -> set[str]:
    """The last digits of the phones on the order."""
    ship_to = case.order.ship_to if case.order else None
    return {one for one in (tail(known(case, "phone")), tail(ship_to.phone if ship_to else None)) if one}


def standing(case: Case, marketplace: str | None, proofs: tuple[str, ...]) -> Standing | None:
    """Whether the last writer is the order's buyer; None while nobody wrote or no order is known."""
    if not case.writers or case.order is None:
        return None
    writer = case.writers[-1]
    right, wrong = _compared(case, writer, marketplace)
    if good := [one for one in right if one in proofs]:
        return Standing(Identity.VERIFIED, tuple(f"the same {one}" for one in good), writer)
    if wrong:
        return Standing(Identity.MISMATCH, tuple(f"another {one} than the order's" for one in wrong), writer)
    if writer.account == marketplace:
        return Standing(Identity.VERIFIED, ("written on the marketplace of the order",), writer)
    return Standing(Identity.UNKNOWN, ("nothing to compare with the order",), writer)


def _compared(case: Case, writer: Writer, marketplace: str | None) -> tuple[list[str], list[str]]:
    """What of the writer agrees with the order, and what does not."""
    found: dict[str, bool] = {}
    buyer = known(case, "id")
    # Elsewhere the id is another one than the marketplace's own, unless the shop made it the same.
    if writer.id and buyer and (writer.id == buyer or writer.account == marketplace):
        found["id"] = writer.id == buyer
    if writer.email and (mail := known(case, "email")):
        found["email"] = writer.email.casefold() == mail.casefold()
    if (end := tail(writer.phone)) and (ends := tails(case)):
        found["phone"] = end in ends
    return [one for one, same in found.items() if same], [one for one, same in found.items() if not same]


def order_names(case: Case) -> set[str]:
    """The order's own numbers that the last writer has not shown to know."""
    order = case.order
    names = {one.lstrip("#").casefold() for one in (order.number, order.id) if one} if order else set()
    said = {each.lstrip("#").casefold() for one in case.writers for each in one.orders}
    return set() if names & said else names


def answers(text: str, case: Case) -> bool | None:
    """Whether the words hold the proof; None where they hold no number that could be it."""
    words = [one.casefold() for one in _WORD.findall(normalize("NFKC", text)) if _DIGITS.search(one)]
    if not words:
        return None
    names, ends = order_names(case), tails(case)
    shapes = {_shape(one) for one in names}
    numbers = {one: "".join(_DIGITS.findall(one)) for one in words}
    could_be = (
        (one, each) for one, each in numbers.items() if len(each) == TAIL or len(each) >= PHONE or _shape(one) in shapes
    )
    if not (said := [*islice(could_be, MOST_WORDS)]):
        return None
    phone = any(each == end or (len(each) >= PHONE and each.endswith(end)) for _, each in said for end in ends)
    return phone or any(one in names for one, _ in said)


def _shape(word: str) -> str:
    """How a number is written: its length, and where its digits and signs stand."""
    return _LETTER.sub("a", _DIGITS.sub(lambda match: "0" * len(match[0]), word))


def stranger(
    case: Case, to: str | None, marketplace: str | None, proofs: tuple[str, ...], answered: Callable[[Writer], bool]
) -> bool:
    """Whether an address is known only from writers of whom nothing shows that they are the buyer."""
    said = [one for one in case.writers if to and to in (one.email, one.phone, one.thread, one.chat)]
    if not said or to in (known(case, "email"), known(case, "phone")):
        return False

    def is_buyer(one: Writer) -> bool:
        right, wrong = _compared(case, one, marketplace)
        return any(name in proofs for name in right) or (not wrong and one.account == marketplace)

    return not any(is_buyer(one) or answered(one) for one in said)
