"""Secrets are taken out of text, whatever they are wrapped in."""

from __future__ import annotations

import base64
import json
import secrets
import shlex
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.adapters.redact import Redactor

TEXT = st.characters(exclude_characters="*")
"""What is not part of the mask itself."""
ODD = 'p@ss w&rd/"\\ü\'!%'


def knowing(*values: object) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add(value)
    return redactor


@given(st.text(TEXT, min_size=4), st.text(TEXT), st.text(TEXT))
def test_secret_never_shows(secret: str, before: str, after: str) -> None:
    assert secret not in knowing(secret).text(before + secret + after)


def test_nothing_is_changed_where_no_secret_is() -> None:
    assert knowing("hunter2").text("hunter1 and hunter") == "hunter1 and hunter"
    assert Redactor().text("anything") == "anything"


def test_every_place_is_masked() -> None:
    assert knowing("hunter2").text("hunter2,hunter2 xhunter2x") == "***,*** x***x"


@pytest.mark.parametrize("secret", ["plain-one", ODD, "emoji \U0001f600 key", "back\\slash"])
@pytest.mark.parametrize(
    "wrap",
    [
        str,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        quote,
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: urlencode({"password": text}),
        repr,
        shlex.quote,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    ],
    ids=["plain", "json", "json-unicode", "url", "url-strict", "form", "query", "python", "shell", "base64", "base64-url"],
)
def test_wrapped_secret_is_masked(secret: str, wrap: object) -> None:
    assert callable(wrap)
    wrapped = wrap(secret)
    cleaned = knowing(secret).text(f"<{wrapped}>")
    assert "***" in cleaned
    # Of Base64 the character at the end that holds bits of what follows may stay.
    assert len(cleaned.strip("<>").replace("***", "").replace("password=", "").strip("'\"=")) <= 1


@pytest.mark.parametrize("user", ["a", "ab", "abc", "abcd"])
def test_password_in_basic_authentication_is_masked(user: str) -> None:
    password = secrets.token_urlsafe(12)
    header = base64.b64encode(f"{user}:{password}:tail".encode()).decode()
    cleaned = knowing(password).text(f"Authorization: Basic {header}")
    assert "***" in cleaned
    assert len(cleaned) < len(header) + 10


def test_lines_of_a_key_are_masked_one_by_one_but_not_its_armour() -> None:
    body = [secrets.token_hex(32) for _ in range(3)]
    redactor = knowing("-----BEGIN PRIVATE KEY-----\n" + "\n".join(body) + "\n-----END PRIVATE KEY-----\n")
    assert [redactor.text(f"  {line}") for line in body] == ["  ***"] * 3
    assert redactor.text("-----BEGIN PRIVATE KEY----- of another") == "-----BEGIN PRIVATE KEY----- of another"


def test_longest_secret_goes_first() -> None:
    assert knowing("pass", "password", "passwords").text("passwords password pass") == "*** *** ***"


@pytest.mark.parametrize("value", ["abc", "", 12345, True, None, 3.14159])
def test_what_is_too_short_or_no_text_is_not_looked_for(value: object) -> None:
    assert knowing(value).text(f"a {value} b") == f"a {value} b"


def test_every_text_in_a_json_value_is_a_secret() -> None:
    redactor = knowing({"user": "alice-admin", "keys": ["first-key", {"deep": "second-key"}]})
    assert redactor.text("alice-admin first-key second-key user") == "*** *** *** user"


def test_json_data_is_cleaned_in_values_and_keys() -> None:
    data = {"hunter2": ["x hunter2", {"n": 5, "ok": True, "none": None}]}
    assert knowing("hunter2").data(data) == {"***": ["x ***", {"n": 5, "ok": True, "none": None}]}


def test_the_secrets_that_show_in_data_can_be_told_in_whatever_form() -> None:
    redactor = knowing("hunter2")
    redactor.add({"a": "it's \"quoted\"", "b": "elsewhere"})
    assert redactor.known_in({"x": ["user:hunter2"], "it's \"quoted\"": 1}) == ["hunter2", "it's \"quoted\""]
    assert redactor.known_in(["aHVudGVyMg=="]) == ["hunter2"]
    assert redactor.known_in({"x": "y"}) == []
    assert Redactor().known_in("hunter2") == []


def test_many_secrets_are_found_from_many_threads() -> None:
    redactor = Redactor()
    values = [secrets.token_hex(16) for _ in range(200)]
    gate = threading.Barrier(8)

    def work(part: list[str]) -> list[str]:
        gate.wait()
        cleaned = []
        for value in part:
            redactor.add(value)
            cleaned.append(redactor.text(f"x{value}y"))
        return cleaned

    with ThreadPoolExecutor(8) as pool:
        cleaned = [text for texts in pool.map(work, [values[number::8] for number in range(8)]) for text in texts]
    assert cleaned == ["x***y"] * 200
    assert redactor.text(" ".join(values)) == " ".join(["***"] * 200)
