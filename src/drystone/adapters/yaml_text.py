"""YAML text -> a tree of `Node`s with places: the only door by which plans enter.

The events come from libyaml when PyYAML was built with it, else from PyYAML's own parser; what plain scalars mean is decided here by
the core schema of YAML 1.2 (no `yes` and `no` booleans, no sexagesimal numbers, no dates). Mistakes become diagnostics with a place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from drystone.core.burst import in_one_burst
from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.nodes import Entry, Node, Scalar

MAX_DEPTH = 100
MAX_ALIASED_NODES = 300_000
"""How many nodes aliases may add. A plan of 10,000 tasks that shares its policies stays far below; an alias bomb does not."""

_LOADER = getattr(yaml, "CLoader", yaml.Loader)
_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_STARTS = frozenset("0123456789+-.")
_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None)}
_QUOTE_HINT = 'an expression must be quoted: "{{ ... }}"'


@in_one_burst
def parse(text: str, file: str, diagnostics: Diagnostics) -> Node | None:
    """The single document in `text`, or None when it cannot be read; then `diagnostics` says why.

    file: the name that places carry. Aliases share one node, so their content has the place of the anchor.
    """
    composer = _Composer(text, file, diagnostics)
    try:
        return composer.document(yaml.parse(text, Loader=_LOADER))
    except _GiveUpError:
        return None
    except yaml.MarkedYAMLError as error:
        _syntax_error(error, text, file, diagnostics)
    except yaml.reader.ReaderError as error:
        # libyaml gives the number of the character, PyYAML's own parser the character.
        character = chr(max(0, error.character)) if isinstance(error.character, int) else error.character
        where = _place_at(text, file, max(0, text.find(character)))
        diagnostics.error(f"character {character!r} is not allowed in YAML", where)
    except UnicodeEncodeError as error:
        diagnostics.error("the text is not valid Unicode", _place_at(text, file, error.start))
    return None


class _GiveUpError(Exception):
    """Nothing more can be read from this file; a diagnostic says why."""


class _Composer:
    """Folds parse events into nodes. `sizes` has (nodes, depth) of each anchored node, so that aliases stay bounded."""

    def __init__(self, text: str, file: str, diagnostics: Diagnostics) -> None:
        self.lines: list[str] | None = None
        self.text = text
        self.file = file
        self.diagnostics = diagnostics
        self.anchors: dict[str, Node | None] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.aliased = 0

    def document(self, events: Iterator[Any]) -> Node | None:
        """The first document; another one behind it is a mistake."""
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self.diagnostics.error(
                        "a second document begins here", self.where(event.start_mark), hint="one file holds one plan"
                    )
                    return None
                root = self.node(next(events), events, 0)
        if root is None:
            self.diagnostics.error("the file is empty", Where(self.file, 1, 1))
        return root

    def where(self, mark: Any) -> Where:
        return Where(self.file, mark.line + 1, mark.column + 1)

    def node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if type(event) is yaml.AliasEvent:
            return self.alias(event, depth)
        if depth > MAX_DEPTH:
            self.give_up(f"nested more than {MAX_DEPTH} levels deep", event)
        anchor = event.anchor
        if anchor is None:
            return self.content(event, events, depth)
        self.anchors[anchor] = None
        node = self.content(event, events, depth)
        self.anchors[anchor] = node
        self.sizes[anchor] = _size(node)
        return node

    def content(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            return self.scalar(event)
        if kind is yaml.MappingStartEvent:
            self.check_tag(event, "map")
            return Node(self.where(event.start_mark), self.mapping(event, events, depth))
        self.check_tag(event, "seq")
        items = []
        for item in events:
            if type(item) is yaml.SequenceEndEvent:
                break
            items.append(self.node(item, events, depth + 1))
        return Node(self.where(event.start_mark), tuple(items))

    def mapping(self, start: Any, events: Iterator[Any], depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: list[Node] = []
        for event in events:
            if type(event) is yaml.MappingEndEvent:
                break
            where = self.where(event.start_mark)
            key = self.key(event, events, depth)
            value = self.node(next(events), events, depth + 1)
            if key == "<<" and not event.style and event.implicit[0]:
                merged.extend(value.value if isinstance(value.value, tuple) else (value,))
            elif key in entries:
                first = entries[key][0]
                hint = "a key may stand in a map only once"
                self.diagnostics.error(f'"{key}" is here a second time', where, hint=f"the first is at {first}", length=len(key))
                self.diagnostics.error(f'"{key}" is given twice', first, hint=hint, length=len(key))
            else:
                entries[key] = (where, value)
        self.merge(entries, merged)
        return entries

    def merge(self, entries: dict[str, Entry], merged: list[Node]) -> None:
        """What `<<` brings in; keys of the map itself win, then the earlier of several."""
        for node in merged:
            if not isinstance(node.value, dict):
                self.diagnostics.error('"<<" takes a map, or a list of maps', node.where)
                continue
            for key, entry in node.value.items():
                entries.setdefault(key, entry)

    def key(self, event: Any, events: Iterator[Any], depth: int) -> str:
        """The key as text: as it was written when it is a number or a word like `true`."""
        if type(event) is yaml.ScalarEvent:
            self.check_tag(event, "str")
            if event.anchor is not None:
                self.anchors[event.anchor] = self.scalar(event)
                self.sizes[event.anchor] = (1, 0)
            return str(event.value)
        node = self.node(event, events, depth + 1)
        if isinstance(node.value, str):
            return node.value
        self.diagnostics.error("the key of a map must be text", self.where(event.start_mark), hint=_QUOTE_HINT)
        return f"\0{event.start_mark.index}"

    def alias(self, event: Any, depth: int) -> Node:
        name = event.anchor
        if name not in self.anchors:
            self.give_up(f'alias "*{name}" has no anchor "&{name}" before it', event)
        node = self.anchors[name]
        if node is None:
            self.give_up(f'alias "*{name}" stands inside its own anchor', event)
        nodes, height = self.sizes[name]
        self.aliased += nodes
        if self.aliased > MAX_ALIASED_NODES:
            self.give_up(f"aliases expand to more than {MAX_ALIASED_NODES:,} values", event)
        if depth + height > MAX_DEPTH:
            self.give_up(f"nested more than {MAX_DEPTH} levels deep", event)
        return node

    def scalar(self, event: Any) -> Node:
        where = self.where(event.start_mark)
        text: str = event.value
        if event.style or not event.implicit[0]:
            if event.tag is None or event.tag == "!":
                return Node(where, text, self.text_at(event, text) if "{" in text else None)
            return Node(where, self.tagged(event, text, where))
        if text[:1] in _NUMBER_STARTS or text in _WORDS:
            return Node(where, self.plain(text, where))
        return Node(where, text, self.text_at(event, text) if "{" in text else None)

    def plain(self, text: str, where: Where) -> Scalar:
        """What an unquoted scalar means by the core schema of YAML 1.2."""
        if text in _WORDS:
            return _WORDS[text]
        if _INT.match(text):
            digits = text.lstrip("+-")
            if digits[0] == "0" and len(digits) > 1:
                hint = f'quote it to keep the zero, or write 0o{digits.lstrip("0") or "0"} when it is octal'
                self.diagnostics.warning(f'"{text}" is the decimal number {digits.lstrip("0") or "0"}', where, hint=hint, length=len(text))
            return self.number(int, text, where)
        if _FLOAT.match(text):
            return self.number(float, text, where)
        if text.startswith("0x") and re.fullmatch("[0-9a-fA-F]+", text[2:]):
            return int(text[2:], 16)
        if text.startswith("0o") and re.fullmatch("[0-7]+", text[2:]):
            return int(text[2:], 8)
        if _NOT_FINITE.match(text):
            self.diagnostics.error(f'"{text}" is not a number that JSON has', where, hint="quote it when it is text", length=len(text))
        return text

    def number(self, kind: type[int] | type[float], text: str, where: Where) -> Scalar:
        """A finite number of a sane length; Python itself refuses to read integers of thousands of digits."""
        value = kind(text) if len(text) <= 400 else math.inf
        if abs(value) == math.inf:
            self.diagnostics.error("the number is too large", where, hint="quote it when it is text", length=len(text))
            return 0
        return value

    def tagged(self, event: Any, text: str, where: Where) -> Scalar:
        """A scalar behind an explicit tag such as `!!str`."""
        wanted = _SCALAR_TAGS.get(event.tag.removeprefix(_TAG)) if event.tag.startswith(_TAG) else None
        if wanted is None:
            self.unknown_tag(event)
            return text
        if wanted is str:
            return text
        value = self.plain(text, where)
        if wanted is float and type(value) is int:
            return float(value)
        if type(value) is not wanted:
            self.diagnostics.error(f'"{text}" is not what its tag says', where, length=len(text))
        return value

    def check_tag(self, event: Any, allowed: str) -> None:
        if event.tag not in (None, "!", _TAG + allowed):
            self.unknown_tag(event)

    def unknown_tag(self, event: Any) -> None:
        tag = event.tag.replace(_TAG, "!!")
        hint = "secrets are referred to as {{ secrets.NAME }}" if tag == "!vault" else "remove it"
        self.diagnostics.error(f'tag "{tag}" is not part of the plan language', self.where(event.start_mark), hint=hint)

    def text_at(self, event: Any, text: str) -> Where | None:
        """Where a string's first character stands, if its characters follow each other in the file as they do in the value."""
        start, end = event.start_mark, event.end_mark
        if event.style == "|":
            return self.literal_at(start.line + 1)
        quotes = 1 if event.style in ("'", '"') else 0
        if start.line == end.line and end.column - start.column == len(text) + 2 * quotes:
            return Where(self.file, start.line + 1, start.column + 1 + quotes)
        return None

    def literal_at(self, line: int) -> Where | None:
        """The first line of a literal block, and the indentation that all its lines share."""
        if self.lines is None:
            self.lines = self.text.splitlines()
        first = self.lines[line] if line < len(self.lines) else ""
        indent = len(first) - len(first.lstrip(" "))
        return Where(self.file, line + 1, indent + 1) if first.strip() else None

    def give_up(self, summary: str, event: Any) -> NoReturn:
        self.diagnostics.error(summary, self.where(event.start_mark))
        raise _GiveUpError


