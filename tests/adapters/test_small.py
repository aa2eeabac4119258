"""The small doors: time, ids, files."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drystone.adapters import files, ids
from drystone.adapters.clock import SystemClock
from drystone.adapters.ids import SystemIds


def test_clock_is_utc_and_does_not_run_backwards() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_ids_are_ulids_that_sort_by_time_also_within_a_millisecond() -> None:
    source = SystemIds()
    made = [source.run_id() for _ in range(2000)]
    assert made == sorted(set(made))
    assert all(re.fullmatch(f"[0-7][{ids.ALPHABET}]{{25}}", each) for each in made)


def test_id_begins_with_its_moment() -> None:
    before = datetime.now(UTC)
    number = 0
    for letter in SystemIds().run_id()[:10]:
        number = number * 32 + ids.ALPHABET.index(letter)
    assert int(before.timestamp() * 1000) <= number <= int(datetime.now(UTC).timestamp() * 1000)


def test_ids_of_several_processes_differ() -> None:
    assert len({SystemIds().run_id() for _ in range(500)}) == 500


def test_jitter_is_a_share() -> None:
    assert all(0 <= SystemIds().jitter() < 1 for _ in range(100))


def test_of_writers_that_race_to_create_a_file_all_get_the_same_answer(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(lambda number: files.create_once(tmp_path / "file", b"%d" % number), range(8)))
    assert answers == {(tmp_path / "file").read_bytes()}
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(mode=0o755)], ids=["new", "open"])
def test_private_folder_is_for_its_owner_only(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "a")
    files.private_folder(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
