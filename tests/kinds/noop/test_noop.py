from datetime import timedelta

import pytest

from drystone.errors import TemporaryError
from drystone.kinds.noop import Noop

noop = Noop()


def test_outputs_are_given_back_as_they_are(attempt):
    outcome = noop.run(attempt.ctx, Noop.Config(outputs={"a": [1, None]}))
    assert outcome.outputs == {"a": [1, None]}
    assert not outcome.changed


def test_it_is_inline_unless_it_sleeps():
    assert Noop.is_inline({})
    assert not Noop.is_inline({"sleep": "2s"})
    assert not Noop.is_inline({"sleep": object()})


def test_a_sleep_ends_when_the_attempt_does(new_attempt):
    attempt = new_attempt(timeout=timedelta(milliseconds=50))
    with pytest.raises(TemporaryError, match="no end after 50ms"):
        noop.run(attempt.ctx, Noop.Config(sleep="10m"))


def test_a_config_that_is_nothing_or_one_expression_has_answers_too():
    assert Noop.is_inline(None)
    assert not Noop.is_inline(object())
