"""The files of a new plugin: which there are, and what stands in them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from .new_page import facts

# What configuration calls the section of each kind.
SECTIONS: Final = {
    "marketplace": "marketplaces",
    "helpdesk": "helpdesks",
    "carrier": "carriers",
    "channel": "channels",
    "service": "services",
    "policy": "policies",
}
# The skeletons are plugins of a vendor by this name.
MODEL: Final = "acme"
# A policy calls nobody: there is no vendor to simulate.
ALONE: Final = frozenset({"policy"})
SIMULATORS: Final = '\n[project.entry-points."rmabridge.simulators"]\nacme = "simulator_acme:AcmeSim"\n'
SIMULATE: Final = "\n`rmabridge simulate acme` runs a small Acme on this machine, to try it without an account.\n"


def planned(kind: str, name: str, folder: Path, *, package: bool) -> dict[Path, str]:
    """Every file of the new plugin with its text, the plugin itself first."""
    top = folder / f"rmabridge-{host(name)}" if package else folder
    code, tests, pages = (top / "src", top / "tests", top / "docs") if package else (top, top, top)
    found = {
        code / f"rmabridge_{name}.py": filled(kind, name),
        tests / f"test_rmabridge_{name}.py": filled(f"test_{kind}", name),
    }
    if kind not in ALONE:
        found[tests / f"test_rmabridge_{name}_live.py"] = filled(f"live_{kind}", name)
        found[code / f"simulator_{name}.py"] = filled(f"simulator_{kind}", name)
    found[pages / (f"{name}.md" if package else f"rmabridge_{name}.md")] = told("page.md", kind, name)
    if package:
        found[top / "README.md"] = told("README.md", kind, name)
        found[top / "pyproject.toml"] = told("pyproject.toml", kind, name)
    return found


def skeleton(file: str) -> str:
    """A file of the model's, as it is shipped."""
    return files("rmabridge.testing").joinpath("skeletons", f"{file}.txt").read_text(encoding="utf-8")


def filled(part: str, name: str) -> str:
    """The code of a skeleton with the model's name replaced."""
    return renamed(skeleton(f"{part}.py"), name)


def told(page: str, kind: str, name: str) -> str:
    """A file that is no code, with what the plugin's code says of itself."""
    known = facts(skeleton(f"{kind}.py"))
    known |= {
        "section": SECTIONS[kind],
        "steps": "\n".join(settings(kind, MODEL)),
        "simulators": "" if kind in ALONE else SIMULATORS,
        "simulate": "" if kind in ALONE else SIMULATE,
        "checked": "nothing yet" if kind in ALONE else "nothing yet: the simulator agrees with the plugin",
        "how": "the contract's tests" if kind in ALONE else "the contract's tests, and the simulator's over HTTP",
    }
    text = skeleton(page)
    for key, value in known.items():
        text = text.replace(f"{{{key}}}", value)
    return renamed(text, name)


def renamed(text: str, name: str) -> str:
    """The text with another name in the place of the model's."""
    title, shown = "".join(part.capitalize() for part in name.split("_")), MODEL.title()
    text = text.replace(f"{MODEL}.example", f"{host(name)}.example").replace(f"X-{shown}-", f"X-{host(name).title()}-")
    return text.replace(f"rmabridge-{MODEL}", f"rmabridge-{host(name)}").replace(shown, title).replace(MODEL, name)


def host(name: str) -> str:
    """The name as hosts, headers and packages write it."""
    return name.replace("_", "-")


def settings(kind: str, name: str, plugins_dir: Path | None = None) -> list[str]:
    """The lines of ``rmabridge.toml`` that put the plugin to use."""
    bridge = [f'plugins_dir = "{plugins_dir}"'] if plugins_dir else []
    if kind == "policy":
        from ..config import DEFAULT_POLICIES

        asked = ", ".join(f'"{one}"' for one in (*DEFAULT_POLICIES, name))
        bridge.append(f"policies = [{asked}]   # asked in this order")
    return [*(["[bridge]", *bridge, ""] if bridge else []), f"[{SECTIONS[kind]}.{name}]", f'plugin = "{name}"']
