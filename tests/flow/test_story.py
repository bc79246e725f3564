"""The main job on a small bridge: a signed webhook becomes a case, a ticket and a mail."""

import pytest

from worlds import World, a_return

pytestmark = [pytest.mark.evidence("first_reply", "end_to_end"), pytest.mark.evidence("helpdesk_sync", "end_to_end")]


async def test_a_signed_return_request_becomes_a_ticket_and_a_mail(world: World) -> None:
    status, _ = await world.post(a_return())
    assert status == 200
    await world.settle()
    cases = world.rows("SELECT id, status, shop FROM cases")
    print(cases)
    for row in world.rows("SELECT id,key,state,account,cause,verdicts FROM outbox"):
        print(row)
    for row in world.rows("SELECT id,kind,state,stage,note FROM inbox"):
        print(row)
    for row in world.rows("SELECT seq,type,by FROM timeline"):
        print(row)
    assert len(cases) == 1
    kinds = [one["body"]["type"] for one in world.sink.books["posts"]]
    assert kinds.count("ticket.open") == 1
    assert kinds.count("message.send") >= 1
