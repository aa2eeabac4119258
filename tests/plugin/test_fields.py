from datetime import timedelta

import pytest
from pydantic import Field, ValidationError

from drystone.plugin.api import Config
from drystone.plugin.fields import Duration, Env, Mode, Text, Texts, written


class Sample(Config):
    wait: Duration = Field(default="0s", validate_default=True)
    mode: Mode = 0
    text: Text = ""
    texts: Texts = ()
    env: Env = Field(default_factory=dict)


def test_durations_are_read_as_in_plans():
    assert Sample(wait="1m30s").wait == timedelta(seconds=90)


@pytest.mark.parametrize("written", ["0640", "640", "0o640"])
def test_modes_are_octal_digits(written):
    assert Sample(mode=written).mode == 0o640


@pytest.mark.parametrize(("given", "text"), [("a", "a"), (3, "3"), (1.5, "1.5"), (True, "true"), (False, "false")])
def test_values_of_expressions_become_text(given, text):
    assert Sample(text=given).text == text
    assert Sample(env={"A": given}).env == {"A": text}


def test_one_text_is_a_list_of_one():
    assert Sample(texts="a").texts == Sample(texts=["a"]).texts == ("a",)


@pytest.mark.parametrize(
    "fields",
    [{"wait": "soon"}, {"mode": 640}, {"mode": "999"}, {"text": None}, {"text": []}, {"env": {"A-B": "x"}}, {"env": {"": "x"}}],
)
def test_what_has_no_such_meaning_is_refused(fields):
    with pytest.raises(ValidationError):
        Sample.model_validate(fields)


def test_every_field_has_a_schema():
    properties = Sample.model_json_schema()["properties"]
    assert set(properties) == {"wait", "mode", "text", "texts", "env"}
    assert properties["wait"]["default"] == "0s"


def test_what_a_plan_wrote_is_found_in_any_config():
    expression = object()
    assert written({"a": 1}, "a") == 1
    assert written({}, "a") is None
    assert written(None, "a") is None
    assert written(expression, "a") is expression
