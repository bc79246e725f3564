"""Claims: drafted, filed once, followed, and their money compared with what was granted."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from rmabridge_claims import Claims
from rmabridge_claims.rules import Rule, shipped_rules

from rmabridge.model import (
    Address,
    AnswerClaim,
    AppealClaim,
    ClaimKind,
    ClaimSeen,
    ClaimStatus,
    Classified,
    Direction,
    EvidenceAdded,
    EvidenceKind,
    FileClaim,
    Issue,
    Line,
    Money,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    QueryClaim,
    RequestProof,
    Ruling,
    Scan,
    SendMessage,
)
from rmabridge.wire.documents import content

DAMAGE, LOSS = ClaimKind.DAMAGE, ClaimKind.LOSS
S = ClaimStatus
MAILED = "staff:claim:YTO:YT1:damage"
DESKS = {"圆通": "claims@yto.example"}


@pytest.fixture
def desk(world):
    class Able(world.Desk):
        """A desk whose shop can do what the test says."""

        can = ()

        def view(self):
            return replace(super().view(), able=lambda action: type(action) in self.can)

    def make(*can, **settings):
        made = Able(world.policy(Claims, **settings))
        made.can = can
        made.feed(world.requested(lines=()), world.order(delivered_at=None, placed_at=world.MONDAY))
        return made

    return make


def parcel(at, waybill="YT1", exception=ParcelException.DAMAGED, status=ParcelStatus.EXCEPTION, carrier="YTO"):
    scan = Scan(at=at, status=status, exception=exception, text="快件外包装破损", code="414")
    made = Parcel(waybill=waybill, carrier=carrier, status=status, exception=exception, scans=(scan,))
    return ParcelSeen(key=f"p:{waybill}:{at}:{status}", at=at, parcel=made)


def lost(at):
    gone = Parcel(waybill="YT1", carrier="YTO", status=ParcelStatus.LOST, exception=ParcelException.LOST)
    return ParcelSeen(key=f"lost:{at}", at=at, parcel=gone)


def evidence(at, number=1, kind=EvidenceKind.PHOTO, source="buyer"):
    facts = {"name": f"p{number}.jpg", "media_type": "image/jpeg", "sha256": f"{number:064x}", "source": source}
    return EvidenceAdded(key=f"e{number}", at=at, evidence=f"E{number}", kind=kind, **facts)


def told(one, status, **facts):
    given = {"waybill": "YT1", "carrier": "YTO", "kind": DAMAGE, "claim": "clm_1"} | facts
    return ClaimSeen(key=f"{status}:{one.now}", at=one.now, status=status, **given)


def claim(one):
    (found,) = one.case.claims
    return found


def test_a_damage_scan_mails_the_dossier_once_with_the_hash_of_every_piece_of_evidence(world, desk):
    one = desk(desks=DESKS)
    one.feed(evidence(one.now), parcel(one.now), parcel(one.now + timedelta(hours=1)))
    mail = one.sent(MAILED)
    assert isinstance(mail, SendMessage) and (mail.account, mail.to) == ("mail", "claims@yto.example")
    assert one.proposed("staff:") == [MAILED] and mail.effect == "claim:YTO:YT1:damage"
    pdf, document, photo = mail.attachments
    assert (pdf.media_type, photo.sha256) == ("application/pdf", f"{1:064x}")
    told_ = json.loads(document.text)
    assert told_["evidence"][0]["sha256"] == f"{1:064x}"
    assert told_["waybill"]["number"] == "YT1" and told_["amounts"]["claimed"] == "700.00 CNY"
    assert told_["incident"]["tracking_excerpt"][0]["text"] == "快件外包装破损"
    assert "13800001234" not in document.text and "王小明" not in document.text
    assert content(pdf).startswith(b"%PDF") and content(pdf) == content(pdf)


def test_a_claim_for_goods_without_a_price_leaves_the_amount_to_a_person(world, desk):
    unpriced = world.requested(key="req:2", at=world.MONDAY, lines=(Line(id="1", sku="GIFT"),))
    one = desk(desks=DESKS).feed(unpriced, parcel(world.MONDAY))
    assert claim(one).amount is None
    assert json.loads(one.sent(MAILED).attachments[1].text)["amounts"]["claimed"] is None
    assert "700" not in one.sent(MAILED).text
    called = desk(FileClaim).feed(unpriced, parcel(world.MONDAY))
    assert called.sent(called.proposed("claim:")[0]).amount is None


def test_a_mailed_claim_is_submitted_when_the_mail_has_left(world, desk):
    one = desk(desks=DESKS).feed(parcel(world.MONDAY))
    assert claim(one).status is S.DRAFT
    assert claim(one).due_at == world.MONDAY + timedelta(days=7)
    assert claim(one.settle(MAILED)).status is S.SUBMITTED
    failed = desk(desks=DESKS).feed(parcel(world.MONDAY)).settle(MAILED, "dead")
    assert (claim(failed).status, failed.proposed("staff:")) == (S.DRAFT, [MAILED])


def test_colleagues_are_warned_of_the_end_when_a_claim_could_not_be_filed(world, desk):
    one = desk(desks=DESKS).feed(parcel(world.MONDAY)).settle(MAILED, "dead")
    for hours, warning in ((84, "half"), (12, "last"), (72, "late")):
        one.advance(hours=hours)
        assert f"ticket:comment:claim:{warning}:YTO:YT1:damage" in one.ledger


def test_an_account_that_takes_claims_gets_the_call_instead(world, desk):
    one = desk(FileClaim, desks=DESKS).feed(parcel(world.MONDAY))
    (key,) = one.proposed("claim:")
    filed = one.sent(key)
    assert (filed.carrier, filed.waybill, filed.claim, filed.amount) == ("YTO", "YT1", DAMAGE, Money.of("700 CNY"))
    assert one.proposed("staff:") == []


@pytest.mark.row("P49")
def test_without_call_and_address_a_colleague_gets_the_papers_and_is_warned_of_the_end(world, desk):
    one = desk().feed(parcel(world.MONDAY))
    note = one.sent("ticket:comment:claim:file:YTO:YT1:damage")
    assert [file.media_type for file in note.attachments] == ["application/pdf", "application/json"]
    assert "YT1" in note.text
    one.advance(days=3, hours=13)
    assert "ticket:comment:claim:half:YTO:YT1:damage" in one.ledger
    one.advance(hours=12)
    assert "ticket:comment:claim:last:YTO:YT1:damage" in one.ledger
    one.advance(days=3)
    assert "ticket:comment:claim:late:YTO:YT1:damage" in one.ledger
    assert claim(one).status is S.DRAFT


def test_the_buyer_s_word_waits_for_a_photo_but_not_for_ever(world, desk):
    arrived = parcel(world.MONDAY, exception=None, status=ParcelStatus.DELIVERED)
    said = Classified(key="c", at=world.MONDAY, issue=Issue.DAMAGED_IN_TRANSIT)
    one = desk(desks=DESKS).feed(arrived, said)
    assert one.proposed("staff:") == []
    assert "照片" in one.sent("ticket:comment:claim:documents:YTO:YT1:damage").text
    assert one.feed(evidence(one.now, kind=EvidenceKind.VIDEO)).proposed("staff:") == [MAILED]
    other = desk(desks=DESKS).feed(arrived, said)
    assert other.advance(days=3).proposed("staff:") == [MAILED]


def test_liability_of_the_carrier_needs_its_proof_or_its_scan(world, desk):
    arrived = parcel(world.MONDAY, exception=None, status=ParcelStatus.DELIVERED)
    said = Classified(key="c", at=world.MONDAY, issue=Issue.DAMAGED_IN_TRANSIT)
    one = desk(RequestProof).feed(arrived, said, evidence(world.MONDAY), lost_word(world))
    assert one.proposed("proof:") == ["proof:YT1:damage"]
    assert one.case.liable is None
    one.feed(evidence(one.now, 2, EvidenceKind.PROOF, source="buyer"))
    assert one.case.liable is None, "a paper of the buyer's is not the carrier's word"
    one.feed(evidence(one.now, 3, EvidenceKind.PROOF, source="carrier"))
    assert (one.case.liable, one.case.why[-1]) == ("carrier", "the carrier gave written proof")
    assert desk().feed(parcel(world.MONDAY)).case.liable == "carrier"


def lost_word(world):
    return world.says("快递弄坏了", at=world.MONDAY)


def test_a_presumed_loss_makes_nobody_liable_but_is_claimed_once(world, desk):
    one = desk(desks=DESKS).feed(lost(world.MONDAY), lost(world.MONDAY + timedelta(days=1)))
    assert one.proposed("staff:") == ["staff:claim:YTO:YT1:loss"]
    assert one.case.liable is None
    assert len(one.case.claims) == 1


def test_a_parcel_claimed_as_damaged_and_silent_since_is_not_claimed_again_as_lost(world, desk):
    one = desk(desks=DESKS).feed(parcel(world.MONDAY)).settle(MAILED)
    one.feed(lost(world.MONDAY + timedelta(days=12)))
    assert [(each.kind, each.status) for each in one.case.claims] == [(DAMAGE, S.SUBMITTED)]
    assert one.proposed("staff:claim:YTO:YT1:loss") == []


def test_a_parcel_that_turns_up_withdraws_the_draft(world, desk):
    own = Rule(carriers=("YTO",), kinds=(LOSS,), earliest=10, days=60)
    one = desk(desks=DESKS, rules=(own,)).feed(
        parcel(world.MONDAY - timedelta(days=9), exception=None), lost(world.MONDAY)
    )
    assert (claim(one).status, one.proposed("staff:")) == (S.DRAFT, [])
    found = parcel(one.now + timedelta(hours=1), exception=None, status=ParcelStatus.OUT_FOR_DELIVERY)
    one.feed(found.model_copy(update={"at": one.now + timedelta(hours=1)}))
    assert claim(one).status is S.WITHDRAWN


def test_a_parcel_that_turned_up_and_is_lost_again_is_claimed(world, desk):
    own = Rule(carriers=("YTO",), kinds=(LOSS,), earliest=10, days=90)
    one = desk(desks=DESKS, rules=(own,)).feed(lost(world.MONDAY))
    for _ in range(4):
        one.advance(days=1)
        one.feed(parcel(one.now, exception=None, status=ParcelStatus.IN_TRANSIT))
        assert claim(one).status is S.WITHDRAWN
        one.advance(days=1).feed(lost(one.now))
        assert claim(one).status is S.DRAFT
    assert one.advance(days=30).proposed("staff:") == ["staff:claim:YTO:YT1:loss"]


@pytest.mark.parametrize("name", ["圆通", "yto", "YTO Express"])
def test_a_carrier_by_another_of_its_names_is_the_same_claim(world, desk, name):
    one = desk(desks=DESKS).feed(parcel(world.MONDAY))
    one.feed(told(one, S.SUBMITTED).model_copy(update={"carrier": name}))
    assert (claim(one).carrier, claim(one).status) == ("YTO", S.SUBMITTED)


def test_a_claim_is_not_filed_before_its_carrier_takes_it(world, desk):
    own = Rule(carriers=("圆通速递",), kinds=(LOSS,), earliest=10, days=60)
    one = desk(desks=DESKS, rules=(own,)).feed(lost(world.MONDAY))
    assert one.advance(days=9).proposed("staff:") == []
    assert one.advance(days=1).proposed("staff:") == ["staff:claim:YTO:YT1:loss"]


def test_a_second_submission_is_denied_with_the_reason(world, desk):
    one = desk(desks=DESKS).feed(parcel(world.MONDAY))
    one.settle(MAILED)
    again = FileClaim(waybill="YT1", carrier="YTO", claim=DAMAGE, external="C1")
    verdict = one.policies[0].review(again, one.case, one.view())
    assert verdict.ruling is Ruling.DENY and "one claim for each carrier" in verdict.reason


def test_an_open_claim_is_asked_about_by_call_or_by_a_colleague(world, desk):
    one = desk(FileClaim, QueryClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.SUBMITTED), account="easypost")
    one.advance(days=7)
    ask = one.sent("claim:query:clm_1:1")
    assert ask.account == "easypost"
    assert one.advance(days=7).proposed("claim:query") == ["claim:query:clm_1:1", "claim:query:clm_1:2"]
    by_hand = desk(desks=DESKS).feed(parcel(world.MONDAY)).settle(MAILED)
    assert by_hand.advance(days=7).proposed("ticket:comment:claim:ask") == ["ticket:comment:claim:ask:YTO:YT1:damage:1"]


def test_what_the_carrier_asks_for_is_handed_in_when_it_is_there(world, desk):
    one = desk(FileClaim, AnswerClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.INFO_REQUESTED, reason="发票"), account="easypost")
    (note,) = one.proposed("ticket:comment:claim:info")
    assert "发票" in one.sent(note).text
    assert one.proposed("claim:answer") == []
    one.advance(hours=1).feed(evidence(one.now, kind=EvidenceKind.DOCUMENT))
    (key,) = one.proposed("claim:answer")
    assert one.sent(key).attachments[0].sha256 == f"{1:064x}"
    assert claim(one.settle(key)).status is S.IN_REVIEW


def test_a_part_paid_may_be_objected_to_when_a_person_says_so(world, desk):
    one = desk(FileClaim, AppealClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.SUBMITTED), account="easypost").advance(hours=1)
    one.feed(told(one, S.PARTIAL, amount=Money.of("300 CNY"), reason="旧包装"), account="easypost")
    assert one.ledger["claim:appeal:clm_1"] == "held"
    assert "300.00" in one.sent(one.proposed("ticket:comment:claim:partial")[0]).text
    one.advance(hours=1).settle("claim:appeal:clm_1")
    assert claim(one).status is S.APPEALED
    one.advance(hours=1).feed(told(one, S.APPROVED, amount=Money.of("700 CNY")), account="easypost")
    assert claim(one).status is S.APPROVED


def test_no_objection_is_proposed_where_the_shop_does_not_want_one(world, desk):
    one = desk(FileClaim, AppealClaim, appeal=False).feed(parcel(world.MONDAY))
    one.feed(told(one, S.REJECTED), account="easypost")
    assert one.proposed("claim:appeal") == []
    assert one.runs("claim:YTO:YT1:damage") is None


@pytest.mark.parametrize(("paid", "says"), [("700 CNY", "金额一致"), ("500 CNY", "少付"), ("800 CNY", "多付")])
def test_the_payout_is_compared_with_the_grant_and_told(world, desk, paid, says):
    one = desk(FileClaim, AppealClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.APPROVED, amount=Money.of("700 CNY"))).advance(days=1)
    one.feed(told(one, S.PAID, paid=Money.of(paid)))
    (note,) = one.proposed("ticket:comment:claim:paid")
    assert says in one.sent(note).text
    assert ("claim:appeal:clm_1" in one.ledger) is (says == "少付")


def test_money_that_does_not_come_is_missed(world, desk):
    one = desk(FileClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.APPROVED)).advance(days=14)
    assert one.proposed("ticket:comment:claim:unpaid")


def test_a_report_that_cannot_be_is_told_once_and_changes_nothing(world, desk):
    one = desk(FileClaim).feed(parcel(world.MONDAY))
    one.feed(told(one, S.SUBMITTED)).advance(hours=1)
    one.feed(told(one, S.REJECTED)).advance(hours=1)
    one.feed(told(one, S.PAID, paid=Money.of("5 CNY"))).advance(hours=1)
    (key,) = one.proposed("ticket:comment:claim:refused")
    assert "cannot become paid" in one.sent(key).text
    assert claim(one).status is S.REJECTED


def test_what_the_buyer_sends_back_is_not_our_claim(world, desk):
    one = desk(desks=DESKS)
    own = parcel(one.now).parcel.model_copy(update={"direction": Direction.BACK})
    one.feed(ParcelSeen(key="own", at=one.now, parcel=own))
    assert one.case.claims == ()


def test_a_claim_whose_time_is_over_is_told_and_not_filed(world, desk):
    one = desk(desks=DESKS)
    one.feed(parcel(one.now - timedelta(days=30)))
    assert one.case.claims == ()
    assert one.proposed("ticket:comment:claim:late")


def test_every_shipped_rule_names_its_source(world):
    assert all(one.source and one.days for one in shipped_rules())
    assert {kind for one in shipped_rules() if not one.carriers for kind in one.kinds} == set(ClaimKind)


@pytest.mark.parametrize(
    ("carrier", "country", "days"),
    [("FedEx", "US", 60), ("FEDEX_GJ", "DE", 21), ("FedEx", None, 21), ("UPS", None, 60)],
)
def test_a_carrier_s_time_depends_on_where_the_parcel_goes(world, desk, carrier, country, days):
    one = world.Desk(world.policy(Claims), the_shop=world.shop(return_address=Address(country="US")))
    to = Address(country=country) if country else None
    one.feed(world.requested(), world.order(ship_to=to), parcel(world.MONDAY, carrier=carrier))
    assert claim(one).due_at == world.MONDAY + timedelta(days=days)


def test_the_cap_is_expected_but_the_loss_is_claimed(world, desk):
    own = Rule(carriers=("YTO",), kinds=(DAMAGE,), days=7, freight=Money.of("12 CNY"), freight_times=7)
    one = desk(desks=DESKS, rules=(own,)).feed(parcel(world.MONDAY))
    amounts = json.loads(one.sent(MAILED).attachments[1].text)["amounts"]
    assert (amounts["claimed"], amounts["expected"], amounts["cap"]) == ("700.00 CNY", "84.00 CNY", "84.00 CNY")
