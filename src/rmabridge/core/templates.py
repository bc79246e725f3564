"""The words: versioned templates in TOML, rendered for one buyer in one locale and one form.

A file holds templates as ``[topic.name]`` with a table per locale, and may hold ``[parts.NAME]`` (one-line snippets by
locale), ``[words.LOCALE]`` (names for codes), ``[phrases]`` (words by which a text is known) and ``[samples.NAME]``
(values for previews). An operator's own directory overrides locale by locale: what it leaves out stays as shipped.

A complaint of the kind ``script`` or ``calming`` is made of three labelled parts (``LABELS``): fields of their own
beside the forms, and every form must put all three in.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import tomli  # compiled: these are read at every start
from pydantic import BaseModel, ConfigDict, StrictBool, StrictInt, ValidationError

from ..errors import ConfigError
from ..model import Address, Form, Money, TemplateRef

if TYPE_CHECKING:
    from jinja2 import Environment, Template

LOCALES: Final = ("zh-CN", "zh-TW", "en")
# What may stand in for a form: long words never go into a text message.
STAND_INS: Final = {
    Form.MAIL: ("mail", "thread", "chat"),
    Form.THREAD: ("thread", "chat", "mail"),
    Form.CHAT: ("chat", "thread", "mail"),
    Form.SMS: ("sms",),
    Form.CALL: ("call", "chat", "thread", "mail"),
}
# What every template is given: the case id, the buyer's name, the shop's name, the order number and the issue.
COMMON: Final = ("case", "name", "shop", "order", "issue")
# The labelled parts that a template of this kind must have when it answers a complaint.
LABELS: Final = {
    "script": ("apology", "compensation", "prevention"),
    "calming": ("feeling", "responsibility", "action"),
}
_SHARED = frozenset({"parts", "words", "samples", "phrases"})
_SNIPPET = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class _Table(BaseModel):
    """One template as it stands in a file, with its words by locale and field."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    __pydantic_extra__: dict[str, dict[str, str]]

    version: StrictInt = 1
    kind: str = ""
    complaint: StrictBool = False
    forms: tuple[Form, ...] = ()
    parts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


class _File(BaseModel):
    """A file of templates: ``[topic.name]``, and what they share."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    __pydantic_extra__: dict[str, dict[str, _Table]]

    parts: dict[str, dict[str, str]] = {}
    words: dict[str, dict[str, Any]] = {}
    phrases: dict[str, list[str]] = {}
    samples: dict[str, dict[str, Any]] = {}


def _check_shape(data: dict[str, Any], file: str) -> None:
    try:
        _File.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        *_, last = place = [str(one) for one in first["loc"]]
        unknown = first["type"] == "dict_type" and len(place) == len(("topic", "name", "field")) and last not in LOCALES
        reason = "not known here" if unknown else first["msg"].replace(" or instance of _Table", "")
        raise ConfigError(f"[templates] {file}: {'.'.join(place)}: {reason}") from error


@dataclass(frozen=True, slots=True)
class Rendered:
    """Words ready to send, and the template they came from; only mails have a subject."""

    text: str
    subject: str | None
    template: TemplateRef


@dataclass(frozen=True, slots=True)
class Problem:
    """What ``lint`` found, and where."""

    where: str
    reason: str

    def __str__(self) -> str:
        return f"[{self.where}] {self.reason}"


class Size(NamedTuple):
    """How long a text is."""

    characters: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Body:
    """The words of one template in one locale, by field, and the file they stand in."""

    fields: dict[str, str]
    file: str
    source: str
    shipped: bool


@dataclass(frozen=True, slots=True)
class Text:
    """One template: ``values`` are what its sender gives it, ``parts`` the shared snippets it may use."""

    id: str
    version: int = 1
    kind: str = ""
    complaint: bool = False
    forms: tuple[Form, ...] = tuple(Form)
    parts: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    bodies: dict[str, Body] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labelled parts that this template must have."""
        return LABELS.get(self.kind, ()) if self.complaint else ()

    def field_for(self, locale: str, form: Form) -> str | None:
        """Which of the locale's fields serves the form."""
        body = self.bodies.get(locale)
        return next((one for one in STAND_INS[form] if body and one in body.fields), None)


