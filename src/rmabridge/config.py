"""``rmabridge.toml`` and the environment, checked: every error reads ``[section] field: reason``."""

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Self, Union, get_args, get_origin

import tomli
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from .abilities.shop import Shop
from .errors import ConfigError
from .wire.signing import standard_sign

KINDS: Final = ("marketplaces", "helpdesks", "carriers", "channels", "services")
# In the order in which they are asked: what a case is about, what is to be done, what is said, and last the judges.
DEFAULT_POLICIES: Final = (
    "triage",
    "verification",
    "routing",
    "plays",
    "first_reply",
    "returns",
    "compensation",
    "evidence",
    "logistics",
    "claims",
    "clocks",
    "clarify",
    "helpdesk_sync",
    "tracking",
    "progress",
    "second_way",
    "patience",
    "contact_windows",
    "approvals",
    "wording",
)
SECTIONS: Final = frozenset({"bridge", "shops", "routes", "policies", *KINDS})
POSTGRES: Final = ("postgresql://", "postgres://")
NAME_HINT: Final = "use letters, digits, '-' and '_'"


class Bridge(BaseModel):
    """``[bridge]``: what concerns the whole process."""

    model_config = ConfigDict(extra="forbid")

    _home: Path = PrivateAttr(default_factory=Path)

    database: str = Field(
        "sqlite:///rmabridge.db", description="where everything is kept: 'sqlite:///FILE' or 'postgresql://…'"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    door_token: SecretStr | None = Field(
        None, min_length=16, description="bearer token for /metrics and the reasons of /readyz from other machines"
    )
    proxies: tuple[IPvAnyNetwork, ...] = Field(
        (), description="networks of your reverse proxies, whose word about the sender's address is taken"
    )
    proxy_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        "X-Forwarded-For", description="the header in which your proxies say it; any other is ignored"
    )
    public_url: str = Field("", description="how the outside reaches the bridge, for webhooks and sign-in callbacks")
    keys: tuple[SecretStr, ...] = Field(
        (), description="master keys, newest first (32 bytes in base64); left out, a key file beside the database"
    )
    blobs: Path | None = Field(None, description="a directory for files; left out, beside the database")
    most_file: int = Field(50 << 20, gt=0, description="bytes of the largest file that is kept")
    carrier_lists: dict[str, Path] = Field(
        default_factory=dict,
        description="carriers of the shop's own files over the shipped list, by whose list it is: 'seventeentrack', "
        "'kuaidi100', 'kdniao', 'own'",
    )
    plugins_dir: Path | None = Field(None, description="a directory of the shop's own plugin files")
    templates_dir: Path | None = Field(None, description="a directory of the shop's own message templates")
    policies: tuple[str, ...] = Field(DEFAULT_POLICIES, description="the policies that are asked, in this order")
    dry_run: bool = Field(False, description="receive, decide and show, but let nothing leave")
    traces: str = Field(
        "", pattern=r"^(https?://\S+)?$", description="OpenTelemetry collector (OTLP over HTTP); left out, no traces"
    )
    trace_calls: bool = Field(False, description="let calls to vendors carry the trace ('traceparent')")
    tap: str = Field(
        "",
        pattern=r"^((https?://|file:)\S.*)?$",
        description="a copy without personal data of what comes, what it means and what goes out: 'file:FILE' or an "
        "address that takes JSON lines",
    )
    tap_secret: SecretStr | None = Field(
        None, description="signing secret of a tap's address ('whsec_…'), as Standard Webhooks has it"
    )
    tap_size: int = Field(50 << 20, gt=0, description="bytes of a tap's file, before it is put aside")
    tap_files: int = Field(5, ge=1, description="files of a tap that are kept aside")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least severity that is logged")
    most_waiting: int = Field(50_000, gt=0, description="events waiting to be routed; above it webhooks get 503")
    fetch_patience: timedelta = Field(timedelta(minutes=10), description="how long policies wait for fetched facts")
    unmatched_for: timedelta = Field(timedelta(hours=72), description="how long an event waits for its case")
    hourly_budget: int = Field(60, gt=0, description="outward actions of one case in an hour before it is held")
    daily_budget: int = Field(300, gt=0, description="outward actions of one case in a day before it is held")
    seen_for: timedelta = Field(timedelta(days=90), description="how long event keys are remembered")
    raw_for: timedelta = Field(timedelta(days=30), description="how long raw bodies are kept")
    uploads_for: timedelta = Field(timedelta(days=2), description="how long a file may take to arrive in pieces")
    virtual_clock: bool = Field(False, description="let 'rmabridge clock' advance the bridge's clock (tests and demo)")

    @field_validator("database")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if not url.startswith(("sqlite:///", *POSTGRES)):
            raise ValueError("write sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE")
        return url

    @model_validator(mode="after")
    def _signed_tap(self) -> Self:
        if self.tap.startswith("http"):
            try:
                standard_sign(
                    self.tap_secret.get_secret_value() if self.tap_secret else "", "tap", datetime.now(UTC), b""
                )
            except ValueError as error:
                raise ValueError(f"tap_secret: {error}; what an address gets is signed") from error
        return self

    @property
    def home(self) -> Path:
        """Where relative paths start."""
        return self._home

    @property
    def shared(self) -> bool:
        """Whether several processes may serve the database."""
        return self.database.startswith(POSTGRES)

    @property
    def path(self) -> Path:
        """The SQLite file; with a server, the place beside which the key file and the files lie."""
        return self._home / "rmabridge.db" if self.shared else Path(self.database.removeprefix("sqlite:///"))

    @property
    def shown(self) -> str:
        """The database as messages name it, without its password."""
        return f"PostgreSQL at {self.database.rpartition('@')[2]}" if self.shared else str(self.path)

    @property
    def folder(self) -> Path:
        """Where files are kept."""
        return self.blobs or self.path.with_suffix(".blobs")


