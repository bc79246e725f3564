"""Each check of parsing and of doors finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted

IMPORTS = '''"""Toy: return requests by webhook. Reference: https://toy.example/api"""

import json
from datetime import UTC, datetime
from itertools import count
from typing import ClassVar

from pydantic import Field, PrivateAttr

from rmabridge import hookimpl
from rmabridge.abilities import Parses, Plugin, Receipt, ReceivesWebhooks, Reply, Secrets, WebRequest, live
from rmabridge.errors import Malformed, Unverified
from rmabridge.model import Ref, RefKind, RequestChanged
from rmabridge.wire.bodies import read_object
from rmabridge.wire.signing import any_matches, hmac_hex
from rmabridge.wire.times import instant

COUNT = count()

'''
PARSING = """
    _number: int = PrivateAttr(default_factory=lambda: next(COUNT))

    def parse(self, inbound):
        body = read_object(inbound.body)
        try:
            return [self._read(one, inbound) for one in body.get("rows") or ()]
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise Malformed("the rows cannot be read") from error

    def _read(self, row, inbound):
        return RequestChanged(
            key=f"return:{row['id']}",
            at=instant(str(row["at"]), "UTC"),
            refs=(Ref(kind=RefKind.RETURN, value=row["id"] or None),),
            status=row["status"],
            reason=None,
        )


@hookimpl
def register_marketplaces() -> list[type[Plugin]]:
    return [Toy]
"""
ROWS = """
ROWS = [
    {"id": "R1", "at": "2026-01-02T11:00:00Z", "status": "approved"},
    {"id": "R2", "at": "2026-01-02T11:30:00Z", "status": "declined"},
]
BODY = json.dumps({"rows": ROWS, "by": "li@example.com"}).encode()
"""
READER = Toy(
    contract="ParseContract",
    plugin=IMPORTS + 'class Toy(Plugin, Parses):\n    """One toy."""\n' + PARSING,
    tests="import json\nfrom rmabridge.testing.contract.parsing import stored\n"
    + ROWS
    + """

class TestToy(ParseContract):
    plugin = Toy

    def inbound(self, account):
        return [stored(account, BODY, {"page": "1"})]
""",
)
READ = "        body = read_object(inbound.body)\n"
DIRECT = "        return RequestChanged("

PARSE_FAULTS = {
    "test_every_sample_gives_events_that_can_be_kept": [
        ("    return [self._read(one, inbound)", "    return [self._naive(self._read(one, inbound))"),
        (
            "    def _read",
            """    def _naive(self, event):
        return event.model_copy(update={"at": event.at.replace(tzinfo=None)})

    def _read""",
        ),
    ],
    "test_the_samples_hold_no_personal_data": [("li@example.com", "li.na@gmail.com")],
    "test_parsing_twice_gives_the_same": [("            reason=None", "            reason=str(self._count())")],
    "test_another_account_with_the_same_settings_reads_the_same": [("reason=None", "reason=str(self._number)")],
    "test_a_redelivery_has_the_same_event_keys": [('f"return:{', 'f"return:{inbound.received_at}:{')],
    "test_events_of_one_body_have_different_keys": [("key=f\"return:{row['id']}\"", 'key="return"')],
    "test_any_bytes_give_events_or_are_malformed": [(READ, READ.replace(")\n", '.decode("utf-8").encode())\n'))],
    "test_any_meta_gives_events_or_is_malformed": [(READ, READ + '        int(inbound.meta["page"])\n')],
    "test_a_body_with_a_missing_or_odd_field_is_borne": [
        ("(ValueError, TypeError, LookupError, ArithmeticError)", "(ValueError, ArithmeticError)")
    ],
    "test_a_body_cut_short_is_borne": [
        (READ, "        if inbound.body.startswith(b'{\"rows\": ['):\n            inbound.body.rindex(b']')\n" + READ)
    ],
    "test_a_body_that_nests_without_end_is_malformed_or_means_nothing": [
        (
            READ,
            """        try:
            body = json.loads(inbound.body)
        except ValueError as error:
            raise Malformed("no JSON") from error
        if not isinstance(body, dict):
            return []
""",
        )
    ],
}
# Counted for each account, so that two fresh accounts still read the same.
PARSE_FAULTS["test_parsing_twice_gives_the_same"].append(
    (
        "    def _read",
        """    _reads: list[int] = PrivateAttr(default_factory=list)

    def _count(self):
        self._reads.append(1)
        return len(self._reads)

    def _read""",
    )
)

DOOR = Toy(
    contract="WebhookContract",
    plugin=IMPORTS
    + '''class Toy(Plugin, ReceivesWebhooks):
    """One toy."""

    secret: Secrets = Field(description="signs the webhooks")

    def verify(self, request, now):
        secrets = live(self.secret, now)
        expected = [hmac_hex(one, request.body) for one in secrets]
        if not any_matches(request.headers.get("X-Toy-Signature", ""), expected):
            raise Unverified("X-Toy-Signature does not fit the body")
        return Receipt(id=request.headers.get("X-Toy-Delivery"))

    def handshake(self, request, now):
        if not request.body.startswith(b"echo"):
            return None
        keys = live(self.secret, now)
        expected = [hmac_hex(one, b"echo") for one in keys]
        return Reply() if any_matches(request.headers.get("X-Toy-Echo", ""), expected) else None

    def samples(self):
        return ("approved",)

    def sample(self, name, now):
        if name != "approved":
            return None
        body = b'{"rows": [{"id": "R1", "at": "2026-01-02T11:00:00Z", "status": "approved"}]}'
        mark = hmac_hex(live(self.secret, now)[0], body)
        return WebRequest("POST", "/hooks/acc", {}, {"X-Toy-Signature": mark}, body)
