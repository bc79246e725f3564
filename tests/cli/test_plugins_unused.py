"""What nobody configured is not imported: not by ``check``, not by ``serve``."""

import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from cli_desk import write

from worlds import document

OWN = '''
"""{name}: leaves a mark when it is imported. Reference: https://toy.example"""
from pathlib import Path
from rmabridge import hookimpl
from rmabridge.abilities import Forwards, Plugin, Result

Path(__file__).with_suffix(".imported").touch()

class Own(Plugin, Forwards):
    async def forward(self, action, ctx):
        return Result()

@hookimpl
def register_services():
    return [Own]
'''

# The command line, and at its end the names of the plugins that were imported.
LISTING = """
import atexit, pathlib, sys

listed = pathlib.Path(sys.argv.pop(1))
plugins = lambda: {one.partition(".")[0] for one in sys.modules if one.startswith("rmabridge_")}
atexit.register(lambda: listed.write_text(" ".join(plugins())))
from rmabridge.cli import main

main()
"""


@pytest.fixture
def folder(tmp_path):
    """A configuration that uses the plugin ``used`` of its own directory, and neither ``idle`` nor most others."""
    own = tmp_path / "own"
    own.mkdir()
    for name in ("used", "idle"):
        (own / f"rmabridge_{name}.py").write_text(OWN.format(name=name), encoding="utf-8")
    config = document(tmp_path, "http://127.0.0.1:1", plugins_dir=str(own), policies=["routing"])
    config["services"] = {"erp": {"plugin": "used"}}
    write(tmp_path / "rmabridge.toml", config)
    return tmp_path


def imported(folder: Path, *arguments: str, until: str = "") -> set[str]:
    """The plugins that a command imported; it is told to end once a line on stdout holds the text."""
    listed, log = folder / "imports.txt", folder / "log.txt"
    with log.open("w") as err:
        command = [sys.executable, "-c", LISTING, str(listed), *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        if until:
            assert process.stdout is not None
            assert until in process.stdout.readline(), log.read_text()
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, log.read_text()
    return set(listed.read_text().split())


@pytest.mark.parametrize(("command", "until"), [("check --offline", ""), ("serve", '"url"')])
def test_a_plugin_that_nobody_uses_is_not_imported(command, until, folder):
    found = imported(folder, *command.split(), until=until)
    assert found == {"rmabridge_webhook", "rmabridge_http", "rmabridge_routing", "rmabridge_used"}
    assert {one.value for one in entry_points(group="rmabridge")} - found
    assert [one.name for one in (folder / "own").glob("*.imported")] == ["rmabridge_used.imported"]
