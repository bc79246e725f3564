"""Each check of policies finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted

BODY = '''
from datetime import timedelta
from itertools import count
from typing import ClassVar

from pydantic import Field

from rmabridge import hookimpl
from rmabridge.abilities import *
from rmabridge.model import *

COUNT = count()


class Toy(BASES):
    """One toy."""

    limit: Money = Field(Money.of("10 EUR"), description="refunds above it wait")

    def decide(self, case, event, view):
        if case.open:
            yield CommentTicket(origin=f"toy:{case.round}", text="seen")

    def amend(self, action, case, view):
        return action.model_copy(update={"text": action.text + "!"}) if isinstance(action, SendMessage) else None

    def review(self, action, case, view):
        if isinstance(action, PayRefund) and action.amount > self.limit:
            return hold("toy.limit", f"{action.amount} is above {self.limit}")
        return None
ABLE

@hookimpl
def register_policies():
    return [Toy]
'''
SAYS = '"""Toy: has a person look at what is above a limit."""\n'
TESTS = """
class TestToy(PolicyContract):
    plugin = Toy
"""
POLICY = Toy("PolicyContract", SAYS + BODY.replace("BASES", "Policy").replace("ABLE", ""), TESTS)
ASKING = """
    most_files: int = Field(5, description="files that may be handed in")
    most_bytes: int = Field(1000, description="bytes that may be handed in")

    def needs(self, case, subject):
        if subject != "quality:1":
            return ()
        return (Need("front", (EvidenceKind.PHOTO,)), Need("label", (EvidenceKind.PHOTO,)))

    def item(self, case):
        return "a cup"
"""
ASKER = Toy(
    "EvidenceContract",
    SAYS + BODY.replace("BASES", "Policy, AsksForEvidence").replace("ABLE", ASKING),
    TESTS.replace("PolicyContract", "EvidenceContract") + '    subject = "quality:1"\n',
)
REVIEWED = """            return hold("toy.limit", f"{action.amount} is above {self.limit}")"""
NOTE = 'origin=f"toy:{case.round}"'
POLICY_FAULTS = {
    "test_the_module_names_its_api_reference": [(SAYS, "")],
    "test_it_is_a_policy_that_says_something": [
        ("def decide", "def settle"),
        ("def amend", "def mend"),
        ("def review", "def look"),
    ],
    "test_nothing_in_it_waits": [("    def amend", "    async def amend")],
    "test_the_same_case_gives_the_same_proposals": [(NOTE, 'origin=f"toy:{next(COUNT)}"')],
    "test_what_is_proposed_has_a_key": [
        ('yield CommentTicket(origin=f"toy:{case.round}", text="seen")', 'yield Timer("", view.now)')
    ],
    "test_a_closed_case_is_left_alone": [("if case.open:", "if case:")],
    "test_an_amended_action_is_still_the_same_action": [
        ('{"text": action.text + "!"}', '{"purpose": action.purpose + "!"}')
    ],
    "test_amending_twice_gives_the_same": [('action.text + "!"', "action.text + str(next(COUNT))")],
    "test_the_same_action_gets_the_same_verdict": [("is above {self.limit}", "is above {next(COUNT)}")],
    "test_a_verdict_names_its_rule_and_reason": [(REVIEWED, REVIEWED.replace('"toy.limit"', '""'))],
    "test_its_rules_can_be_told": [
        (
            "    def amend",
            """    def describe(self, locale, shop, say, case=None):
        return [RuleText("toy.limit", "")]

    def amend""",
        )
    ],
}
KNOWN = 'if subject != "quality:1":'
ASKER_FAULTS = {
    "test_it_asks_for_evidence": [(KNOWN, "if subject:")],
    "test_a_link_that_is_not_known_asks_for_nothing": [(KNOWN, "if not subject:")],
    "test_the_same_link_asks_for_the_same": [('Need("front",', 'Need(f"front{next(COUNT)}",')],
    "test_each_need_has_its_own_name": [('Need("label",', 'Need("front",')],
    "test_each_need_says_which_files_count": [('Need("front", (EvidenceKind.PHOTO,))', 'Need("front", ())')],
    "test_what_may_be_handed_in_has_an_end": [("Field(5,", "Field(0,")],
    "test_the_goods_are_named": [('return "a cup"', 'return " "')],
}
PLANTED = [(POLICY, POLICY_FAULTS), (ASKER, ASKER_FAULTS)]
CASES = [pytest.param(toy, faults[check], check, id=check) for toy, faults in PLANTED for check in faults]


@pytest.mark.row("P30")
@pytest.mark.parametrize(("toy", "changes", "check"), CASES)
def test_a_fault_of_a_policy_fails_its_check_and_no_other(toy, changes, check, tmp_path):
    assert planted(toy, changes, tmp_path) == {check}
