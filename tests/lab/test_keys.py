"""Key pairs of the lab."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from drystone.lab.keys import make_key


def test_all_who_need_the_first_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "lab/client_key"
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: make_key(path), range(8)))
    assert len(made) == 1
    assert sorted(item.name for item in path.parent.iterdir()) == ["client_key", "client_key.pub"]
