"""Inputs of a run: typed, checked against their schemas, all problems at once, and no secret in a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drystone.core.diagnostics import Where
from drystone.core.inputs import check_inputs, check_schema, from_text, problems_of
from drystone.core.plan import Input
from drystone.errors import InputError


def declared(secret: bool = False, **schema: object) -> Input:
    return Input(name="x", schema=schema, where=Where("f", 1, 1), secret=secret)


@pytest.fixture
def plan(plan_of):
    return plan_of(
        """
inputs:
  name: {type: string, pattern: "^[a-z]+$", description: what it is called}
  vms: {type: integer, default: 2, minimum: 1, maximum: 50}
  tags: {type: object, default: {}, additionalProperties: {type: string}}
  password: {type: string, secret: true, minLength: 12}
tasks: {a: {noop: {}}}
"""
    )


def test_defaults_fill_what_was_not_given_in_the_order_of_the_plan(plan):
    values = check_inputs(plan, {"password": "correct horse", "name": "web"})
    assert list(values.items()) == [("name", "web"), ("vms", 2), ("tags", {}), ("password", "correct horse")]


def test_all_problems_are_told_at_once(plan):
    with pytest.raises(InputError) as caught:
        check_inputs(plan, {"vms": 99, "tags": {"a": 1}, "nam": "web"})
    assert caught.value.problems == (
        'the plan has no input "nam"; did you mean "name"?',
        'input "name" is missing: what it is called',
        'input "vms" must be at most 50, not the number 99',
        'input "tags" at a must be text, not the number 1',
        'input "password" is missing',
    )
    assert caught.value.message == "5 problems with the inputs"
    assert caught.value.hint == '"test" takes name, vms, tags, password'


def test_a_single_problem_is_the_message(plan):
    with pytest.raises(InputError) as caught:
        check_inputs(plan, {"name": "A1", "password": "long enough to do"})
    assert caught.value.message == 'input "name" must match the pattern "^[a-z]+$", and "A1" does not'


def test_a_plan_without_inputs_says_so(plan_of):
    with pytest.raises(InputError) as caught:
        check_inputs(plan_of("tasks: {a: {noop: {}}}\n"), {"x": 1})
    assert caught.value.hint == '"test" takes no inputs'


SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, SECRET),
        ({"pattern": "^x$"}, SECRET),
        ({"enum": ["a"]}, SECRET),
        ({"const": "a"}, SECRET),
        ({"maxLength": 2}, SECRET),
        ({"format": "ipv4"}, SECRET),
        ({"anyOf": [{"type": "integer"}, {"type": "boolean"}]}, SECRET),
        ({"type": "array", "items": {"type": "integer"}}, [SECRET]),
        ({"type": "object", "additionalProperties": False}, {SECRET: 1}),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, {"a": SECRET}),
        ({"not": {"type": "string"}}, SECRET),
        ({"uniqueItems": True}, [SECRET, SECRET]),
        ({"propertyNames": {"pattern": "^x$"}}, {SECRET: 1}),
        ({"dependentRequired": {SECRET: ["b"]}}, {SECRET: 1}),
    ],
)
def test_a_secret_value_is_in_no_message(schema, value):
    problems = problems_of(declared(secret=True, **schema), value)
    assert problems
    assert SECRET not in repr([message for _, message in problems])


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": ["string", "null"]}, 5, "must be text or null, not the number 5"),
        ({"type": "number", "exclusiveMinimum": 0}, 0, "must be more than 0, not the number 0"),
        ({"enum": ["a", 1]}, "b", 'must be one of "a", 1, not "b"'),
        ({"minItems": 2}, [1], "must have at least 2 items"),
        ({"minLength": 2}, "a", "must have at least 2 characters"),
        ({"format": "ipv4"}, "1.2.3", 'must be written as ipv4, and "1.2.3" is not'),
        ({"required": ["a", "b"]}, {"a": 1}, 'needs "b"'),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"a": 1, "b": 2}, 'has "b" that the schema does not know'),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", 'fits none of the alternatives of its schema: "x"'),
        ({"multipleOf": 2}, 3, 'does not fit the rule "multipleOf" of its schema'),
        ({"$ref": "#/$defs/gone"}, 1, "its schema refers to what is not there"),
        ({"$ref": "#"}, 1, "its schema refers to itself without end"),
    ],
)
def test_a_value_that_does_not_fit_is_told_in_plain_words(schema, value, message):
    ((_, told),) = problems_of(declared(**schema), value)
    assert told.startswith(message)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "5", 5),
        ({"type": "integer"}, "5.0", 5.0),
        ({"type": "integer"}, "five", "five"),
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "2.5", 2.5),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "boolean"}, "yes", "yes"),
        ({"type": "string"}, "5", "5"),
        ({"type": "string"}, "null", "null"),
        ({"type": ["string", "integer"]}, "5", "5"),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": "array"}, '["a", 1]', ["a", 1]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": "object"}, "{a: 1}", "{a: 1}"),
        ({"type": "object"}, "[1]", "[1]"),
        ({"enum": [1, 2]}, "2", 2),
        ({"enum": ["1", "2"]}, "2", "2"),
        ({"const": True}, "true", True),
        ({"pattern": "x"}, "5", "5"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "7", 7),
        ({}, "7", 7),
        ({}, "seven", "seven"),
        ({"type": "number"}, "NaN", "NaN"),
    ],
)
def test_what_somebody_typed_takes_the_type_of_the_schema(schema, text, value):
    result = from_text(declared(**schema), text)
    assert result == value
    assert type(result) is type(value)


TYPES = ["string", "integer", "number", "boolean", "array", "object", "null"]


@given(st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, unique=True), st.text())
def test_typed_text_never_raises_and_what_it_gives_can_be_checked(types, text):
    schema = declared(type=types)
    problems_of(schema, from_text(schema, text))


KEYWORDS = ["type", "enum", "items", "properties", "pattern", "anyOf", "$ref", "required", "zzz"]
SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*TYPES, "#", "(", "^a", "[[:alpha:]]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "items", "properties", "pattern", "anyOf", "$ref", "not"]), SCHEMAS, max_size=4), SCHEMAS)
def test_no_schema_raises_and_one_that_is_accepted_can_be_used(schema, value):
    if not check_schema(schema):
        problems_of(declared(**schema), value)
        from_text(declared(**schema), "1")
