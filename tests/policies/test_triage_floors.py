"""How good the triage is: on messages that were written and labelled before it, and never used to tune it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from rmabridge_triage import classify, train
from rmabridge_triage.lexicon import phrases
from rmabridge_triage.words import language, normal, read

from rmabridge.model import Issue

FILE = Path(__file__).parents[1] / "data" / "triage_test.jsonl"
MESSAGES = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
FOUND = [(one, classify(one["text"])) for one in MESSAGES]


def share(of, among):
    """A part of a whole; of nothing, all."""
    return sum(of) / len(among) if among else 1.0


def per_class():
    """For each issue: messages, answered, precision and recall of the answers, recall of the best guess."""
    rows = []
    for issue in Issue:
        true = [found for one, found in FOUND if one["issue"] == issue]
        said = [one for one, found in FOUND if found.issue is issue]
        right = [found for found in true if found.issue is issue]
        answered = [found for found in true if found.issue is not None]
        guessed = [found for found in true if found.guess is issue]
        rows.append(
            (issue, len(true), len(answered), share([1] * len(right), said), len(right), len(guessed), len(said))
        )
    return rows


def test_the_set_has_every_class_script_and_both_tiers():
    assert len(MESSAGES) == 300
    assert {one["issue"] for one in MESSAGES} == set(Issue)
    assert set(Counter(one["lang"] for one in MESSAGES).values()) == {100}
    assert set(Counter(one["tier"] for one in MESSAGES).values()) == {150}


@pytest.mark.row("S018")
def test_what_it_answers_is_right_and_ordinary_messages_are_answered(capsys):
    with capsys.disabled():
        print(f"\n{'issue':<20}{'n':>4}{'answered':>10}{'precision':>11}{'recall':>8}{'guess':>7}")
        for issue, size, answered, precision, right, guessed, _ in per_class():
            print(f"{issue:<20}{size:>4}{answered:>10}{precision:>11.2f}{right / size:>8.2f}{guessed / size:>7.2f}")
    for issue, size, _, precision, right, _, _ in per_class():
        assert precision >= 0.75, issue
        assert right / size >= 0.3, issue
    answered = [(one, found) for one, found in FOUND if found.issue is not None]
    ordinary = [found for one, found in FOUND if one["tier"] == "ordinary"]
    assert share([found.issue == one["issue"] for one, found in answered], answered) >= 0.95
    assert share([found.issue is not None for found in ordinary], ordinary) >= 0.60


def test_every_crisis_is_caught_whether_or_not_it_abstains():
    missed = [one["id"] for one, found in FOUND if one["level"] == 3 and found.level < 3]
    calm = [found for one, found in FOUND if one["level"] < 3]
    assert not missed
    assert share([found.level == 3 for found in calm], calm) <= 0.05


def test_level_anger_and_language_are_mostly_right():
    assert share([found.level == one["level"] for one, found in FOUND], FOUND) >= 0.85
    assert share([abs(found.anger - one["anger"]) <= 1 for one, found in FOUND], FOUND) >= 0.95
    assert share([found.anger == one["anger"] for one, found in FOUND], FOUND) >= 0.7
    assert share([found.language == one["lang"] for one, found in FOUND], FOUND) >= 0.98


def test_numbers_are_what_they_are_called():
    for one, found in FOUND:
        wanted = one["entities"]
        seen = found.entities
        assert list(seen.order_numbers) == wanted["order_numbers"], one["text"]
        assert list(seen.waybills) == wanted["waybills"], one["text"]
        assert list(seen.phones) == wanted["phones"], one["text"]
        amounts = [text.strip("$£€") for text in wanted["amounts"]]
        assert [str(money.amount) for money in seen.amounts] == amounts, one["text"]


def test_nothing_that_it_learns_from_repeats_the_set():
    # Eight characters or six words in a row would be a quotation.
    def pieces(text):
        plain = re.sub(r"[\W\d_]+", " ", normal(text)).strip()
        parts, size = (plain.split(" "), 6) if language(text) == "en" else (plain.replace(" ", ""), 8)
        return {tuple(parts[at : at + size]) for at in range(len(parts) - size + 1)}

    kept = set().union(*(pieces(one["text"]) for one in MESSAGES))
    assert not [text for _, text in train.rows(read("templates.txt")) if pieces(text) & kept]
    assert not [one.text for one in phrases(read("lexicon.txt")) if pieces(one.head) & kept]
