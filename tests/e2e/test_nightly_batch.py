"""The batch job that ships, on real databases and a real mail server: a region that fails is missing, and comes in the next morning."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from e2e_support import Project, kill, statuses, wait_until
from tests.mail_sink import MailSink
from tests.postgres import Server

REGIONS = ["centre", "east", "north", "south", "west"]
DAY = "2026-01-07"
SAMPLE = "jobs/nightly_batch/sample.sql"


@dataclass(frozen=True)
class Database:
    """Orders of the sample, at `url`; asked and changed without drystone."""

    url: str
    file: Path | None = None
    server: Server | None = None
    name: str = ""

    def ask(self, query: str) -> list[str]:
        """The rows, each as text with `|` between the columns."""
        if self.server is not None:
            return self.server.ask(query, self.name).splitlines()
        assert self.file is not None
        with closing(sqlite3.connect(self.file)) as connection, connection:
            return ["|".join(map(str, row)) for row in connection.execute(query).fetchall()]

    def regions(self) -> list[str]:
        """Those of which there are results."""
        return self.ask("SELECT DISTINCT region FROM daily_sales ORDER BY region")


@pytest.fixture
def batch(project: Project) -> Project:
    """A new project as `drystone init` makes it."""
    (project.folder / "drystone.toml").unlink()
    project.run("init")
    return project


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, batch: Project) -> Iterator[Database]:
    """The sample's orders, in each database."""
    sample = (batch.folder / SAMPLE).read_text()
    if request.param == "sqlite":
        file = batch.folder / "shop.db"
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript(sample)
        yield Database("sqlite:///shop.db", file=file)
        return
    server: Server = request.getfixturevalue("postgres")
    name = f"d{secrets.token_hex(4)}"
    server.ask(f"CREATE DATABASE {name}")
    server.ask(sample, name)
    # The password comes from where PostgreSQL's own programs look for it.
    password = batch.folder / ".pgpass"
    password.write_text(f"127.0.0.1:{server.port}:{name}:owner:{server.password}\n")
    password.chmod(0o600)
    batch.environ["PGPASSFILE"] = str(password)
    yield Database(f"postgresql://owner@127.0.0.1:{server.port}/{name}", server=server, name=name)
    server.ask(f"DROP DATABASE {name} WITH (FORCE)")


