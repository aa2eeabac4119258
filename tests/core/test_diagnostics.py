"""How mistakes are gathered and printed."""

from drystone.core.diagnostics import Diagnostic, Diagnostics, Severity, Where, did_you_mean, to_text


def error(line: int = 1, column: int = 1, **more: object) -> Diagnostic:
    return Diagnostic(severity=Severity.ERROR, summary="it is wrong", where=Where("a.yaml", line, column), **more)  # type: ignore[arg-type]


def test_mistakes_come_in_the_order_of_the_file():
    found = Diagnostics()
    found.error("second", Where("a.yaml", 2, 1))
    found.error("first", Where("a.yaml", 1, 9))
    found.error("without a place")
    assert [item.summary for item in found] == ["without a place", "first", "second"]


def test_the_same_mistake_counts_once():
    found = Diagnostics()
    for _ in range(2):
        found.error("once", Where("a.yaml", 1, 1))
    assert len(found) == 1


def test_warnings_alone_do_not_keep_a_plan_from_running():
    found = Diagnostics()
    found.warning("hm")
    assert not found.has_errors
    found.error("no")
    assert found.has_errors


def test_a_mistake_is_printed_with_its_line_a_caret_and_the_next_step():
    assert to_text(error(2, 4, hint="mend it", length=3), "one\nabcdefg\n").splitlines() == [
        "error: it is wrong",
        "  --> a.yaml:2:4",
        "  2 | abcdefg",
        "    |    ^^^",
        "  mend it",
    ]


def test_carets_stand_right_behind_tabs():
    assert to_text(error(1, 3), "\t\tx").splitlines()[-1] == "    | \t\t^"


def test_of_a_long_line_the_part_around_the_place_is_shown():
    line = "a" * 300 + "HERE" + "b" * 300
    shown, carets = to_text(error(1, 301, length=4), line).splitlines()[-2:]
    assert len(shown) < 130
    assert shown[carets.index("^") :].startswith("HERE")


def test_a_place_behind_the_end_of_the_file_is_printed_without_a_line():
    assert to_text(error(9, 1), "one\n").splitlines() == ["error: it is wrong", "  --> a.yaml:9:1"]


def test_a_near_word_is_suggested_and_a_far_one_is_not():
    assert did_you_mean("netwrk", ["network", "subnet"]) == 'did you mean "network"?'
    assert did_you_mean("zebra", ["network", "subnet"]) == ""


def test_json_has_the_place_in_parts():
    assert error(3, 7, hint="so").to_json() == {
        "severity": "error",
        "summary": "it is wrong",
        "where": {"file": "a.yaml", "line": 3, "column": 7},
        "hint": "so",
    }
