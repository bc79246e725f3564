"""Secrets as settings: one, or two while one replaces the other."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr


class Secret(BaseModel):
    """A secret that verifies webhooks; ``until`` ends its life after a rotation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: SecretStr = Field(min_length=1)
    until: AwareDatetime | None = None

    def live(self, now: datetime) -> bool:
        """Whether the secret still counts."""
        return self.until is None or now < self.until


def _listed(given: Any) -> Any:
    many = given if isinstance(given, list | tuple) else [given]
    return tuple({"value": one} if isinstance(one, str | SecretStr) else one for one in many)


# A setting of one or two secrets: ``secret = "…"`` or ``secret = ["new", {value = "old", until = 2026-12-01T00:00Z}]``.
Secrets = Annotated[tuple[Secret, ...], BeforeValidator(_listed), Field(min_length=1, max_length=2)]


def live(secrets: tuple[Secret, ...], now: datetime) -> list[str]:
    """The secrets that count now, as text."""
    return [one.value.get_secret_value() for one in secrets if one.live(now)]


SHORTEST: Final = 6


def told(settings: Any) -> frozenset[str]:
    """Every secret in an account's settings, but for those so short that they stand in other words by chance."""
    if isinstance(settings, SecretStr):
        found = settings.get_secret_value()
        return frozenset({found} if len(found) >= SHORTEST else ())
    if isinstance(settings, BaseModel):
        settings = [value for _, value in settings]
    elif isinstance(settings, dict):
        settings = list(settings.values())
    return frozenset().union(*map(told, settings)) if isinstance(settings, list | tuple) else frozenset()
