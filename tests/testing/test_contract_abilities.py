"""Each check of an ability's promise finds its planted fault, and no other check does."""

import pytest
from test_contract import planted
from test_contract_calls import PAYING, vendor

CLAIMING = """
    async def file_claim(self, action, ctx):
        told = await self._call(ctx, "POST", "/claims", {"waybill": action.waybill})
        return Result(id=text(told["id"]), events=(self._claim(told, action.waybill, action.claim, ctx),))

    def _claim(self, told, waybill, kind, ctx):
        refs = (Ref(kind=RefKind.WAYBILL, value=waybill),)
        return ClaimSeen(
            key=f"claim:{told['id']}", at=ctx.now(), refs=refs, claim=text(told["id"]), waybill=waybill, kind=kind,
            status="submitted",
        )

    async def query_claim(self, action, ctx):
        told = await self._call(ctx, "GET", f"/claims/{action.claim}")
        return Result(events=(self._claim(told, action.waybill, "loss", ctx),))

    async def request_proof(self, action, ctx):
        told = await self._call(ctx, "GET", f"/proofs/{action.waybill}")
        where = told["url"]
        proof = EvidenceAdded(key="proof:1", at=ctx.now(), evidence="1", kind="document", url=where, source="carrier")
        return Result(id=text(told["id"]), events=(proof,))

    async def ask(self, action, ctx):
        told = await self._call(ctx, "POST", "/enquiries", {"text": action.text})
        return Result(id=text(told["id"]))

    async def check_coverage(self, action, ctx):
        told = await self._call(ctx, "GET", "/coverage")
        return Result(events=(CoverageSeen(key="cover:1", at=ctx.now(), carrier=action.carrier, served=told["ok"]),))
"""
GIVING = """
    async def give_credit(self, action, ctx):
        told = await self._call(ctx, "POST", "/coupons", {"amount": str(action.amount)})
        return Result(id=text(told["id"]))

    async def reship(self, action, ctx):
        told = await self._call(ctx, "POST", "/orders", {"lines": action.lines})
        return Result(id=text(told["id"]), note="again")

    async def print_label(self, action, ctx):
        told = await self._call(ctx, "POST", "/labels", {"lines": action.lines})
        return Result(id=text(told["id"]), url=f"{self.url}/labels/1")

    async def tag_buyer(self, action, ctx):
        told = await self._call(ctx, "PUT", f"/buyers/{action.buyer}/tags/{action.tag}")
        return Result(id=text(told["id"]))

    async def classify_text(self, action, ctx):
        told = await self._call(ctx, "POST", "/texts", {"text": action.text})
        read = Classified(key=f"read:{action.event}", at=action.asked_at, issue=told["issue"])
        return Result(events=(read,))
"""
CALLS = """
from rmabridge.model import *
from rmabridge.testing.contexts import NOON


class TestToy(CallContract):
    plugin = Toy
    settings = {"secret_word": "word-of-a-test"}
    token = {"access": "access-of-a-test"}

    def calls(self):
        return [Call(ALL)]
"""
ENTRIES = {
    "pay_refund": 'PayRefund(request="R1", amount=Money.of("19.90 EUR")), ({"id": "F1"},)',
    "approve_return": 'ApproveReturn(request="R1"), ({"id": "R1", "status": "approved"},)',
    "decline_return": 'DeclineReturn(request="R1"), ({"id": "R1"}, {"id": "R1", "status": "declined"})',
    "fetch_order": 'FetchOrder(order="A1"), ({"id": "A1"},)',
    "file_claim": 'FileClaim(waybill="W1", claim="loss", external="C1"), ({"id": "K1"},)',
    "query_claim": 'QueryClaim(claim="K1", waybill="W1"), ({"id": "K1"},)',
    "request_proof": 'RequestProof(waybill="W1"), ({"id": "P1", "url": "https://toy.example/p.pdf"},)',
    "ask": 'AskCarrier(waybill="W1", external="C1", text="Where is it?"), ({"id": "E1"},)',
    "check_coverage": 'CheckCoverage(carrier="YTO", address=Address(city="X")), ({"id": "1", "ok": True},)',
    "give_credit": 'GiveCredit(credit="coupon", external="C1", amount=Money.of("5 EUR")), ({"id": "K5"},)',
    "reship": 'Reship(external="C1", lines=(("S1", 1),)), ({"id": "A2"},)',
    "print_label": 'PrintLabel(external="C1", address=Address(city="X")), ({"id": "YT1"},)',
    "tag_buyer": 'TagBuyer(buyer="b1", tag="priority"), ({"id": "b1"},)',
    "classify_text": 'ClassifyText(event="m1", asked_at=NOON, text="坏了"), ({"id": "1", "issue": "late_delivery"},)',
}
SHOP = "Plugin, PaysRefunds, DecidesReturns, FetchesOrders", PAYING
CARRIER = "Plugin, TakesClaims, GivesProof, AnswersEnquiries, KnowsCoverage", CLAIMING
GIVER = "Plugin, GrantsCredit, ShipsReplacements, PrintsLabels, TagsBuyers, ClassifiesText", GIVING
REPEATABLE = "    @performs(repeatable=True)\n"
FAULTS = {
    (*SHOP, "pay_refund"): {
        "test_a_paid_refund_has_an_id": [('Result(id=text(made["id"]), ', "Result(")],
        "test_a_paid_refund_is_seen_with_its_amount": [("amount=action.amount\n", "amount=Money.of('20 CNY')\n")],
        "test_money_is_not_sent_twice": [("    async def pay_refund", REPEATABLE + "    async def pay_refund")],
    },
    (*SHOP, "approve_return"): {
        "test_an_approval_does_not_come_back_as_a_refusal": [
            (
                'return self._decided(await self._call(ctx, "POST", f"/returns/{action.request}/approve"), ctx)',
                "APPROVE",
            ),
            (
                "APPROVE",
                """told = await self._call(ctx, "POST", f"/returns/{action.request}/approve")
        return self._decided({**told, "status": "declined"}, ctx)""",
            ),
        ],
    },
    (*SHOP, "decline_return"): {
        "test_a_refusal_does_not_come_back_as_an_approval": [
            (
                """return self._decided(await self._call(ctx, "POST", f"/returns/{held['id']}/decline"), ctx)""",
                "DECLINE",
            ),
            (
                "DECLINE",
                """told = await self._call(ctx, "POST", f"/returns/{held['id']}/decline")
        return self._decided({**told, "status": "approved"}, ctx)""",
            ),
        ],
    },
    (*SHOP, "fetch_order"): {
        "test_a_fetched_order_comes_first": [("events=(seen, noted)", "events=(noted, seen)")],
        "test_a_fetched_order_is_found_by_its_number": [("kind=RefKind.ORDER", "kind=RefKind.RETURN")],
    },
    (*CARRIER, "file_claim"): {
        "test_a_filed_claim_has_an_id": [
            ('Result(id=text(told["id"]), events=(self._claim', "Result(events=(self._claim")
        ],
        "test_a_filed_claim_is_seen_at_its_parcel": [
            ("(told, action.waybill, action.claim", '(told, "W9", action.claim')
        ],
        "test_a_claim_is_not_filed_twice": [("    async def file_claim", REPEATABLE + "    async def file_claim")],
    },
    (*CARRIER, "query_claim"): {
        "test_a_claim_that_is_asked_for_is_told_once": [
            ('(told, action.waybill, "loss", ctx)', '({"id": "K9"}, action.waybill, "loss", ctx)')
        ],
    },
    (*CARRIER, "request_proof"): {
        "test_a_proof_says_where_its_document_is": [("url=where", "name=where")],
    },
    (*CARRIER, "ask"): {
        "test_an_enquiry_has_a_number": [
            ('return Result(id=text(told["id"]))\n\n    async def check', "return Result()\n\n    async def check")
        ],
    },
    (*CARRIER, "check_coverage"): {
        "test_coverage_is_told_for_the_carrier_asked": [("carrier=action.carrier", 'carrier="another"')],
    },
    (*GIVER, "give_credit"): {
        "test_a_credit_has_a_code": [
            ('return Result(id=text(told["id"]))\n\n    async def reship', "return Result()\n\n    async def reship")
        ],
    },
    (*GIVER, "reship"): {
        "test_a_replacement_has_a_number": [('Result(id=text(told["id"]), note="again")', 'Result(note="again")')],
        "test_what_is_given_is_not_given_twice": [("    async def reship", REPEATABLE + "    async def reship")],
    },
    (*GIVER, "print_label"): {
        "test_a_printed_label_has_its_waybill": [('Result(id=text(told["id"]), url', 'Result(id="yt 1", url')],
    },
    (*GIVER, "tag_buyer"): {
        "test_a_tag_may_be_set_again": [
            ("    async def tag_buyer", "    @performs(repeatable=False)\n    async def tag_buyer")
        ],
    },
    (*GIVER, "classify_text"): {
        "test_a_text_is_read_once_or_not_at_all": [
            ("events=(read,)", 'events=(read, read.model_copy(update={"key": f"again:{action.event}"}))')
        ],
        "test_a_reading_is_dated_by_the_question": [("at=action.asked_at", "at=ctx.now().replace(hour=1)")],
        "test_a_reading_is_known_by_what_was_read": [('key=f"read:{action.event}"', 'key="read"')],
    },
}
PLANTED = [
    (vendor(abilities, able, CALLS.replace("ALL", f'"{called}", {ENTRIES[called]}')), faults)
    for (abilities, able, called), faults in FAULTS.items()
]
CASES = [pytest.param(toy, faults[check], check, id=check) for toy, faults in PLANTED for check in faults]


@pytest.mark.row("P30")
@pytest.mark.parametrize(("toy", "changes", "check"), CASES)
def test_a_broken_promise_fails_its_check_and_no_other(toy, changes, check, tmp_path):
    assert planted(toy, changes, tmp_path) == {check}
