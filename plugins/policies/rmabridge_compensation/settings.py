"""The settings of the policy, with what follows from them: all rules, all operations, the table of rates."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator

from rmabridge.abilities import Policy, View
from rmabridge.core.rates import BASE, HOLDS, Rates, rates
from rmabridge.model import Money

from .operations import Operation
from .rules import Interim, Rule, shipped
from .spending import Purse


class Settings(Policy):
    """What an operator may set."""

    limit: Money = Field(Money.of("500 CNY"), description="what a case may cost without an approval, all in all")
    daily: Money | None = Field(
        Money.of("2000 CNY"), description="what one agent may give in 24 hours without an approval"
    )
    daily_of_policies: Money | None = Field(None, description="the same for each policy; left out, no limit")
    floor: Decimal = Field(
        Decimal("1.5"), gt=0, description="offers and what was given never cost more than this many times the order"
    )
    offering: bool = Field(True, description="make offers by the rules; else only limits and agreed operations")
    tell_buyer: bool = Field(True, description="write the offers to the buyer; else colleagues do it by other means")
    rates_file: Path | None = Field(
        None, description="own table of rates: CSV with 'date' and units of each currency for one of 'rates_base'"
    )
    rates_base: str = Field(BASE, pattern="^[A-Z]{3}$", description="the currency that the own table counts from")
    rates_hold: timedelta = Field(HOLDS, description="how long the table's last line holds")
    rules: tuple[Rule, ...] = Field(
        (), description="offers of the shop's own; before the shipped ones, or over one by id"
    )
    interim: tuple[Interim, ...] = Field((), description="interim remedies of the shop's own, likewise")
    operations: dict[str, Operation] = Field(default_factory=dict, description="operations of the shop's own, likewise")

    @field_validator("rates_file")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: no such file")
        return path.resolve() if path else None

    @cached_property
    def known(self) -> dict[str, Operation]:
        """All operations by name."""
        ours = shipped("operations.toml")["operations"]
        return {name: Operation.model_validate(one) for name, one in ours.items()} | self.operations

    @cached_property
    def all_rules(self) -> tuple[Rule, ...]:
        """The shop's rules, then the shipped ones that it did not replace."""
        own = {one.id for one in self.rules}
        ours = (Rule.model_validate(one) for one in shipped("remedies.toml")["rules"])
        return self.rules + tuple(one for one in ours if one.id not in own)

    @cached_property
    def all_interim(self) -> tuple[Interim, ...]:
        """The same for interim remedies."""
        own = {one.id for one in self.interim}
        ours = (Interim.model_validate(one) for one in shipped("remedies.toml")["interim"])
        return self.interim + tuple(one for one in ours if one.id not in own)

    @cached_property
    def table(self) -> Rates:
        """The table of rates."""
        return rates(self.rates_file, self.rates_base, self.rates_hold)

    def purse(self, view: View) -> Purse:
        """What may still be promised now."""
        return Purse(self.table, self.limit, self.floor, view.now.date())
