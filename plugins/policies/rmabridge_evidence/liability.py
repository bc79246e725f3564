"""Who answers for it: the first rule whose facts all hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from rmabridge.core.evidence import proven
from rmabridge.model import Case, Direction, ParcelException, ParcelStatus

from .matrix import Mark, Matrix
from .rules import PICTURES, Fact, Rule

LOST: Final = frozenset({ParcelException.LOST, ParcelException.PARTIAL_LOSS})
CUSTOMER: Final = "customer"
Compared = Callable[[], Matrix]  # the cross-check, made when a rule asks for it


class Found(NamedTuple):
    """A rule that holds, and what it rests on."""

    rule: Rule
    why: tuple[str, ...]


def liable(case: Case, matrix: Compared, rules: tuple[Rule, ...]) -> Found | None:
    """The first rule that holds; None where nothing does."""
    for rule in rules:
        if rule.concerns(case) and all(HOLDS[one](case, matrix) for one in rule.when):
            return Found(rule, tuple(WORDS[one] for one in rule.when))
    return None


def _scanned(case: Case, kinds: frozenset[ParcelException]) -> bool:
    """Whether the carrier itself recorded it on the way to the buyer."""
    out = (one for one in case.parcels if one.direction is Direction.OUT)
    return any(scan.exception in kinds for one in out for scan in one.scans)


def _delivered(case: Case, _: Compared) -> bool:
    if case.order and case.order.delivered_at:
        return True
    return any(one.direction is Direction.OUT and one.status is ParcelStatus.DELIVERED for one in case.parcels)


def _other_sku(case: Case, _: Compared) -> bool:
    """Whether a line names another article than its order line."""
    if case.request is None or case.order is None or case.kind == "exchange":
        return False
    ordered = {one.id: one.sku for one in case.order.lines if one.sku}
    pairs = ((ordered.get(one.order_line or ""), one.sku) for one in case.request.lines)
    return any(was and got and was != got for was, got in pairs)


HOLDS: Final[dict[Fact, Callable[[Case, Compared], bool]]] = {
    "proof": lambda case, _: proven(case),
    "damage_scan": lambda case, _: _scanned(case, frozenset({ParcelException.DAMAGED})),
    "loss_scan": lambda case, _: _scanned(case, LOST),
    "no_damage_scan": lambda case, _: not _scanned(case, frozenset({ParcelException.DAMAGED})),
    "other_sku": _other_sku,
    "delivered": _delivered,
    "complete": lambda _, matrix: matrix().photos.mark is Mark.MATCH and not matrix().mismatches,
    "shown": lambda case, _: any(one.kind in PICTURES for one in case.evidence),
    "cause_customer": lambda case, _: case.cause == CUSTOMER,
}
WORDS: Final[dict[Fact, str]] = {
    "proof": "the carrier gave written proof",
    "damage_scan": "the carrier's scan says that the parcel is damaged",
    "loss_scan": "the carrier's scan says that the parcel or a part of it is lost",
    "no_damage_scan": "no scan says that the parcel is damaged",
    "other_sku": "another article was sent than was ordered",
    "delivered": "the goods have arrived",
    "complete": "all evidence that was asked for is there, and nothing contradicts it",
    "shown": "there is a picture",
    "cause_customer": "it was found that the goods are as they should be",
}