@lru_cache(maxsize=256)
def nearest(locale: str) -> str:
    """The locale of ours that serves a BCP 47 tag."""
    tag = locale.replace("_", "-").casefold()
    if "hant" in tag or tag.startswith(("zh-tw", "zh-hk", "zh-mo")):
        return "zh-TW"
    return "zh-CN" if tag == "zh" or tag.startswith("zh-") else "en"


class Catalogue:
    """All templates, the shipped ones and an operator's own; each is compiled once, when it is first needed."""

    def __init__(self, own: Path | None = None) -> None:
        self._texts: dict[str, Text] = {}
        self._parts: dict[str, dict[str, str]] = {}
        self._words: dict[str, dict[str, str]] = {}
        self._samples: dict[str, dict[str, Any]] = {}
        self._phrases: dict[str, list[str]] = {}
        self._ready: dict[tuple[str, str, str], tuple[Template, Template | None, TemplateRef]] = {}
        self._load(resources.files("rmabridge") / "templates", shipped=True)
        if own is not None:
            self._load(own, shipped=False)
        self._environments: dict[str, Environment] = {}
        self._trusted = own is None
        if own is not None:
            self._compile_own()

    def ids(self) -> list[str]:
        """All template ids."""
        return sorted(self._texts)

    def text(self, id: str) -> Text:  # noqa: A002
        """One template as it was loaded."""
        try:
            return self._texts[id]
        except KeyError:
            raise ConfigError(f"[templates] {id}: there is no such template") from None

    def render(self, id: str, locale: str, form: Form, **values: Any) -> Rendered:  # noqa: A002
        """The template's words for the form, in the nearest locale."""
        tag = nearest(locale)
        ready = self._ready.get((id, tag, form)) or self._compile(id, tag, form)
        body, subject, ref = ready
        try:
            return Rendered(_words(body, values), _words(subject, values) if subject else None, ref)
        except Exception as error:
            raise self._broken(id, tag, form, error) from error

    def preview(self, id: str, locale: str, form: Form, sample: str = "typical") -> Rendered:  # noqa: A002
        """The template with sample values (``typical``, ``worst`` or ``bare``), and no others than its sender gives."""
        allowed = (*COMMON, *self.text(id).values)
        known = {**self._samples.get("typical", {}), **self._samples.get(sample, {})}
        return self.render(id, locale, form, **{name: known[name] for name in allowed if name in known})

    def longest(self, id: str, form: Form) -> Size:  # noqa: A002
        """The longest this template becomes in the form, over all locales, with the worst sample values."""
        texts = [self.preview(id, locale, form, "worst").text for locale in LOCALES]
        return Size(max(map(len, texts)), max(len(one.encode()) for one in texts))

    def empathy(self, locale: str) -> list[str]:
        """The approved lines that tell a customer we understand."""
        return [lines[locale] for name, lines in self._parts.items() if name.startswith("empathy") and locale in lines]

    def lint(self) -> list[Problem]:
        """Everything that is wrong with the templates, shipped or own."""
        return [problem for text in self._texts.values() for problem in self._check(text)]

    def _check(self, text: Text) -> Iterator[Problem]:
        for locale in LOCALES:
            if locale not in text.bodies:
                yield Problem(f"templates.{text.id}", f"{locale} is missing")
                continue
            for form in text.forms:
                yield from self._check_form(text, locale, form)

    def _check_form(self, text: Text, locale: str, form: Form) -> Iterator[Problem]:
        where = f"templates.{text.id}.{locale}"
        if text.field_for(locale, form) is None:
            yield Problem(where, f"no words for {form}")
            return
        if form is Form.MAIL and "subject" not in text.bodies[locale].fields:
            yield Problem(where, "a mail needs a subject")
        for sample in ("typical", "worst", "bare"):
            try:
                rendered = self.preview(text.id, locale, form, sample)
            except ConfigError as error:
                yield Problem(where, f"{form}: {error}")
                return
        if text.complaint and not any(line in rendered.text for line in self.empathy(locale)):
            yield Problem(where, f"{form}: the first reply to a complaint needs an approved line of empathy")
        elif text.complaint and not any(one in rendered.text.casefold() for one in self._phrases.get("apology", ())):
            yield Problem(where, f"{form}: the first reply to a complaint needs an apology")

    def _load(self, folder: Traversable | Path, *, shipped: bool) -> None:
        for file in sorted(folder.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".toml"):
                try:
                    source = file.read_text(encoding="utf-8")
                except UnicodeDecodeError as error:
                    raise ConfigError(f"[templates] {file.name}: not UTF-8: {error}") from error
                self._take(file.name, source, shipped=shipped)

    def _take(self, file: str, source: str, *, shipped: bool) -> None:
        try:
            data = tomli.loads(source)
        except tomli.TOMLDecodeError as error:
            raise ConfigError(f"[templates] {file}: {error}") from error
        if not shipped:
            _check_shape(data, file)
        for name, lines in data.get("parts", {}).items():
            self._parts[name] = {**self._parts.get(name, {}), **lines}
        for locale, words in data.get("words", {}).items():
            self._words.setdefault(locale, {}).update(words)
        for name, phrases in data.get("phrases", {}).items():
            self._phrases.setdefault(name, []).extend(one.casefold() for one in phrases)
        for name, values in data.get("samples", {}).items():
            for key, value in values.items():
                try:
                    self._samples.setdefault(name, {})[key] = _sample(value)
                except ValidationError as error:
                    reason = error.errors(include_url=False, include_input=False)[0]["msg"]
                    raise ConfigError(f"[templates] {file}: samples.{name}.{key}: {reason}") from error
        for topic in data.keys() - _SHARED:
            for name, table in data[topic].items():
                id_ = f"{topic}.{name}"
                facts = self._facts(id_, table, file)
                bodies = {one: Body(table[one], file, source, shipped) for one in LOCALES if one in table}
                old = self._texts.get(id_, Text(id_))
                self._texts[id_] = replace(old, **facts, bodies={**old.bodies, **bodies})
                _three_parts(self._texts[id_])

    def _facts(self, id: str, table: dict[str, Any], file: str) -> dict[str, Any]:  # noqa: A002
        facts = {name: value for name, value in table.items() if name not in LOCALES}
        if unknown := facts.keys() - {"version", "kind", "complaint", "forms", "parts", "values"}:
            raise ConfigError(f"[templates] {file}: {id}: {', '.join(sorted(unknown))}: not known here")
        if "values" in facts and id in self._texts:
            raise ConfigError(f"[templates] {file}: {id}: values: fixed by the bridge, which supplies them")
        for name in ("forms", "parts", "values"):
            if name in facts:
                facts[name] = tuple(Form(one) if name == "forms" else one for one in facts[name])
        return facts

    def _compile_own(self) -> None:
        for text, locale, form in product(self._texts.values(), LOCALES, Form):
            body = text.bodies.get(locale)
            if body and not body.shipped and form in text.forms and text.field_for(locale, form):
                self._compile(text.id, locale, form)

    def _compile(self, id: str, locale: str, form: Form) -> tuple[Template, Template | None, TemplateRef]:  # noqa: A002
        text = self.text(id)
        name = text.field_for(locale, form)
        if name is None:
            raise ConfigError(f"[templates] {id}: {locale} has no words for {form}")
        subject = "subject" if form is Form.MAIL and "subject" in text.bodies[locale].fields else None
        ref = TemplateRef(id=id, version=text.version, locale=locale)
        ready = (self._one(text, locale, name), self._one(text, locale, subject) if subject else None, ref)
        self._ready[id, locale, form] = ready
        return ready

    def _one(self, text: Text, locale: str, name: str) -> Template:
        from jinja2 import TemplateSyntaxError  # here and below: who reaches nobody in words never loads it

        body = text.bodies[locale]
        where = f"{body.file}:{text.id}:{locale}:{name}"
        source = _SNIPPET.sub(lambda found: self._snippet(text, locale, where, found), body.fields[name])
        environment = self._environment(locale)
        try:
            code = environment.compile(source, where, where)
        except TemplateSyntaxError as error:
            raise ConfigError(_place(text, locale, name, error.lineno, error.message or "syntax error")) from error
        return environment.template_class.from_code(environment, code, environment.make_globals(None))

    def _environment(self, locale: str) -> Environment:
        if locale not in self._environments:
            self._environments[locale] = _environment(locale, self._words.get(locale, {}), self._trusted)
        return self._environments[locale]

    def _snippet(self, text: Text, locale: str, where: str, found: re.Match[str]) -> str:
        if found[1] in text.labels and where.rpartition(":")[2] not in text.labels:
            own = text.bodies[locale].fields[found[1]]
            place = f"{where.rpartition(':')[0]}:{found[1]}"
            return " ".join(_SNIPPET.sub(lambda one: self._snippet(text, locale, place, one), own).split("\n"))
        part = self._parts.get(found[1])
        if part is None or found[1] in (*COMMON, *text.values):
            return found[0]
        if found[1] not in text.parts or locale not in part:
            raise ConfigError(f"[templates] {where}: the part {found[1]!r} is not allowed in this template")
        return " ".join(part[locale].splitlines())

    def _broken(self, id: str, locale: str, form: Form, error: Exception) -> ConfigError:  # noqa: A002
        text = self.text(id)
        name = text.field_for(locale, form) or ""
        frames = [one for one in traceback.extract_tb(error.__traceback__) if f":{id}:{locale}:" in one.filename]
        if frames:
            name = frames[-1].filename.rpartition(":")[2]
        line = (frames[-1].lineno or 1) if frames else 1
        return ConfigError(_place(text, locale, name, line, str(error)))


