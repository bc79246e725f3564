"""The contract finds what it says it finds: toys with one planted fault each fail the right check, and only it."""

import importlib
import importlib.util
import inspect
import sys
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import settings

from rmabridge.cli.new_files import SECTIONS, filled
from rmabridge.testing import contract as kit
from rmabridge.testing.contract import parsing, webhooks
from rmabridge.testing.contract.calling import Call
from rmabridge.testing.contract.personal import personal
from rmabridge.testing.contract.running import checks, failures

FAULTY = ("settings", "parsing", "learning", "receipts", "calls", "abilities", "fetching", "kinds", "policies")
FEW = settings(parsing.quickly, max_examples=20)
HEAD = "from PLUGIN import Toy\nfrom rmabridge.testing.contract import *\n"


@dataclass(frozen=True)
class Toy:
    """A plugin that keeps its contract, as text: ``tests`` holds the class ``TestToy`` that says so."""

    contract: str
    plugin: str
    tests: str


def skeleton(kind, contract):
    """The plugin and the tests that ``rmabridge new`` writes, as a toy."""
    plugin = filled(kind, "acme").replace("Acme", "Toy")
    tests = filled(f"test_{kind}", "acme").replace("rmabridge_acme", "PLUGIN").replace("Acme", "Toy")
    return Toy(contract, plugin, tests)


def planted(toy, changes, folder):
    """The shipped checks that fail once the changes are made, each in the plugin or in its tests."""
    plugin, tests = toy.plugin, toy.tests if "from PLUGIN" in toy.tests else HEAD + toy.tests
    for old, new in changes:
        assert old in plugin or old in tests, f"the toy has no {old!r}"
        plugin, tests = plugin.replace(old, new), tests.replace(old, new)
    return failing(plugin, tests, folder, getattr(kit, toy.contract))


def failing(plugin, tests, folder, contract):
    name = f"toy_{uuid.uuid4().hex[:8]}"
    try:
        load(folder, name, plugin)
        made = load(folder, f"test_{name}", tests.replace("PLUGIN", name)).TestToy()
        assert issubclass(type(made), contract)
        with pytest.MonkeyPatch.context() as patch:
            for module in (parsing, webhooks):
                patch.setattr(module, "quickly", FEW)
            return set(failures(made, checks(contract)))
    finally:
        for one in (name, f"test_{name}"):
            sys.modules.pop(one, None)


def load(folder, name, text):
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def contracts():
    return [one for one in vars(kit).values() if inspect.isclass(one) and issubclass(one, kit.Contract)]


def shipped():
    """Every check of every contract class, with the class that defines it: one that is written again counts again."""
    classes = {base for one in contracts() for base in one.__mro__ if base.__module__.startswith(kit.__name__)}
    return {(one.__name__, name) for one in classes for name in vars(one) if name.startswith("test_")}


def proven():
    """Every check for which a fault is planted, with the class that defines it for the toy."""
    found = set()
    for area in FAULTY:
        for toy, faults in importlib.import_module(f"test_contract_{area}").PLANTED:
            contract = getattr(kit, toy.contract)
            for check in faults:
                home = next(one for one in contract.__mro__ if check in vars(one))
                found.add((home.__name__, check))
    return found


@pytest.mark.row("P30")
def test_every_check_of_every_contract_has_a_planted_fault():
    assert shipped() - proven() == set()


@pytest.mark.row("P30")
def test_there_are_more_than_fifty_checks_for_a_carrier_and_more_than_a_hundred_in_all():
    assert len(checks(kit.CarrierContract)) >= 50
    assert len(shipped()) >= 100


def test_every_toy_keeps_its_contract_until_a_fault_is_planted(tmp_path):
    for area in FAULTY:
        for toy, _ in importlib.import_module(f"test_contract_{area}").PLANTED:
            assert planted(toy, [], tmp_path) == set(), f"{area}: {toy.contract}"


@pytest.mark.parametrize("kind", SECTIONS)
def test_every_skeleton_passes_its_contract(kind, tmp_path):
    toy = skeleton(kind, "Contract")
    made = failing(toy.plugin, toy.tests, tmp_path, kit.Contract)
    assert made == set()


def test_each_check_says_by_its_name_what_is_kept():
    assert all(len(name.split("_")) >= 4 for _, name in shipped())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("li@example.com, a@shop.example, b@mail.test", []),
        ("write to li.na@gmail.com", ["li.na@gmail.com"]),
        ("电话：13912087746", ["13912087746"]),
        ('"+86 139 1208 7746"', ["+86 139 1208 7746"]),
        ('{"id": 13912087746, "order": "gid://shop/Order/13912087746"}', []),
        ("13800138000 13812345678 13900000001", []),
        ("8613912087746", ["8613912087746"]),
        ("+15551398206, +1 510 555 0187, +1 (555) 139-8206, tel:+15103920000", []),
        ('"To": "+14156928307"', ["+14156928307"]),
        ("call +1 (415) 692-8307 now", ["+1 (415) 692-8307"]),
        ("+4915139208274 +1392087746", []),
        ("身份证 11010519491231002X", ["11010519491231002X"]),
        ("身份证 110105194912310021", []),
        ("078-05-1120", ["078-05-1120"]),
    ],
)
def test_what_may_be_somebodys_is_told_from_what_is_made_up(text, found):
    assert list(personal(text)) == found


def test_a_call_without_options_is_the_usual_case():
    assert Call("send", None, ()) == Call("send", None, (), keyless=False, blind=False, by_status=False, errors={})
