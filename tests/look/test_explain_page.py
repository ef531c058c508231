"""The page docs/explain.md says which data there is; that its snippets run is tested with all other pages."""

import re

import chainrule as cr
from look.test_explain import half_squared_error, mazur
from pages import ROOT

PAGE = ROOT / "docs" / "explain.md"


def test_every_key_of_the_data_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    step = cr.look.explain(mazur(), [0.05, 0.10], [0.01, 0.99], half_squared_error, check=True)
    documents = [step.to_dict(), step.path("0.weight", (0, 0)).to_dict(), step.examples("0.weight", (0, 0)).to_dict()]
    missing = {key for document in documents for key in keys(document)} - set(re.findall(r"`(\w+)`", text))
    assert missing == set()


def keys(data: object) -> set[str]:
    """The keys of all dictionaries in `data`, but for the names of slots and parameters."""
    if isinstance(data, dict):
        own = {key for key in data if not key.startswith(("0", "1"))}
        return own.union(*(keys(value) for value in data.values()))
    return set().union(*map(keys, data)) if isinstance(data, list) else set()
