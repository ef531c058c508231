"""README and the pages of docs/: their snippets run and print what is shown, and what they name is there."""

import re
import shlex
from pathlib import Path

import pytest

import chainrule as cr
from pages import DOCS, README, ROOT, blocks, commands, run_page

PAGES = [README, *DOCS]
NAMES = re.compile(r"`cr\.([A-Za-z_][\w.]*)")
VARIABLES = re.compile(r"`(CHAINRULE_\w+)")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages write files: each has a folder of its own, and leaves the threads as they were."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_happens(page: Path) -> None:
    before = cr.threads()
    try:
        run_page(page)
    finally:
        cr.threads(before)


def test_a_page_that_shows_something_else_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"page.md, line 1: shown\s2"):
        run_page(page)
    page.write_text("```sh\nmake coffee\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="make has no target coffee"):
        run_page(page)
    page.write_text("```sh\nchainrule train nonsense.csv\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"chainrule train nonsense.csv ended with status 2"):
        run_page(page)
    page.write_text("```python\nprint(1)\n```\n\n```text\n...\n```\n", encoding="utf-8")
    assert run_page(page) == 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_public_name_on_a_page_exists(page: Path) -> None:
    for name in set(NAMES.findall(page.read_text(encoding="utf-8"))):
        found: object = cr
        for part in name.rstrip(".").split("."):
            assert hasattr(found, part), f"cr.{name}"
            found = getattr(found, part)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_environment_variable_on_a_page_exists(page: Path) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    for name in set(VARIABLES.findall(page.read_text(encoding="utf-8"))):
        assert f'"{name}"' in sources, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if "://" not in link and not link.startswith("#"):
            assert (page.parent / link.partition("#")[0]).exists(), f"{page.name}: {link}"


def test_the_readme_begins_with_the_two_commands() -> None:
    """A stranger finds them before anything else that runs."""
    first = next(blocks(README))
    assert [shlex.join(words) for words in commands(first)] == ["make demo", "make test"]


def test_every_page_is_in_the_index() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert {page.name for page in DOCS if page.stem != "index"} <= set(re.findall(r"\]\(([\w-]+\.md)\)", text))
