"""Takes secrets out of everything that is written or shown: `ports.Redactor`.

It goes by value: whatever has passed through a run as a secret is replaced by `***` wherever it turns up, as it is or in the usual
wrappings. Texts shorter than four characters, numbers and true or false are not looked for: they are parts of half of all words,
times and addresses, and masking those would hide the output without protecting anything that short.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any
from urllib.parse import quote, quote_plus

from drystone.core.opaque import MASK

SHORTEST = 4
"""Characters of the shortest text that is looked for."""
SHORTEST_ENCODED = 6
"""Of the shortest piece of Base64: four characters of it hold three bytes, too few to be sure."""


class Redactor:
    """A growing set of secrets; safe to use from several threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._known: set[str] = set()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._is_stale = False

    def add(self, value: Any) -> None:
        """From now on every text in this JSON value is a secret."""
        texts = set(_texts(value))
        with self._guard:
            fresh = texts - self._known
            if fresh:
                self._known |= fresh
                self._forms.update(form for text in fresh for form in _forms(text))
                self._is_stale = True

    def text(self, text: str) -> str:
        """The text without secrets; where several fit, the longest goes."""
        pattern = self._current()
        return text if pattern is None else pattern.sub(MASK, text)

    def data(self, data: Any) -> Any:
        """JSON data, each text in it, keys too, without secrets."""
        return data if self._current() is None else self._cleaned(data)

    def known_in(self, data: Any) -> list[str]:
        """The secrets that show in JSON data, in whatever form; sorted."""
        pattern = self._current()
        text = json.dumps(data, ensure_ascii=False)
        if pattern is None or not pattern.search(text):
            return []
        with self._guard:
            known = sorted(self._known)
        return [secret for secret in known if any(form in text for form in _forms(secret))]

    def _current(self) -> re.Pattern[str] | None:
        if self._is_stale:
            with self._guard:
                self._pattern = re.compile(_alternation(sorted(self._forms), depth=2))
                self._is_stale = False
        return self._pattern

    def _cleaned(self, data: Any) -> Any:
        match data:
            case str():
                return self.text(data)
            case Mapping():
                return {self._cleaned(key): self._cleaned(item) for key, item in data.items()}
            case list() | tuple():
                return [self._cleaned(item) for item in data]
            case _:
                return data


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str() if len(value) >= SHORTEST:
            yield value
        case Mapping():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)


def _forms(text: str) -> Iterator[str]:
    """What a secret may look like: itself, its lines, quoted for URLs, JSON, Python and the shell, in Base64."""
    for part in {text, text.strip(), *_lines(text)}:
        if len(part) >= SHORTEST:
            yield part
            # What came through the environment may not be UTF-8.
            yield from (each(part, safe=safe, errors="surrogatepass") for each, safe in ((quote, ""), (quote, "/"), (quote_plus, "")))
            yield from (json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1], repr(part)[1:-1])
            # The two ways to put a single quote between single quotes.
            yield from (part.replace("'", "'\"'\"'"), part.replace("'", "'\\''"))
    yield from _in_base64(text.encode("utf-8", "surrogatepass"))


def _lines(text: str) -> Iterator[str]:
    # The armour of a PEM file is the same in all of them and no secret.
    return (line.strip() for line in text.splitlines() if not line.startswith("-----"))


def _in_base64(data: bytes) -> Iterator[str]:
    """Its Base64 at each of the three places it may have in a longer text: `user:password` shifts the password."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # A character at either end that also holds bits of its neighbours differs from text to text.
        head = (before * 8 + 5) // 6
        tail = len(whole) - (1 if (before + len(data)) % 3 else 0)
        piece = whole[head:tail]
        if len(piece) >= SHORTEST_ENCODED:
            yield piece
            yield piece.replace("+", "-").replace("/", "_")


def _alternation(forms: list[str], depth: int) -> str:
    """All forms, sorted, as one expression; by their first `depth` characters, so that most places are left after one look."""
    if not depth:
        return "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
    branches = []
    for first, group in groupby(forms, key=lambda form: form[0]):
        branches.append(f"{re.escape(first)}(?:{_alternation([form[1:] for form in group], depth - 1)})")
    return "|".join(branches)