@dataclass(frozen=True, slots=True)
class Section:
    """One ``[kind.name]`` table, secrets resolved, not yet checked against its plugin."""

    kind: str
    name: str
    values: dict[str, Any]

    @property
    def plugin(self) -> str:
        """The plugin's name: ``plugin = "…"``, else the section's own name."""
        return str(self.values.get("plugin", self.name))

    @property
    def where(self) -> str:
        """How errors name it."""
        return f"[{self.kind}.{self.name}]"


@dataclass(frozen=True, slots=True)
class Config:
    """A checked configuration; the sections of plugins are checked by the registry."""

    bridge: Bridge
    shops: dict[str, Shop]
    accounts: dict[str, Section]
    policies: dict[str, Section]
    routes: list[dict[str, Any]] = field(default_factory=list)
    path: Path | None = None

    @property
    def folder(self) -> Path | None:
        """Where the configuration file is; relative paths of all settings start there."""
        return self.path.resolve().parent if self.path else None


def load(path: Path) -> Config:
    """Read and check the file; raises ``ConfigError`` with every problem found."""
    try:
        document = tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; 'rmabridge init' writes one") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return read(document, path)


def read(document: dict[str, Any], path: Path | None = None) -> Config:
    """Check a parsed document."""
    problems: list[str] = [
        f"[{one}]: no such section; known are {', '.join(sorted(SECTIONS))}" for one in document if one not in SECTIONS
    ]
    folder = path.resolve().parent if path else None
    known = {name: value for name, value in document.items() if name in SECTIONS}
    document = {name: _resolved(value, f"[{name}]", problems, folder) for name, value in known.items()}
    bridge = _checked(Bridge, placed(Bridge, document.get("bridge", {}), folder), "[bridge]", problems)
    accounts = _sections(document, KINDS, problems)
    policies = _sections(document, ("policies",), problems)
    shops: dict[str, Shop] = {}
    for name, values in _tables(document, "shops", problems):
        given = {"title": name, **placed(Shop, values, folder), "name": name}
        if shop := _checked(Shop, given, f"[shops.{name}]", problems):
            shops[name] = shop
            problems.extend(
                f"[shops.{name}] {one!r}: no account of that name" for one in shop.accounts() if one not in accounts
            )
    routes = document.get("routes", [])
    if not isinstance(routes, list) or not all(isinstance(one, dict) for one in routes):
        problems.append("[routes]: write [[routes]] with double brackets, once for each rule")
        routes = []
    if problems or bridge is None:
        raise ConfigError(*problems)
    if folder and not bridge.shared:
        bridge = bridge.model_copy(update={"database": f"sqlite:///{folder / bridge.path}"})
    bridge._home = folder or Path()  # noqa: SLF001 - known only here
    return Config(bridge, shops, accounts, policies, routes, path)