def _three_parts(text: Text) -> None:
    """Refuse a script or a calming text that lacks one of its labelled parts, or a form that leaves one out."""
    for (locale, body), label in product(text.bodies.items(), text.labels):
        if not body.fields.get(label, "").strip():
            raise ConfigError(_place(text, locale, label, 1, f"the part {label!r} of a {text.kind} is missing"))
        for form in STAND_INS:
            if (words := body.fields.get(form)) is not None and label not in _SNIPPET.findall(words):
                raise ConfigError(_place(text, locale, form, 1, f"{{{{ {label} }}}} is left out"))


def _words(template: Template, values: dict[str, Any]) -> str:
    """What ``Template.render`` does, without two of its three copies of the values."""
    context = template.new_context({**template.environment.globals, **values}, shared=True)
    try:
        return "".join(template.root_render_func(context)).strip()
    except Exception:  # noqa: BLE001 - it fails again, and then names the template's own line
        return template.render(values)


def _place(text: Text, locale: str, name: str, line: int, reason: str) -> str:
    body = text.bodies[locale]
    lines = body.source.splitlines()
    header = f"[{text.id}.{locale}]"
    at = next((n for n, one in enumerate(lines) if re.sub(r"[\s\"']", "", one).startswith(header)), 0)
    at = next((n for n in range(at, len(lines)) if re.match(rf"\s*{name}\s*=", lines[n])), at)
    below = lines[at].rstrip().endswith(('"""', "'''")) if lines else False
    return f"[templates] {body.file} line {at + line + below}: {text.id} {locale} {name}: {reason}"


