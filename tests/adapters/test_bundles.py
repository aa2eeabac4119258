"""The store of bundles: contents once, trees that cannot be written, links to what was left out."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drystone.adapters.bundles import BundleStore


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project."""
    root = tmp_path / "project"
    for name in ("play/site.yml", "play/roles/a/tasks/main.yml", "play/venv/big", "play/x.tfstate", "play/tls.pem", "data/x", ".git/HEAD"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "play/secret").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (root / "play/outside").symlink_to("/etc")
    return root


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    """An empty store."""
    return BundleStore(tmp_path / "bundles")


def test_a_folder_is_kept_without_keys_states_and_what_other_tools_make(store: BundleStore, root: Path) -> None:
    digest = store.keep(root, [root / "play"], {"plans/p.yaml": "text"})
    assert set(store.manifest(digest) or ()) == {"play/site.yml", "play/roles/a/tasks/main.yml", "plans/p.yaml"}
    assert store.read(digest, "plans/p.yaml") == b"text"
    assert store.keep(root, [root / "play/", root / "play/site.yml"], {"plans/p.yaml": "text"}) == digest


def test_the_tree_has_the_old_files_and_links_to_all_else(store: BundleStore, root: Path) -> None:
    digest = store.keep(root, [root / "play"], {})
    (root / "play/site.yml").write_text("new")
    (root / "play/handlers.yml").write_text("new")
    tree = store.tree(digest, root)
    assert tree is not None
    assert (tree / "play/site.yml").read_text() == "play/site.yml"
    assert not (tree / "play/handlers.yml").exists()
    for link in ("play/venv", "play/x.tfstate", "play/tls.pem", "play/secret", "play/outside", "data"):
        assert (tree / link).is_symlink() and (tree / link).exists(), link
    assert not (tree / ".git").exists()
    assert {(tree / name).stat().st_mode & 0o222 for name in (".", "play", "play/site.yml")} == {0}


def test_what_comes_into_the_project_later_is_found_beside_the_bundle(store: BundleStore, root: Path) -> None:
    digest = store.keep(root, [root / "play/site.yml"], {})
    store.tree(digest, root)
    (root / "later").write_text("x")
    tree = store.tree(digest, root)
    assert tree is not None and (tree / "later").read_text() == "x"


def test_a_file_that_was_changed_is_read_again(store: BundleStore, root: Path) -> None:
    file = root / "data/x"
    os.utime(file, (1, 1))
    first = store.keep(root, [file], {})
    file.write_text("other")
    assert store.keep(root, [file], {}) != first
    assert store.read(first, "data/x") == b"data/x"


def test_programs_stay_programs(store: BundleStore, root: Path) -> None:
    (root / "data/x").chmod(0o755)
    tree = store.tree(store.keep(root, [root / "data/x"], {}), root)
    assert tree is not None and os.access(tree / "data/x", os.X_OK)


def test_several_may_keep_and_lay_out_the_same_at_once(store: BundleStore, root: Path, tmp_path: Path) -> None:
    def work(_: int) -> Path | None:
        mine = BundleStore(tmp_path / "bundles")
        return mine.tree(mine.keep(root, [root / "play"], {}), root)

    with ThreadPoolExecutor(8) as pool:
        trees = set(pool.map(work, range(24)))
    assert len(trees) == 1 and None not in trees
    assert sorted(item.name for item in (tmp_path / "bundles/trees").iterdir() if item.name.startswith(".")) == []


def test_a_bundle_that_is_not_here_gives_nothing(store: BundleStore, root: Path) -> None:
    assert store.manifest("sha256:00") is None
    assert store.tree("sha256:00", root) is None
    assert store.tree("", root) is None
