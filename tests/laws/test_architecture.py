"""Law: the page that explains the architecture agrees with the sources."""

import re

from laws.architecture import PAGE, remade
from laws.sources import PACKAGE

HOW = "run: pytest tests/laws/test_architecture.py --update-golden"


def test_the_example_and_the_map_are_up_to_date(request) -> None:
    page = PAGE.read_text(encoding="utf-8")
    made = remade(page)
    if request.config.getoption("--update-golden"):
        PAGE.write_text(made, encoding="utf-8")
    else:
        assert page.splitlines() == made.splitlines(), HOW


def test_every_file_that_the_page_names_exists() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = re.sub(r"<!-- made: .*?<!-- end -->", "", page, flags=re.DOTALL)
    for name in set(re.findall(r"`((?:engine|tests|nn|train)/[\w/]+(?:\.py)?)`", written)):
        root = PACKAGE.parents[1] if name.startswith("tests/") else PACKAGE
        assert (root / name).exists(), f"{name} is named, but is not there"
    for name in set(re.findall(r"`(test_\w+\.py)`", written)):
        assert (PACKAGE.parents[1] / "tests" / "laws" / name).exists(), f"{name} is named, but is not there"