def placed(model: type[BaseModel], values: dict[str, Any], folder: Path | None) -> dict[str, Any]:
    """The values with relative paths made relative to the folder, wherever the command is started."""
    if folder is None or not isinstance(values, dict):
        return values
    fields = model.model_fields
    return {name: _put(fields[name].annotation, one, folder) if name in fields else one for name, one in values.items()}


def _put(kind: Any, value: Any, folder: Path) -> Any:
    """A value of a field of this type: paths may also be inside lists, tables and models of a plugin's own."""
    for one in _options(kind):
        inside = get_args(one)
        if one is Path and isinstance(value, str):
            return str(folder / value)
        if inside and isinstance(value, list):
            return [_put(inside[0], each, folder) for each in value]
        if inside and isinstance(value, dict):
            return {name: _put(inside[-1], each, folder) for name, each in value.items()}
        if isinstance(one, type) and issubclass(one, BaseModel):
            return placed(one, value, folder)
    return value


def _options(kind: Any) -> list[Any]:
    """The types that a value may have."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [each for one in get_args(kind) for each in _options(one)]
    return [kind]


def _tables(document: dict[str, Any], kind: str, problems: list[str]) -> list[tuple[str, dict[str, Any]]]:
    tables = document.get(kind, {})
    if not isinstance(tables, dict):
        problems.append(f"[{kind}]: write [{kind}.NAME] for each one")
        return []
    found = []
    for name, values in tables.items():
        if not isinstance(values, dict):
            problems.append(f"[{kind}] {name}: is not a section; write [{kind}.{name}]")
        elif not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            problems.append(f"[{kind}.{name}]: not a name for an account; {NAME_HINT}")
        else:
            found.append((name, values))
    return found


def _sections(document: dict[str, Any], kinds: tuple[str, ...], problems: list[str]) -> dict[str, Section]:
    found: dict[str, Section] = {}
    for kind in kinds:
        for name, values in _tables(document, kind, problems):
            if name in found:
                problems.append(f"[{kind}.{name}]: the name is taken by [{found[name].kind}.{name}]")
            found[name] = Section(kind, name, values)
    return found


def _checked(model: type[Any], values: Any, where: str, problems: list[str]) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems.extend(explain(error, where))
        return None


def explain(error: ValidationError, where: str) -> list[str]:
    """Pydantic's findings as ``[section] field: reason``; values, which may be secret, are never shown."""
    lines = []
    for one in error.errors(include_url=False, include_input=False):
        field_name = ".".join(str(part) for part in one["loc"]) or "settings"
        reason = {"missing": "missing", "extra_forbidden": "no such setting"}.get(one["type"], one["msg"])
        lines.append(f"{where} {field_name}: {reason.removeprefix('Value error, ')}")
    return lines


def _resolved(value: Any, where: str, problems: list[str], folder: Path | None) -> Any:
    """The value with ``{env = …}``, ``{file = …}`` and ``{keyring = …}`` replaced by the secrets they name."""
    if isinstance(value, list):
        return [_resolved(one, where, problems, folder) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and (source := next(iter(value))) in SOURCES and isinstance(value[source], str):
        try:
            return SOURCES[source](str(folder / value[source]) if folder and source == "file" else value[source])
        except LookupError as error:
            problems.append(f"{where}: {error.args[0]}")
            return "unresolved"
    inner = where.removesuffix("]")
    return {
        name: _resolved(one, f"{inner}.{name}]" if _is_table(one) else f"{where} {name}", problems, folder)
        for name, one in value.items()
    }


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and not (len(value) == 1 and next(iter(value)) in SOURCES)


def _env(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise LookupError(f"the environment has no {name}") from None


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LookupError(f"cannot read the file {name}: {error.strerror}") from None


def _keyring(name: str) -> str:
    service, _, user = name.partition("/")
    try:
        import keyring
    except ImportError:
        raise LookupError("keyring is not installed; run: pip install 'rmabridge[keyring]'") from None
    found = keyring.get_password(service, user)
    if found is None:
        raise LookupError(f"the keyring has nothing for {service!r} and user {user!r}")
    return str(found)


SOURCES: Final = {"env": _env, "file": _file, "keyring": _keyring}
