"""The parts of the author's reference that come from the code: headings, paragraphs and tables, in either language.

``docs/generate.py`` writes them between the markers of ``reference.md`` and ``reference.zh-CN.md``. Both have the same
tables; what the code says of itself is English.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, get_args

from rmabridge import abilities, errors, hookspecs, model, wire
from rmabridge.abilities import Plugin
from rmabridge.abilities.plugin import Performs
from rmabridge.model import Action, Event
from rmabridge.testing import contract
from rmabridge.testing.simulators.faults import DOORS, KINDS

Table = tuple[tuple[str, ...], Sequence[tuple[str, ...]]]
Part = Iterator[str | Table]

# What is lent to a plugin, and what a plugin gives back.
LENT: Final = (
    "Context",
    "Tokens",
    "Handler",
    "Result",
    "Finding",
    "WebRequest",
    "Receipt",
    "Reply",
    "Inbound",
    "Item",
    "Page",
    "Limit",
    "Secret",
)
FOR_POLICIES: Final = ("Policy", "View", "Fact", "Timer", "RuleText", "Need")
# Their methods matter as much as their fields.
SPEAK: Final = frozenset({"Policy", "Tokens", "View", "Limit"})
# What the bridge does next, where the class itself holds no HTTP status.
NEXT: Final[dict[type[Exception], str]] = {
    errors.Unavailable: "tries again later",
    errors.Unauthorised: "pauses the account, alerts the operator",
    errors.Rejected: "dead letter for a person",
    errors.KeyNeeded: "asks `learn` for the key, then `verify` again, once",
}


def heads(chinese: bool, *names: tuple[str, str]) -> tuple[str, ...]:
    """The head of a table in one of the languages."""
    return tuple(name[chinese] for name in names)


def doc(thing: Any) -> str:
    """A docstring as one paragraph of Markdown; an example in it is left out."""
    text = re.split(r"\n\s*(?:Example)?::\n", inspect.getdoc(thing) or "")[0]
    return " ".join(text.split()).replace("``", "`")


class Written:
    """An annotation as it stands in the source, without what it is qualified by."""

    def __init__(self, annotation: Any) -> None:
        self.text = plain(annotation)

    def __repr__(self) -> str:
        return self.text


def signature(function: Any, *, bound: bool = False) -> str:
    """The signature as an author writes it."""
    made = inspect.signature(function)
    told = [
        one if one.annotation is one.empty else one.replace(annotation=Written(one.annotation))
        for one in made.parameters.values()
    ]
    answer = made.return_annotation
    shown = made.empty if answer is made.empty else Written(answer)
    whole = made.replace(parameters=told[1:] if bound else told, return_annotation=shown)
    return str(whole).replace("datetime.timedelta", "timedelta")


def plain(annotation: Any) -> str:
    """A type as it is written in the code."""
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", str(annotation))


# -- hooks -------------------------------------------------------------------------------------------------------------


def all_hooks() -> list[Callable[..., Any]]:
    """The hooks in the order in which the code has them."""
    return [one for one in vars(hookspecs).values() if inspect.isfunction(one) and hasattr(one, "rmabridge_spec")]


def hooks(_: bool) -> Part:
    """Each hook: signature, what it answers, example."""
    for one in all_hooks():
        example = re.split(r"Example::\n\n", inspect.getdoc(one) or "")[1]
        yield f"### `{one.__name__}`\n"
        yield f"`{one.__name__}{signature(one)}`\n"
        yield f"{doc(one)}\n"
        yield f"```python\n{textwrap.dedent(example).strip()}\n```\n"


# -- abilities ---------------------------------------------------------------------------------------------------------


def all_abilities() -> list[type[Any]]:
    """The abilities in the order of the code, the bases of others among them."""
    found = [getattr(abilities, name) for name in abilities.__all__]
    kinds = [one for one in found if inspect.isclass(one) and _is_ability(one)]
    return sorted(kinds, key=lambda one: (one.__module__, inspect.getsourcelines(one)[1]))


def _is_ability(one: type[Any]) -> bool:
    return not issubclass(one, Plugin) and any(base.__name__ == "ABC" for base in one.__mro__)


def abilities_(chinese: bool) -> Part:
    """Each ability with its methods and attributes."""
    head = heads(
        chinese,
        ("member", "成员"),
        ("must be written", "必须实现"),
        ("carries out", "执行的动作"),
        ("meaning", "含义"),
    )
    for one in all_abilities():
        yield f"### `{one.__name__}`\n"
        yield f"{doc(one)}\n"
        yield head, [*_attributes(one), *(_method(name, each, chinese) for name, each in _methods(one))]
        yield ""


def _attributes(one: type[Any]) -> Iterator[tuple[str, ...]]:
    for name, annotation in vars(one).get("__annotations__", {}).items():
        given = f" = {vars(one)[name]!r}" if name in vars(one) else ""
        yield f"`{name}: {plain(annotation)}{given}`", "", "", ""


def _methods(one: type[Any]) -> Iterator[tuple[str, Any]]:
    own = ((name, each) for name, each in vars(one).items() if inspect.isfunction(each))
    return ((name, each) for name, each in own if each.__module__ == one.__module__ and not name.startswith("_"))


def _method(name: str, method: Any, chinese: bool) -> tuple[str, ...]:
    must = ("yes", "是")[chinese] if getattr(method, "__isabstractmethod__", False) else ""
    calling = "async " if inspect.iscoroutinefunction(method) else ""
    return f"`{calling}{name}{signature(method, bound=True)}`", must, performs(method), doc(method)


def performs(method: Any) -> str:
    """The action that a method carries out, and the facts of its handler."""
    mark = getattr(method, "__performs__", None)
    if not isinstance(mark, Performs) or mark.action is None:
        return ""
    facts = [name if value is True else f"{name} `{value}`" for name, value in mark.facts.items()]
    return ", ".join([f"`{mark.action.kind}`", *facts])


# -- what is lent and given back ---------------------------------------------------------------------------------------


def lent(chinese: bool) -> Part:
    """``Context``, ``Handler`` and their like."""
    yield from _classes(LENT, chinese)


def functions(chinese: bool) -> Part:
    """The functions that stand beside the abilities."""
    found = {name: getattr(abilities, name) for name in abilities.__all__}
    rows = [_said(name, one, bound=False) for name, one in found.items() if inspect.isfunction(one)]
    yield heads(chinese, ("function", "函数"), ("meaning", "含义")), rows


def policies(chinese: bool) -> Part:
    """What policies are made of."""
    yield from _classes(FOR_POLICIES, chinese)


def _classes(names: tuple[str, ...], chinese: bool) -> Part:
    head = heads(chinese, ("member", "成员"), ("type", "类型"), ("default", "缺省"))
    for one in (getattr(abilities, name) for name in names):
        yield f"### `{one.__name__}`\n"
        yield f"{doc(one)}\n"
        if rows := list(_fields(one)):
            yield head, rows
            yield ""
        if one.__name__ in SPEAK:
            said = heads(chinese, ("method", "方法"), ("meaning", "含义"))
            yield said, [_said(name, each) for name, each in _methods(one)]
            yield ""


def _said(name: str, function: Any, *, bound: bool = True) -> tuple[str, ...]:
    calling = "async " if inspect.iscoroutinefunction(function) else ""
    return f"`{calling}{name}{signature(function, bound=bound)}`", doc(function)


def _fields(one: type[Any]) -> Iterator[tuple[str, ...]]:
    if dataclasses.is_dataclass(one):
        for each in dataclasses.fields(one):
            yield f"`{each.name}`", f"`{plain(each.type)}`", _default(each)
        return
    for name, annotation in vars(one).get("__annotations__", {}).items():
        yield f"`{name}`", f"`{plain(annotation)}`", f"`{vars(one)[name]!r}`" if name in vars(one) else ""


def _default(one: dataclasses.Field[Any]) -> str:
    given = one.default
    if given is dataclasses.MISSING or callable(given):
        return ""
    return f"`{given!r}`".replace("datetime.", "")


# -- wire --------------------------------------------------------------------------------------------------------------


def wire_(chinese: bool) -> Part:
    """Each module of ``rmabridge.wire`` with its public functions and classes."""
    head = heads(chinese, ("name", "名称"), ("meaning", "含义"))
    for found in pkgutil.iter_modules(wire.__path__):
        module = importlib.import_module(f"{wire.__name__}.{found.name}")
        rows = [_name(name, one) for name, one in vars(module).items() if _public(name, one, module.__name__)]
        yield f"### `rmabridge.wire.{found.name}`\n"
        yield f"{doc(module)}\n"
        yield head, rows
        yield ""


def _public(name: str, one: Any, module: str) -> bool:
    return not name.startswith("_") and getattr(one, "__module__", "") == module and (callable(one))


def _name(name: str, one: Any) -> tuple[str, str]:
    inner = inspect.unwrap(one)
    shown = f"`{name}`" if inspect.isclass(one) else f"`{name}{signature(inner)}`"
    return shown, doc(inner)


# -- the model ---------------------------------------------------------------------------------------------------------


def events(chinese: bool) -> Part:
    """Every event, and whether it may open a case."""
    head = heads(
        chinese,
        ("event", "事件"),
        ("class", "类"),
        ("opens a case", "可开案件"),
        ("fields", "字段"),
        ("meaning", "含义"),
    )
    opens = ("yes", "是")[chinese]
    common = set(get_args(Event)[0].__base__.model_fields) | {"type"}
    rows = [
        (f"`{_type(one)}`", f"`{one.__name__}`", opens if one.opener else "", _named(one, common), doc(one))
        for one in get_args(Event)
    ]
    yield head, rows


def actions(chinese: bool) -> Part:
    """Every action, and whether it moves money."""
    head = heads(
        chinese, ("action", "动作"), ("class", "类"), ("moves money", "动钱"), ("fields", "字段"), ("meaning", "含义")
    )
    money = ("yes", "是")[chinese]
    common = set(get_args(Action)[0].__base__.model_fields) | {"type"}
    rows = [
        (f"`{one.kind}`", f"`{one.__name__}`", money if one.moves_money else "", _named(one, common), doc(one))
        for one in get_args(Action)
    ]
    yield head, rows


def _type(one: Any) -> str:
    return str(one.model_fields["type"].default)


def _named(one: Any, common: set[str]) -> str:
    """The fields of its own; those that must be given are bold."""
    fields = ((name, field) for name, field in one.model_fields.items() if name not in common)
    return ", ".join(f"**`{name}`**" if field.is_required() else f"`{name}`" for name, field in fields)


def words(chinese: bool) -> Part:
    """The words of the model: every enumeration with its values."""
    found = [one for one in vars(model).values() if inspect.isclass(one) and issubclass(one, Enum)]
    rows = [(f"`{one.__name__}`", ", ".join(f"`{each.value}`" for each in one), doc(one)) for one in found]
    yield heads(chinese, ("class", "类"), ("values", "取值"), ("meaning", "含义")), rows


# -- errors, contract, faults ------------------------------------------------------------------------------------------


def errors_(chinese: bool) -> Part:
    """Every error that a plugin raises, and what the bridge does."""
    found = [one for one in vars(errors).values() if inspect.isclass(one)]
    rows = []
    for one in found:
        if issubclass(one, errors.Refused) and one is not errors.Refused:
            rows.append((f"`{one.__name__}`", f"HTTP {one.status}", doc(one)))
        elif one in NEXT:
            rows.append((f"`{one.__name__}`", NEXT[one], doc(one)))
    yield heads(chinese, ("error", "错误"), ("the bridge", "桥怎么做"), ("meaning", "含义")), rows


def contracts(chinese: bool) -> Part:
    """Every class of the contract with its checks."""
    for one in contract_classes():
        checks = [name.removeprefix("test_").replace("_", " ") for name in vars(one) if name.startswith("test_")]
        bases = ", ".join(f"`{each.__name__}`" for each in one.__bases__ if each is not object)
        yield f"### `{one.__name__}`\n"
        yield f"{doc(one)}\n"
        if bases:
            yield f"{('Builds on', '继承')[chinese]} {bases}{'.。'[chinese]}\n"
        if checks:
            yield f"{('Its checks: ', '检查项：')[chinese]}{'; '.join(checks)}{'.。'[chinese]}\n"


def contract_classes() -> list[type[Any]]:
    """The classes that an author derives from, and those that they are made of."""
    named = [getattr(contract, name) for name in contract.__all__]
    found = dict.fromkeys(
        base for one in named for base in reversed(one.__mro__) if issubclass(base, contract.Contract)
    )
    return list(found)


def faults(chinese: bool) -> Part:
    """Every fault that each simulator has."""
    where = (("in a call", "调用时"), ("in a webhook", "Webhook"))
    rows = [(f"`{name}`", where[name not in DOORS][chinese], told) for name, told in KINDS.items()]
    yield heads(chinese, ("fault", "故障"), ("where", "何处"), ("meaning", "含义")), rows


PARTS: Final[dict[str, Callable[[bool], Part]]] = {
    "hook-reference": hooks,
    "abilities": abilities_,
    "lent": lent,
    "functions": functions,
    "for-policies": policies,
    "wire": wire_,
    "events": events,
    "actions": actions,
    "words": words,
    "errors": errors_,
    "contract": contracts,
    "faults": faults,
}
