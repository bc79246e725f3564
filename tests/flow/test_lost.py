"""A receipt that says no: the case is flagged, and the ways to its buyer tell why."""

import pytest

from rmabridge.core.reach import ways
from rmabridge.model import Case
from worlds import a_return, ago, document, running

RECEIPT = {
    "when": "type == 'receipt'",
    "type": "message.delivered",
    "key": "id",
    "at": "time",
    "refs": {"case": "data.case"},
    "set": {"message": "data.message", "ok": "data.ok", "reason": "data.reason"},
}


def read(world):
    """The only case."""
    ((key, doc),) = world.rows("SELECT key_id, doc FROM cases")
    world.bridge.store.keys_for({key})
    return Case.model_validate_json(world.bridge.store.vault.open(key, doc))


@pytest.mark.evidence("second_way", "end_to_end")
async def test_a_failed_receipt_flags_its_case_and_goes_another_way(tmp_path, sink):
    config = document(tmp_path, sink.url)
    config["bridge"]["policies"] = ["routing", "returns", "first_reply", "progress", "second_way"]
    config["marketplaces"]["shop"]["events"].append(RECEIPT)
    config["channels"]["text"] = {**config["channels"]["mail"], "carries_forms": ["sms"]}
    config["shops"]["one"]["channels"] = ["mail", "text"]
    async with running(config, sink) as world:
        assert (await world.post(a_return()))[0] == 200
        await world.settle()
        case = read(world)
        sent = case.talk.sent[0]
        reason = "550 buyer1@example.com: user unknown"
        data = {"case": case.id, "message": sent.ref, "ok": False, "reason": reason}
        assert (await world.post({"id": "r1", "type": "receipt", "time": ago(), "data": data}))[0] == 200
        await world.settle()
        ((flag,),) = world.rows("SELECT flag FROM cases")
        assert "did not arrive" in flag
        assert "buyer1@example.com" not in flag
        rows = world.rows(f"SELECT account, state FROM outbox WHERE key = 'again:{sent.action}'")
        assert rows == [("text", "done")]
        assert [each for each, _ in ways(read(world), world.bridge.registry.shops["one"]).fallen] == ["mail/mail"]
