"""The contract finds what it says it finds: toy plugins with one planted fault each fail the right check."""

import importlib.util
import sys
import uuid

import pytest

from rmabridge.cli.new import filled
from rmabridge.testing.contract import Contract

EQUAL = """\
    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

"""
REPLY = """\
    def reply(self, request):
        from rmabridge.abilities import Reply

        return Reply(500)

"""
AGAIN = """\
        if response.status_code == 503:
            response = await ctx.http.post(f"{self.url}/messages", json=message, headers=headers)
"""

# (kind, what is changed in the skeleton, the check that must fail)
FAULTS = {
    "a plain-text secret": (
        "carrier",
        [("api_key: SecretStr =", "api_key: str ="), (".get_secret_value()}", "}")],
        "test_what_is_named_like_a_secret_is_kept_as_one",
    ),
    "a secret in the account's text": (
        "carrier",
        [("api_key: SecretStr =", "api_key: str ="), (".get_secret_value()}", "}")],
        "test_no_secret_is_in_the_accounts_json",
    ),
    "settings that take anything": (
        "carrier",
        [('    title: ClassVar[str] = "Acme"', '    model_config = {"extra": "allow"}')],
        "test_an_unknown_setting_is_refused_by_its_name",
    ),
    "a setting without words": (
        "carrier",
        [('Field(description="API key, sent with every call")', "Field()")],
        "test_every_setting_has_a_description",
    ),
    "no reference": (
        "carrier",
        [("Reference: https://developer.acme.example/tracking", "")],
        "test_the_module_names_its_api_reference",
    ),
    "an address in the code": (
        "carrier",
        [('f"{self.url}/parcels/', 'f"https://api.acme.example/parcels/')],
        "test_no_address_is_written_into_the_code",
    ),
    "calls to another host": (
        "carrier",
        [('f"{self.url}/parcels/', 'f"https://api.acme.example/parcels/')],
        "test_calls_go_where_the_settings_say",
    ),
    "prints": (
        "carrier",
        [("        response.raise_for_status()", "        response.raise_for_status()\n        print(response)")],
        "test_the_plugin_prints_and_logs_nothing",
    ),
    "logs under another name": (
        "carrier",
        [("from datetime import datetime", "from datetime import datetime\nfrom logging import getLogger as quiet")],
        "test_the_plugin_prints_and_logs_nothing",
    ),
    "sleeps": (
        "carrier",
        [
            ("from datetime import datetime", "from asyncio import sleep as rest\nfrom datetime import datetime"),
            ("        response.raise_for_status()", "        await rest(0)\n        response.raise_for_status()"),
        ],
        "test_the_plugin_does_not_wait",
    ),
    "imports tenacity": (
        "carrier",
        [("from datetime import datetime", "from datetime import datetime\n\nimport tenacity")],
        "test_the_plugin_does_not_repeat",
    ),
    "a client of its own": (
        "carrier",
        [("from datetime import datetime", "from datetime import datetime\nfrom urllib.request import urlopen")],
        "test_the_plugin_calls_out_by_the_lent_client_only",
    ),
    "a clock of its own": (
        "carrier",
        [
            (
                "        body = read_object(inbound.body)",
                "        datetime.now()\n        body = read_object(inbound.body)",
            )
        ],
        "test_the_plugin_asks_no_clock_but_the_lent_one",
    ),
    "swallows failures": (
        "carrier",
        [
            (
                "except (ValueError, TypeError, LookupError, ValidationError) as error:\n",
                "except Exception:\n        return None\n    except ValidationError as error:\n",
            )
        ],
        "test_the_plugin_swallows_no_failure",
    ),
    "imports the bridge's insides": (
        "carrier",
        [("from rmabridge.wire.bodies", "from rmabridge.flow import attempt\nfrom rmabridge.wire.bodies")],
        "test_the_plugin_imports_only_what_plugins_may",
    ),
    "not registered": ("carrier", [("return [Acme]", "return []")], "test_the_module_registers_the_plugin"),
    "equal accounts": (
        "carrier",
        [
            (
                "    async def query",
                EQUAL + "    async def query",
            )
        ],
        "test_two_accounts_with_the_same_settings_are_two",
    ),
    "takes any signature": (
        "carrier",
        [("if not any_matches(", "if False and any_matches(")],
        "test_a_flipped_byte_is_refused",
    ),
    "takes unsigned webhooks": (
        "carrier",
        [("if not any_matches(", 'if "X-Acme-Signature" in request.headers and not any_matches(')],
        "test_a_webhook_without_its_signature_is_refused",
    ),
    "signs only the beginning": (
        "carrier",
        [("hmac_hex(one, request.body)", "hmac_hex(one, request.body[:40])")],
        "test_what_the_vendor_signed_is_accepted",
    ),
    "forgets the end of a secret": (
        "carrier",
        [("live(self.secret, now)]", "[s.value.get_secret_value() for s in self.secret]]")],
        "test_the_old_secret_counts_until_its_end",
    ),
    "knows one secret only": (
        "carrier",
        [("live(self.secret, now)]", "live(self.secret, now)[:1]]")],
        "test_the_old_secret_counts_until_its_end",
    ),
    "a header's case": (
        "carrier",
        [('request.headers.get("X-Acme-Signature", "")', 'dict(request.headers).get("X-Acme-Signature", "")')],
        "test_header_names_may_be_written_in_any_case",
    ),
    "a key with the time of delivery": (
        "carrier",
        [
            (
                '[_seen(body.get("parcel"))]',
                '[_seen(body.get("parcel")).model_copy(update={"key": str(inbound.received_at)})]',
            )
        ],
        "test_a_redelivery_has_the_same_event_keys",
    ),
    "parse falls over odd values": (
        "carrier",
        [("except (ValueError, TypeError, LookupError, ValidationError)", "except KeyError")],
        "test_a_body_with_a_missing_or_odd_field_is_borne",
    ),
    "parse falls over odd bytes": (
        "carrier",
        [
            (
                "        body = read_object(inbound.body)",
                "        import json\n\n        body = json.loads(inbound.body)",
            )
        ],
        "test_any_bytes_give_events_or_are_malformed",
    ),
    "extra fields": (
        "carrier",
        [("            at=scans[-1].at,\n", "            at=scans[-1].at,\n            colour=1,\n")],
        "test_every_sample_gives_events_that_can_be_kept",
    ),
    "a naive time": (
        "marketplace",
        [("return [request]", 'return [request.model_copy(update={"at": request.at.replace(tzinfo=None)})]')],
        "test_every_sample_gives_events_that_can_be_kept",
    ),
    "money as a float": (
        "marketplace",
        [("return [request]", 'return [request.model_copy(update={"amount": 19.9})]')],
        "test_every_sample_gives_events_that_can_be_kept",
    ),
    "an unsuccessful reply": (
        "carrier",
        [
            (
                "    def parse(",
                REPLY + "    def parse(",
            )
        ],
        "test_the_reply_is_a_success",
    ),
    "a waybill as it was typed": (
        "carrier",
        [
            (
                'waybill = normalise(text(dig(parcel, "number")) or "")',
                'waybill = (text(dig(parcel, "number")) or "").lower()',
            )
        ],
        "test_a_push_shows_parcels_by_their_number",
    ),
    "success whatever the status": (
        "channel",
        [("        response.raise_for_status()\n", "")],
        "test_refused_credentials_stop_the_account[401]",
    ),
    "a page taken for success": (
        "channel",
        [("read_object(response.content)", "{}"), ("if made is None:", "if False:")],
        "test_a_page_in_place_of_an_answer_is_no_success",
    ),
    "a lost Retry-After": (
        "channel",
        [
            ("from rmabridge.model", "from rmabridge.errors import Unavailable\nfrom rmabridge.model"),
            (
                "        response.raise_for_status()",
                "        if not response.is_success:\n            raise Unavailable('no')",
            ),
        ],
        "test_the_vendors_wish_for_a_pause_is_honoured",
    ),
    "claims that nothing happened": (
        "channel",
        [
            ("from rmabridge.model", "from rmabridge.errors import Unavailable\nfrom rmabridge.model"),
            (
                "        response.raise_for_status()",
                "        if not response.is_success:\n            raise Unavailable('no')",
            ),
        ],
        "test_a_broken_vendor_may_have_done_it[500]",
    ),
    "repeats by itself": (
        "channel",
        [
            (
                "        response.raise_for_status()",
                AGAIN + "        response.raise_for_status()",
            )
        ],
        "test_the_plugin_repeats_nothing_itself[503]",
    ),
    "no idempotency key": (
        "channel",
        [('            "Idempotency-Key": ctx.idempotency_key,\n', "")],
        "test_an_idempotency_key_is_sent_where_a_repeat_would_do_harm",
    ),
    "a secret in the reason": (
        "channel",
        [
            ("from rmabridge.model", "from rmabridge.errors import Rejected\nfrom rmabridge.model"),
            (
                "        response.raise_for_status()",
                "        if not response.is_success:\n            raise Rejected(str(self.api_key.get_secret_value()))",
            ),
        ],
        "test_a_refusal_waits_for_a_person[400]",
    ),
    "a result without an id": (
        "helpdesk",
        [("return Result(id=id_,", "return Result(id=None,")],
        "test_an_opened_ticket_has_an_id",
    ),
    "a policy of chance": (
        "policy",
        [("from typing import ClassVar", "from typing import ClassVar\n\nimport random")],
        "test_the_plugin_asks_no_clock_but_the_lent_one",
    ),
    "a policy that counts": (
        "policy",
        [
            ('origin=f"acme:{case.round}"', 'origin=f"acme:{id(object())}{COUNT.append(1)}{len(COUNT)}"'),
            ("class Acme(", "COUNT = []\n\n\nclass Acme("),
        ],
        "test_the_same_case_gives_the_same_proposals",
    ),
    "a policy that never rests": (
        "policy",
        [("if case.open and amount", "if amount")],
        "test_a_closed_case_is_left_alone",
    ),
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Makes a contract class for a skeleton, changed as asked, under a module name of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def make(kind, changes=()):
        name = f"toy{uuid.uuid4().hex[:8]}"
        text = filled(kind, "acme")
        for old, new in changes:
            assert old in text, f"the skeleton has no {old!r} any more"
            text = text.replace(old, new)
        plugin = load(tmp_path, f"rmabridge_{name}", text)
        tests = filled(f"test_{kind}", "acme").replace("rmabridge_acme", plugin.__name__)
        made.extend([plugin.__name__, f"test_{plugin.__name__}"])
        return load(tmp_path, f"test_{plugin.__name__}", tests).TestAcme()

    yield make
    for name in made:
        sys.modules.pop(name, None)


def load(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def check(contract: Contract, named: str) -> None:
    """Run one check as pytest would: with each call, and with the parameter in brackets."""
    name, _, parameter = named.rstrip("]").partition("[")
    method = getattr(contract, name)
    wanted = method.__code__.co_varnames[1 : method.__code__.co_argcount]
    for call in contract.calls() if "call" in wanted else [None]:
        given = {"call": call} if call else {}
        if parameter:
            given[next(one for one in wanted if one != "call")] = int(parameter)
        method(**given)


@pytest.mark.row("P30")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails_its_check_and_only_a_planted_one_does(fault, toy):
    kind, changes, named = FAULTS[fault]
    check(toy(kind), named)
    broken = toy(kind, changes)
    with pytest.raises(AssertionError):
        check(broken, named)


@pytest.mark.row("P30")
def test_there_are_more_than_fifty_checks_for_a_carrier(toy):
    contract = toy("carrier")
    assert len([one for one in dir(contract) if one.startswith("test_")]) >= 50


def test_each_fault_is_another_one():
    assert len({(kind, tuple(changes), named) for kind, changes, named in FAULTS.values()}) == len(FAULTS)
    assert len({named for *_, named in FAULTS.values()}) >= 30
