"""Alembic steps: expand first, contract a release later."""

HEAD = "0009"
