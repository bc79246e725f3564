"""How the demo speaks: lines as things happen, and tables at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

COLUMNS: Final = (
    "id",
    "shop",
    "issue",
    "level",
    "state",
    "ticket",
    "messages",
    "deliveries",
    "first_reply_ms",
)

NUMBERS: Final = frozenset({"level", "messages", "deliveries", "first_reply_ms"})


class Show:
    """Tells in one language, on stdout, or on stderr where stdout is for a program."""

    def __init__(self, words: Mapping[str, str], *, stderr: bool = False) -> None:
        self.words = words
        self.console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self.began

    def say(self, key: str, **values: Any) -> str:
        """The words, filled in."""
        return self.words[key].format(**values)

    def tell(self, key: str, **values: Any) -> None:
        """One line, with its time."""
        self.line(self.seconds, self.say(key, **values))

    def apart(self) -> Apart:
        """Lines that are kept until they are read out, for what happens beside something else."""
        return Apart(self)

    def line(self, seconds: float, text: str) -> None:
        """One line with its time."""
        self.console.print(Text(f"{seconds:6.2f}  ", "dim").append(text, ""))

    def story(self, key: str) -> None:
        """The heading of a story."""
        self.console.print()
        self.console.print(Text(self.say(key), "bold cyan"))

    def warn(self, key: str, *lines: str) -> None:
        """What went wrong."""
        self.console.print(Text(self.say(key), "bold red"))
        for one in lines:
            self.console.print(Text(f"  {one}", "red"))

    def waiting(self) -> AbstractContextManager[Any]:
        """A live sign that something is under way."""
        return self.console.status("")

    def table(self, rows: list[dict[str, Any]]) -> None:
        """The closing table."""
        made = Table(
            box=box.SIMPLE_HEAD, title=self.say("table"), title_justify="left", pad_edge=False, padding=(0, 1, 0, 0)
        )
        for name in COLUMNS:
            side: Literal["left", "right"] = "right" if name in NUMBERS else "left"
            made.add_column(self.say(f"column_{name}"), justify=side, overflow="fold", no_wrap=name == "id")
        for one in rows:
            made.add_row(*("" if one[name] is None else str(one[name]) for name in COLUMNS))
        self.console.print(made)

    def hints(self, lines: list[tuple[str, str]]) -> None:
        """Things to try, each with its command."""
        self.console.print(Text(self.say("try"), "bold"))
        for key, command in lines:
            self.console.print(Text(f"  # {self.say(key)}", "dim"))
            self.console.print(Text(f"  {command}"))


class Apart:
    """What is told of one story while another one is being told."""

    def __init__(self, show: Show) -> None:
        self.show = show
        self.lines: list[tuple[float, str]] = []

    def tell(self, key: str, **values: Any) -> None:
        """Keep one line, with its time."""
        self.lines.append((self.show.seconds, self.show.say(key, **values)))

    def read_out(self) -> None:
        """Tell what was kept."""
        for seconds, text in self.lines:
            self.show.line(seconds, text)
