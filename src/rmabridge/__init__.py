"""rmabridge: after-sales middleware between marketplaces and a shop's help desk."""

from .hookspecs import hookimpl

__version__ = "0.1.0"
__all__ = ["__version__", "hookimpl"]
