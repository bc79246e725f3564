"""Money: a decimal amount in major units with its currency."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]

# ISO 4217 currencies whose minor unit is not a hundredth.
EXPONENTS = dict.fromkeys(
    ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
)
EXPONENTS |= dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
_STEPS = {places: Decimal(1).scaleb(-places) for places in (0, 2, 3)}


class Money(BaseModel):
    """An amount in major units (yuan, dollars), never a float: ``Money.of("500.01 CNY")``.

    Amounts of one currency add, subtract and compare; mixing two raises ``ValueError``.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    amount: Decimal
    currency: Currency

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            amount, _, currency = given.strip().partition(" ")
            return {"amount": amount, "currency": currency.strip()}
        if isinstance(given, dict) and isinstance(given.get("amount"), float):
            raise ValueError("amount: a float is not money; give a decimal string or an int")
        return given

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``"500.01 CNY"``."""
        return cls.model_validate(text)

    @classmethod
    def minor(cls, units: int | str, currency: str) -> Self:
        """From the smallest unit (fen, cents): ``Money.minor(50001, "CNY")`` is 500.01 CNY."""
        try:
            whole = Decimal(units)
        except InvalidOperation as error:
            raise ValueError(f"{units!r} is not a number of minor units") from error
        if whole != whole.to_integral_value():
            raise ValueError(f"{units!r}: minor units are whole numbers")
        return cls(amount=whole.scaleb(-EXPONENTS.get(currency, 2)), currency=currency)

    @classmethod
    def total(cls, many: Iterable[Money]) -> Self:
        """All of these in one; they are of one currency, and there is at least one."""
        found = list(many)
        if len({one.currency for one in found}) != 1:
            raise ValueError("amounts of no currency, or of several, do not add up")
        return cls(amount=sum((one.amount for one in found), Decimal()), currency=found[0].currency)

    def in_minor(self) -> int:
        """The amount in the smallest unit; an amount finer than that raises ``ValueError``."""
        scaled = self.amount.scaleb(EXPONENTS.get(self.currency, 2))
        if scaled != scaled.to_integral_value():
            raise ValueError(f"{self} is finer than the smallest unit of {self.currency}")
        return int(scaled)

    def each(self, pieces: int) -> Self | None:
        """What one of so many pieces cost; None where that is no whole number of the smallest unit."""
        if pieces < 1:
            return None
        one = (self.amount / pieces).quantize(_STEPS[EXPONENTS.get(self.currency, 2)], ROUND_HALF_EVEN)
        return type(self)(amount=one, currency=self.currency) if one * pieces == self.amount else None

    def rounded(self) -> Self:
        """To the currency's smallest unit, half to even."""
        step = _STEPS[EXPONENTS.get(self.currency, 2)]
        return type(self)(amount=self.amount.quantize(step, ROUND_HALF_EVEN), currency=self.currency)

    def __str__(self) -> str:
        return f"{self.amount:f} {self.currency}"

    def __hash__(self) -> int:
        return hash((self.amount, self.currency))

    def _same(self, other: Money) -> Decimal:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not mix")
        return other.amount

    def __add__(self, other: Money) -> Money:
        return Money(amount=self.amount + self._same(other), currency=self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(amount=self.amount - self._same(other), currency=self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: Money) -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: Money) -> bool:
        return self.amount >= self._same(other)
