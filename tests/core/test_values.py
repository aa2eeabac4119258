"""Expressions: what they give, what they look at, and what they say when they cannot be evaluated."""

import copy
import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.core.diagnostics import Diagnostics, Where
from drystone.core.nodes import Node
from drystone.core.values import (
    UNKNOWN,
    ExpressionError,
    Reference,
    Secret,
    Template,
    compile_value,
    condition,
    has_secret,
    references,
    render,
    reveal,
    templates,
    without_expressions,
)  # fmt: skip

WHERE = Where("plan.yaml", 3, 5)
VM = {"id": "i-1", "name": "web0", "address": "10.0.0.5", "port": 22, "host_key": "ssh-ed25519 A"}
SCOPE = {
    "inputs": {
        "n": 3, "name": "web", "zone": "007", "cidr": "10.77.0.0/16", "yes": True, "nothing": None, "items": [1, 2], "map": {"a": {"b": 1}},
        "open": UNKNOWN, "some": {"known": 1, "open": UNKNOWN},
    },
    "tasks": MappingProxyType({
        "vm": {"outputs": [VM, {**VM, "name": "web1"}], "result": [{}, {}]},
        "db": {"outputs": {"password": Secret(sealed="gAAA"), "user": "app"}},
    }),
}  # fmt: skip


def node(value: object) -> Node:
    if isinstance(value, dict):
        return Node(WHERE, {key: (WHERE, node(item)) for key, item in value.items()})
    if isinstance(value, list):
        return Node(WHERE, tuple(node(item) for item in value))
    return Node(WHERE, value, WHERE if isinstance(value, str) else None)


def value_of(written: object) -> object:
    found = Diagnostics()
    value = compile_value(node(written), found)
    assert not list(found), list(found)
    return value


