"""Each check of receipts finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted
from test_contract_parsing import IMPORTS

CHANNEL = Toy(
    contract="ReceiptContract",
    plugin=IMPORTS.replace("ReceivesWebhooks,", "ReceivesWebhooks, Result, SendsMessages,").replace(
        "import Ref, RefKind, RequestChanged", "import *"
    )
    + '''class Toy(Plugin, SendsMessages, ReceivesWebhooks):
    """One toy."""

    forms: ClassVar[frozenset[Form]] = frozenset({Form.SMS})

    secret: Secrets = Field(description="signs the webhooks")
    url: str = Field("https://api.toy.example", description="address of the API")

    async def send(self, action, ctx):
        body = {"to": action.to, "text": action.text, "mark": [ctx.case, ctx.idempotency_key]}
        response = await ctx.http.post(f"{self.url}/messages", json=body)
        response.raise_for_status()
        return Result(id=read_object(response.content)["id"])

    def verify(self, request, now):
        expected = [hmac_hex(one, request.body) for one in live(self.secret, now)]
        if not any_matches(request.headers.get("X-Toy-Signature", ""), expected):
            raise Unverified("X-Toy-Signature does not fit the body")
        return Receipt()

    def parse(self, inbound):
        body = read_object(inbound.body)
        try:
            return [self._read(body, inbound.received_at)]
        except (ValueError, TypeError, LookupError) as error:
            raise Malformed("the webhook cannot be read") from error

    def _read(self, body, at):
        if body.get("words") == "STOP":
            buyer = Ref(kind=RefKind.BUYER, value=body["from"] or None)
            return OptedOut(key=str(body["id"]), at=at, refs=(buyer,), form=Form.SMS)
        if body.get("words") == "START":
            refs = (Ref(kind=RefKind.BUYER, value=body["from"] or None),)
            return OptedIn(key=str(body["id"]), at=at, refs=refs, form=Form.SMS)
        case, key = body["mark"]
        return Delivered(
            key=f"{body['id']}:{body['state']}",
            at=at,
            refs=(Ref(kind=RefKind.CASE, value=case or None),),
            message=body["id"],
            ok=body["state"] == "arrived",
            reason=body["why"],
            delivery=key,
        )


@hookimpl
def register_channels() -> list[type[Plugin]]:
    return [Toy]
''',
    tests="""import hashlib, hmac, json
from rmabridge.abilities import WebRequest
from rmabridge.model import Form, SendMessage


class TestToy(ReceiptContract):
    plugin = Toy
    settings = {"secret": "secret-of-a-test"}

    def calls(self):
        said = SendMessage(purpose="p", form=Form.SMS, to="+491700000000", text="hello")
        return [Call("send", said, ({"id": "m-1"},))]

    def webhook(self, account, body):
        raw = json.dumps(body).encode()
        secret = account.secret[0].value.get_secret_value().encode()
        mark = hmac.new(secret, raw, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Toy-Signature": mark}
        return WebRequest("POST", "/hooks/acc", {}, headers, raw)

    def signed(self, account, now):
        report = {"id": "m-1", "state": "arrived", "mark": ["C1", "k"], "why": None}
        return [self.webhook(account, report), *self.opt_outs(account)]

    def receipt(self, account, sent, *, ok):
        state, why = ("arrived", None) if ok else ("lost", "switched off")
        mark = json.loads(sent.content)["mark"]
        return self.webhook(account, {"id": "m-1", "state": state, "mark": mark, "why": why})

    def opt_outs(self, account):
        return [self.webhook(account, {"id": "i-1", "words": "STOP", "from": "+491700000000"})]

    def opt_ins(self, account):
        return [self.webhook(account, {"id": "i-2", "words": "START", "from": "+491700000000"})]
""",
)
FAULTS = {
    "test_a_receipt_is_about_the_message_that_was_sent": [('message=body["id"]', "message=key")],
    "test_a_receipt_says_whether_it_arrived_and_why_not": [('ok=body["state"] == "arrived"', "ok=True")],
    "test_a_receipt_finds_its_case": [("RefKind.CASE, value=case or", "RefKind.BUYER, value=case or")],
    "test_a_message_whose_answer_was_lost_is_known_by_its_receipt": [("            delivery=key,\n", "")],
    "test_who_opts_out_opens_no_case_and_closes_the_way": [("refs=(buyer,), form", "form")],
    "test_who_opts_in_again_opens_no_case_and_reopens_the_way": [("refs=refs, form", "form")],
}
PLANTED = [(CHANNEL, FAULTS)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_of_receipts_fails_its_check_and_no_other(check, tmp_path):
    assert planted(CHANNEL, FAULTS[check], tmp_path) == {check}
