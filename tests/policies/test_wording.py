"""What is not said to customers: found, replaced, held or stopped; the words as written are kept."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rmabridge_helpdesk_sync import HelpdeskSync
from rmabridge_progress import Progress
from rmabridge_wording import Wording, lint
from rmabridge_wording.lint import default
from rmabridge_wording.rules import SCRIPTS, Severity

from rmabridge.core.templates import LOCALES, Catalogue
from rmabridge.model import (
    Author,
    CaseKind,
    CommentTicket,
    DeclineReturn,
    Form,
    Issue,
    Money,
    PayRefund,
    Ref,
    RefKind,
    RequestChanged,
    RequestStatus,
    Ruling,
    SendMessage,
)
from rmabridge.testing.contract import PolicyContract

CATALOGUE = Catalogue()
LINTER = default()
RULES = list(LINTER.lists.rules.values())
LOCALE = {"zh-Hans": "zh-CN", "zh-Hant": "zh-TW", "en": "en"}
GROUPS = {"banned", "absolute", "jargon", "blame", "carrier", "platform"}
INSIDE = ("staff", "ticket", "note", "claim", "enquiry")  # how the kinds of words for colleagues and carriers end
TO_BUYERS = [one for one in CATALOGUE.ids() if not CATALOGUE.text(one).kind.endswith(INSIDE)]
ANSWERS = {"first_reply", "greeting", "script", "calming", "question", "proposal"}  # the kinds that are never curt
TICKET = (Ref(kind=RefKind.TICKET, value="T1", account="desk"),)
PHRASES = [phrase for rule in RULES for script in SCRIPTS for phrase in rule.words(script).phrases]


def ids(text, locale="zh-CN"):
    return [one.rule.id for one in lint(text, locale)]


class TestWordingContract(PolicyContract):
    plugin = Wording


@pytest.fixture
def desk(world):
    def make(*others, given=None, **facts):
        return world.Desk(*map(world.policy, others), world.policy(Wording, **(given or {})), **facts)

    return make


def to_buyer(text, **facts):
    return SendMessage(purpose="answer:1", form=Form.CHAT, to="X1", text=text, **facts)


def judged(one, action):
    """The action in its final words, and what Wording says of it."""
    policy = one.policies[-1]
    final = policy.amend(action, one.case, one.view()) or action
    return final, policy.review(final, one.case, one.view())


# -- the lists ---------------------------------------------------------------------------------------------------------


def test_the_lists_are_some_150_rules_in_six_groups_and_three_scripts():
    groups = Counter(one.group for one in RULES)
    assert set(groups) == GROUPS and min(groups.values()) >= 15 and 140 <= len(RULES) <= 170
    for rule in RULES:
        assert rule.reason and rule.source
        assert rule.pattern or any(rule.words(script).phrases for script in SCRIPTS)
        if rule.severity is Severity.REPLACE:
            assert all(rule.words(script).say for script in SCRIPTS), rule.id


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_phrase_is_found_and_what_is_said_instead_is_clean_and_polite_enough(script):
    for rule in RULES:
        own = rule.words(script)
        for phrase in own.phrases:
            assert rule.id in ids(phrase, LOCALE[script]), (rule.id, phrase)
        assert ids(own.say, LOCALE[script]) == [], (rule.id, own.say)


def test_glossary_terms_are_clean_too():
    for term, words in LINTER.lists.terms.items():
        for script in SCRIPTS:
            assert ids(words[script], LOCALE[script]) == [], term


# -- the linter --------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(LOCALES))
def test_any_text_is_linted_and_its_findings_stand_where_they_say(text, locale):
    end = 0
    for one in lint(text, locale):
        assert one.start >= end and text[one.start : one.end] == one.found
        end = one.end


PIECES = st.one_of(st.sampled_from(PHRASES), st.sampled_from(LINTER.lists.whitelist), st.text(max_size=6))


@settings(deadline=None)
@given(st.lists(PIECES, max_size=8).map("".join), st.sampled_from(LOCALES))
def test_reworded_text_has_nothing_left_to_replace_and_is_not_reworded_again(text, locale):
    once = LINTER.reword(text, locale)
    assert LINTER.reword(once, locale) == once
    assert not [one for one in lint(once, locale) if one.say]


def test_the_whitelist_wins_over_what_it_contains():
    assert ids("我们第一时间为您处理") == []
    assert ids("我們第一時間為您處理", "zh-TW") == []
    assert ids("我们为您联系快递公司") == []
    assert ids("全国第一的水壶") == ["absolute.first_in"]
    assert ids("Best regards, 100% cotton", "en") == []


def test_addresses_are_left_alone_and_letters_in_words_do_not_count():
    assert ids("https://example.com/no-returns-accepted/calm-down and whatever@no.example", "en") == []
    assert ids("The idiotic shutdown of a relaxed platform", "en") == []


def test_wide_letters_curly_quotes_and_case_hide_nothing():
    assert ids("That’s NORMAL", "en") == ["banned.normal_thing"]
    assert ids("ＶＸ：ａｂｃ１２３４５") == ["platform.wechat_id"]
    assert ids("加VX") == ["platform.add_wechat"]


@pytest.mark.row("S056")
def test_the_glossary_settles_abbreviations_and_an_unknown_one_is_a_finding():
    (found,) = lint("Your RMA is open", "en")
    assert (found.rule.id, found.say) == ("jargon.RMA", "return request")
    assert LINTER.reword("您的RMA已建立", "zh-CN") == "您的售后申请已建立"
    assert LINTER.reword("您的RMA已建立", "zh-TW") == "您的售後申請已建立"
    assert ids("The QZX is done", "en") == ["jargon.abbreviation"]
    assert ids("Your USB cable by UPS, SF-1234 and 25 CNY", "en") == []


# -- what we say ourselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", TO_BUYERS)
def test_every_shipped_template_in_every_language_and_form_passes(id_):
    for locale in LOCALES:
        for form in CATALOGUE.text(id_).forms:
            for sample in ("typical", "worst", "bare"):
                said = CATALOGUE.preview(id_, locale, form, sample)
                assert not lint(f"{said.text}\n{said.subject or ''}", locale), (locale, form)
                if CATALOGUE.text(id_).kind in ANSWERS:
                    assert LINTER.polite(said.text, locale), (locale, form, said.text)


@pytest.mark.row("S048", "S049")
def test_the_first_reply_to_every_kind_of_complaint_feels_and_apologises_and_admits_nothing():
    assert not [one for one in CATALOGUE.lint() if one.where.startswith("templates.first_reply.")]
    for kind in CaseKind:
        for locale in LOCALES if kind is not CaseKind.QUESTION else ():
            for form in Form:
                text = CATALOGUE.preview(f"first_reply.{kind}", locale, form).text
                assert any(line in text for line in CATALOGUE.empathy(locale))
                assert any(one in text for one in ("抱歉", "sorry"))
                assert "absolute.liability" not in ids(text, locale)


@pytest.mark.row("S054")
@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("爱买不买，随便你", "zh-CN"),
        ("您冷静一点，多大点事", "zh-CN"),
        ("愛買不買，隨便你", "zh-TW"),
        ("Calm down, it's not a big deal.", "en"),
        ("Take it or leave it!", "en"),
    ],
)
def test_rude_words_fail(text, locale):
    assert ids(text, locale) and all(one.startswith("banned.") for one in ids(text, locale))
    assert not LINTER.polite("爱买不买", "zh-CN") and not LINTER.polite("Take it or leave it", "en")


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("form", [Form.THREAD, Form.CHAT, Form.SMS])
def test_a_proposal_ends_with_a_question_to_accept_or_decline(locale, form):
    text = CATALOGUE.preview("proposal.offer", locale, form).text
    assert text.endswith(("即可。", 'answer "yes" or "no".'))
    assert any(one in text for one in ("是否合适", "是否合適", "all right with you"))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("form", list(Form))
def test_a_refusal_names_its_rule_and_offers_something_else(locale, form):
    text = CATALOGUE.preview("proposal.denied", locale, form).text
    assert "returns.window" in text and "20.00" in text


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("form", list(Form))
def test_an_explanation_carries_a_link_and_blames_nobody(locale, form):
    text = CATALOGUE.preview("proposal.explain", locale, form).text
    assert "https://example.com/help/kettle" in text
    assert not [one for one in ids(text, locale) if one.startswith("blame.")]


# -- the policy --------------------------------------------------------------------------------------------------------


@pytest.mark.row("S052")
def test_an_agents_banned_phrase_is_replaced_and_the_ticket_keeps_the_original_and_the_change(world, desk):
    one = desk(HelpdeskSync).feed(world.requested(refs=(world.RETURN, *TICKET)), world.order())
    draft = "您好，这是正常现象，您理解错了。"
    one.feed(world.says(draft, id="a1", author=Author.AGENT, form=Form.THREAD, refs=TICKET))
    sent = one.sent("answer:a1")
    assert sent.text == "您好，我们马上为您查明原因，可能是我们没有说清楚。"
    note = one.sent("ticket:comment:wording:a1")
    assert draft in note.text and not note.public
    for piece in ("banned.normal_thing", "这是正常现象", "我们马上为您查明原因", "blame.wrong_idea", "您理解错了"):
        assert piece in note.text
    clean = one.feed(world.says("您好，我们马上处理。", id="a2", author=Author.AGENT, refs=TICKET))
    assert "ticket:comment:wording:a2" not in clean.ledger


@pytest.mark.parametrize(
    ("text", "locale"),
    [
        ("是您操作不当，您没看说明", "zh-CN"),
        ("是您操作不當，您沒看說明", "zh-TW"),
        ("It is your fault, you misused it.", "en"),
    ],
)
def test_no_blame_reaches_the_customer_even_where_the_cause_is_theirs(desk, text, locale):
    one = desk(cause="customer", issue=Issue.QUALITY_DEFECT)
    final, verdict = judged(one, to_buyer(text, locale=locale))
    assert ids(final.text, locale) == [] and verdict is None


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("请联系快递公司查询", "我们为您联系承运方查询"),
        ("您可以直接联系顺丰", "我们为您联系承运方"),
        ("是快递的问题", "运输环节由我们来跟进"),
        ("Please contact the carrier yourself.", "We will contact the carrier for you."),
        ("You should call UPS.", "We will contact the carrier for you."),
    ],
)
def test_nobody_is_passed_on_to_the_carrier(desk, text, instead):
    final, verdict = judged(desk(), to_buyer(text, locale="en" if text.isascii() else "zh-CN"))
    assert (final.text, verdict) == (instead, None)


@pytest.mark.row("S059")
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_phrase_that_passes_the_buyer_on_to_the_carrier_is_mended_or_waits_for_a_person(desk, script):
    passing = [phrase for rule in RULES if rule.group == "carrier" for phrase in rule.words(script).phrases]
    assert len(passing) > 40
    one = desk(issue=Issue.LOST_PARCEL, liable="carrier")
    for phrase in passing:
        final, verdict = judged(one, to_buyer(phrase, locale=LOCALE[script]))
        assert ids(final.text, LOCALE[script]) == [] or verdict.ruling is not Ruling.ALLOW, phrase


BRIBES = [
    ("五星好评返现10元", "zh-CN"),
    ("五星好評返現10元", "zh-TW"),
    ("You get a voucher for a review.", "en"),
    ("We refund you after you remove your review.", "en"),
]


@pytest.mark.parametrize(("text", "locale"), BRIBES)
def test_bought_reviews_are_denied_on_every_marketplace_whose_rules_do_not_allow_them(desk, text, locale):
    allowing = {"markets": {"own-shop": {"platform": "note"}}}
    for market in ("taobao", "amazon", None):
        one = desk(given=allowing, marketplace=market)
        verdict = judged(one, to_buyer(text, locale=locale))[1]
        assert verdict.ruling is Ruling.DENY and verdict.rule.startswith("wording.platform.review")
        assert "(platform.review" in verdict.reason
    allowed = judged(desk(given=allowing, marketplace="own-shop"), to_buyer(text, locale=locale))[1]
    assert allowed.ruling is Ruling.ALLOW


def test_contact_outside_of_the_platform_waits_for_a_person_and_the_agent_is_told(world, desk):
    one = desk(HelpdeskSync).feed(world.requested(refs=(world.RETURN, *TICKET)), world.order())
    one.feed(world.says("加我微信：abc12345", id="a1", author=Author.AGENT, refs=TICKET))
    assert one.ledger["answer:a1"] == "held"
    assert "没有发给顾客" in one.sent("ticket:comment:wording:a1").text


@pytest.mark.row("S049")
def test_a_fault_is_admitted_only_where_the_case_says_so(desk):
    admission = to_buyer("非常抱歉，这是我们的责任。", locale="zh-CN")
    assert judged(desk(), admission)[1].ruling is Ruling.HOLD
    assert judged(desk(cause="customer"), admission)[1].ruling is Ruling.HOLD
    assert judged(desk(liable="warehouse"), admission)[1].ruling is Ruling.ALLOW


def test_notes_of_refunds_and_refusals_are_read_by_buyers_and_internal_words_are_not(desk):
    one = desk()
    pay = PayRefund(request="R1", amount=Money.of("5 CNY"), note="我保证给您退款")
    assert judged(one, pay)[0].note == "我们会尽力给您退款"
    assert "最低价" not in judged(one, DeclineReturn(request="R1", note="这是最低价"))[0].note
    public = CommentTicket(origin="x", text="请联系快递公司", public=True)
    assert judged(one, public)[0].text == "我们为您联系承运方"
    for inside in (public.model_copy(update={"public": False}), to_buyer("SKU 有病", audience="staff")):
        assert judged(one, inside) == (inside, None)


@settings(deadline=None)
@given(st.lists(PIECES, max_size=6).map("".join), st.sampled_from(LOCALES))
def test_amending_twice_changes_nothing_more(world, text, locale):
    one = world.Desk(world.policy(Wording))
    final, _ = judged(one, to_buyer(text, locale=locale))
    assert judged(one, final)[0] == final


def test_a_reason_of_the_marketplace_that_reaches_the_buyer_is_mended(world, desk):
    one = desk(Progress).feed(world.requested(), world.order())
    one.feed(
        RequestChanged(key="no", at=one.now, refs=(world.RETURN,), status=RequestStatus.DECLINED, reason="是您操作不当")
    )
    assert "操作不当" not in one.sent("progress:declined:1").text


def test_an_own_file_adds_changes_and_removes_rules(desk, tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(
        """