def given_by(written: object) -> object:
    return render(value_of(written), SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.n }}", 3),
        ("{{ inputs.n + 1 }}", 4),
        ("{{ inputs.yes }}", True),
        ("{{ inputs.nothing }}", None),
        ("{{ inputs.zone }}", "007"),
        ("{{ inputs.zone ~ '' }}", "007"),
        ("{{ inputs.cidr }}", "10.77.0.0/16"),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{{ inputs.n }}{{ inputs.n }}", "33"),
        ("[{{ inputs.n }}]", "[3]"),
        ("{{ '[1]' }}", "[1]"),
        ("{{ range(inputs.n) }}", [0, 1, 2]),
        ("{{ inputs.items }}", [1, 2]),
        ("{{ inputs.map.items() }}", [["a", {"b": 1}]]),
        ("{{ inputs.map['a'].b }}", 1),
        ("{{ inputs.items | map('string') }}", ["1", "2"]),
        ("{{ tasks.vm.outputs[-1].name }}", "web1"),
        ("{{ tasks.vm.outputs | map(attribute='name') | join(',') }}", "web0,web1"),
        ("{{ {'a': (1, 2)} }}", {"a": [1, 2]}),
        ("{% if inputs.yes %}on{% else %}off{% endif %}", "on"),
        ("{{ inputs.absent | default('x') }}", "x"),
        ("{{ inputs.absent is defined }}", False),
        ("{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
        ("${#array[@]} is {{ inputs.n }}", "${#array[@]} is 3"),
    ],
)
def test_an_expression_gives_its_value_with_its_type_and_text_around_it_makes_text(text, value):
    result = given_by(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("is {{ inputs.yes }}", "is true"),
        ("has {{ inputs.items }}", "has [1, 2]"),
        ("has {{ inputs.map }}", 'has {"a": {"b": 1}}'),
        ("{{ inputs.name }}-{{ inputs.n }}\n", "web-3\n"),
    ],
)
def test_values_in_text_are_written_as_json_writes_them(text, value):
    assert given_by(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ inputs.nam }}", '"nam" is not defined; there is cidr, items, map, n, name, nothing, open, some, yes, zone'),
        ("{{ inputs.nam | upper }}", 'did you mean "name"?'),
        ("{{ tasks.vm.outputs[0].adress }}", '"adress" is not defined; there is address, host_key, id, name, port'),
        ("{{ tasks.vm.outputs.address }}", 'a list has no "address"'),
        ("{{ tasks.vm.outputs[7] }}", "there is no item 7 in a list of 2"),
        ("{{ inputs.n.a }}", 'int has no "a"'),
        ("{{ nowhere }}", '"nowhere" is not defined here'),
        ("{{ nowhere + 1 }}", '"nowhere" is not defined'),
        ("{{ [nowhere] }}", '"nowhere" is not defined'),
        ("x{{ inputs.nothing }}", "null has no text"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ("{{ inputs.n | hosts }}", "hosts takes names"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ inputs.items.append(3) }}", "unsafe"),
        ("{{ range(10 ** 9) }}", "range gives at most 100,000 numbers"),
        ("{{ 'a' * 10 ** 9 }}", "would be larger than 1,000,000"),
        ("{{ 10 ** (10 ** 9) }}", "would be larger than 1,000,000"),
        ("{{ 'a'.ljust(10 ** 9) }}", "would be larger than 1,000,000"),
        ("{{ '%999999d' % 1 }}", "width of a format"),
        ("{{ '%999999d' | format(1) }}", "width of a format"),
        ("{{ '{:999999}'.format(1) }}", "width of a format"),
        ("{{ range }}", "which is not data"),
        ("{{ 'x' | from_json }}", "not JSON text"),
        ("{{ '?' | b64decode }}", "not Base64"),
        ("{{ 'x' | regex_replace('(') }}", "regex_replace"),
        ("{{ 1 | combine({}) }}", "combine takes maps"),
    ],
)
def test_what_cannot_be_evaluated_says_where_and_why(text, message):
    with pytest.raises(ExpressionError) as caught:
        given_by(text)
    assert caught.value.where == WHERE
    assert message in f"{caught.value.message}; {caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ inputs.n }}", {"inputs.n"}),
        ("{{ tasks.vm.outputs[0].address }}", {"tasks.vm.outputs[0].address"}),
        ('{{ tasks["a-b"].outputs }}', {'tasks["a-b"].outputs'}),
        ("{{ tasks[inputs.name].outputs }}", {"tasks", "inputs.name"}),
        ("{{ tasks.vm.outputs[inputs.n].name }}", {"tasks.vm.outputs", "inputs.n"}),
        ("{{ inputs.name.upper() }}", {"inputs.name"}),
        ("{{ (inputs.a ~ 'x').strip(inputs.b) }}", {"inputs.a", "inputs.b"}),
        ("a {{ inputs.a }} b {{ tasks.t.result.changed }}", {"inputs.a", "tasks.t.result.changed"}),
        ("{{ inputs.a | default(inputs.b) if inputs.c else range(inputs.d) }}", {"inputs.a", "inputs.b", "inputs.c", "inputs.d"}),
        ("{% for vm in tasks.vm.outputs %}{{ loop.index }}{{ vm.name }}{% endfor %}", {"tasks.vm.outputs"}),
        ("{% set x = inputs.a %}{{ x }}", {"inputs.a"}),
        ("{{ 1 }}", set()),
    ],
)
def test_what_an_expression_looks_at_is_known_without_evaluating_it(text, expected):
    assert {str(reference) for reference in references(value_of(text))} == expected


def test_references_of_nested_data_are_those_of_all_its_strings():
    value = value_of({"a": ["{{ inputs.n }}", {"b": "{{ inputs.name }}"}], "c": "plain"})
    assert references(value) == {Reference("inputs", ("n",)), Reference("inputs", ("name",))}
    assert render(value, SCOPE) == {"a": [3, {"b": "web"}], "c": "plain"}


def test_data_without_expressions_is_given_back_as_it_is():
    value = value_of({"a": [1, {"b": None}]})
    assert render(value, {}) is value


def test_the_place_of_a_reference_is_exact():
    (template,) = templates(value_of("x{{ inputs.a }} {{ tasks.vm.outputs }}"))
    where, length = template.place_of(Reference("tasks", ("vm",)))
    assert (where.column, length) == (WHERE.column + 19, len("tasks.vm"))


def test_open_expressions_become_unknown():
    assert without_expressions(value_of({"a": "{{ inputs.n }}", "b": ["x"]})) == {"a": UNKNOWN, "b": ["x"]}


