import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from drystone.errors import FailureClass, PermanentError
from drystone.kinds.template import Template

template = Template()


def config(**values):
    return Template.Config.model_validate(values)


def run(attempt, **values):
    return template.run(attempt.ctx, config(**values))


@pytest.fixture
def motd(tmp_path):
    return tmp_path / "motd"


def test_a_relative_dest_is_an_artifact(attempt, project):
    (project / "report.j2").write_text("plan {{ run.plan }} for {{ who }}\n")
    outcome = run(attempt, src="report.j2", dest="out/report.txt", vars={"who": "ops"})
    path = attempt.ctx.artifacts / "out" / "report.txt"
    assert path.read_text() == "plan trial for ops\n"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert outcome.outputs == {"path": str(path), "sha256": digest, "changed": True}


def test_the_same_content_changes_nothing(attempt, motd):
    assert run(attempt, content="hello", dest=str(motd)).changed
    before = motd.stat().st_ino
    again = run(attempt, content="hello", dest=str(motd))
    assert not again.changed
    assert again.outputs["changed"] is False
    assert motd.stat().st_ino == before


def test_an_existing_file_keeps_its_mode_and_a_given_one_wins(attempt, motd):
    motd.write_text("old")
    motd.chmod(0o600)
    run(attempt, content="new", dest=str(motd))
    assert motd.stat().st_mode & 0o777 == 0o600
    assert run(attempt, content="new", dest=str(motd), mode="0640").changed
    assert motd.stat().st_mode & 0o777 == 0o640


def test_undo_brings_back_content_and_mode(new_attempt, motd):
    motd.write_text("old")
    motd.chmod(0o604)
    run(new_attempt(), content="new", dest=str(motd), mode="0640")
    outcome = template.undo(new_attempt().ctx, config(content="new", dest=str(motd), mode="0640"))
    assert outcome.changed
    assert motd.read_text() == "old"
    assert motd.stat().st_mode & 0o777 == 0o604


def test_undo_removes_what_was_not_there(new_attempt, motd):
    run(new_attempt(), content="new", dest=str(motd))
    template.undo(new_attempt().ctx, config(content="new", dest=str(motd)))
    assert not motd.exists()


def test_a_run_that_puts_back_what_was_there_has_nothing_to_undo(new_attempt, motd):
    motd.write_text("old")
    run(new_attempt(), content="new", dest=str(motd))
    run(new_attempt(), content="old", dest=str(motd))
    motd.write_text("somebody's since")
    assert not template.undo(new_attempt().ctx, config(content="new", dest=str(motd))).changed
    assert motd.read_text() == "somebody's since"


def test_undo_after_a_retry_goes_back_to_before_the_first_attempt(new_attempt, motd):
    motd.write_text("old")
    run(new_attempt(), content="first", dest=str(motd))
    run(new_attempt(), content="second", dest=str(motd))
    template.undo(new_attempt().ctx, config(content="second", dest=str(motd)))
    assert motd.read_text() == "old"


def test_undo_twice_or_of_nothing_changes_nothing(new_attempt, motd):
    motd.write_text("old")
    run(new_attempt(), content="new", dest=str(motd))
    undo = config(content="new", dest=str(motd))
    assert template.undo(new_attempt().ctx, undo).changed
    assert not template.undo(new_attempt().ctx, undo).changed
    assert not template.undo(new_attempt(run="01JOTHER").ctx, undo).changed


def test_undo_refuses_to_destroy_what_somebody_wrote_since(new_attempt, motd):
    run(new_attempt(), content="ours", dest=str(motd))
    motd.write_text("theirs")
    with pytest.raises(PermanentError, match="was changed after") as caught:
        template.undo(new_attempt().ctx, config(content="ours", dest=str(motd)))
    assert caught.value.failure_class is FailureClass.CONFLICT
    assert motd.read_text() == "theirs"


