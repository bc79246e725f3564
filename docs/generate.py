"""``make docs``: write the tables that come from the code into the documents, between their markers.

A block begins with ``<!-- generated: NAME -->`` and ends with ``<!-- end -->``. A test compares; nobody edits by hand.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from enum import Enum
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import click
from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, SecretStr

from rmabridge import abilities
from rmabridge.abilities import Plugin, Policy, Shop
from rmabridge.abilities.secrets import Secret
from rmabridge.cli import main
from rmabridge.config import Bridge
from rmabridge.flow.metrics import Metrics
from rmabridge.model import Money
from rmabridge.registry import GROUP, classes, load, sources
from rmabridge.testing.quality import LEVELS, last

ROOT: Final = Path(__file__).resolve().parents[1]
BLOCK: Final = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
GUIDE: Final = tuple(sorted((ROOT / "docs" / "plugins").glob("*.md")))
LONGEST: Final = 160
EMPTY: Final = (None, "", (), {}, frozenset())
WORDS: Final = ROOT / "docs" / "operations.zh-CN.toml"
KINDS: Final = ("marketplaces", "helpdesks", "carriers", "channels", "services", "policies")

# What each ability means to a reader: English, Chinese.
ABILITIES: Final = {
    "ReceivesWebhooks": ("receives webhooks", "接收 Webhook"),
    "Polls": ("polls", "轮询"),
    "Reconciles": ("compares", "对账"),
    "FetchesOrders": ("fetches orders", "查订单"),
    "DecidesReturns": ("approves and declines returns", "同意或拒绝退货"),
    "PaysRefunds": ("pays refunds", "退款"),
    "KeepsTickets": ("keeps tickets", "管理工单"),
    "TracksParcels": ("tracks parcels", "跟踪包裹"),
    "TakesClaims": ("takes claims", "受理索赔"),
    "GivesProof": ("gives written proof", "出具证明"),
    "AnswersEnquiries": ("answers enquiries", "受理查件"),
    "KnowsCoverage": ("knows which addresses it serves", "查询派送范围"),
    "GrantsCredit": ("issues coupons and gift cards", "发放优惠券和礼品卡"),
    "ShipsReplacements": ("reships", "补发货"),
    "PrintsLabels": ("prints labels", "打印面单"),
    "TagsBuyers": ("tags buyers", "标记买家"),
    "ClassifiesText": ("classifies texts", "文本分类"),
    "SendsMessages": ("sends messages", "发送消息"),
    "Forwards": ("forwards case changes", "转发案件变更"),
    "Probes": ("self-test", "自检"),
    "Connects": ("connects", "接入授权"),
}
POLICIES_ZH: Final = {
    "approvals": "审批：有动作待批时通知审批人，附一次性链接；超时转代理人",
    "claims": "理赔：包裹破损或丢失时起草、提交、跟进向承运商的索赔，并核对赔款",
    "clarify": "澄清：一句话问清还缺什么，最多几次，之后交给人",
    "clocks": "时钟：首次响应、聊天回复、后续响应、解决、审核、约定步骤和平台自己的时限",
    "compensation": "补偿：在权限内给出方案，执行双方同意的方案，超出权限的先挂起",
    "contact_windows": "联系时段：电话、短信和聊天按买家时区等到合适的时间再发",
    "evidence": "举证：向买家要案件所需的材料，核对各方信息，按规则定责",
    "logistics": "运输：揽收、运输、派送各段的异常，以及该告诉买家什么",
    "patience": "不打断：买家还在输入时，自动消息先等一等",
    "plays": "处理流程：每类问题一套步骤，从首次答复到最后回访",
    "second_way": "换一条路：一个渠道没有送达的，用下一个能送达的渠道再发一次",
    "triage": "初判：读买家的话，判断问题类型、级别和情绪，并说明依据",
    "verification": "核实身份：确认是下单的买家，才告知订单信息或付款",
    "wording": "用语：不该对顾客说的话，替换、挂起或拦下，原话保留",
    "first_reply": "首次回复：用买家的语言问候，表示理解，说明下一步",
    "helpdesk_sync": "工单同步：一案一单，客服的公开回复原样发给买家",
    "progress": "进度通知：每完成一步只通知一次，几步同时完成时只说最新的",
    "returns": "退货：窗口期内自动同意，收到退件后退款，须由人决定的先挂起",
    "routing": "分派：按规则把案件分给小组，并提醒同事",
    "tracking": "物流：跟踪未结案件的每个包裹，回答“我的包裹在哪”",
}

# Types of settings in Chinese.
TYPES_ZH: Final = {
    "text": "文本",
    "number": "数字",
    "true or false": "`true` 或 `false`",
    "duration": "时长",
    "path": "路径",
    "secret": "机密",
    "secret, or a list of two": "机密，或两个机密的列表",
    "table": "表",
    "expression": "表达式",
}
HEADS: Final = {
    "settings": (("setting", "type", "default", "meaning"), ("设置", "类型", "默认值", "含义")),
    "routes": (("part", "fields"), ("部分", "字段")),
    "commands": (("command", "what it does"), ("命令", "作用")),
    "metrics": (("metric", "type", "labels", "what it counts"), ("指标", "类型", "标签", "统计什么")),
}
SAID: Final[dict[str, str]] = tomllib.loads(WORDS.read_text(encoding="utf-8"))
HEARD: Final[set[str]] = set()  # what the code says that a Chinese page repeats


def said(words: str, chinese: bool) -> str:
    """What the code says, in the page's language; English where nobody has translated it yet (a test names it)."""
    HEARD.update({words} - {""})
    return SAID.get(words, words) if chinese else words


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([one.replace("|", "\\|").replace("\n", " ") for one in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plugins() -> Iterator[tuple[str, type[Plugin], list[str], str]]:
    """(name, class, kinds, module docstring) of every bundled plugin, by kind, then by name."""
    found = []
    known = sources()
    for one in entry_points(group=GROUP):
        if one.dist is None or one.dist.name != "rmabridge":
            continue
        module = load(known[one.name])
        by_class: dict[type[Plugin], list[str]] = {}
        for kind in KINDS:
            for each in classes(module, kind):
                by_class.setdefault(each, []).append(kind)
        for each, kinds in by_class.items():
            found.append((one.name, each, kinds, inspect.getdoc(module) or ""))
    return iter(sorted(found, key=lambda each: (KINDS.index(each[2][0]), each[0])))


def abilities_of(plugin: type[Plugin]) -> list[str]:
    """The names of its abilities, in the order of ``ABILITIES``."""
    named = {one.__name__ for one in plugin.__mro__ if one.__module__.startswith(abilities.__name__)}
    if odd := named - set(ABILITIES) - {"Plugin", "Policy", "Parses"}:
        raise LookupError(f"say in ABILITIES what {odd} means")
    return [one for one in ABILITIES if one in named]


def unverified(doc: str) -> str:
    """The first phrase of what a module's docstring says was not verified; empty where there is nothing."""
    flat = " ".join(doc.split())
    found = re.search(r"Not verified[^:]*: (.*)", flat) or re.search(r"[;.] ([^;.]*\bwas not tried\b[^.]*\.)", flat)
    if found is None:
        return ""
    plain = re.sub(r" ?\([^)]*\)", "", found[1]).replace("``", "")
    phrase, more = re.split(r"[;.](?=\s|$)", plain, maxsplit=1)
    return "" if phrase == "nothing" else phrase + (" …" if more.strip() else "")


def plugin_table(chinese: bool) -> str:
    """Everything but policies."""
    rows = []
    for name, plugin, kinds, doc in plugins():
        if issubclass(plugin, Policy):
            continue
        can = [ABILITIES[one][chinese] for one in abilities_of(plugin)]
        open_ = unverified(doc)
        told = ("有，见模块说明" if open_ else "无") if chinese else (open_ or "–")
        service = f"[{plugin.title}]({plugin.reference})"
        joined = ("、" if chinese else ", ").join(can)
        rows.append((f"`{name}`", level_of(name, chinese), service, ", ".join(kinds), joined, told))
    head = ("插件", "等级", "服务（接口文档）", "配置段", "能力", "未经核实之处")
    plain = ("plugin", "level", "service (its API reference)", "section", "can", "not verified")
    return table(head if chinese else plain, rows)


def level_of(name: str, chinese: bool) -> str:
    """The level that the plugin had when evidence was last written down (``pytest --evidence``)."""
    level = last(sources()[name]).level
    return dict(zip(LEVELS, ("铜", "银", "金"), strict=True)).get(level, "–") if chinese else level or "–"


def policy_table(chinese: bool) -> str:
    """The policies, and which of the three hooks they answer."""
    rows = []
    for name, plugin, _, doc in plugins():
        if issubclass(plugin, Policy):
            answers = [one for one in ("decide", "amend", "review") if getattr(plugin, one) is not getattr(Policy, one)]
            does = POLICIES_ZH[name] if chinese else doc.splitlines()[0].rstrip(".")
            rows.append((f"`{name}`", does, ", ".join(f"`{one}`" for one in answers)))
    return table(("策略", "作用", "实现的钩子") if chinese else ("policy", "what it does", "answers"), rows)


def words(annotation: Any) -> str:
    """A type as an operator would say it."""
    plain = {str: "text", int: "number", float: "number", bool: "true or false", timedelta: "duration", Path: "path"}
    plain[Money] = "text"
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in plain:
        return plain[annotation]
    if annotation in (Secret, SecretStr):
        return "secret"
    if origin is Literal:
        return " or ".join(f"`{one}`" for one in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(words(one) for one in args if one is not type(None)))
    if hasattr(annotation, "__metadata__"):
        return words(args[0])
    if origin in (tuple, frozenset, list):
        inner = words(args[0])
        return "secret, or a list of two" if inner == "secret" and Secret in args else f"list of {inner}"
    if origin is dict:
        return "table"
    if getattr(annotation, "__name__", "") == "Query":
        return "expression"
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return " or ".join(f"`{one.value}`" for one in annotation)
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "table"
    return "text"


def words_zh(told: str) -> str:
    """A type as ``words`` tells it, in Chinese."""
    if told in TYPES_ZH:
        return TYPES_ZH[told]
    if told.startswith("list of "):
        inner = words_zh(told.removeprefix("list of "))
        return f"{inner} 的列表" if inner.endswith("`") else f"{inner}列表"
    return " 或 ".join(TYPES_ZH.get(one, one) for one in told.split(" or "))


def default(value: Any) -> str:
    """A default as it would be written in TOML."""
    if value in EMPTY:
        return ""
    written = literal(value)
    many = isinstance(value, tuple | list | frozenset) and len(written) > LONGEST
    return f"a list of {len(value)}" if many else f"`{written}`"


def literal(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, BaseModel) and not isinstance(value, Money):
        value = {name: one for name, one in value if one not in EMPTY}
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {literal(one)}" for name, one in value.items()) + " }"
    if isinstance(value, tuple | list | frozenset):
        ordered = sorted(value) if isinstance(value, frozenset) else value
        return f"[{', '.join(literal(one) for one in ordered)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = span(value) if isinstance(value, timedelta) else str(getattr(value, "value", value))
    return f"'{text}'" if '"' in text or "\\" in text else f'"{text}"'


def key(name: Any) -> str:
    """A key in TOML."""
    text = str(getattr(name, "value", name))
    return text if re.fullmatch(r"[\w-]+", text, re.ASCII) else f'"{text}"'


def default_zh(told: str) -> str:
    """A default as ``default`` tells it, in Chinese."""
    return re.sub(r"^a list of (\d+)$", r"\1 项的列表", told.replace("**required**", "**必填**"))


def span(value: timedelta) -> str:
    """An ISO 8601 duration."""
    days, seconds = value.days, value.seconds
    hours, minutes, rest = seconds // 3600, seconds % 3600 // 60, seconds % 60
    time = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (rest, "S")) if number)
    return "P" + (f"{days}D" if days else "") + (f"T{time}" if time else "") if days or time else "PT0S"