@pytest.mark.parametrize(
    "text",
    [
        "{{ inputs.open }}", "{{ inputs.open + 1 }}", "x{{ inputs.open }}", "{{ inputs.open == 1 }}", "{{ 1 if inputs.open else 2 }}",
        "{{ inputs.open.part }}", "{{ inputs.open | hosts }}", "{{ inputs.open | length }}", "{{ inputs.some | to_json }}",
        "x{{ inputs.some }}", "x{{ inputs.some | combine({}) }}",
    ],
)  # fmt: skip
def test_what_is_not_known_yet_is_never_faked(text):
    assert given_by(text) is UNKNOWN


def test_what_is_known_comes_through_beside_what_is_not():
    assert given_by("{{ inputs.some | combine({'more': 2}) }}") == {"known": 1, "open": UNKNOWN, "more": 2}


# ---- secrets ----------------------------------------------------------------------------------------------------------


def test_a_secret_is_a_handle_until_somebody_reveals_it():
    assert given_by("{{ secrets.db }}") == Secret(reference="db")
    assert render(value_of("{{ secrets.db }}"), {**SCOPE, "secrets": {"db": "hunter2"}}) == "hunter2"


@pytest.mark.parametrize(
    "text",
    [
        "{{ secrets.db | length }}", "{{ secrets.db == 'x' }}", "{{ not secrets.db }}", "{{ secrets.db.part }}",
        "{{ secrets.db | b64encode }}", "{{ tasks.db.outputs.password + 'x' }}", "{{ tasks.db.outputs.password != '' }}",
    ],
)  # fmt: skip
def test_what_is_made_of_a_secret_alone_is_secret(text):
    assert isinstance(given_by(text), Secret)


def test_text_around_a_secret_shows_its_mask():
    assert given_by("postgres://app:{{ secrets.db }}@db") == "postgres://app:***@db"


def test_a_secret_prints_as_its_mask_everywhere():
    secret = Secret(sealed="gAAA")
    assert f"{secret} {secret!r} {secret!s} {[secret]}" == "*** *** *** [***]"
    assert "gAAA" not in repr(copy.deepcopy({"a": secret}))


@pytest.mark.parametrize("secret", [Secret(reference="db"), Secret(sealed="gAAA"), Secret()])
def test_a_secret_survives_the_journal(secret):
    assert Secret.from_json(json.loads(json.dumps(secret.to_json()))) == secret


@pytest.mark.parametrize("data", [{}, {"$secret": 1}, {"$secret": {"x": 1}}, {"$secret": {}, "more": 1}])
def test_other_maps_are_no_secrets(data):
    assert Secret.from_json(data) is None


def test_reveal_replaces_every_secret_and_copies_nothing_when_there_is_none():
    data = {"a": [Secret(reference="x")], "b": 1}
    assert reveal(data, lambda secret: secret.reference.upper()) == {"a": ["X"], "b": 1}
    assert has_secret(data)
    plain = {"a": [1]}
    assert reveal(plain, str) is plain


# ---- conditions -------------------------------------------------------------------------------------------------------


def test_a_condition_is_true_or_false():
    assert condition(value_of("{{ inputs.n > 2 }}"), SCOPE) is True
    assert condition(value_of("{{ inputs.n > 3 }}"), SCOPE) is False
    assert condition(False, SCOPE) is False


@pytest.mark.parametrize(
    ("text", "shown"),
    [("{{ 'false' }}", '"false"'), ("{{ inputs.n }}", "integer"), ("{{ inputs.nothing }}", "null"), ("{{ secrets.x == 1 }}", "secret")],
)
def test_a_condition_that_is_neither_is_refused(text, shown):
    with pytest.raises(ExpressionError, match=f"gives {shown}, not true or false"):
        condition(value_of(text), SCOPE)


