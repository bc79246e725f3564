"""The demo's words, in the two languages of ``words.toml``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import resources
from typing import Final

import tomli

LANGUAGES: Final = ("en", "zh")


def words(language: str) -> dict[str, str]:
    """Everything that the demo says in a language, as format strings."""
    text = resources.files(__package__).joinpath("words.toml").read_text(encoding="utf-8")
    found: dict[str, str] = tomli.loads(text)[language]
    return found


def language_of(environ: Mapping[str, str] = os.environ) -> str:
    """The language of the user's locale, English where it is neither."""
    locale = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
    return "zh" if locale.casefold().startswith("zh") else "en"