def _environment(locale: str, words: Mapping[str, str], trusted: bool) -> Environment:
    """The sandbox guards against an operator's own templates; the shipped ones need not pay for it."""
    from jinja2 import Environment, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = (Environment if trusted else SandboxedEnvironment)(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "money": lambda amount: _money(amount, locale),
        "day": lambda at: _day(at, locale),
        "moment": lambda at: f"{_day(at, locale)} {at:%H:%M}",
        "word": lambda code: words.get(str(code), str(code).replace("_", " ")),
        "address": lambda address: _address(address, locale),
    }
    return made


def _money(amount: Money, locale: str) -> str:
    number = f"{amount.rounded().amount:,f}"
    if amount.currency == "CNY" and locale != "en":
        return f"{number} 元"
    return f"{number} {amount.currency}"


def _day(at: datetime, locale: str) -> str:
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}" if locale == "en" else f"{at.year}年{at.month}月{at.day}日"


def _address(address: Address, locale: str) -> str:
    small = [*address.lines, address.district, address.city, address.region, address.postcode, address.country]
    if locale == "en":
        return ", ".join(one for one in (address.name, *small, address.phone) if one)
    large = [address.country, address.region, address.city, address.district, *address.lines]
    return " ".join(filter(None, ("".join(one for one in large if one), address.postcode, address.name, address.phone)))


def _sample(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"amount", "currency"}:
            return Money.model_validate(value)
        if "country" in value:
            return Address.model_validate(value)
        return {name: _sample(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_sample(one) for one in value]
    return None if value == "" else value