def _size(node: Node) -> tuple[int, int]:
    """Nodes in this tree, and its depth; shared nodes count each time."""
    if isinstance(node.value, dict):
        children = [child for _, child in node.value.values()]
    elif isinstance(node.value, tuple):
        children = list(node.value)
    else:
        return 1, 0
    sizes = [_size(child) for child in children]
    return 1 + sum(nodes for nodes, _ in sizes), 1 + max((depth for _, depth in sizes), default=0)


def _syntax_error(error: Any, text: str, file: str, diagnostics: Diagnostics) -> None:
    mark = error.problem_mark or error.context_mark
    where = Where(file, mark.line + 1, mark.column + 1) if mark else None
    lines = text.splitlines()
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    problem = str(error.problem or error.context or "not valid YAML")
    if line[mark.column : mark.column + 1] == "\t" if mark else False:
        diagnostics.error("a tab stands where YAML wants spaces", where, hint="indent with spaces")
    elif "mapping values are not allowed" in problem:
        hint = 'check the indentation, and quote text that has ": " in it'
        diagnostics.error("a second value begins here", where, hint=hint)
    else:
        hint = _QUOTE_HINT if "{{" in line else "check the indentation, the brackets and the quotes before this place"
        diagnostics.error(f"not valid YAML: {problem}", where, hint=hint)


def _place_at(text: str, file: str, offset: int) -> Where:
    before = text[:offset]
    return Where(file, before.count("\n") + 1, offset - before.rfind("\n"))
