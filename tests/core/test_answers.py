"""The answer to a proposal, in three scripts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmabridge.core.answers import Answer, Answered, answer


@pytest.mark.parametrize(
    "text",
    [
        "好的",
        "可以",
        "好",
        "好的，谢谢！",
        "同意",
        "没问题",
        "行吧",
        "嗯嗯",
        "OK",
        "ok的",
        "沒問題",
        "就這樣",
        "合適",
        "Yes",
        "yes, please",
        "That’s fine.",
        "sounds good",
        "I agree",
        "是的",
        "okay thanks",
        "No problem!",
    ],
)
def test_a_yes_is_a_yes(text):
    assert answer(text).answer is Answer.ACCEPT


@pytest.mark.parametrize(
    "text",
    [
        "不行",
        "不同意",
        "不可以",
        "不好",
        "不接受！",
        "算了",
        "不",
        "不合适",
        "不滿意",
        "拒絕",
        "no",
        "No, thanks",
        "I don't agree",
        "not ok",
        "Not acceptable",
        "都不行",
        "不要",
        "neither",
    ],
)
def test_a_no_is_a_no(text):
    assert answer(text).answer is Answer.DECLINE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "？",
        "多久能到",
        "可以吗",
        "好不好",
        "行不行呀",
        "我再想想",
        "好的，但是运费谁出",
        "what about the postage?",
        "yes but when",
        "我的水壶坏了",
        "行李箱还没收到",
        "中国",
        "nothing arrived",
        "maybe",
        "x" * 400,
        "好" + "啊" * 100,
    ],
)
def test_what_is_neither_is_left_to_a_person(text):
    assert answer(text).answer is Answer.UNCLEAR


@pytest.mark.parametrize(
    ("text", "choice"),
    [("1", 1), ("选2", 2), ("第一种", 1), ("（2）", 2), ("方案三", 3), ("option 2", 2), ("選擇１", 1)],
)
def test_a_number_names_the_choice(text, choice):
    assert answer(text) == Answered(Answer.ACCEPT, choice)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_has_an_answer(text):
    assert answer(text).answer in set(Answer)