def settings(model: type[BaseModel], leave: Iterable[str] = (), *, chinese: bool = False) -> str:
    """The settings of a model, the required ones first."""
    fields = {name: one for name, one in model.model_fields.items() if name not in leave}
    rows = []
    for name, one in sorted(fields.items(), key=lambda each: not each[1].is_required()):
        given = "**required**" if one.is_required() else default(one.get_default(call_default_factory=True))
        kind = words(one.annotation)
        if chinese:
            kind, given = words_zh(kind), default_zh(given)
        rows.append((f"`{name}`", kind, given, said(one.description or "", chinese)))
    return table(HEADS["settings"][chinese], rows)


def plugin_settings(chinese: bool) -> str:
    """The settings of every bundled plugin, beside those that all have."""
    parts = []
    for name, plugin, kinds, _ in plugins():
        common = [each for each, one in Plugin.model_fields.items() if repr(one) == repr(plugin.model_fields[each])]
        none = ("None of its own.\n", "没有自己的设置。\n")[chinese]
        own = settings(plugin, common, chinese=chinese) if set(plugin.model_fields) - set(common) else none
        where = ("、" if chinese else ", ").join(f"[{one}.NAME]" for one in kinds)
        parts.append(f"### {where} 中的 `{name}`\n\n{own}" if chinese else f"### `{name}` in {where}\n\n{own}")
    return "\n".join(parts)


