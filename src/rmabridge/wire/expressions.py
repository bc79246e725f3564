"""JMESPath over bodies whose fractions are ``Decimal`` (``wire.bodies``): its own functions know only floats.

https://jmespath.org/specification.html
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import jmespath
from jmespath.functions import Functions, signature

from .bodies import dump_json


class Exact(Functions):
    """The functions of the specification, to the cent."""

    def _type_check_single(self, current: Any, types: Any, function_name: str) -> None:
        """A decimal is a number, alone and in a list."""
        shown = [_shown(one) for one in current] if isinstance(current, list) else _shown(current)
        super()._type_check_single(shown, types, function_name)  # type: ignore[misc]

    def _convert_to_jmespath_type(self, pyobject: str) -> str:
        return "number" if pyobject == "Decimal" else str(super()._convert_to_jmespath_type(pyobject))  # type: ignore[misc]

    @signature({"types": ["array-number"]})
    def _func_avg(self, arg: list[Any]) -> Any:
        return sum(map(_exact, arg), Decimal(0)) / len(arg) if arg else None

    @signature({"types": ["array-number"]})
    def _func_sum(self, arg: list[Any]) -> Any:
        return sum(map(_exact, arg), Decimal(0)) if any(isinstance(one, Decimal) for one in arg) else sum(arg)

    @signature({"types": []})
    def _func_to_number(self, arg: Any) -> Any:
        if arg is None or isinstance(arg, list | dict | bool):
            return None
        if isinstance(arg, int | float | Decimal):
            return arg
        try:
            found = Decimal(str(arg).strip())
        except InvalidOperation:
            return None
        if not found.is_finite():
            return None
        return int(found) if found == found.to_integral_value() and found.adjusted() < 30 else found

    @signature({"types": []})
    def _func_to_string(self, arg: Any) -> Any:
        return f"{arg:f}" if isinstance(arg, Decimal) else arg if isinstance(arg, str) else dump_json(arg)

    @signature({"types": []})
    def _func_type(self, arg: Any) -> Any:
        return super()._func_type(_shown(arg))  # type: ignore[misc]


OPTIONS: Final = jmespath.Options(custom_functions=Exact())


def search(compiled: Any, data: Any) -> Any:
    """What a compiled expression finds, or None."""
    return compiled.search(data, OPTIONS)


def _shown(value: Any) -> Any:
    return float(value) if isinstance(value, Decimal) else value


def _exact(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))
