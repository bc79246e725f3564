"""Evidence: asked for once, reminded once, compared, and who answers for it by stated rules."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from rmabridge_claims import Claims
from rmabridge_evidence import EvidencePolicy
from rmabridge_evidence.rules import shipped_asks, shipped_rules
from rmabridge_helpdesk_sync import HelpdeskSync
from rmabridge_progress import Progress
from rmabridge_wording import Wording, lint
from rmabridge_wording.rules import Severity, load

from rmabridge.abilities import Limit, Way
from rmabridge.core.links import Link, Links
from rmabridge.core.templates import LOCALES, Catalogue
from rmabridge.model import (
    ApproveReturn,
    Attachment,
    Author,
    Classified,
    EvidenceAdded,
    EvidenceKind,
    Form,
    Identity,
    IdentityChecked,
    Issue,
    Line,
    Message,
    MessageReceived,
    Noted,
    Parcel,
    ParcelException,
    ParcelSeen,
    ParcelStatus,
    Ref,
    RefKind,
    RequestChanged,
    RequestProof,
    RequestStatus,
    Ruling,
    Scan,
    SendMessage,
)

BASE = "https://service.example.com"
ASKED = "evidence:ask:1:quality"


@pytest.fixture
def desk(world):
    class Linked(world.Desk):
        """A desk whose bridge has an address, and carriers that do what the test says."""

        can = ()
        links = Links(lambda *parts: (b"%d" % abs(hash(parts))).rjust(32, b"0"), BASE)

        def view(self):
            return replace(
                super().view(),
                links=lambda purpose, subject, who, until: self.links.url(Link(purpose, "C1", subject, who, until)),
                able=lambda action: type(action) in self.can,
            )

    def make(issue=Issue.QUALITY_DEFECT, *can, shop=None, order=None, base=BASE, **settings):
        made = Linked(world.policy(EvidencePolicy, **settings), the_shop=shop or world.shop())
        made.can, made.links = can, Links(Linked.links._sign, base)
        return made.feed(world.requested(issue=issue), world.order(**(order or {})))

    return make


def photo(one, need="overview", number=1, **facts):
    given = {"kind": EvidenceKind.PHOTO, "sha256": f"{number:064x}", "source": "buyer"} | facts
    id_ = f"{need}:{number:024x}"
    return EvidenceAdded(key=f"e:{id_}", at=one.now, evidence=id_, **given)


def complete(one):
    return one.feed(photo(one), photo(one, "detail", 2), photo(one, "detail", 3), photo(one, "label", 4))


def parcel(at, exception=None, status=ParcelStatus.DELIVERED, waybill="YT1"):
    scan = Scan(at=at, status=status, exception=exception, text="x")
    seen = Parcel(waybill=waybill, carrier="YTO", status=status, exception=exception, scans=(scan,))
    return ParcelSeen(key=f"p:{waybill}:{status}:{exception}", at=at, parcel=seen)


def marks(one):
    return [event.values for event in one.derived if isinstance(event, Noted) and "photos" in event.values][-1]


def test_a_quality_case_without_a_photo_is_asked_once_with_item_count_deadline_and_link(world, desk):
    one = desk()
    assert one.proposed("evidence:") == [ASKED]
    text = one.sent(ASKED).text
    for part in ("水壶", "共 4 份", "整体照片", "1月8日", f"{BASE}/l/"):
        assert part in text, text
    one.feed(world.order(at=one.now + timedelta(hours=1)), world.says("在吗", at=one.now + timedelta(hours=2)))
    assert one.proposed("evidence:") == [ASKED]
    token = text.split("/l/")[1].split()[0]
    link = one.links.read(token, one.now)
    assert (link.purpose, link.case, link.subject) == ("evidence", "C1", "quality:1")
    assert link.expires == one.now + timedelta(days=3)


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("ask", shipped_asks(), ids=lambda one: one.id)
def test_the_request_with_its_real_link_fits_into_a_marketplace_thread(world, locale, ask):
    link = Link("evidence", "C1234567890A", f"{ask.id}:1", "", datetime(2027, 1, 1, tzinfo=UTC))
    address = Links(lambda *_: bytes(32), "https://after-sales.example-shop.com.cn").url(link)
    needs = [one.name for one in ask.needs if one.count]
    given = {"item": "超长标题的保温水壶一点七升蓝…", "needs": needs, "count": 12, "upload": address}
    for name in ("evidence.request", "evidence.reminder"):
        given["due"] = datetime(2026, 11, 25, 18, tzinfo=UTC)
        text = Catalogue().render(
            name, locale, Form.THREAD, case="C1", name=None, shop="A", order="1", issue=None, **given
        )
        assert len(text.text.encode()) <= 400, text.text


def test_each_sub_cause_has_a_list_of_its_own(world, desk):
    lists = {}
    for name, issue, sub in (
        ("defect", Issue.QUALITY_DEFECT, None),
        ("expected", Issue.NOT_AS_DESCRIBED, "not_as_expected"),
        ("described", Issue.NOT_AS_DESCRIBED, None),
    ):
        one = desk(issue=None)
        one.feed(Classified(key="c", at=one.now, issue=issue, sub=sub))
        (key,) = one.proposed("evidence:ask:")
        lists[name] = one.sent(key).text
    assert len({text.split("的", 1)[1].split("，")[0] for text in lists.values()}) == 3, lists


def test_the_reminder_comes_once_and_names_only_what_is_missing(world, desk):
    one = desk()
    one.settle(ASKED).feed(photo(one), photo(one, "label", 4))
    one.advance(days=1)
    text = one.sent("evidence:remind:1:quality").text
    assert "问题处近照" in text and "共 2 份" in text and "整体" not in text
    assert one.links.read(text.split("/l/")[1].split()[0], one.now).expires == world.MONDAY + timedelta(days=3)
    one.advance(days=1)
    assert len(one.proposed("evidence:remind")) == 1


def test_whoever_has_handed_in_everything_is_not_reminded(desk):
    one = complete(desk())
    assert one.runs("evidence:remind") is None and one.runs("evidence:due") is None
    assert one.advance(days=4).proposed("evidence:remind") == []


def test_after_done_nobody_is_reminded(desk):
    one = desk()
    one.feed(photo(one), Noted(key="evidence:closed:x", at=one.now, text="done"))
    assert one.runs("evidence:remind") is None
    assert one.advance(days=4).proposed("evidence:remind") == []


def test_pictures_of_a_message_count_and_are_not_asked_for_again(world, desk):
    one = desk(issue=None)
    said = [Attachment(name=f"{n}.jpg", media_type="image/jpeg", url=f"https://img.example/{n}") for n in range(4)]
    text = Attachment(name="a.txt", media_type="text/plain", url="https://img.example/t")
    message = Message(id="m1", author=Author.BUYER, form=Form.CHAT, text="坏了", at=one.now, attachments=(*said, text))
    one.feed(MessageReceived(key="m1", at=one.now, message=message))
    assert [piece.id for piece in one.case.evidence] == [f"message:m1:{n}" for n in range(4)]
    one.feed(Classified(key="c", at=one.now, issue=Issue.QUALITY_DEFECT))
    assert one.proposed("evidence:ask") == []


def mailed(one, sizes, form=Form.MAIL):
    """The buyer writes with pictures of these sizes."""
    files = [
        Attachment(name=f"image00{number}.png", media_type="image/png", sha256=f"{number:064x}", size=size)
        for number, size in enumerate(sizes)
    ]
    message = Message(id="m1", author=Author.BUYER, form=form, text="坏了", at=one.now, attachments=tuple(files))
    one.feed(MessageReceived(key="m1", at=one.now, message=message))
    return one.feed(Classified(key="c", at=one.now, issue=Issue.QUALITY_DEFECT))


def test_small_pictures_in_a_mail_are_no_photos_of_the_goods(desk):
    one = mailed(desk(issue=None), [34, 900, 4_000, 9_999])
    assert one.case.evidence == () and one.case.liable is None
    assert one.proposed("evidence:ask")
    assert [piece.size for piece in mailed(desk(issue=None), [34, 10_000, None]).case.evidence] == [10_000, None]
    assert len(mailed(desk(issue=None), [34], form=Form.CHAT).case.evidence) == 1


@pytest.mark.parametrize(("number", "named"), [("1001", "1001"), ("#1001", "1001"), ("a-1001", "#A-1001")])
def test_an_order_s_number_is_the_same_with_and_without_its_sign(world, desk, number, named):
    one = desk(order={"number": number})
    approve = ApproveReturn(request="R1")
    one.feed(Noted(key="o", at=one.now, text="x", refs=(Ref(kind=RefKind.ORDER, value=named),)))
    assert one.policies[0].review(approve, one.case, one.view()) is None
    one.feed(Noted(key="p", at=one.now, text="x", refs=(Ref(kind=RefKind.ORDER, value="#1002"),)))
    assert "another order is named: #1002" in one.policies[0].review(approve, one.case, one.view()).reason


def test_old_and_imported_cases_are_not_asked(world):
    policy = world.policy(EvidencePolicy)
    for facts in ({"source": "import"}, {"opened_at": world.MONDAY - timedelta(days=8)}):
        one = world.Desk(policy, **facts)
        one.feed(world.requested(issue=Issue.QUALITY_DEFECT, at=facts.get("opened_at", one.now)), world.order())
        assert one.proposed("evidence:") == []


@pytest.mark.row("S072")
def test_the_matrix_says_match_mismatch_or_unknown_for_each_source_and_a_mismatch_blocks_approval(world, desk):
    one = desk()
    policy = one.policies[0]
    approve = ApproveReturn(request="R1")
    one.feed(photo(one))
    assert marks(one) == {"order": "match", "photos": "unknown", "waybill": "unknown"}
    one.feed(parcel(one.now))
    complete(one)
    assert marks(one) == {"order": "match", "photos": "match", "waybill": "match"}
    assert policy.review(approve, one.case, one.view()) is None
    said = "ticket:comment:evidence:1:match-match-match"
    assert "照片：一致" in one.sent(said).text
    reused = photo(one, "other", 9, source="buyer.reused")
    for event, source in (
        (reused, "photos"),
        (IdentityChecked(key="i", at=one.now, identity=Identity.MISMATCH), "order"),
        (Noted(key="w", at=one.now, text="x", refs=(Ref(kind=RefKind.WAYBILL, value="SF999"),)), "waybill"),
    ):
        two = complete(desk()).feed(parcel(world.MONDAY), event)
        assert marks(two)[source] == "mismatch"
        verdict = policy.review(approve, two.case, two.view())
        assert (verdict.ruling, verdict.rule) == (Ruling.HOLD, "evidence.mismatch") and source in verdict.reason
        by_hand = replace(two.view(), proposer="operator:mei")
        assert policy.review(approve, two.case, by_hand) is None


def test_a_complaint_of_goods_that_have_not_arrived_is_a_mismatch(world, desk):
    one = desk(order={"delivered_at": None})
    one.feed(parcel(one.now, status=ParcelStatus.IN_TRANSIT), photo(one))
    assert marks(one)["waybill"] == "mismatch"


def test_the_same_outcome_is_told_once(desk):
    one = complete(desk())
    told = one.proposed("ticket:comment:evidence:1:")
    one.feed(photo(one, "other", 7), photo(one, "other", 8))
    assert one.proposed("ticket:comment:evidence:1:") == told


@pytest.mark.parametrize("issue", [Issue.QUALITY_DEFECT, Issue.TRACKING_QUERY])
def test_each_file_is_on_the_ticket_whatever_it_changes(world, desk, issue):
    one = desk(issue)
    for number, need in enumerate(("overview", "detail", "other", "label", "detail"), 1):
        one.feed(photo(one, need, number))
    notes = [one.sent(key) for key in one.proposed("ticket:comment:evidence:file:")]
    assert [len(each.attachments) for each in notes] == [1] * 5
    assert len({each.attachments[0].sha256 for each in notes}) == 5
    assert not any(one.sent(key).attachments for key in one.proposed("ticket:comment:evidence:1:"))


def verdict(one):
    (said,) = [event for event in one.derived if isinstance(event, Classified)][-1:]
    return said


@pytest.mark.row("S022")
def test_the_decision_waits_for_evidence_and_carries_cause_confidence_liable_and_steps(world, desk):
    one = desk().feed(parcel(world.MONDAY), photo(desk()))
    assert one.case.liable is None
    complete(one)
    said = verdict(one)
    assert (said.liable, said.cause, said.confidence) == ("shop", "production_defect", 0.8)
    assert said.why[0] == "liability.shop.defect" and len(said.why) == 4
    assert (one.case.liable, one.case.cause) == ("shop", "production_defect")
    text = one.sent("evidence:steps:1:production_defect").text
    assert "1. 请保留商品和包装" in text and "2. " in text
    (noted,) = [
        event for event in one.derived if (isinstance(event, Noted) and "steps" in event.key) or "why" in event.key
    ]
    assert "接下来" in noted.text and noted.values["rule"] == "shop.defect"


def test_transit_damage_is_told_from_a_production_defect_by_the_scan(world, desk):
    one = desk().feed(parcel(world.MONDAY, ParcelException.DAMAGED, ParcelStatus.EXCEPTION))
    complete(one)
    assert (one.case.liable, one.case.cause) == ("carrier", "transit_damage")


def test_photos_alone_never_make_a_carrier_liable(world, desk):
    one = desk(Issue.DAMAGED_IN_TRANSIT).feed(parcel(world.MONDAY))
    one.feed(photo(one, "packaging", 1), photo(one, "packaging", 2), photo(one, "waybill", 3), photo(one, "detail", 4))
    assert one.case.liable is None
    assert one.proposed("evidence:steps") == []
    own_proof = photo(one, "other", 8, kind=EvidenceKind.PROOF)
    assert one.feed(own_proof).case.liable is None
    one.feed(photo(one, "proof", 9, kind=EvidenceKind.PROOF, source="yto"))
    assert (one.case.liable, verdict(one).why[0]) == ("carrier", "liability.carrier.proof")


def test_a_stronger_rule_replaces_ours_and_a_person_s_word_stays(world, desk):
    one = complete(desk().feed(parcel(world.MONDAY)))
    assert one.case.liable == "shop"
    one.advance(hours=1).feed(parcel(world.MONDAY, ParcelException.DAMAGED, ParcelStatus.EXCEPTION))
    assert one.case.liable == "carrier"
    two = desk().feed(parcel(world.MONDAY))
    two.feed(Classified(key="p", at=two.now, liable="customer", cause="customer", why=("seen by mei",)))
    assert complete(two).case.liable == "customer"


def test_beside_the_claims_policy_and_triage_the_cause_is_still_found(world):
    one = world.Desk(world.policy(Claims), world.policy(EvidencePolicy))
    one.feed(world.requested(issue=Issue.DAMAGED_IN_TRANSIT), world.order())
    one.feed(Classified(key="t", at=one.now, cause="logistics"))
    one.advance(hours=1).feed(parcel(one.now, ParcelException.DAMAGED, ParcelStatus.EXCEPTION))
    assert (one.case.liable, one.case.cause) == ("carrier", "transit_damage")
    assert one.proposed("evidence:steps") == ["evidence:steps:1:transit_damage"]


def test_another_article_than_ordered_is_the_warehouse_s(world):
    one = world.Desk(world.policy(EvidencePolicy))
    lines = (Line(id="1", order_line="L1", sku="SHOVEL"),)
    one.feed(world.requested(issue=Issue.WRONG_ITEM, lines=lines), world.order())
    assert (one.case.liable, one.case.cause) == ("warehouse", "wrong_item")
    assert verdict(one).why[0] == "liability.warehouse.sku"


def test_below_the_least_confidence_a_person_decides(world, desk):
    one = complete(desk(least=0.9).feed(parcel(world.MONDAY)))
    assert one.case.liable is None


def test_a_finding_of_no_fault_has_no_word_of_blame(world, desk):
    one = desk()
    one.feed(Classified(key="p", at=one.now, cause="customer"))
    text = one.sent("evidence:steps:1:customer").text
    assert "使用说明" in text
    for blame in ("您的问题", "错", "不当", "责任"):
        assert blame not in text


HELP = "https://shop.example/help/kettle"
BLAME = [one for one in load().rules.values() if one.group == "blame"]
TICKET = (Ref(kind=RefKind.TICKET, value="T1", account="desk"),)


def found_in_order(world, locale, **facts):
    """A case whose buyer needs an explanation: the goods are as they should be."""
    policies = [world.policy(one) for one in (HelpdeskSync, Progress, EvidencePolicy, Wording)]
    buyer = world.BUYER.model_copy(update={"locale": locale})
    one = world.Desk(*policies, the_shop=world.shop(help_url=HELP))
    asked = world.requested(issue=Issue.QUALITY_DEFECT, refs=(world.RETURN, *TICKET), buyer=buyer)
    return one.feed(asked, world.order(buyer=buyer), Classified(key="p", at=one.now, **facts))


@pytest.mark.row("S023")
@pytest.mark.parametrize(("locale", "script"), [("zh-CN", "zh-Hans"), ("zh-TW", "zh-Hant"), ("en", "en")])
@pytest.mark.parametrize("facts", [{"cause": "customer"}, {"liable": "customer", "cause": "misuse"}])
def test_what_is_no_fault_of_the_goods_is_explained_with_a_link_and_nobody_is_blamed(world, locale, script, facts):
    one = found_in_order(world, locale, **facts)
    told = len(one.ledger)
    assert one.proposed("evidence:explain") == ["evidence:explain:1"]
    assert one.sent("evidence:explain:1").template.id == "proposal.explain"
    assert one.proposed("evidence:steps") == []
    drafts = [phrase for rule in BLAME for phrase in rule.words(script).phrases]
    assert len(drafts) > 40
    for number, draft in enumerate(drafts):
        one.feed(world.says(draft, id=f"a{number}", author=Author.AGENT, form=Form.THREAD, refs=TICKET))
    one.feed(RequestChanged(key="no", at=one.now, status=RequestStatus.DECLINED, reason=drafts[0]))
    assert one.proposed("evidence:explain") == ["evidence:explain:1"], "once"
    replies = [one.sent(key) for key in ("evidence:explain:1", *list(one.ledger)[told:])]
    replies = [each for each in replies if isinstance(each, SendMessage)]
    assert len(replies) == len(drafts) + 2
    assert all(HELP in each.text for each in replies)
    assert [each.text for each in replies if one.ledger[each.key] != "held" and lint(each.text, locale)] == []
    grave = sum(len(rule.words(script).phrases) for rule in BLAME if rule.severity is not Severity.REPLACE)
    assert sum(one.ledger[each.key] == "held" for each in replies) == grave < len(drafts) / 5


def test_without_a_page_that_helps_the_next_steps_are_told_and_words_stay_as_they_are(world, desk):
    one = desk()
    one.feed(Classified(key="p", at=one.now, cause="customer"))
    assert (one.proposed("evidence:explain"), len(one.proposed("evidence:steps"))) == ([], 1)
    two = desk(shop=world.shop(help_url=HELP)).feed(Classified(key="s", at=world.MONDAY, liable="shop"))
    said = SendMessage(purpose="answer:1", form=Form.MAIL, to="a@b.example", text="您好")
    assert two.proposed("evidence:explain") == [] and two.policies[0].amend(said, two.case, two.view()) is None
    with pytest.raises(ValidationError, match="not an address"):
        world.shop(help_url="our help page")


def test_the_link_goes_where_there_is_room_for_it_to_the_buyer_and_once(world, desk):
    def amended(text, limit=None, **facts):
        ways = (Way(account="mail", form=Form.MAIL, limit=limit),)
        one = desk(shop=world.shop(help_url=HELP, ways=ways))
        one.feed(Classified(key="p", at=one.now, cause="customer"))
        said = SendMessage(**{"purpose": "answer:1", "form": Form.MAIL, "to": "a@b.example", "text": text} | facts)
        return one.policies[0].amend(said, one.case, one.view())

    assert amended("您好").text == f"您好\n使用说明：{HELP}"
    assert amended("您好", Limit(characters=20)) is None
    assert amended(f"请看 {HELP}") is None
    assert amended("您好", audience="staff") is None


def test_proof_is_asked_of_the_carrier_by_call_or_by_a_colleague(world, desk):
    called = desk(Issue.DAMAGED_IN_TRANSIT, RequestProof).feed(parcel(world.MONDAY))
    assert called.proposed("proof:") == ["proof:YT1:damage"]
    by_hand = desk(Issue.DAMAGED_IN_TRANSIT).feed(parcel(world.MONDAY))
    assert "YT1" in by_hand.sent("ticket:comment:proof:YT1").text
    assert desk(Issue.DAMAGED_IN_TRANSIT, ask_proof=False).feed(parcel(world.MONDAY)).proposed("ticket:comment") == []


def test_a_shop_s_own_lists_and_rules_go_first(desk):
    ask = {"id": "quality", "issues": ["quality_defect"], "needs": [{"name": "label"}]}
    rule = {"id": "mine", "when": ["shown"], "liable": "supplier", "cause": "batch", "confidence": 1}
    one = desk(asks=[ask], liability=[rule])
    assert "共 1 份" in one.sent(ASKED).text
    assert one.feed(photo(one, "label")).case.liable == "supplier"


def test_a_rule_that_blames_a_carrier_without_its_own_word_is_refused(world):
    rule = {"id": "x", "when": ["complete"], "liable": "carrier", "cause": "x", "confidence": 1}
    with pytest.raises(ValidationError, match="only by its proof or its scan"):
        world.policy(EvidencePolicy, liability=[rule])


def test_every_word_of_the_data_is_in_every_language():
    render = Catalogue().render
    words = {f"need_{piece.name}" for ask in shipped_asks() for piece in ask.needs} | {"need_other"}
    for locale in LOCALES:
        said = {render("evidence.need", locale, Form.CHAT, need=one.removeprefix("need_")).text for one in words}
        assert len(said) == len(words) and not any(one.startswith("need ") for one in said)
        for rule in shipped_rules():
            text = render(
                "evidence.steps", locale, Form.THREAD, cause=rule.cause, steps=rule.steps, case="C", name=None, shop="A"
            ).text
            assert "step " not in text and "cause " not in text, text


@pytest.mark.parametrize("address", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:80"])
def test_a_buyer_is_not_sent_to_an_address_of_this_machine(desk, address):
    one = desk(base=address)
    text = one.sent(ASKED).text
    assert "/l/" not in text and "回复发送" in text


def test_another_issue_does_not_ask_again(world, desk):
    one = desk()
    one.feed(Classified(key="c", at=one.now, issue=Issue.WRONG_ITEM))
    assert one.proposed("evidence:ask") == [ASKED]


def test_nothing_is_asked_where_nothing_reaches_the_buyer(world):
    one = world.Desk(world.policy(EvidencePolicy), the_shop=world.shop(ways=()))
    one.feed(world.requested(issue=Issue.QUALITY_DEFECT), world.order())
    assert one.proposed("evidence:") == [] and one.runs("evidence:remind") is None


def test_a_thread_is_asked_in_its_own_words(world, desk):
    shop = world.shop(ways=(Way(account="mkt", form=Form.THREAD),))
    one = desk(shop=shop)
    one.feed(Noted(key="t", at=one.now, text="x", refs=(Ref(kind=RefKind.THREAD, value="T1", account="mkt"),)))
    assert one.sent(ASKED).form is Form.THREAD and len(one.sent(ASKED).text.encode()) <= 400