# ---- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ 'web' | hosts }}", [{"name": "web", "address": "web"}]),
        ("{{ ['a', {'address': '1.2.3.4'}] | hosts }}", [{"name": "a", "address": "a"}, {"address": "1.2.3.4", "name": "1.2.3.4"}]),
        ("{{ {'a': {'address': '1.2.3.4'}} | hosts }}", [{"address": "1.2.3.4", "name": "a"}]),
        ("{{ tasks.vm.outputs | hosts(group='app') | map(attribute='groups') }}", [["app"], ["app"]]),
        (
            "{{ {'name': 'x', 'address': 'y', 'groups': ['a'], 'port': none} | hosts(group='b') }}",
            [{"name": "x", "address": "y", "groups": ["a", "b"]}],
        ),
        ("{{ {'b': [2], 'a': 'ä'} | to_json }}", '{"a": "ä", "b": [2]}'),
        ("{{ '{\"a\": 1}' | from_json }}", {"a": 1}),
        ("{{ 'grüß' | b64encode | b64decode }}", "grüß"),
        ("{{ 'v1.2' | regex_replace('^v([0-9]+).*', '\\\\1') }}", "1"),
        ("{{ '/a/b.c' | basename }}", "b.c"),
        ("{{ '/a/b.c' | dirname }}{{ '/x' | dirname }}", "/a/"),
        ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true) }}", {"a": {"x": 1, "y": 2}}),
        ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}) }}", {"a": {"y": 2}}),
        ("{{ inputs.yes | ternary('a', 'b') }}{{ none | ternary(1, 2, 3) }}", "a3"),
        ("{{ \"it's\" | quote }}", "'it'\"'\"'s'"),
        ("{{ '%s of %s' | format(1, 2) }}", "1 of 2"),
    ],
)  # fmt: skip
def test_filters(text, value):
    assert given_by(text) == value


def test_hosts_keeps_of_an_output_map_what_a_host_may_say():
    assert given_by("{{ tasks.vm.outputs | hosts | first }}") == {key: VM[key] for key in ("name", "address", "port", "host_key")}


def test_hosts_of_a_map_without_an_address_says_what_is_there():
    with pytest.raises(ExpressionError, match='needs an "address"; there is id, ip'):
        given_by("{{ {'id': 'i-1', 'ip': '1.2.3.4'} | hosts }}")


@pytest.mark.parametrize("name", ["random", "pprint", "attr"])
def test_filters_that_would_not_replay_or_reach_too_far_are_gone(name):
    found = Diagnostics()
    compile_value(node(f"{{{{ [1] | {name} }}}}"), found)
    assert [item.summary for item in found] == [f'there is no filter "{name}"']


@pytest.mark.parametrize("statement", ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% from 'x' import y %}"])
def test_expressions_reach_for_no_files(statement):
    found = Diagnostics()
    compile_value(node(statement), found)
    assert found.has_errors


# ---- whatever comes ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
PIECES = [
    "{{", "}}", "{%", "%}", " ", "inputs", ".", "x", "[", "]", "'", "|", "upper", "1", "+", "if", "for", "in", "is", "(", ")", "a", "{",
    "raw", "endraw", "\n",
]  # fmt: skip


@given(JSON)
def test_a_value_comes_through_an_expression_unchanged(value):
    assert render(value_of("{{ inputs.x }}"), {"inputs": {"x": value}}) == value
    assert render(value_of("{{ [inputs.x][0] }}"), {"inputs": {"x": value}}) == value


@given(st.text(alphabet=st.characters(exclude_characters="{"), min_size=1))
def test_text_without_braces_stays_as_it_is(text):
    assert given_by({"a": text}) == {"a": text}


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="{}%\r", exclude_categories=["Cs"])))
def test_text_around_an_expression_always_gives_text(value, text):
    assert render(value_of(f"{text}|{{{{ inputs.x }}}}"), {"inputs": {"x": value}}) == f"{text}|{value}"


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), JSON)
def test_no_string_makes_the_compiler_raise_and_rendering_fails_in_one_way_only(text, value):
    compiled = compile_value(node(text), Diagnostics())
    if isinstance(compiled, Template):
        try:
            json.dumps(render(compiled, {"inputs": {"x": value}}), default=str)
        except ExpressionError as error:
            assert error.where == WHERE


@given(st.sampled_from(["{{ inputs.x }}", "a{{ inputs.x }}b", "{{ inputs.x.y }}", "{{ inputs.x[0] }}", "{{inputs.x}}{{inputs.x}}"]), JSON)
def test_simple_paths_mean_the_same_as_in_jinja(text, value):
    """Paths are followed without Jinja2; a pair of parentheses sends the same expression through it."""
    through_jinja = text.replace("inputs", "(inputs)")
    scope = {"inputs": {"x": value}}

    def outcome(source):
        try:
            return render(value_of(source), scope)
        except ExpressionError:
            return ExpressionError

    assert outcome(text) == outcome(through_jinja)
