"""Brings the generated parts of docs/ up to date; `make docs` runs it, tests/test_docs.py compares.

A page marks such a part with `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of `PARTS`. What stands
between is made from the source, so that it cannot say anything else than the source does.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import timedelta
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from drystone import settings
from drystone.core import durations, states

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PART = re.compile(r"(?<=<!-- generated: )(?P<name>[\w.-]+)(?P<open> -->\n)(?P<text>.*?)(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrites every page whose generated parts have changed."""
    for page in sorted(DOCS.rglob("*.md")):
        before = page.read_text()
        after = with_parts(before)
        if after != before:
            page.write_text(after)
            print(f"updated {page.relative_to(ROOT)}")


def with_parts(text: str) -> str:
    """The page's text with every generated part made anew. Raises KeyError for a part that nobody makes."""
    return PART.sub(lambda found: f"{found['name']}{found['open']}{part(found['name'])}\n", text)


def part(name: str) -> str:
    """One generated part; `kind.NAME` is the config of that kind."""
    family, _, member = name.partition(".")
    return kind_config(member) if family == "kind" else PARTS[name]()


def run_states() -> str:
    """Diagram and reasons of what may follow what for a run."""
    return transitions(states.RUN_TRANSITIONS, start=states.RunStatus.QUEUED)


def task_states() -> str:
    """The same for one instance of a task."""
    return transitions(states.TASK_TRANSITIONS, start=states.TaskStatus.PENDING)


def transitions(table: Mapping[tuple[str, str], str], start: str) -> str:
    """A Mermaid diagram of the table, and the table itself with its reasons."""
    arrows = [f"    {before} --> {after}" for before, after in table]
    rows = [f"| {before} | {after} | {reason} |" for (before, after), reason in table.items()]
    diagram = ["```mermaid", "stateDiagram-v2", f"    [*] --> {start}", *arrows, "```"]
    return "\n".join([*diagram, "", "| from | to | because |", "|---|---|---|", *rows])


def event_types() -> str:
    """Every type of event, with what its data holds."""
    rows = [f"| `{value}` | {doc} |" for value, doc in members(ROOT / "src/drystone/core/events.py", "EventType")]
    return "\n".join(["| type | data |", "|---|---|", *rows])


def members(module: Path, name: str) -> Iterator[tuple[str, str]]:
    """Value and docstring of each member of an enumeration, read from the source because docstrings are not kept."""
    body = next(node.body for node in ast.parse(module.read_text()).body if getattr(node, "name", None) == name)
    for here, after in zip(body, [*body[1:], None], strict=True):
        match here, after:
            case ast.Assign(value=ast.Constant(value=str(value))), ast.Expr(value=ast.Constant(value=str(doc))):
                yield value, " ".join(doc.split())
            case ast.Assign(value=ast.Constant(value=str(value))), _:
                yield value, ""


def commands() -> str:
    """The help of every command, under a heading for each."""
    from drystone.cli.main import app

    return "\n\n".join(command_help("drystone", typer.main.get_command(app), parent=None))


def command_help(name: str, command: Any, *, parent: Any) -> Iterator[str]:
    """A heading and the help text of a command, then those of its subcommands in the order in which its help lists them."""
    widths = {"terminal_width": HELP_WIDTH, "max_content_width": HELP_WIDTH}
    context = command.context_class(command, info_name=name, parent=parent, **(command.context_settings | widths))
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield f"## `{context.command_path}`\n\n```text\n{help_text}\n```"
    for child in getattr(command, "commands", {}).values():
        yield from command_help(child.name, child, parent=context)


def kind_config(name: str) -> str:
    """The keys of a kind's config, and those of the maps in it."""
    point = entry_points(group="drystone.kinds")[name]
    schema = point.load().Config.model_json_schema()
    tables = [config_table(schema)]
    for title, nested in sorted(schema.get("$defs", {}).items()):
        # Hosts have a section of their own: two kinds take them.
        if "properties" in nested and title != "Host":
            article = "An" if spoken(title)[0] in "aeiou" else "A"
            tables.append(f"{article} *{spoken(title)}* is a map:\n\n{config_table(nested)}")
    return "\n\n".join(tables)


def host() -> str:
    """The keys of a host."""
    from drystone.plugin.hosts import Host

    return config_table(Host.model_json_schema())


def config_table(schema: Mapping[str, Any]) -> str:
    """One row a key."""
    rows = []
    for key, field in schema["properties"].items():
        default = "required" if key in schema.get("required", ()) else shown_default(field.get("default"))
        rows.append(f"| `{key}` | {type_of(field)} | {default} | {described(field)} |")
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def described(field: Mapping[str, Any]) -> str:
    """What a key means; a bar would end the table's cell."""
    return str(field.get("description", "")).replace("|", "\\|")


