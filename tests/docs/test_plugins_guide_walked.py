"""The author's guide is gone through as a reader does: every command, change and file, in the order of the page."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import rmabridge
from rmabridge.hookspecs import API

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "plugins"
PIECE = re.compile(
    r"(?:^<!-- (?P<what>file|change): (?P<name>\S+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"|^<!-- shows: (?P<shows>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)
BRIDGE, VENDOR = "8080", "9000"
SIMULATE = f"rmabridge simulate parcelpost --port {VENDOR} --hook http://127.0.0.1:{BRIDGE}/hooks/parcelpost"
BACKGROUND = {"rmabridge serve": BRIDGE, SIMULATE: VENDOR}
PATIENCE = 60.0
# What is loaded first by every Python that the reader starts: nobody but this machine may be asked.
OFFLINE = """
import sys


def stay(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        where = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = where[0] if isinstance(where, tuple) else where
        if isinstance(where, tuple) or event == "socket.getaddrinfo":
            assert host in {None, "127.0.0.1", "localhost"}, f"{event} {host}"


sys.addaudithook(stay)
"""
PIP = {
    "wheel": ("--quiet", "--no-index", "--no-build-isolation"),
    "install": ("--quiet", "--no-index", "--no-deps", "--upgrade"),
}


def free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


class Reader:
    """Somebody who does what the page says, in an empty directory, with other ports than the page's."""

    def __init__(self, folder: Path) -> None:
        self.site, self.folder = folder / "site", folder / "work"
        self.site.mkdir()
        self.folder.mkdir()
        (self.site / "sitecustomize.py").write_text(OFFLINE, encoding="utf-8")
        self.ports = {BRIDGE: free_port(), VENDOR: free_port()}
        more = {"COLUMNS": "1000", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self.env = os.environ | more | {"PYTHONPATH": str(self.site), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.running: list[subprocess.Popen[bytes]] = []
        self.passed: list[int] = []
        self.last = ""

    def read(self, page: str) -> None:
        """Go through the page."""
        for piece in PIECE.finditer(page):
            if piece["shows"]:
                self.sees(piece["shows"])
            elif piece["what"] == "change":
                self.change(self.folder / piece["name"], piece["code"])
            elif piece["what"] == "file":
                self.write(self.folder / piece["name"], piece["code"])
            elif piece["language"] == "console":
                for line in piece["code"].splitlines():
                    self.type(line)

    def write(self, path: Path, text: str) -> None:
        """A file of the page's, with our ports."""
        if path.name == "rmabridge.toml":
            rest = text.replace("[bridge]\n", "")
            text = f"[bridge]\nport = {self.ports[BRIDGE]}\n{rest}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.here(text), encoding="utf-8")

    def change(self, path: Path, diff: str) -> None:
        """Replace the lines; they must be there, and only once."""
        lines = [(one[:1] or " ", one[1:]) for one in diff.splitlines()]
        old = "".join(f"{line}\n" for sign, line in lines if sign != "+")
        new = "".join(f"{line}\n" for sign, line in lines if sign != "-")
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{path.name} has these lines {text.count(old)} times:\n{old}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def type(self, line: str) -> None:
        """One line at the prompt."""
        self.last = line
        program, *arguments = shlex.split(self.here(line))
        if line in BACKGROUND:
            self.start(line, arguments)
        elif program == "cd":
            self.folder = self.folder / arguments[0]
        elif program == "export":
            self.env |= dict(one.split("=", 1) for one in arguments)
        elif program == "curl":
            assert self.curl(arguments) == 200, line
        else:
            told = self.run(line)
            if program == "pytest":
                (passed,) = re.findall(r"^(\d+) passed", told, re.MULTILINE)
                self.passed.append(int(passed))

    def run(self, line: str) -> str:
        """What the command says; it must end well."""
        program, *arguments = shlex.split(self.here(line))
        quiet = ["-q", "-p", "no:cacheprovider"] if program == "pytest" else []
        if program == "pip":  # nothing is downloaded, and nothing installed but in a folder of the reader's own
            quiet = [*PIP[arguments[0]], *(["--target", str(self.site)] if arguments[0] == "install" else [])]
        done = subprocess.run(
            [sys.executable, "-m", program, *arguments, *quiet],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
        return done.stdout

    def start(self, line: str, arguments: list[str]) -> None:
        """A program of another terminal, until it listens."""
        command = [sys.executable, *(["-m", "rmabridge"] if line.startswith("rmabridge") else []), *arguments]
        with (self.folder / "terminal.log").open("ab") as log:
            self.running.append(subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=log, stderr=log))
        end = time.monotonic() + PATIENCE
        while not self.listens(BACKGROUND[line]):
            told = (self.folder / "terminal.log").read_text(encoding="utf-8")
            assert time.monotonic() < end, told
            assert self.running[-1].poll() is None, told

    def listens(self, port: str) -> bool:
        with socket.socket() as one:
            one.settimeout(0.2)
            return one.connect_ex(("127.0.0.1", int(self.ports[port]))) == 0

    def curl(self, arguments: list[str]) -> int:
        """``curl -X POST URL -H HEADER -d JSON``, in lines of our own: not every machine has it."""
        method, url, *rest = arguments[1:]
        options = dict(zip(rest[::2], rest[1::2], strict=True))
        json.loads(options["-d"])
        headers = dict([options["-H"].split(": ")]) if "-H" in options else {}
        headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, options["-d"].encode(), headers, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)

    def sees(self, words: str) -> None:
        """The last command shows these words, if not at once then soon."""
        end = time.monotonic() + PATIENCE
        while words not in (told := self.run(self.last)):
            assert time.monotonic() < end, f"{self.last} does not show {words}:\n{told}"

    def here(self, text: str) -> str:
        """The text with our ports in the place of the page's."""
        return re.sub(r"\b(8080|9000)\b", lambda found: self.ports[found[0]], text)

    def end(self) -> None:
        """Close the other terminals."""
        for one in self.running:
            one.terminate()
        for one in self.running:
            one.wait(PATIENCE)


def walked(folder: Path, page: str) -> Iterator[Reader]:
    one = Reader(folder)
    try:
        one.read((PAGES / page).read_text(encoding="utf-8"))
        yield one
    finally:
        one.end()


def test_whatever_the_reader_starts_stays_on_this_machine(tmp_path):
    reader = Reader(tmp_path)
    dial = "import socket; socket.create_connection(('192.0.2.1', 80), 0.1)"
    command = [sys.executable, "-c", dial]
    done = subprocess.run(command, env=reader.env, capture_output=True, text=True, timeout=600, check=False)
    assert "AssertionError: socket." in done.stderr


@pytest.fixture(scope="module")
def reader(tmp_path_factory) -> Iterator[Reader]:
    yield from walked(tmp_path_factory.mktemp("tutorial"), "tutorial.md")


@pytest.mark.slow
@pytest.mark.row("P29")
def test_whoever_does_what_the_tutorial_says_sees_a_parcel_tracked(reader):
    assert [one for one in reader.running if one.poll() is not None] == [], "a terminal closed early"
    (case,) = json.loads(reader.run("rmabridge cases list --all --json"))
    (parcel,) = json.loads(reader.run(f"rmabridge cases show {case['id']} --json"))["parcels"]
    assert (parcel["status"], parcel["scans"][-1]["text"]) == ("delivered", "Left at the door")


@pytest.mark.slow
def test_the_tutorials_tests_are_as_many_as_it_says(reader):
    whole, _, unit, live = reader.passed
    assert whole > 120, "well over a hundred checks"
    assert 45 < unit - (whole - (live - 1)) < 65, "a call brings some fifty checks along"


@pytest.mark.slow
def test_the_tutorials_plugin_is_clean_to_a_strict_type_checker(reader):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    plugin = reader.folder / "plugins" / "rmabridge_parcelpost.py"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]
    told = [*command, "--cache-dir", str(reader.folder / "cache"), str(plugin)]
    done = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_recorded_webhook_is_kept_as_it_came_and_shown_masked(tmp_path):
    for reader in walked(tmp_path, "samples.md"):
        shown = json.loads(reader.run("rmabridge inbox show 1 --clear --json"))
        assert json.loads(shown["body"])["parcel"]["to"]["name"] == "Li Lei"
        assert shown["meta"]["h_x_parcelpost_signature"] == "6b1f"
        assert "recorder hook" in reader.run("rmabridge listen --since 0 --seconds 0")


@pytest.mark.slow
@pytest.mark.row("P60")
def test_a_package_is_built_installed_and_graded_and_a_newer_plugin_refused_in_a_line(tmp_path):
    for reader in walked(tmp_path, "publishing.md"):
        why = json.loads(reader.run("rmabridge plugins list --why parcelpost --json"))
        assert (why["usable"], why["from"]) == (True, "installed (rmabridge-parcelpost)")
        assert "parcelpost" in reader.run("rmabridge simulate --list")
        refused = json.loads(reader.run("rmabridge plugins list --why tomorrow --json"))
        assert refused["why"] == (
            f"plugin 'tomorrow' wants plugin API 99, rmabridge {rmabridge.__version__} has {API}: "
            "upgrade rmabridge, or install an older version of the plugin"
        )
