"""Tables of counted faults: printed, kept as JSON, and put into the documents."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from os import cpu_count, getloadavg
from pathlib import Path
from typing import Any, Final

DOCS: Final = Path(__file__).parents[2] / "docs"
KEPT: Final = DOCS / "reliability.json"
PAGES: Final = {"en": DOCS / "reliability.md", "zh": DOCS / "reliability.zh-CN.md"}
WORDS: Final = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
MARK: Final = re.compile(r"(<!-- chaos:(\w+) -->\n).*?(<!-- /chaos:\2 -->)", re.DOTALL)


@dataclass
class Table:
    """One section's rows; ``how`` says under what conditions they were counted."""

    name: str
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    how: str = ""

    def add(self, *cells: Any) -> None:
        """One more row, also shown at once."""
        self.rows.append([str(one) for one in cells])
        print(f"  {self.name}: " + " | ".join(self.rows[-1]), flush=True)


def keep(tables: list[Table], file: Path = KEPT) -> None:
    """Put these tables in the place of those of the same name; rows about other stores stay."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for one in tables:
        made = {row[0] for row in one.rows}
        if one.columns[0] == "store" and one.columns == known.get(one.name, {}).get("columns"):
            one.rows = [*(row for row in known[one.name]["rows"] if row[0] not in made), *one.rows]
    machine = f"{cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    stamp = {"at": datetime.now(UTC).date().isoformat(), "machine": f"{machine}, load average {getloadavg()[1]:.0f}"}
    known |= {one.name: {**asdict(one), **stamp} for one in tables}
    file.write_text(json.dumps(known, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


def rendered(table: dict[str, Any], language: str) -> str:
    """The table as Markdown, its fixed words in the language."""
    lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
    text = "\n".join("| " + " | ".join(_said(one, language) for one in line) + " |" for line in lines)
    return f"{text}\n\n{_said(table['how'], language)} ({table['at']}; {table['machine']})\n"


def _said(text: str, language: str) -> str:
    return str(WORDS.get(text, text)) if language == "zh" else text


def write_pages(file: Path = KEPT) -> None:
    """Put the kept tables between their marks in both documents."""
    known = json.loads(file.read_text(encoding="utf-8"))
    for language, page in PAGES.items():
        text = MARK.sub(partial(_filled, known, language), page.read_text(encoding="utf-8"))
        page.write_text(text, encoding="utf-8")


def _filled(known: dict[str, Any], language: str, found: re.Match[str]) -> str:
    table = rendered(known[found[2]], language) if found[2] in known else ""
    return f"{found[1]}{table}{found[3]}"