[banned.normal_thing]
zh-Hans = { phrases = ["这是正常现象"], say = "我们来看看" }
[banned.insult]
remove = true
[house.motto]
severity = "hold"
reason = "not our tone"
en.phrases = ["to the moon"]
[whitelist]
en = ["no big deal hunters"]
[terms]
QZX = { zh-Hans = "快修", zh-Hant = "快修", en = "quick repair" }
[known]
own = ["ACMX"]
""",
        encoding="utf-8",
    )
    one = desk(given={"rules": file, "severity": {"jargon": "note", "banned.fuss": "deny"}})
    assert judged(one, to_buyer("这是正常现象", locale="zh-CN"))[0].text == "我们来看看"
    assert judged(one, to_buyer("idiot", locale="en"))[1] is None
    assert judged(one, to_buyer("To the moon!", locale="en"))[1].rule == "wording.house.motto"
    assert judged(one, to_buyer("for no big deal hunters of ACMX", locale="en"))[1] is None
    assert judged(one, to_buyer("your QZX", locale="en"))[1].ruling is Ruling.ALLOW
    assert judged(one, to_buyer("多大点事", locale="zh-CN"))[1].ruling is Ruling.DENY


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[house.x]\nreason = 'r'\n", "severity"),
        ("[house.x]\nseverity = 'replace'\nreason = 'r'\nen.phrases = ['to the moon']\n", "nothing is said instead"),
        ("[house.x]\nseverity = 'hold'\nreason = 'r'\nen.phrases = ['calm down']\n", "stands in"),
        ("[house.x]\nseverity = 'hold'\nreason = 'r'\npattern = '('\n", "not a regular expression"),
        ("[house.x]\nseverity = 'hold'\nreason = 'r'\nen.phrases = ['x']\n", "too short"),
        ("[house\n", "Expected"),
    ],
)
def test_an_own_file_that_is_not_right_is_refused_with_its_reason(world, tmp_path, text, reason):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ValidationError, match=reason):
        world.policy(Wording, rules=tmp_path / "own.toml")


def test_settings_that_name_no_rule_are_refused(world, tmp_path):
    with pytest.raises(ValidationError, match=r"banned\.nothing: there is no such rule or group"):
        world.policy(Wording, severity={"banned.nothing": "note"})
    with pytest.raises(ValidationError, match="No such file"):
        world.policy(Wording, rules=tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("PO Box 5", "The Complete Idiot's Guide to Wine"),
        ("绝对路 1 号永久工业园", "永久牌自行车 26寸 成人通勤代步轻便男女式学生单车"),
        ("PO Box 5", "自行车26寸成人通勤代步永久牌轻便男女式学生单车"),
    ],
)
def test_addresses_and_titles_are_names_and_no_wording(world, line, title):
    goods = world.ORDER.lines[0].model_copy(update={"title": title})
    address = {"country": "US", "city": "Austin", "lines": (line,)}
    one = world.Desk(world.policy(Wording), the_shop=world.shop(return_address=address, locale="en"))
    one.feed(world.requested(), world.order(lines=(goods,)))
    text = f"Send {title} to {line}. {title[:18]}… An idiot said so."
    said = SendMessage(purpose="p", form="mail", to="a@b.c", text=text, locale="en")
    amended = one.policies[0].amend(said, one.case, one.view()) or said
    assert f"Send {title} to {line}. {title[:18]}…" in amended.text
    plain = said.model_copy(update={"text": f"Send {title} to {line}."})
    assert one.policies[0].review(plain, one.case, one.view()) is None
