"""YAML text becomes placed nodes, or diagnostics: never an exception."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from drystone.adapters import yaml_text
from drystone.core.diagnostics import Diagnostics
from drystone.core.nodes import inside, place, to_data


def data(text: str) -> object:
    found = Diagnostics()
    node = yaml_text.parse(text, "a.yaml", found)
    assert node is not None and not found.has_errors, list(found)
    return to_data(node)


def mistakes(text: str) -> list[str]:
    found = Diagnostics()
    yaml_text.parse(text, "a.yaml", found)
    return [f"{item.where.line}:{item.where.column} {item.summary}" for item in found if item.where is not None]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("1", 1), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15), ("1_000", "1_000"), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5),
        ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), ("10.77.0.0/16", "10.77.0.0/16"), ("1.2.3", "1.2.3"), ("-", None),
        ("'5'", "5"), ('"true"', "true"), ("!!str 5", "5"), ("!!int '5'", 5), ("!!float 5", 5.0),
    ],
)  # fmt: skip
def test_plain_scalars_mean_what_yaml_1_2_says(text, value):
    expected = [None] if text == "-" else value
    assert data(f"key: {text}\n" if text != "-" else "key:\n- \n") == {"key": expected}


def test_keys_are_text_as_written():
    assert data("8080: a\ntrue: b\n1.0: c\n") == {"8080": "a", "true": "b", "1.0": "c"}


def test_anchors_aliases_and_merge_keys_work():
    text = "a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}\nd: {<<: [{y: 9}, *a]}\n"
    assert data(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}, "c": {"x": 1, "y": 3}, "d": {"y": 9, "x": 1}}


def test_places_of_keys_and_values_are_known():
    node = yaml_text.parse("a:\n  - b: 1\n    c: two\n", "a.yaml", Diagnostics())
    assert str(place(node, ("a", 0, "c"))) == "a.yaml:3:8"
    assert str(place(node, ("a", 0, "c"), at_key=True)) == "a.yaml:3:5"
    assert str(place(node, ("a", 5))) == "a.yaml:2:3"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: x{{ y }}\n", 1, 8),
        ("a: 'x{{ y }}'\n", 1, 9),
        ('a: "x{{ y }}"\n', 1, 9),
        ("a: |\n    one\n    x{{ y }}\n", 3, 9),
        ('a: "\\tx{{ y }}"\n', 1, 4),
        ("a: >\n  x\n  {{ y }}\n", 1, 4),
    ],
)
def test_a_place_inside_a_string_is_exact_where_it_can_be_counted(text, line, column):
    node = yaml_text.parse(text, "a.yaml", Diagnostics()).value["a"][1]
    where = inside(node.where, node.text_at, node.value, node.value.index("y"))
    assert (where.line, where.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ['1:1 "a" is given twice', '3:1 "a" is here a second time']),
        ("a:\n\tb: 1\n", ["2:1 a tab stands where YAML wants spaces"]),
        ("a: b: c\n", ["1:5 a second value begins here"]),
        ("a: [1\n", ["2:1 not valid YAML: did not find expected ',' or ']'"]),
        ("", ["1:1 the file is empty"]),
        ("# only a comment\n", ["1:1 the file is empty"]),
        ("a: 1\n---\nb: 2\n", ["2:1 a second document begins here"]),
        ("a: *b\n", ['1:4 alias "*b" has no anchor "&b" before it']),
        ("a: &a [*a]\n", ['1:8 alias "*a" stands inside its own anchor']),
        ("a: {{ b }}\n", ["1:5 the key of a map must be text"]),
        ("a: !vault x\n", ['1:4 tag "!vault" is not part of the plan language']),
        ("a: !!int x\n", ['1:4 "x" is not what its tag says']),
        ("a: .inf\n", ['1:4 ".inf" is not a number that JSON has']),
        ("a: 1e999\n", ["1:4 the number is too large"]),
        (f"a: {'9' * 5000}\n", ["1:4 the number is too large"]),
        ("<<: 5\n", ['1:5 "<<" takes a map, or a list of maps']),
        ("a: 0644\n", ['1:4 "0644" is the decimal number 644']),
        ("a: \x07\n", ["1:4 character '\\x07' is not allowed in YAML"]),
        ("a: \ud800\n", ["1:4 the text is not valid Unicode"]),
        ("[" * 500, ["1:102 nested more than 100 levels deep"]),
    ],
)
def test_mistakes_have_a_place(text, expected):
    assert mistakes(text) == expected


def test_an_unquoted_expression_is_told_to_be_quoted():
    found = Diagnostics()
    yaml_text.parse("url: {{ inputs.x }}\n", "a.yaml", found)
    assert [item.hint for item in found] == ['an expression must be quoted: "{{ ... }}"']


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    (mistake,) = mistakes("\n".join(lines))
    assert mistake.endswith("aliases expand to more than 300,000 values")


def test_aliases_cannot_nest_deeper_than_what_is_written():
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    (mistake,) = mistakes("\n".join(lines))
    assert mistake.endswith("nested more than 100 levels deep")


PIECES = [*"abc 01.:-,[]{}&*!|>'\"\n\t#%@~?<", "a: ", "\n  ", "- ", "{{ x }}", "&a ", "*a", "<<: ", "!!int "]
YAMLISH = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(YAMLISH | st.text(max_size=60))
def test_no_text_raises_and_none_without_a_reason(text):
    found = Diagnostics()
    node = yaml_text.parse(text, "a.yaml", found)
    assert node is not None or found.has_errors


def test_without_the_c_parser_places_and_values_are_the_same(monkeypatch):
    text = "a: {b: [1, 'x{{ y }}']}\nc: |\n  {{ z }}\nd: &x e\nf: *x\n"
    fast = yaml_text.parse(text, "a.yaml", Diagnostics())
    monkeypatch.setattr(yaml_text, "_LOADER", yaml.Loader)
    assert yaml_text.parse(text, "a.yaml", Diagnostics()) == fast
