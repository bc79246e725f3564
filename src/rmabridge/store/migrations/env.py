"""Runs the migrations on the engine, or in the transaction, that the store hands over."""

from alembic import context
from sqlalchemy import Connection

from rmabridge.store.tables import metadata


def run(connection: Connection, *, each: bool) -> None:
    """Every step that is missing; with ``each`` in a transaction of its own."""
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=each)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes
if "connection" in given:
    run(given["connection"], each=False)
else:
    with given["engine"].connect() as own:
        run(own, each=True)
        own.commit()
