"""rmabridge: after-sales middleware between marketplaces and a shop's help desk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .hookspecs import API, hookimpl

__version__ = "0.1.0"
__all__ = ["API", "__version__", "hookimpl"]


def __getattr__(name: str) -> Any:
    # The model is loaded by what needs it: a simulator, or `rmabridge --help`, does not.
    if name not in {"API", "hookimpl"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import hookspecs

    return getattr(hookspecs, name)