class Page(HTMLParser):
    """What is on a page, and that it is closed where it was opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.bars = 0
        self.links: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.links += [str(value) for name, value in attributes if name in ("src", "href") and value]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag == "rect", "an HTML element is never closed so"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.bars += tag == "rect"

    def handle_data(self, data: str) -> None:
        self.texts += [text] if (text := " ".join(data.split())) else []


def report(shown: dict[str, Any]) -> Page:
    return Page(Path(shown["outputs"]["report"]).read_text())


def test_a_new_project_reports_on_the_sample_by_one_command(batch: Project) -> None:
    batch.run("run", "nightly-batch")
    shown = batch.show()
    assert [id_ for id_ in statuses(shown) if id_.startswith("partition")] == [f'partition["{region}"]' for region in REGIONS]
    page = report(shown)
    assert f"Sales of {DAY}" in page.texts and "20,222.80 € from 400 orders in 5 of 5 regions" in page.texts
    assert (page.bars, page.links) == (20, []), "one bar for each region and product, and nothing is fetched"

    batch.run("run", "nightly-batch")
    with closing(sqlite3.connect(batch.folder / "sample-orders.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM daily_sales").fetchone() == (20,), "a second run replaces"


def test_a_region_that_fails_is_missing_and_comes_in_the_next_morning(batch: Project, database: Database, mail_sink: MailSink) -> None:
    database.ask("DELETE FROM rates WHERE currency = 'CHF' RETURNING currency")
    folder = batch.folder / "reports"
    folder.mkdir()
    words = [f"-iurl={database.url}", f"-ifolder={folder}", "-imail_to=ops@example.org,cfo@example.org", f"-ismtp={mail_sink.address}"]
    night = batch.run("run", "nightly-batch", *words)
    assert "every_currency_has_a_rate" in night.err
    shown = batch.show()
    assert (shown["status"], shown["outputs"]["missing"], statuses(shown)['partition["west"]']) == ("succeeded", ["west"], "failed")
    assert shown["outputs"]["report"] == str(folder / f"sales-{DAY}.html")
    assert "18,185.80 € from 360 orders in 4 of 5 regions" in report(shown).texts
    assert "Missing: west (40 orders, failed)." in report(shown).texts
    assert database.regions() == REGIONS[:4]

    database.ask("INSERT INTO rates VALUES ('CHF', 1.05) RETURNING currency")
    batch.run("resume", "last", "--only-failed")
    shown = batch.show()
    tries = {task["id"]: len(task["attempts"]) for task in shown["tasks"]}
    assert {id_ for id_, count in tries.items() if count == 2} == {'partition["west"]', "totals", "report", "mail"}
    assert shown["outputs"]["missing"] == [] and "20,222.80 € from 400 orders in 5 of 5 regions" in report(shown).texts
    assert database.ask("SELECT regions, orders FROM daily_totals") == ["5|400"]

    first, second = mail_sink.mails
    assert [mail["Subject"] for mail in mail_sink.mails] == [f"Sales of {DAY} (incomplete)", f"Sales of {DAY}"]
    assert first["To"] == "ops@example.org, cfo@example.org" and first["Message-ID"] != second["Message-ID"]
    body = second.get_body(("html",))
    assert body is not None and body.get_content().splitlines() == (folder / f"sales-{DAY}.html").read_text().splitlines()

    batch.run("undo", "last", "--yes")
    assert database.regions() == [] and list(folder.iterdir()) == []


def test_more_regions_than_may_fail_leave_no_report(batch: Project, database: Database) -> None:
    database.ask("DELETE FROM rates RETURNING currency")
    batch.run("run", "nightly-batch", f"-iurl={database.url}", code=7)
    found = statuses(batch.show())
    assert found["totals"] == found["report"] == "blocked" and database.regions() == []

    database.ask("INSERT INTO rates VALUES ('EUR', 1), ('GBP', 1.17), ('CHF', 1.05) RETURNING currency")
    batch.run("resume", "last")
    assert batch.show()["outputs"]["missing"] == [] and database.regions() == REGIONS


def test_what_an_earlier_run_left_of_a_region_is_not_reported_as_todays(batch: Project, database: Database) -> None:
    batch.run("run", "nightly-batch", f"-iurl={database.url}")
    database.ask("DELETE FROM rates WHERE currency = 'CHF' RETURNING currency")
    batch.run("run", "nightly-batch", f"-iurl={database.url}")
    assert "18,185.80 € from 360 orders in 4 of 5 regions" in report(batch.show()).texts
    assert database.regions() == REGIONS, "the failed region keeps what it had"


def test_a_kill_in_the_middle_loses_nothing_and_doubles_nothing(batch: Project) -> None:
    batch.run("run", "nightly-batch", "-iday=2026-01-05")
    with closing(sqlite3.connect(batch.folder / "sample-orders.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process = batch.start("run", "nightly-batch")
        wait_until(lambda: batch.events(type="task.started", task="results") and batch.show()["status"] == "running", "the first write")
        kill(process)
        other.execute("ROLLBACK")
        batch.run("resume", "last")
        assert batch.show()["outputs"]["missing"] == []
        assert other.execute("SELECT day, COUNT(*) FROM daily_sales GROUP BY day").fetchall() == [("2026-01-05", 20), (DAY, 20)]


def test_a_mail_that_is_refused_fails_alone_and_the_rest_stands(batch: Project, mail_sink: MailSink) -> None:
    mail_sink.refusals = {"gone@example.org": "550 no such person"}
    batch.run("run", "nightly-batch", "-imail_to=gone@example.org", f"-ismtp={mail_sink.address}", code=7)
    shown = batch.show()
    assert (shown["error"]["task"], shown["error"]["class"]) == ("mail", "refused")
    assert "gone@example.org: 550 no such person" in shown["error"]["message"]
    mail_sink.refusals = {}
    batch.run("resume", "last")
    shown = batch.show()
    assert {task["id"] for task in shown["tasks"] if len(task["attempts"]) > 1} == {"mail"} and len(mail_sink.mails) == 1
