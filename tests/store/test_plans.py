"""How the database looks for what is due: by an index, however many deliveries wait."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, create_engine, event

from rmabridge.store import queue
from rmabridge.store.tables import metadata
from stores import POSTGRES

pytestmark = pytest.mark.skipif(POSTGRES, reason="a planner with statistics of its own")


@pytest.mark.parametrize(
    ("look", "indices"),
    [
        (queue.stale, ["outbox_stale", "outbox_back"]),
        (queue.outdated, ["outbox_again"]),
        (queue.put_off, ["outbox_open"]),
    ],
    ids=["stale", "outdated", "put off"],
)
def test_each_sweep_searches_an_index_that_holds_only_what_it_looks_for(look, indices) -> None:
    engine, asked = create_engine("sqlite://"), []

    @event.listens_for(engine, "before_cursor_execute")
    def note(conn: Connection, cursor: object, statement: str, given: tuple, *_: object) -> None:
        asked.append((statement, given))

    with engine.connect() as conn:
        metadata.create_all(conn)
        asked.clear()
        look(conn, 5)
        plans = [conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {one}", given).first() for one, given in list(asked)]
    told = [one[-1].split(" (")[0].replace("COVERING ", "") for one in plans]
    assert told == [f"SEARCH outbox USING INDEX {one}" for one in indices]
