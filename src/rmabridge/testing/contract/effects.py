"""What each ability promises of its result; a check looks at those calls that carry the ability's actions out."""

from __future__ import annotations

from typing import Any

from ...model import (
    ApproveReturn,
    AskCarrier,
    CheckCoverage,
    ClaimSeen,
    Classified,
    ClassifyText,
    CoverageSeen,
    DeclineReturn,
    EvidenceAdded,
    FetchOrder,
    FileClaim,
    GiveCredit,
    OrderSeen,
    PayRefund,
    PrintLabel,
    QueryClaim,
    RefKind,
    RefundSeen,
    RequestChanged,
    RequestProof,
    RequestStatus,
    Reship,
    TagBuyer,
)
from ...wire.waybills import normalise
from .calling import Call, Calling


class Effects(Calling):
    """What the checks of all abilities look at."""

    def events(self, call: Call, kind: type[Any]) -> list[Any]:
        """The events of one kind that the answer gives."""
        return [one for one in self.result(call).events if isinstance(one, kind)]

    def not_twice(self, *actions: type[Any]) -> None:
        """Fail where the bridge would repeat what does harm the second time."""
        for call, _ in self.listed(*actions):
            handler = self.handler(call)
            assert not handler.repeatable or handler.remembers, (
                f"{call.method} is repeatable: say how long the vendor remembers our key, or leave it out"
            )

    def named(self, *actions: type[Any]) -> None:
        """Fail where a result names nothing."""
        for call, _ in self.listed(*actions):
            assert self.result(call).id, f"{call.method}: Result.id is missing"


class RefundContract(Effects):
    """The checks of ``PaysRefunds``."""

    def test_a_paid_refund_has_an_id(self) -> None:
        self.named(PayRefund)

    def test_a_paid_refund_is_seen_with_its_amount(self) -> None:
        for call, asked in self.listed(PayRefund):
            seen = self.events(call, RefundSeen)
            # Where the vendor pays later it shows for now how the request stands.
            assert seen or self.events(call, RequestChanged), "Result.events holds no RefundSeen"
            currencies = {one.amount.currency for one in seen if one.amount}
            assert currencies <= {asked.amount.currency}, f"{currencies}: not the currency that was paid"

    def test_money_is_not_sent_twice(self) -> None:
        self.not_twice(PayRefund)


class DecisionContract(Effects):
    """The checks of ``DecidesReturns``."""

    def test_an_approval_does_not_come_back_as_a_refusal(self) -> None:
        for call, _ in self.listed(ApproveReturn):
            found = [one.status for one in self.events(call, RequestChanged)]
            assert RequestStatus.DECLINED not in found, "what was approved is told as declined"

    def test_a_refusal_does_not_come_back_as_an_approval(self) -> None:
        for call, _ in self.listed(DeclineReturn):
            found = [one.status for one in self.events(call, RequestChanged)]
            assert RequestStatus.APPROVED not in found, "what was declined is told as approved"


class OrderContract(Effects):
    """The checks of ``FetchesOrders``."""

    def test_a_fetched_order_comes_first(self) -> None:
        for call, _ in self.listed(FetchOrder):
            events = self.result(call).events
            assert isinstance(events[0] if events else None, OrderSeen), "Result.events begins with an OrderSeen"

    def test_a_fetched_order_is_found_by_its_number(self) -> None:
        for call, _ in self.listed(FetchOrder):
            for one in self.events(call, OrderSeen):
                assert any(ref.kind == RefKind.ORDER for ref in one.refs), "an OrderSeen without a Ref to its order"


class ClaimContract(Effects):
    """The checks of ``TakesClaims``, ``GivesProof``, ``AnswersEnquiries`` and ``KnowsCoverage``."""

    def test_a_filed_claim_has_an_id(self) -> None:
        self.named(FileClaim)

    def test_a_filed_claim_is_seen_at_its_parcel(self) -> None:
        for call, asked in self.listed(FileClaim):
            seen = self.events(call, ClaimSeen)
            assert seen, "Result.events holds no ClaimSeen"
            strange = [one.waybill for one in seen if normalise(one.waybill) != normalise(asked.waybill)]
            assert not strange, f"a claim at another parcel: {strange}"

    def test_a_claim_is_not_filed_twice(self) -> None:
        self.not_twice(FileClaim)

    def test_a_claim_that_is_asked_for_is_told_once(self) -> None:
        for call, asked in self.listed(QueryClaim):
            told = [one.claim for one in self.events(call, ClaimSeen)]
            assert told == [asked.claim], f"asked for {asked.claim}, told {told}"

    def test_a_proof_says_where_its_document_is(self) -> None:
        for call, _ in self.listed(RequestProof):
            for one in self.events(call, EvidenceAdded):
                assert one.sha256 or one.url, "an EvidenceAdded needs the hash of a kept file, or its address"

    def test_an_enquiry_has_a_number(self) -> None:
        self.named(AskCarrier)

    def test_coverage_is_told_for_the_carrier_asked(self) -> None:
        for call, asked in self.listed(CheckCoverage):
            told = [one.carrier for one in self.events(call, CoverageSeen)]
            assert told == [asked.carrier], f"asked for {asked.carrier}, told {told}"


class GivingContract(Effects):
    """The checks of ``GrantsCredit``, ``ShipsReplacements``, ``PrintsLabels`` and ``TagsBuyers``."""

    def test_a_credit_has_a_code(self) -> None:
        self.named(GiveCredit)

    def test_a_replacement_has_a_number(self) -> None:
        self.named(Reship)

    def test_a_printed_label_has_its_waybill(self) -> None:
        for call, _ in self.listed(PrintLabel):
            id_ = self.result(call).id or ""
            assert "" != id_ == normalise(id_), f"{id_!r}: Result.id is the waybill, by wire.waybills.normalise"

    def test_what_is_given_is_not_given_twice(self) -> None:
        self.not_twice(GiveCredit, Reship, PrintLabel)

    def test_a_tag_may_be_set_again(self) -> None:
        for call, _ in self.listed(TagBuyer):
            assert self.handler(call).repeatable, "setting a tag twice does no harm"


class ReadingContract(Effects):
    """The checks of ``ClassifiesText``."""

    def test_a_text_is_read_once_or_not_at_all(self) -> None:
        for call, _ in self.listed(ClassifyText):
            assert len(self.events(call, Classified)) <= 1, "one reading, or none where it is not sure"

    def test_a_reading_is_dated_by_the_question(self) -> None:
        for call, asked in self.listed(ClassifyText):
            late = [one.at for one in self.events(call, Classified) if one.at != asked.asked_at]
            assert not late, "Classified.at is action.asked_at: what was said later stays"

    def test_a_reading_is_known_by_what_was_read(self) -> None:
        for call, asked in self.listed(ClassifyText):
            strange = [one.key for one in self.events(call, Classified) if asked.event not in one.key]
            assert not strange, f"the key comes from action.event: {strange}"