def type_of(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in two or three words."""
    match schema:
        case {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Host"}, *_, {"type": "object"}]}:
            return "[hosts](#hosts)"
        case {"$ref": str(ref)}:
            return f"*{spoken(ref.rsplit('/', 1)[-1])}*"
        case {"enum": list(values)}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"anyOf": list(choices)} | {"oneOf": list(choices)}:
            return " or ".join(dict.fromkeys(type_of(choice) for choice in choices if choice.get("type") != "null"))
        case {"type": "array", "items": Mapping() as items} if type_of(items) != "anything":
            return f"list of {plural(type_of(items))}"
        case {"type": "object", "additionalProperties": Mapping() as items} if type_of(items) != "anything":
            return f"map to {type_of(items)}"
        case {"type": ["string", "number"]}:
            return "duration"
        case {"type": ["string", *_]}:
            # A number or a truth value is taken as the text that it is written as.
            return "text"
        case {"type": str(name)}:
            return TYPES[name]
    return "anything"


def plural(words: str) -> str:
    """Of a type's name; a choice or a title stays as it is."""
    return f"{words}s" if words in TYPES.values() and not words.startswith("`") else words


def shown_default(value: Any) -> str:
    """A default as a plan would write it."""
    match value:
        case None | [] | {} | "":
            return ""
        case [[int(first), int(last)]]:
            return f"`[{first}-{last}]`"
        case str() if value.startswith("PT"):
            return f"`{value.removeprefix('PT').lower()}`"
        case str():
            return f"`{value}`"
    return f"`{json.dumps(value)}`"


def all_settings() -> str:
    """A table for each section of drystone.toml, from the docstrings under the fields."""
    tables = {
        name: settings_table(section, lambda key, name=name: f"`{settings.variable(name, key)}`")
        for name, section in settings.SECTIONS.items()
        if name != "secrets"
    }
    meaning = dict(fields_of(ROOT / "src/drystone/settings.py", "Settings"))[settings.POOLS]
    pool = ("`NAME`", "none", f"`{settings.variable(settings.POOLS, 'name')}`", meaning)
    tables[settings.POOLS] = table(("key", "default", "variable", "meaning"), [pool])
    return "\n\n".join(f"### `[{name}]`\n\n{text}" for name, text in tables.items())


def secret_source() -> str:
    """The keys of one source of secrets; no environment variable sets them."""
    return settings_table(settings.SecretSource, lambda _: "")


def ignore_rule() -> str:
    """The keys of one rule that ignores drift."""
    return settings_table(settings.IgnoreRule, lambda _: "")


def settings_table(section: Any, variable: Callable[[str], str]) -> str:
    """One row a setting."""
    docs = dict(fields_of(ROOT / "src/drystone/settings.py", section.__name__))
    has_variables = any(variable(field.name) for field in fields(section))
    rows = [
        (f"`{field.name}`", shown_setting(field.default), *([variable(field.name)] if has_variables else []), docs[field.name])
        for field in fields(section)
        if not isinstance(field.default, tuple)  # a list of tables has a table of its own
    ]
    heads = ("key", "default", *(["variable"] if has_variables else []), "meaning")
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows)])


def fields_of(module: Path, name: str) -> Iterator[tuple[str, str]]:
    """Name and docstring of each field of a dataclass."""
    body = next(node.body for node in ast.parse(module.read_text()).body if getattr(node, "name", None) == name)
    for here, after in pairwise(body):
        match here, after:
            case ast.AnnAssign(target=ast.Name(id=field)), ast.Expr(value=ast.Constant(value=str(doc))):
                yield field, " ".join(doc.split())


def shown_setting(value: Any) -> str:
    """A default as drystone.toml would have it."""
    if value is MISSING:
        return "required"
    return f"`{json.dumps(durations.to_text(value) if isinstance(value, timedelta) else value)}`"


def spoken(title: str) -> str:
    """`UploadFile` as people say it: upload file."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", title).removesuffix(" Config").lower()


HELP_WIDTH = 110
TYPES = {
    "array": "list",
    "object": "map",
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "null": "nothing",
}
PARTS: Mapping[str, Callable[[], str]] = {
    "run-states": run_states,
    "task-states": task_states,
    "event-types": event_types,
    "commands": commands,
    "host": host,
    "settings": all_settings,
    "secret-source": secret_source,
    "ignore-rule": ignore_rule,
}

if __name__ == "__main__":
    main()
