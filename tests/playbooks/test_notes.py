"""The notes application itself, in this process, on both kinds of database."""

import importlib.util
import json
import sys
import threading
import urllib.error
import urllib.request

import pytest
from ansible.module_utils.notes_migrations import apply_one, read_files


@pytest.fixture(scope="module")
def notes(role):
    """The application's module, beside its database client as it is on a host."""
    sys.path.insert(0, str(role / "module_utils"))
    spec = importlib.util.spec_from_file_location("notes", role / "files" / "notes.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(role / "module_utils"))


@pytest.fixture
def ask(notes, tmp_path):
    """Asks a running application; its answer is the status, and the JSON or text of the body."""
    settings = {"version": "1", "release": "r", "address": "127.0.0.1", "port": 0, "database": str(tmp_path / "database.json")}
    server = notes.Server(settings)
    server.RequestHandlerClass = type("Quiet", (notes.Handler,), {"log_message": lambda *_: None})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def ask(path, body=None):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{server.server_address[1]}{path}", data, timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def database(settings, connection, tmp_path):
    """An empty database in service."""
    (tmp_path / "database.json").write_text(json.dumps(settings))
    return connection


@pytest.fixture
def migrated(database, migrations):
    """A database in service, with the newest schema."""
    for step in read_files({path.name: path.read_text() for path in migrations.iterdir()}):
        apply_one(database, step, "a")
    return database


def test_note_that_was_written_can_be_read(ask, migrated):
    status, note = ask("/notes", {"text": "Größe <b>", "author": "me"})

    assert status == 201
    assert (note["text"], note["author"]) == ("Größe <b>", "me")
    assert ask(f"/notes/{note['id']}") == (200, note)
    assert ask("/notes") == (200, {"notes": [note]})


def test_page_shows_notes_as_they_are_written(ask, migrated):
    ask("/notes", {"text": "<script>"})

    status, page = ask("/")

    assert status == 200
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_health_follows_the_database(ask, database, tmp_path, migrations):
    assert (ask("/health")[1]["status"], ask("/health")[1]["database"]["state"]) == ("waiting", "empty")
    for step in read_files({path.name: path.read_text() for path in migrations.iterdir()}):
        apply_one(database, step, "a")
    assert (ask("/health")[1]["status"], ask("/health")[1]["schema_version"]) == ("ok", 3)
    settings = json.loads((tmp_path / "database.json").read_text())
    (tmp_path / "database.json").write_text(json.dumps(settings | {"location": str(tmp_path / "moved away")}))
    assert (ask("/health")[0], ask("/health")[1]["status"]) == (503, "failing")
    assert ask("/notes")[0] == 503
    (tmp_path / "database.json").unlink()
    assert (ask("/health")[0], ask("/health")[1]["database"]["state"]) == (200, "absent")


def test_notes_wait_for_their_schema(ask, database):
    assert ask("/notes", {"text": "early"}) == (503, {"error": "the database has no notes yet: run the migration playbook"})
    assert ask("/")[0] == 200


def test_author_is_refused_before_the_schema_has_authors(ask, database, migrations):
    first = read_files({path.name: path.read_text() for path in migrations.glob("0001-*")})
    apply_one(database, first[0], "a")

    assert ask("/notes", {"text": "x", "author": "me"})[0] == 409
    assert ask("/notes", {"text": "x"})[0] == 201


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        ([], 'a note is a JSON object with a "text"'),
        ({"author": "me"}, 'a note is a JSON object with a "text"'),
        ({"text": 5}, '"text" is a text, and not an empty one'),
        ({"text": " "}, '"text" is a text, and not an empty one'),
        ({"text": "x", "author": None}, '"author" is a text, and not an empty one'),
        ({"text": "x\0"}, '"text" has a NUL'),
        ({"text": "\ud800"}, '"text" has half a character'),
        ({"text": "x", "colour": "red"}, 'a note has no "colour"'),
    ],
)
def test_what_is_no_note_is_refused_with_its_reason(ask, body, reason):
    assert ask("/notes", body) == (400, {"error": reason})


def test_unknown_pages_and_notes_are_not_found(ask, migrated):
    assert ask("/none") == (404, {"error": 'there is no page "/none"'})
    assert ask("/notes/none") == (404, {"error": 'there is no note "none"'})
    assert ask("/health", {})[0] == 405


def test_note_that_is_too_large_is_refused(ask):
    assert ask("/notes", b" " * (64 * 1024 + 1))[0] == 413
