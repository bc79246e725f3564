"""Triage: what a buyer's words say, and what they change on a case."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rmabridge_first_reply import FirstReply
from rmabridge_routing import Routing
from rmabridge_triage import Triage, TriagePolicy, classify
from rmabridge_triage.lexicon import Lexicon

from rmabridge.model import Author, CaseKind, Classified, CommentTicket, Issue, Line, Money, UpdateTicket
from rmabridge.testing.contract import PolicyContract


class TestContract(PolicyContract):
    plugin = TriagePolicy


@pytest.fixture
def desk(world):
    def make(*others, **settings):
        return world.Desk(world.policy(TriagePolicy, **settings), *others)

    return make


def classified(desk):
    return [one for one in desk.derived if isinstance(one, Classified)]


@settings(deadline=None)
@given(st.text(max_size=1500))
def test_any_text_gives_a_triage(text):
    found = classify(text)
    assert isinstance(found, Triage)
    assert found.level in {1, 2, 3}
    assert found.anger in {0, 1, 2}
    assert found == classify(text)


@settings(deadline=None)
@given(st.text(alphabet="0123456789-#SFYT1Z元$ .,订单号:", max_size=60))
def test_any_number_is_read_without_error(text):
    assert all(money.amount >= 0 for money in classify(text).entities.amounts)


def test_an_empty_message_says_nothing():
    assert (classify("").issue, classify(" \n").level, classify("").phrases) == (None, 1, ())


@pytest.mark.parametrize(
    "text",
    [
        "你们卖假货",
        "這是假貨吧",
        "买到的是高仿，不是正品",
        "收到仿冒品，要求退費",
        "冒牌货也敢卖",
        "this is a counterfeit",
        "I got a knock-off",
    ],
)
@pytest.mark.row("S027")
def test_fake_goods_select_the_report_and_the_compensation(world, desk, text):
    policy = world.policy(TriagePolicy)
    one = world.Desk(policy).feed(world.says(text))
    note = next(action for action in one.actions.values() if action.key.endswith("solution:counterfeit:1"))
    assert isinstance(note, CommentTicket)
    assert note.public is False
    assert "质检报告" in note.text
    assert "赔付" in note.text
    assert policy._solutions["counterfeit"]["parts"] == ["qc_report", "compensation"]


def test_a_word_for_refunds_selects_the_trace_of_the_refund(world, desk):
    for text in ("退款怎么还没到账", "退款怎麼還沒入帳", "where is my refund"):
        assert "ticket:comment:solution:refund_status:1" in desk().feed(world.says(text)).proposed()


def test_a_shop_may_bring_its_own_words_and_solutions(world, desk, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("# ours\nQD 12|蓝牙抽风\n", encoding="utf-8")
    mine = tmp_path / "mine.toml"
    mine.write_text('[quality_defect]\nen = "Swap it."\n', encoding="utf-8")
    one = desk(lexicon=own, solutions=mine).feed(world.says("蓝牙抽风"))
    assert one.case.issue is Issue.QUALITY_DEFECT
    assert one.sent("ticket:comment:solution:quality_defect:1").text == "Swap it."


def test_a_list_that_cannot_be_read_stops_the_start(world, tmp_path):
    own = tmp_path / "own.txt"
    own.write_text("QD no weight", encoding="utf-8")
    with pytest.raises(ValueError, match="write CODE weight"):
        world.policy(TriagePolicy, lexicon=own)


def test_solutions_can_be_left_out(world, desk):
    assert desk(suggest=False).feed(world.says("你们卖假货")).proposed() == []


@pytest.mark.parametrize(
    ("text", "cause", "sub"),
    [
        ("耳机用了两天就坏了，没声音", "product", "defect"),
        ("电饭煲少发了一个配件", "product", "missing"),
        ("快递太慢了，物流卡在中转站五天没更新", "logistics", "late"),
        ("都一周了还不发货", "logistics", "late_dispatch"),
        ("快递把花瓶摔碎了", "logistics", "damaged"),
        ("你们客服态度太差，还骂人", "service", "agent"),
        ("客服態度很差，講話超兇", "service", "agent"),
        ("the courier crushed the box and the lamp arrived broken", "logistics", "damaged"),
        ("your agent was rude to me", "service", "agent"),
    ],
)
@pytest.mark.row("S020")
def test_complaints_fall_into_product_logistics_and_service_with_their_causes(world, desk, text, cause, sub):
    one = desk().feed(world.says(text))
    assert (one.case.cause, one.case.sub, one.case.kind) == (cause, sub, CaseKind.COMPLAINT)


@pytest.mark.parametrize("text", ["请问这件外套有大码吗，170穿什么码", "請問這款防水嗎", "what size should I get?"])
def test_a_question_before_buying_is_no_complaint_and_goes_to_presale(world, desk, text):
    rules = [{"name": "presale", "when": {"issue": "product_question", "kind": "question"}, "then": {"group": "sales"}}]
    one = world.Desk(world.policy(TriagePolicy), world.policy(Routing, rules=rules))
    one.case = one.case.model_copy(update={"missing": ("order",)})
    one.feed(world.says(text))
    assert (one.case.issue, one.case.kind, one.case.sub) == (Issue.PRODUCT_QUESTION, CaseKind.QUESTION, "presale")
    assert one.case.cause is None
    assert one.case.route.group == "sales"
    (tagged,) = (action for action in one.actions.values() if isinstance(action, UpdateTicket))
    assert tagged.add_tags == ("presale",)


def test_a_question_about_an_order_has_no_presale_tag(world, desk):
    one = desk().feed(world.order(), world.says("请问这件外套防水吗"))
    assert one.case.issue is Issue.PRODUCT_QUESTION
    assert not [action for action in one.actions.values() if isinstance(action, UpdateTicket)]


@pytest.mark.parametrize(
    "text", ["气死我了，什么垃圾东西！！", "氣死我了，什麼爛東西，太離譜", "This is RIDICULOUS, I am furious"]
)
def test_an_angry_tone_is_noticed_even_where_the_cause_is_not(world, desk, text):
    assert desk().feed(world.says(text)).case.anger == 2
    assert desk().feed(world.says("请问有蓝色的吗")).case.anger == 0


def test_harm_is_a_crisis_beside_any_other_cause(world, desk):
    one = desk().feed(world.says("我要退货，充电器充电时冒烟起火了"))
    assert one.case.level == 3
    assert Issue.SAFETY_CRISIS in {one.case.issue, *one.case.also}
    assert desk(margin=99).feed(world.says("孩子吃了之后送急诊")).case.level == 3


def test_a_question_whether_harm_may_come_is_no_crisis():
    assert classify("敏感肌用会过敏吗").level == 1
    assert classify("请问这个会不会起火").level == 1


@pytest.mark.parametrize(
    "text",
    [
        "我付了999元，什么时候发货？",
        "I paid $999 for this sofa, when does it ship?",
        "Please send the replacement to 315 Main Street",
        "订单号315，什么时候到",
        "Apartment 911, please redeliver",
        "The return label has expired, can you send a new one?",
        "你们给的退货标签过期了，能重新发一张吗",
        "優惠券過期了還能用嗎",
        "连结已过期",
        "收到一张过期的优惠券",
        "活动已经过期了吗",
        "已经超过期限了还能退吗",
        "my gift card expired",
        "好的，我拍视频发给你",
        "我可以发视频给你看",
        "开箱拍视频了，少了一个杯子",
        "As I recall, I ordered the blue one. Can you check?",
        "I saw it on YouTube, does it come in red?",
    ],
)
def test_numbers_papers_that_expire_and_films_for_the_shop_are_no_crisis(text):
    assert classify(text).level < 3


@pytest.mark.parametrize(
    "text",
    [
        "we called 911",
        "打了119，消防来了",
        "315见",
        "牛奶過期了",
        "标签上写着已过期",
        "The milk was expired",
        "I used the discount code on milk that was expired",
        "优惠券过期就算了，饼干也过期了",
        "你们促销过期食品",
        "卖过期的活动商品给我",
        "you sell expired discount food",
        "我拍视频发到网上",
        "拍视频给大家看你们的真面目，发抖音",
        "发视频给你们看，不退就曝光",
        "Is there a recall on this heater?",
        "I'll post it on YouTube",
        "你们不退款我就跳楼",
    ],
)
def test_the_same_words_are_a_crisis_where_they_mean_one(text):
    assert classify(text).level == 3


@pytest.mark.parametrize(
    "text",
    [
        "没有起火前就觉得不对，后来起火了",
        "宣传不含甲醛，结果甲醛超标十倍",
        "你们说不会过敏反应，可我老婆过敏了进不了门",
        "no smoke at first, then smoke everywhere",
    ],
)
def test_harm_denied_at_one_place_and_told_at_another_is_a_crisis(text):
    assert classify(text).level == 3


@pytest.mark.parametrize("text", ["没有过敏，也没有过敏反应", "no smoke, no smoke at all"])
def test_harm_denied_at_every_place_is_none(text):
    assert classify(text).level < 3


@pytest.mark.parametrize("end", ["The heater caught fire and my daughter is in hospital.", "插座起火了，孩子烫伤了"])
def test_harm_told_at_the_end_of_a_long_letter_is_a_crisis(world, desk, end):
    calm = "I ordered a blue lamp and would like to have a red one. " * 30
    assert desk().feed(world.says(calm)).case.level < 3
    one = desk().feed(world.says(calm + end))
    assert (one.case.level, Issue.SAFETY_CRISIS in {one.case.issue, *one.case.also}) == (3, True)
    assert any(why.endswith("safety_crisis") for why in one.case.why)
    assert classify("nothing " * 100_000 + end).level < 3


def test_below_the_margin_no_issue_is_named_but_the_rest_is(world, desk):
    one = desk(margin=99).feed(world.says("你们卖假货，骗子！！"))
    assert one.case.issue is None
    assert (one.case.level, one.case.anger, one.case.language) == (2, 2, "zh-CN")
    assert "假货: counterfeit" in one.case.why


def test_what_a_person_said_is_not_taken_back(world, desk):
    one = desk().feed(world.says("你好"))
    assert one.case.issue is Issue.OTHER
    one.advance(minutes=1)
    one.feed(Classified(key="by-agent", at=one.now, issue=Issue.WRONG_ITEM, level=2, kind="exchange", cause="packing"))
    one.advance(minutes=1).feed(world.says("快递太慢了还没到", id="m2", at=one.now))
    assert (one.case.issue, one.case.level, one.case.kind, one.case.cause) == ("wrong_item", 2, "exchange", "packing")
    assert Issue.LATE_DELIVERY in one.case.also


def test_a_later_message_raises_and_adds(world, desk):
    one = desk().feed(world.says("你好"))
    one.advance(minutes=1).feed(world.says("耳机坏了没声音", id="m2", at=one.now))
    assert (one.case.issue, one.case.level) == (Issue.QUALITY_DEFECT, 2)
    one.advance(minutes=1).feed(world.says("再不处理我就找记者曝光，垃圾！！", id="m3", at=one.now))
    assert (one.case.issue, one.case.level, one.case.anger) == (Issue.QUALITY_DEFECT, 3, 2)
    assert Issue.MEDIA_MASS_RISK in one.case.also
    one.advance(minutes=1).feed(world.says("好的谢谢", id="m4", at=one.now))
    assert (one.case.issue, one.case.level, one.case.anger) == (Issue.QUALITY_DEFECT, 3, 2)


def test_a_request_is_read_by_its_reason_and_its_note(world, desk):
    lines = (Line(id="1", note="寄來的是紅色，我訂的是黑色，寄錯了"),)
    one = desk().feed(world.requested(reason="other", lines=lines))
    assert (one.case.issue, one.case.kind, one.case.language) == (Issue.WRONG_ITEM, CaseKind.RETURN, "zh-TW")


def test_the_same_event_says_the_same_once(world, desk):
    one = desk()
    event = world.says("你们卖假货")
    first = list(one.policies[0].decide(one.case, event, one.view()))
    assert first == list(one.policies[0].decide(one.case, event, one.view()))
    one.feed(event)
    assert not [each for each in one.policies[0].decide(one.case, event, one.view()) if isinstance(each, Classified)]


def test_colleagues_and_carriers_are_not_triaged(world, desk):
    one = desk().feed(world.says("这是假货", author=Author.AGENT), world.says("假货", id="m2", author=Author.BRIDGE))
    assert classified(one) == []


def test_confidence_and_reasons_go_with_the_word(world, desk):
    (said,) = classified(desk().feed(world.says("你们卖假货")))
    assert said.confidence > 0.85
    assert said.why[0] == "triage: counterfeit"


def test_a_first_reply_knows_what_triage_found(world, desk):
    one = desk(world.policy(FirstReply)).feed(world.order(), world.says("快递把花瓶摔碎了"))
    assert one.case.kind is CaseKind.COMPLAINT


def test_orders_parcels_phones_and_amounts_are_told_apart():
    found = classify(
        "订单2837465192831，快递SF1034567890123，电话138 1234 5678不通，打13812345678，退我1,299.50元"
    ).entities
    assert found.order_numbers == ("2837465192831",)
    assert found.waybills == ("SF1034567890123",)
    assert found.phones == ("13812345678",)
    assert found.amounts == (Money.of("1299.50 CNY"),)
    english = classify("Order #10482, tracking 1Z999AA10123456784, call +1 415-555-0132, I paid $649.00").entities
    assert (english.order_numbers, english.waybills) == (("#10482",), ("1Z999AA10123456784",))
    assert (english.phones, english.amounts) == (("+1 415-555-0132",), (Money.of("649.00 USD"),))
    assert classify("請退我NT$1,280").entities.amounts == (Money.of("1280 TWD"),)
    assert classify("請退我1280元").entities.amounts == (Money.of("1280 TWD"),)


def test_the_script_is_recognised():
    tongues = [classify(text).language for text in ("快递还没到", "快遞還沒到", "where is it", "你好", "iPhone坏了")]
    assert tongues == ["zh-Hans", "zh-Hant", "en", "zh-Hans", "zh-Hans"]


def test_phrases_stand_on_their_own_in_latin_and_nearby_in_two_halves():
    found = Lexicon("LD 3|late\nQD 2|stain*\nWI 4|买的是..收到")
    assert [hit.phrase for hit in found.find("it is late")] == ["late"]
    assert found.find("chocolate plate") == []
    assert [hit.phrase for hit in found.find("stainless")] == ["stain*"]
    assert len(found.find("我买的是鼠标结果收到键盘")) == 1
    assert found.find("我买的是鼠标" + "很" * 20 + "收到键盘") == []
