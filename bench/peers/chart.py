"""The chart: bars as SVG."""

from __future__ import annotations

import math
from html import escape
from typing import Any


def figure(value: float | None) -> str:
    """A figure with as many digits as mean something."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def chart(rows: list[dict[str, Any]]) -> str:
    """Accepted events and CPU of each contender as bars on logarithmic scales."""
    panels = (("accepted events per second", "accepted_per_second"), ("CPU, ms per event", "cpu_ms_per_event"))
    height = 40 + 26 * len(rows)
    box = f'viewBox="0 0 900 {height * len(panels)}" font-family="sans-serif" font-size="13"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n<rect width="100%" height="100%" fill="#fff"/>\n']
    for number, (title, name) in enumerate(panels):
        parts += [f'<text x="10" y="{number * height + 22}" font-weight="bold">{title} (logarithmic)</text>\n']
        logs = [math.log10(one[name]) for one in rows]
        low, high = math.floor(min(logs, default=0)), max(logs, default=1)
        for line, (one, log) in enumerate(zip(rows, logs, strict=True)):
            parts += _bar(
                one, number * height + 34 + 26 * line, 420 * (log - low) / (high - low or 1), figure(one[name])
            )
    return "".join(parts) + "</svg>\n"


def _bar(one: dict[str, Any], y: int, width: float, value: str) -> list[str]:
    colour = "#1a7f5a" if one["name"].startswith("bridge") else "#8a94a6"
    title = "aiohttp + fsync per event" if one["name"] == "insert" else escape(one["title"].partition(":")[0])
    return [
        f'<text x="10" y="{y + 15}">{title}</text>\n',
        f'<rect x="250" y="{y}" width="{max(2, width):.0f}" height="20" fill="{colour}"/>\n',
        f'<text x="{258 + max(2, width):.0f}" y="{y + 15}">{value}</text>\n',
    ]
