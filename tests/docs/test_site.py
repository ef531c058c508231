"""`make docs`: every page and every public name is in the built documentation, and no link is broken."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import chainrule
from pages import DOCS, ROOT


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    specification = importlib.util.spec_from_file_location("build_docs", ROOT / "scripts" / "build_docs.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(builder: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    builder.build(folder)
    return folder


def test_every_page_is_built_and_no_link_is_broken(builder: ModuleType, site: Path) -> None:
    assert {page.stem for page in DOCS} == {path.stem for path in site.glob("*.html")}
    assert builder.broken_links(site) == []


def test_a_broken_link_is_found(builder: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text('<h1 id="a"></h1><a href="#a">1</a><a href="#b">2</a><a href="no.html">3</a>')
    assert builder.broken_links(tmp_path) == ["one.html: #b", "one.html: no.html"]


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(https?:[^"]+)', page.read_text("utf-8"))
        assert loaded == [], page.name


@pytest.mark.parametrize("name", ["chainrule", "nn", "losses", "optim", "schedules", "random", "look"])
def test_every_public_name_is_in_the_reference(builder: ModuleType, site: Path, name: str) -> None:
    module = chainrule if name == "chainrule" else getattr(chainrule, name)
    page = (site / "reference" / builder._file(name)).read_text(encoding="utf-8")
    named = set(re.findall(r'<section id="([^".]+)"', page))
    if name in ("chainrule", "nn", "look"):
        wanted = exported(module)
    else:
        wanted = {each for each, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__}
    wanted = {each for each in wanted if not each.startswith("_")}
    assert wanted - named == set(), f"not in the reference of {name}"


def exported(module: ModuleType) -> set[str]:
    """What the `__init__.py` of a package imports by name, but for modules; read off the source, not the builder."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    names = set(re.findall(r"^\s*from [\w.]+ import \w+ as (\w+)$", source, re.MULTILINE))
    return {name for name in names if not isinstance(getattr(module, name), ModuleType)}
