"""``rmabridge config``: the configuration as the bridge understands it, secrets masked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import click
import tomli

from .app import App, command
from .output import dumped, plain

if TYPE_CHECKING:
    from ..config import Config
    from ..registry import Registry

MASK: Final = "***"
_SEALED: Final = re.compile(r"^\*{6,}$")
_USER: Final = re.compile(r"(://)[^/@\s]+@")


@click.group()
def config() -> None:
    """Show the configuration, secrets masked."""


@config.command()
@command
def show(app: App) -> None:
    """Every setting as it counts, with its default where it is left out; secrets are never shown."""
    found = shown(app.config, app.registry)
    raw = tomli.loads(app.path.read_text(encoding="utf-8"))
    told = _mask_sourced(found, raw)
    if app.as_json:
        click.echo(dumped(told))
        return
    for name, values in _flat(told):
        click.echo(f"\n[{name}]")
        for field, value in values.items():
            click.echo(f"{field} = {plain(dumped(value, indent=None))}")


def shown(config: Config, registry: Registry) -> dict[str, Any]:
    """The parsed configuration, every ``SecretStr`` masked."""
    doc: dict[str, Any] = {
        "bridge": config.bridge.model_dump(mode="json"),
        "shops": {name: shop.model_dump(mode="json") for name, shop in config.shops.items()},
    }
    for name, section in config.accounts.items():
        doc.setdefault(section.kind, {})[name] = registry.accounts[name].model_dump(mode="json", by_alias=True)
    for one in registry.policies:
        doc.setdefault("policies", {})[one.name] = one.policy.model_dump(mode="json", by_alias=True)
    doc["routes"] = config.routes
    return {name: _tidy(value) for name, value in doc.items()}


def _tidy(value: Any) -> Any:
    """Pydantic's stars shortened, and users in addresses masked."""
    if isinstance(value, dict):
        return {name: _tidy(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_tidy(one) for one in value]
    if isinstance(value, str):
        return MASK if _SEALED.match(value) else _USER.sub(rf"\1{MASK}@", value)
    return value


def _mask_sourced(shown: Any, raw: Any) -> Any:
    """Mask what the file takes from the environment, a file or the keyring, whatever setting it is."""
    from ..config import SOURCES

    if isinstance(raw, dict) and len(raw) == 1 and next(iter(raw)) in SOURCES:
        source, name = next(iter(raw.items()))
        return f"{MASK} ({source} {name})"
    if isinstance(raw, dict) and isinstance(shown, dict):
        return {name: _mask_sourced(one, raw[name]) if name in raw else one for name, one in shown.items()}
    if isinstance(raw, list) and isinstance(shown, list):
        return [_mask_sourced(one, raw[n]) if n < len(raw) else one for n, one in enumerate(shown)]
    return MASK if _has_source(raw) else shown


def _has_source(raw: Any) -> bool:
    from ..config import SOURCES

    if isinstance(raw, dict):
        return (len(raw) == 1 and next(iter(raw)) in SOURCES) or any(_has_source(one) for one in raw.values())
    return isinstance(raw, list) and any(_has_source(one) for one in raw)


def _flat(doc: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, value in doc.items():
        if name == "bridge":
            found.append((name, value))
        elif name == "routes":
            found += [("[routes]", one) for one in value]
        else:
            found += [(f"{name}.{one}", values) for one, values in value.items()]
    return found
