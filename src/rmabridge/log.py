"""Logs: one JSON object a line on stderr, without personal data and secrets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from pydantic_core import to_json

from .core.masking import mask, masked

FIRST: Final = ("ts", "level", "event", "logger")
QUIET: Final = ("alembic", "aiohttp.access", "asyncio", "httpx", "httpcore")
_SHARED: Final[list[Any]] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
]


def configure(level: str = "INFO") -> None:
    """Send every logger of the process, structlog's and the standard library's, through one masked JSON formatter."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _formatter() -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            safe,
            _line,
        ],
    )


def safe(_: Any, __: str, entry: MutableMapping[str, Any]) -> dict[str, Any]:
    """The entry with every value masked, the fixed fields first."""
    ordered = {name: entry[name] for name in FIRST if name in entry} | dict(entry)
    return {name: value if name in {"ts", "level"} else _masked(name, value) for name, value in ordered.items()}


def _masked(name: str, value: Any) -> Any:
    if name in {"event", "logger"}:
        return mask(str(value))
    found: Any = masked({name: _plain(value)})[name]
    return found


def _plain(value: Any) -> Any:
    """Only what JSON knows, so that nothing is turned into text after it was masked."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    return str(value)


def _line(_: Any, __: str, entry: Mapping[str, Any]) -> str:
    return to_json(dict(entry)).decode()
