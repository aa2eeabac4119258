"""Reads as much of Terraform's language as must be known before Terraform runs, and writes values in it.

`source` asks here for backend blocks, variables and required providers; `session` writes variables as text. Expressions are not
evaluated: an attribute's value is its text. Whatever is not understood is left for Terraform to complain about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block with its labels; `attributes` maps a name to the text of its expression, `text` is all of it as it was written."""

    type: str
    labels: tuple[str, ...] = ()
    text: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    def find(self, *path: str) -> Iterator[Block]:
        """Blocks below this one whose types follow `path`."""
        for block in self.blocks:
            if block.type == path[0]:
                if len(path) == 1:
                    yield block
                else:
                    yield from block.find(*path[1:])


class HclSyntaxError(ValueError):
    """The text is not HCL as far as it is understood here."""


def parse(text: str) -> Block:
    """The file as one block without a type. Raises HclSyntaxError."""
    root, end = _body(text, 0, Block(type=""), top=True)
    if end < len(text):
        raise HclSyntaxError(f"unexpected text at offset {end}")
    return root


def parse_json(text: str) -> Block:
    """The same for a `.tf.json` file. Raises HclSyntaxError."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise HclSyntaxError(str(error)) from error
    if not isinstance(data, Mapping):
        raise HclSyntaxError("not an object")
    root = Block(type="")
    for name, value in data.items():
        root.blocks.extend(_json_blocks(name, value, _LABELS.get(name, 0)))
    return root


_LABELS = {"variable": 1, "output": 1, "module": 1, "provider": 1, "resource": 2, "data": 2}


def _json_blocks(name: str, value: Any, labels: int, given: tuple[str, ...] = ()) -> Iterator[Block]:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, Mapping):
            continue
        if labels:
            for label, inner in item.items():
                yield from _json_blocks(name, inner, labels - 1, (*given, label))
        else:
            yield _json_block(name, given, item)


def _json_block(name: str, labels: tuple[str, ...], value: Mapping[str, Any]) -> Block:
    block = Block(type=name, labels=labels)
    for key, inner in value.items():
        block.attributes[key] = json.dumps(inner)
        block.blocks.extend(_json_blocks(key, inner, 1 if key == "backend" else 0))
    return block


_SPACE = re.compile(r"(?:\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_INLINE_SPACE = re.compile(r"(?:[^\S\n]+|/\*.*?\*/)+", re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = re.compile(r"[^\W\d][\w-]*")
_HEREDOC = re.compile(r"<<-?\s*([\w-]+)[^\n]*\n")
_OPEN, _CLOSE = "([{", ")]}"


def _skip(text: str, at: int, space: re.Pattern[str] = _SPACE) -> int:
    match = space.match(text, at)
    return match.end() if match else at


def _body(text: str, at: int, block: Block, *, top: bool = False) -> tuple[Block, int]:
    """Reads attributes and blocks up to the closing brace (or the end of the text at the top)."""
    while True:
        at = _skip(text, at)
        if at >= len(text):
            if top:
                return block, at
            raise HclSyntaxError(f'block "{block.type}" is not closed')
        if text[at] == "}" and not top:
            return block, at + 1
        start = at
        name, at = _word(text, at)
        if text[at : at + 1] == "=":
            end = _expression(text, at + 1)
            block.attributes[name] = text[at + 1 : end].strip()
            at = end
        else:
            inner, at = _block(text, at, name)
            block.blocks.append(replace(inner, text=text[start:at]))


def _word(text: str, at: int) -> tuple[str, int]:
    """A name or a quoted one, and where the next thing on its line begins."""
    if text[at] == '"':
        end = _string(text, at)
        return text[at + 1 : end - 1], _skip(text, end, _INLINE_SPACE)
    name = _NAME.match(text, at)
    if name is None:
        raise HclSyntaxError(f"unexpected {text[at]!r} at offset {at}")
    return name.group(), _skip(text, name.end(), _INLINE_SPACE)


def _block(text: str, at: int, kind: str) -> tuple[Block, int]:
    labels: list[str] = []
    while text[at : at + 1] not in ("{", ""):
        label, at = _word(text, at)
        labels.append(label)
    return _body(text, at + 1, Block(type=kind, labels=tuple(labels)))


def _expression(text: str, at: int) -> int:
    """Where the expression that starts at `at` ends: at the line's end outside of all brackets, or at the block's closing brace."""
    depth = 0
    while at < len(text):
        letter = text[at]
        if letter == '"':
            at = _string(text, at)
            continue
        if heredoc := _HEREDOC.match(text, at):
            at = _heredoc(text, heredoc)
            continue
        if letter in "#/" and (comment := _COMMENT.match(text, at)):
            at = comment.end()
            continue
        if (letter in _CLOSE and depth == 0) or (letter == "\n" and depth == 0):
            return at
        depth += (letter in _OPEN) - (letter in _CLOSE)
        at += 1
    return at


def _heredoc(text: str, start: re.Match[str]) -> int:
    """The end of the heredoc's text; the newline after its mark is left, as it ends the expression."""
    end = re.compile(rf"^[^\S\n]*{re.escape(start.group(1))}[^\S\n]*$", re.MULTILINE).search(text, start.end())
    if end is None:
        raise HclSyntaxError(f'heredoc "{start.group(1)}" is not closed')
    return end.end()


def _string(text: str, at: int) -> int:
    """The end of the quoted string that starts at `at`; templates inside may hold strings of their own."""
    at += 1
    while at < len(text):
        if text[at] == '"':
            return at + 1
        if text[at] == "\\":
            at += 2
        elif text[at : at + 3] in ("$${", "%%{"):
            at += 3
        elif text[at : at + 2] in ("${", "%{"):
            at = _template(text, at + 2)
        else:
            at += 1
    raise HclSyntaxError("string is not closed")


def _template(text: str, at: int) -> int:
    depth = 1
    while at < len(text) and depth:
        if text[at] == '"':
            at = _string(text, at)
            continue
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
    return at


def literal(text: str) -> str | None:
    """The value of a quoted string without templates; None for any other expression."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"' or re.search(r"[$%]\{", text):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")


def assignments(values: Mapping[str, Any]) -> str:
    """JSON values as the text of a variable file: one `name = value` a line. Raises ValueError for a name that cannot be a variable's."""
    for name in values:
        if not _PLAIN_NAME.match(name):
            raise ValueError(f'"{name}" is not a name that a variable can have')
    return "".join(f"{name} = {write(value)}\n" for name, value in values.items())


def write(value: Any) -> str:
    """A JSON value as an HCL expression that means exactly it: no text in it is taken for a template."""
    match value:
        case str():
            return _quote(value)
        case Mapping():
            return "{" + ", ".join(f"{_quote(str(key))} = {write(item)}" for key, item in value.items()) + "}"
        case Sequence():
            return "[" + ", ".join(write(item) for item in value) + "]"
        case _:
            return json.dumps(value)


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _quote(text: str) -> str:
    escaped = "".join(_ESCAPES.get(letter) or (letter if letter.isprintable() else f"\\U{ord(letter):08x}") for letter in text)
    return '"' + re.sub(r"([$%])\{", r"\1\1{", escaped) + '"'
