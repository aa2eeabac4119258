"""The documentation says what the source says, and its links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src/drystone"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])
LINK = re.compile(r"\]\((?P<target>[^)#\s]+)(?:#[^)]*)?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generator", ROOT / "tools/docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_parts_are_up_to_date(page: Path, generator: ModuleType):
    text = page.read_text()
    assert generator.with_parts(text) == text, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_plans_on_a_page_compile(page: Path, tmp_path: Path):
    plans = re.findall(r"^```yaml\n(drystone: 1\n.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    files = [tmp_path / f"{number}.yaml" for number in range(len(plans))]
    for file, text in zip(files, plans, strict=True):
        file.write_text(text)
    validate = [Path(sys.executable).with_name("drystone"), "validate", "--strict", *files]
    result = subprocess.run(validate, cwd=ROOT, capture_output=True, text=True, check=False) if files else None
    assert result is None or result.returncode == 0, result.stderr


def test_every_page_can_be_reached_from_the_index():
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md":
            reached.add(page)
            waiting += [(page.parent / target).resolve() for target in LINK.findall(page.read_text())]
    assert set(DOCS.rglob("*.md")) - reached == set()


def test_the_architecture_page_has_one_heading_for_each_folder():
    text = (DOCS / "explanation/architecture.md").read_text()
    folders = {folder.name for folder in SOURCE.iterdir() if (folder / "__init__.py").exists()}
    assert sorted(re.findall(r"^## `(\w+)/`", text, re.MULTILINE)) == sorted(folders)


def test_every_kind_that_ships_has_a_section():
    text = (DOCS / "reference/kinds.md").read_text()
    shipped = {point.name for point in entry_points(group="drystone.kinds") if point.value.startswith("drystone.")}
    assert set(re.findall(r"^## `(\w+)`", text, re.MULTILINE)) == shipped