def routes(chinese: bool) -> str:
    """What a routing rule may ask for, and what it may say."""
    from rmabridge_routing import Then, When

    parts = (("when", When), ("then", Then))
    return table(
        HEADS["routes"][chinese],
        [(f"`{name}`", ", ".join(f"`{one}`" for one in model.model_fields)) for name, model in parts],
    )


def commands(group: click.Group = main, path: str = GROUP) -> Iterator[tuple[str, str]]:
    """(call, meaning) of every command that is shown."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        one = group.get_command(ctx, name)
        if isinstance(one, click.Group):
            yield from commands(one, f"{path} {name}")
        elif one is not None:
            takes = " ".join(f"{part.make_metavar(ctx)}" for part in one.params if isinstance(part, click.Argument))
            told = " ".join((one.help or "").partition("\n\n")[0].split())
            yield f"`{path} {name}{' ' + takes if takes else ''}`", told


def command_table(chinese: bool) -> str:
    """Every command with its meaning."""
    return table(HEADS["commands"][chinese], ((call, said(does, chinese)) for call, does in commands()))


def metrics(chinese: bool) -> str:
    """Every metric that the bridge exposes."""
    kinds: dict[Any, str] = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
    rows = []
    for one in vars(Metrics()).values():
        if type(one) in kinds:
            labels = ", ".join(f"`{each}`" for each in one._labelnames)  # noqa: SLF001 - no public way
            name = one._name + ("_total" if isinstance(one, Counter) else "")  # noqa: SLF001
            rows.append((f"`{name}`", kinds[type(one)], labels, said(one._documentation, chinese)))  # noqa: SLF001
    return table(HEADS["metrics"][chinese], rows)


def authors() -> types.ModuleType:
    """The parts of the plugin authors' reference; a file of its own, beside its pages."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs" / "plugins" / "reference.py")
    if spec is None or spec.loader is None:
        raise ImportError("docs/plugins/reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reference(part: Callable[[bool], Iterator[Any]], chinese: bool) -> str:
    """One part of the reference: its headings, paragraphs and tables."""
    made = (one if isinstance(one, str) else table(*one).rstrip("\n") for one in part(chinese))
    return "\n".join(made).rstrip("\n") + "\n"


PARTS: Final[dict[str, Callable[[bool], Iterator[Any]]]] = authors().PARTS
# Blocks that both languages have.
BOTH: Final[dict[str, Callable[[bool], str]]] = {
    "plugins": plugin_table,
    "policies": policy_table,
    "bridge": lambda chinese: settings(Bridge, chinese=chinese),
    "shop": lambda chinese: settings(Shop, ("name",), chinese=chinese),
    "account": lambda chinese: settings(Plugin, chinese=chinese),
    "plugin-settings": plugin_settings,
    "routes": routes,
    "commands": command_table,
    "metrics": metrics,
}
BLOCKS: Final[dict[str, Callable[[], str]]] = {
    **{name: partial(part, False) for name, part in BOTH.items()},  # noqa: FBT003
    **{f"{name}-zh": partial(part, True) for name, part in BOTH.items()},  # noqa: FBT003
    **{name: partial(reference, part, chinese=False) for name, part in PARTS.items()},
    **{f"{name}-zh": partial(reference, part, chinese=True) for name, part in PARTS.items()},
}


def generated(document: str) -> str:
    """The document with every generated block made anew."""
    return BLOCK.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", document)


def documents() -> list[Path]:
    """The documents that a person reads."""
    return [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md")), *GUIDE]


if __name__ == "__main__":
    for path in documents():
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
