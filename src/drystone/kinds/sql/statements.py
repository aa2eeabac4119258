"""SQL as far as it must be understood: where statements end and which `:name` is a parameter; `effects` says what they do.

Pure. Text, comments, quoted names, dollar quotes and the bodies of triggers and routines are told apart as the family of
the database writes them, so that a semicolon or a colon in them is only a character.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from drystone.kinds.sql.effects import Effect, effect_of, is_query


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """One statement.

    text:  for SQLAlchemy's `text()`: every colon that makes no parameter is escaped.
    title: its beginning, on one line, for people.
    line:  where it begins, from 1.
    names: the parameters that it needs.
    """

    text: str
    title: str
    line: int
    names: frozenset[str]
    effect: Effect
    is_query: bool
    """It can be read through a cursor in the server, so that a large result never comes as a whole."""


class SplitError(ValueError):
    """The text cannot be split: a quote or a comment has no end. `line` is where it begins."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"the {what} that begins in line {line} has no end")


# ---- tokens ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Grammar:
    """How a family of databases writes things."""

    backslashes: bool = False
    """In quotes, a backslash takes the next character's meaning away."""
    hashes: bool = False
    """# begins a comment."""
    nested: bool = False
    """Comments hold comments."""
    quotes: str = '"'
    """What stands around names."""


_STANDARD = _Grammar()
_GRAMMARS = {
    "postgresql": _Grammar(nested=True),
    "cockroachdb": _Grammar(nested=True),
    "redshift": _Grammar(nested=True),
    "mssql": _Grammar(nested=True, quotes='"['),
    "sqlite": _Grammar(quotes='"`['),
    "mysql": _Grammar(backslashes=True, hashes=True, quotes='"`'),
    "mariadb": _Grammar(backslashes=True, hashes=True, quotes='"`'),
}

_NAME = r"[^\W\d][\w$]*"
_DOLLARS = r"(?<!\w)\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$"
_OPENERS = {"'": "text", '"': "quoted name", "`": "quoted name", "/*": "comment"}


@functools.cache
def _pattern(grammar: _Grammar) -> re.Pattern[str]:
    escaped = r"'(?:[^'\\]|\\.|'')*'"
    texts = [escaped if grammar.backslashes else r"'(?:[^']|'')*'", rf"[eE]{escaped}", _DOLLARS]
    double = r'"(?:[^"\\]|\\.|"")*"' if grammar.backslashes else r'"(?:[^"]|"")*"'
    names = [{'"': double, "`": r"`(?:[^`]|``)*`", "[": r"\[[^\]]*\]"}[quote] for quote in grammar.quotes]
    openers = r"'|/\*" + "".join(f"|{quote}" for quote in grammar.quotes if quote != "[")
    groups = {
        # MySQL runs what stands in a comment that begins with an exclamation mark.
        "run": r"/\*!.*?\*/" if grammar.hashes else r"(?!)",
        "comment": r"--[^\n]*" + (r"|\#[^\n]*" if grammar.hashes else "") + (r"" if grammar.nested else r"|/\*.*?\*/"),
        "nested": r"/\*" if grammar.nested else r"(?!)",
        "text": "|".join(texts),
        "quoted": "|".join(names),
        "open": openers,
        # The last look keeps clear of casts (::), slices (1:2) and what SQLAlchemy would not take for a parameter.
        "parameter": rf"(?<![:\w$\\]):{_NAME}",
        "word": _NAME,
        "space": r"\s+",
        "other": r"\d[\w.]*|.",
    }
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in groups.items()), re.DOTALL)


def _tokens(sql: str, grammar: _Grammar) -> Iterator[tuple[str, str, int]]:
    """(kind, text, line) for all of it."""
    pattern, position, line = _pattern(grammar), 0, 1
    while position < len(sql):
        found = pattern.match(sql, position)
        assert found is not None, "the last group takes any character"
        kind, end = str(found.lastgroup), found.end()
        if kind == "nested":
            kind, end = "comment", _end_of_nested(sql, position, line)
        if kind == "open":
            raise SplitError(line, _OPENERS[found[0]])
        yield kind, sql[position:end], line
        line += sql.count("\n", position, end)
        position = end


def _end_of_nested(sql: str, start: int, line: int) -> int:
    depth = 0
    for found in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    raise SplitError(line, "comment")


# ---- statements ------------------------------------------------------------------------------------------------------

_ROUTINES = frozenset({"TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "PACKAGE"})
_BLOCKS = frozenset({"IF", "LOOP", "WHILE", "REPEAT", "FOR"})
_TITLE_CHARACTERS = 70


@dataclass(slots=True)
class _Draft:
    """A statement while its tokens come in."""

    line: int = 0
    parts: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    calls: set[str] = field(default_factory=set)
    parens: int = 0
    blocks: int = 0
    last: str = ""

    def take(self, kind: str, text: str, line: int) -> None:
        """Adds a token. What comes before the first one that matters is left out."""
        if not self.parts and kind in ("space", "comment"):
            return
        self.line = self.line or line
        self.parts.append(text if kind == "parameter" else text.replace(":", "\\:"))
        match kind:
            case "parameter":
                self.names.add(text[1:])
            case "word":
                self._word(text.upper())
            case "other" if text == "(":
                self.parens += 1
                # What follows WITH is the name of a part of the query, and these are its columns.
                if self.last and self.words[-2:-1] not in (["WITH"], ["RECURSIVE"]):
                    self.calls.add(self.last)
            case "other" if text == ")":
                self.parens -= 1
        if kind not in ("space", "comment"):
            self.last = text.upper() if kind == "word" else '"' if kind == "quoted" else ""

    def _word(self, word: str) -> None:
        """Counts the blocks in the body of a routine: BEGIN and CASE open one, END closes it, END IF and the like do not."""
        before = self.last
        self.words.append(word)
        if self.words[0] not in ("CREATE", "ALTER") or not _ROUTINES.intersection(self.words[:12]):
            return
        if word == "BEGIN" or (word == "CASE" and self.blocks and before != "END"):
            self.blocks += 1
        elif (word == "END" and self.blocks) or (word in _BLOCKS and before == "END"):
            self.blocks += -1 if word == "END" else 1

    @property
    def is_whole(self) -> bool:
        """A semicolon here ends the statement."""
        return self.parens <= 0 and self.blocks <= 0

    def finish(self) -> Statement:
        """The statement, of which all tokens are there."""
        text = "".join(self.parts).rstrip()
        title = " ".join(text.replace("\\:", ":").split())
        return Statement(
            text=text,
            title=title if len(title) <= _TITLE_CHARACTERS else title[: _TITLE_CHARACTERS - 1] + "…",
            line=self.line,
            names=frozenset(self.names),
            effect=effect_of(self.words, self.calls),
            is_query=is_query(self.words),
        )


def split(sql: str, dialect: str) -> tuple[Statement, ...]:
    """The statements of a text, without those that are empty. `dialect` is SQLAlchemy's name. Raises SplitError."""
    done: list[Statement] = []
    draft = _Draft()
    for kind, text, line in _tokens(sql, _GRAMMARS.get(dialect, _STANDARD)):
        if text == ";" and draft.is_whole:
            if draft.parts:
                done.append(draft.finish())
            draft = _Draft()
        else:
            draft.take(kind, text, line)
    return (*done, draft.finish()) if draft.parts else tuple(done)
