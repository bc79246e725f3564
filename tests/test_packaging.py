"""The wheel: what a stranger installs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project built as a wheel, offline."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, ROOT], check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_plugin_at_its_top_level(wheel: zipfile.ZipFile) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["rmabridge"]
    top = {name.split("/")[0].removesuffix(".py") for name in wheel.namelist()}
    assert set(declared.values()) <= top


def test_the_wheel_holds_the_data_that_the_code_reads(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert "rmabridge/py.typed" in names
    for part in ("rmabridge/templates/", "rmabridge/wire/data/", "rmabridge/store/migrations/versions/0001"):
        assert any(name.startswith(part) for name in names), part


def test_the_wheel_has_the_command_the_licence_and_no_tests(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "rmabridge = rmabridge.cli:main" in wheel.read(info).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    assert not any(name.startswith(("tests/", "bench/", "src/", "plugins/")) for name in wheel.namelist())
