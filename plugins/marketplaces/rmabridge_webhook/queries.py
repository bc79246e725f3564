"""JMESPath expressions, and the document that they look at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import RootModel, model_validator

from rmabridge.errors import Malformed
from rmabridge.wire.expressions import search

from .bodies import plain

PLAIN: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)

# By expression: an attribute of a pydantic model's own costs more to reach than a plain path to follow.
COMPILED: Final[dict[str, Any]] = {}


class Query(RootModel[str]):
    """A JMESPath expression, compiled when the configuration is read."""

    @model_validator(mode="after")
    def _compile(self) -> Self:
        plain_path = PLAIN.fullmatch(self.root)
        COMPILED[self.root] = tuple(self.root.split(".")) if plain_path else jmespath.compile(self.root)
        return self

    def search(self, data: Any) -> Any:
        """What the expression finds, or None; an expression that does not fit the data is ``Malformed``."""
        compiled = COMPILED[self.root]
        if isinstance(compiled, tuple):  # most expressions are plain paths, which need no interpreter
            for step in compiled:
                data = data.get(step) if isinstance(data, dict) else None
            return data
        try:
            return search(compiled, data)
        except (JMESPathError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise Malformed(f"the expression {self.root!r} does not fit the body") from error

    def true(self, data: Any) -> bool:
        """Whether it finds something: neither nothing, nor false, nor empty."""
        found = self.search(data)
        return found is not None and found is not False and found not in ("", [], {})

    def name(self, data: Any) -> str | None:
        """What it finds as a name or number in text; None where there is nothing."""
        return named(self.search(data))


def named(value: Any) -> str | None:
    """A scalar as text; a list or table is no name and ``Malformed``."""
    if isinstance(value, dict | list):
        raise Malformed("a name or number is wanted, not a list or table")
    return plain(value) or None


def framed(item: Any, headers: Mapping[str, str], body: Any = None) -> dict[str, Any]:
    """The document that expressions look at: the item itself, and around it under ``_``."""
    around = {"headers": dict(headers)} | ({} if body is None else {"body": body})
    return {**item, "_": around} if isinstance(item, dict) else {"value": item, "_": around}
