"""Each check of learnt keys finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted
from test_contract_parsing import IMPORTS, PARSING, ROWS

from rmabridge.abilities import ReceivesWebhooks
from rmabridge.errors import Unverified
from rmabridge.testing.contexts import context

LEARNING = Toy(
    contract="LearnContract",
    plugin=IMPORTS.replace("import Malformed,", "import KeyNeeded, Malformed,")
    + '''class Toy(Plugin, ReceivesWebhooks):
    """One toy."""

    url: str = Field("https://keys.toy.example", description="where the keys are")

    _keys: dict[str, str] = PrivateAttr(default_factory=dict)

    def verify(self, request, now):
        name = request.headers.get("X-Toy-Key", "")
        if not name.startswith(f"{self.url}/"):
            raise Unverified("the key is not Toy's")
        if name not in self._keys:
            raise KeyNeeded(name)
        if not any_matches(request.headers.get("X-Toy-Signature", ""), [hmac_hex(self._keys[name], request.body)]):
            raise Unverified("X-Toy-Signature does not fit the body")
        return Receipt()

    async def learn(self, name, ctx):
        answer = await ctx.http.get(name)
        if answer.status_code == 404:
            raise Unverified("Toy has no such key")
        answer.raise_for_status()
        self._keys[name] = str(read_object(answer.content)["key"])
'''
    + PARSING,
    tests="import hashlib, hmac, json\nfrom rmabridge.abilities import WebRequest\n"
    + ROWS
    + """

NAME, KEY = "https://keys.toy.example/1", b"published-by-toy"


class TestToy(LearnContract):
    plugin = Toy

    def account(self, name="acc", **changes):
        made = super().account(name, **changes)
        made._keys[NAME] = KEY.decode()
        return made

    def request(self, key=KEY):
        mark = hmac.new(key, BODY, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "X-Toy-Key": NAME, "X-Toy-Signature": mark}
        return WebRequest("POST", "/hooks/acc", {}, headers, BODY)

    def signed(self, account, now):
        return [self.request()]

    def published(self):
        return ({"key": KEY.decode()},)

    def counting(self, account, request):
        return {"X-Toy-Signature"}

    # There is no secret: another key takes its place, and keys are held for ever.
    def test_another_secret_is_refused(self):
        assert self.refused(self.account(), self.request(b"of a forger"))

    def test_the_old_secret_counts_until_its_end(self):
        pass

    def test_the_new_secret_counts_at_once_and_after(self):
        pass
""",
)
KEEP = "        self._keys[name] = str("
FAULTS = {
    "test_an_unknown_key_is_asked_for_by_its_name": [
        ("            raise KeyNeeded(name)\n", '            raise Unverified("the key is not known")\n')
    ],
    "test_what_a_learnt_key_signed_is_accepted": [
        ("    def verify", "    _tried: list[str] = PrivateAttr(default_factory=list)\n\n    def verify"),
        ("        answer = await", "        self._tried.append(name)\n        answer = await"),
        (KEEP, "        if len(self._tried) == 1:\n            return\n" + KEEP),
    ],
    "test_a_key_of_another_host_is_never_fetched": [
        ('if not name.startswith(f"{self.url}/"):', 'if not name.startswith("https://"):')
    ],
    "test_a_key_that_the_vendor_does_not_have_is_refused": [
        ('        if answer.status_code == 404:\n            raise Unverified("Toy has no such key")\n', "")
    ],
    "test_a_vendor_that_gives_no_answer_makes_no_forgery": [
        ("        if answer.status_code == 404:", "        if answer.is_error:")
    ],
    "test_a_key_that_was_not_fetched_leaves_nothing_behind": [
        ("        answer = await", '        self._keys[name] = ""\n        answer = await')
    ],
}  # fmt: skip
PLANTED = [(LEARNING, FAULTS)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", FAULTS)
def test_a_fault_of_learning_fails_its_check_and_no_other(check, tmp_path):
    assert planted(LEARNING, FAULTS[check], tmp_path) == {check}


async def test_a_door_that_fetches_no_keys_refuses_who_signs_with_one():
    ctx = context()
    with pytest.raises(Unverified, match="fetches no keys"):
        await ReceivesWebhooks.learn(None, "https://elsewhere.example/key.pem", ctx)
    await ctx.http.aclose()
