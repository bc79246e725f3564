"""A process and everything that it started: CPU, memory, and the end of it, read from /proc."""

from __future__ import annotations

import os
import signal
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def members(root: int) -> list[int]:
    """The process and its living descendants."""
    parents = {
        int(one.name): stat for one in Path("/proc").iterdir() if one.name.isdigit() and (stat := _stat(int(one.name)))
    }
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        if pid in parents:
            found.append(pid)
        queue += [one for one, stat in parents.items() if int(stat[1]) == pid]
    return found


def cpu(root: int) -> float:
    """Seconds of user and system time of the tree, with that of children that ended."""
    stats = filter(None, map(_stat, members(root)))
    return sum(int(one) for stat in stats for one in stat[11:15]) / TICK


def memory(root: int) -> float:
    """MB that the tree holds; what several share is counted once (PSS)."""
    total = 0
    for pid in members(root):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(one.split()[1]) for one in lines if one.startswith("Pss:"))
    return total / 1024


def kill(root: int) -> None:
    """kill -9 for all of it: the root first, so that it starts nothing again."""
    for pid in members(root):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