'''
    + PARSING,
    tests="import hashlib, hmac, json\nfrom rmabridge.abilities import WebRequest\n"
    + ROWS
    + """

class TestToy(WebhookContract):
    plugin = Toy
    settings = {"secret": "secret-of-a-test"}

    def signed(self, account, now):
        secret = account.secret[0].value.get_secret_value().encode()
        mark, start = (hmac.new(secret, one, hashlib.sha256).hexdigest() for one in (BODY, BODY[:8]))
        headers = {"Content-Type": "application/json", "X-Toy-Signature": mark}
        headers |= {"X-Toy-Start": start, "X-Toy-Delivery": "d-1"}
        return [WebRequest("POST", "/hooks/acc", {}, headers, BODY)]

    def challenges(self, account, now):
        secret = account.secret[0].value.get_secret_value().encode()
        mark = hmac.new(secret, b"echo", hashlib.sha256).hexdigest()
        return [WebRequest("POST", "/hooks/acc", {}, {"X-Toy-Echo": mark}, b"echo")]
""",
)
VERIFY, FIRST = "        secrets = live(self.secret, now)\n", "    def samples"

DOOR_FAULTS = {
    "test_what_the_vendor_signed_is_accepted": [
        ("hmac_hex(one, request.body)", "hmac_hex(one, request.body[:40])"),
        ("(self.secret, now)[0], body)", "(self.secret, now)[0], body[:40])"),
    ],
    "test_header_names_may_be_written_in_any_case": [
        ('request.headers.get("X-Toy-Signature", "")', 'dict(request.headers).get("X-Toy-Signature", "")')
    ],
    "test_verifying_twice_finds_the_same": [('id=request.headers.get("X-Toy-Delivery")', "id=str(next(COUNT))")],
    "test_the_receipt_holds_no_secret": [
        ('Receipt(id=request.headers.get("X-Toy-Delivery"))', 'Receipt(meta={"by": secrets[0]})')
    ],
    "test_a_flipped_byte_is_refused": [
        ("hmac_hex(one, request.body)", "hmac_hex(one, request.body[:8])"),
        ('request.headers.get("X-Toy-Signature", "")', 'request.headers.get("X-Toy-Start", "")'),
        ('{"X-Toy-Signature": mark}', '{"X-Toy-Start": mark}'),
        ("hmac_hex(live(self.secret, now)[0], body)", "hmac_hex(live(self.secret, now)[0], body[:8])"),
    ],
    "test_a_webhook_without_its_signature_is_refused": [
        (
            VERIFY,
            '        if not any(one.startswith("X-") for one in request.headers):\n            return Receipt()\n'
            + VERIFY,
        )
    ],
    "test_a_missing_header_is_refused_where_it_counts": [
        (
            VERIFY,
            '        if "X-Toy-Signature" not in request.headers and "X-Toy-Start" in request.headers:\n'
            "            return Receipt()\n" + VERIFY,
        )
    ],
    "test_an_empty_body_is_refused": [
        (VERIFY, "        if not request.body:\n            return Receipt()\n" + VERIFY)
    ],
    "test_another_secret_is_refused": [
        (VERIFY, '        secrets = [*live(self.secret, now), "another-secret-of-the-vendor"]\n')
    ],
    "test_any_other_bytes_and_headers_are_refused": [
        (VERIFY, '        if request.body.startswith(b"?"):\n            return Receipt()\n' + VERIFY)
    ],
    "test_signatures_are_compared_in_constant_time": [
        (
            'if not any_matches(request.headers.get("X-Toy-Signature", ""), expected):',
            'if request.headers.get("X-Toy-Signature", "") not in expected:',
        )
    ],
    "test_the_old_secret_counts_until_its_end": [
        (VERIFY, "        secrets = [one.value.get_secret_value() for one in self.secret]\n")
    ],
    "test_the_new_secret_counts_at_once_and_after": [(VERIFY, "        secrets = live(self.secret, now)[-1:]\n")],
    "test_the_old_secret_gets_no_echo_after_its_end": [
        ("keys = live(self.secret, now)", "keys = [one.value.get_secret_value() for one in self.secret]")
    ],
    "test_a_webhook_of_another_hour_is_refused_where_the_time_is_signed": [
        (
            VERIFY,
            "        if abs((now - datetime(2026, 1, 2, 12, tzinfo=UTC)).total_seconds()) > 5400:\n"
            '            raise Unverified("too old")\n' + VERIFY,
        )
    ],
    "test_the_reply_is_a_success": [(FIRST, "    def reply(self, request):\n        return Reply(500)\n\n" + FIRST)],
    "test_an_ordinary_webhook_is_no_handshake": [
        ("            return None\n        keys =", "            return Reply()\n        keys =")
    ],
    "test_the_samples_are_accepted_and_mean_something": [('{"X-Toy-Signature": mark}', "{}")],
}
PLANTED = [(READER, PARSE_FAULTS), (DOOR, DOOR_FAULTS)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", PARSE_FAULTS)
def test_a_fault_of_parse_fails_its_check_and_no_other(check, tmp_path):
    assert planted(READER, PARSE_FAULTS[check], tmp_path) == {check}


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", DOOR_FAULTS)
def test_a_fault_of_the_door_fails_its_check_and_no_other(check, tmp_path):
    assert planted(DOOR, DOOR_FAULTS[check], tmp_path) == {check}