def test_undo_after_a_crash_before_the_write_changes_nothing(new_attempt, motd, monkeypatch):
    motd.write_text("old")

    def crash(path, *_):
        if path == motd:
            raise KeyboardInterrupt
        return real(path, *_)

    from drystone.kinds import template as module

    real = module.write_atomic
    monkeypatch.setattr(module, "write_atomic", crash)
    with pytest.raises(KeyboardInterrupt):
        run(new_attempt(), content="new", dest=str(motd))
    monkeypatch.undo()
    assert not template.undo(new_attempt().ctx, config(content="new", dest=str(motd))).changed
    assert motd.read_text() == "old"


def test_ways_back_of_old_runs_give_way_to_new_ones(new_attempt, motd):
    for number in range(25):
        run(new_attempt(run=f"01J{number:03}"), content=str(number), dest=str(motd))
    kept = sorted(path.parent.name for path in (new_attempt().ctx.state / "template").glob("*/content"))
    assert kept == [f"01J{number:03}" for number in range(5, 25)]


def test_a_very_old_run_does_not_claim_to_be_undone(new_attempt, motd):
    motd.write_text("before")
    for number in range(25):
        run(new_attempt(run=f"01J{number:03}"), content=str(number), dest=str(motd))
    undo = new_attempt(run="01J000").ctx
    with pytest.raises(PermanentError, match="was changed after this run wrote it") as caught:
        template.undo(undo, config(content="0", dest=str(motd)))
    assert "not kept any more" in caught.value.hint
    motd.write_text("0")
    with pytest.raises(PermanentError, match="not kept any more"):
        template.undo(undo, config(content="0", dest=str(motd)))


def test_a_link_stays_and_its_target_is_written(attempt, motd, tmp_path):
    target = tmp_path / "target"
    target.write_text("old")
    motd.symlink_to(target)
    run(attempt, content="new", dest=str(motd))
    assert motd.is_symlink()
    assert target.read_text() == "new"


def test_values_are_escaped_in_html_only(attempt):
    page = run(attempt, content="<p>{{ name }}</p>", dest="page.html", vars={"name": "<b>"})
    text = run(attempt, content="<p>{{ name }}</p>", dest="page.txt", vars={"name": "<b>"})
    assert Path(page.outputs["path"]).read_text() == "<p>&lt;b&gt;</p>"
    assert Path(text.outputs["path"]).read_text() == "<p><b></p>"


def test_a_template_may_include_its_neighbours(attempt, project):
    (project / "t").mkdir()
    (project / "t" / "main.j2").write_text("{% include 'part.j2' %}")
    (project / "t" / "part.j2").write_text("part of {{ name }}")
    made = run(attempt, src="t/main.j2", dest="x", vars={"name": "it"})
    assert Path(made.outputs["path"]).read_text() == "part of it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\n{{ missing }}", "x.j2:2: 'missing' is undefined"),
        ("a\nb\n{% if %}", "x.j2:3: "),
        ("{{ ''.__class__ }}", "x.j2:1: access to attribute '__class__'"),
        ("\n{{ 1 / 0 }}", "x.j2:2: ZeroDivisionError"),
    ],
)
def test_a_mistake_in_a_template_is_told_with_its_line(attempt, project, text, said):
    (project / "x.j2").write_text(text)
    with pytest.raises(PermanentError) as caught:
        run(attempt, src="x.j2", dest="x")
    assert caught.value.failure_class is FailureClass.INVALID
    assert said in caught.value.message
    assert not caught.value.changed


@pytest.mark.parametrize("dest", ["../outside", "a/../../outside", "."])
def test_an_artifact_cannot_leave_its_folder(attempt, dest):
    with pytest.raises(PermanentError, match="leads out"):
        run(attempt, content="x", dest=dest)


def test_a_folder_that_does_not_exist_is_invalid(attempt, tmp_path):
    with pytest.raises(PermanentError, match="does not exist") as caught:
        run(attempt, content="x", dest=str(tmp_path / "no" / "file"))
    assert caught.value.failure_class is FailureClass.INVALID


def test_a_mode_is_quoted_octal_digits():
    with pytest.raises(ValidationError, match="quoted octal"):
        config(content="x", dest="x", mode=640)


def test_exactly_one_of_src_and_content_is_given():
    for values in ({}, {"src": "a", "content": "b"}):
        with pytest.raises(ValidationError, match="exactly one"):
            config(dest="x", **values)
