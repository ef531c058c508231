"""Law: what the guides for contributors name is there."""

import re

import pytest

from laws.sources import PACKAGE

ROOT = PACKAGE.parents[1]


@pytest.mark.parametrize("guide", ["CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_file_and_public_name_exists(guide: str) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8")
    for name in set(re.findall(r"`([\w.]+/[\w./]+)`", text)) | set(re.findall(r"\]\(([\w./]+\.md)\)", text)):
        assert (ROOT / name).exists() or (PACKAGE / name).exists() or (PACKAGE.parent / name).exists(), name
    for name in set(re.findall(r"`cr\.([\w.]+)`", text)):
        found = __import__("chainrule")
        for part in name.split("."):
            assert hasattr(found, part), f"cr.{name}"
            found = getattr(found, part)


def test_the_commands_of_the_guide_are_targets_of_the_makefile() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make (\w+)  ", text)) | set(re.findall(r"`make (\w+)`", text)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_tables_that_the_guide_names_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    for table in set(re.findall(r"`([A-Z]{3,})`", text)):
        assert re.search(rf"^{table}(: [^=]+)? = ", sources, re.MULTILINE), table
