"""What a run tells afterwards."""

import json
import math

import pytest

from chainrule.errors import ArgumentError, DataError
from chainrule.train.history import History


@pytest.fixture
def history() -> History:
    losses = [(0.9, 0.8), (0.5, math.nan), (0.4, 0.6), (0.3, 0.7)]
    return History([{"epoch": i, "loss": a, "validation_loss": b} for i, (a, b) in enumerate(losses, 1)])


def test_the_best_epoch_has_the_smallest_validation_loss(history: History) -> None:
    assert history.best_epoch == 3
    assert History([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.4}]).best_epoch == 2
    assert History().best_epoch == 0


def test_columns_are_read_by_name(history: History) -> None:
    assert history["loss"] == history.column("loss") == [0.9, 0.5, 0.4, 0.3]
    with pytest.raises(ArgumentError, match=r'no "accuracy"; it has epoch, loss, validation_loss'):
        history.column("accuracy")


def test_rows_go_to_json_lines_and_back(history: History) -> None:
    text = history.to_jsonl()
    assert [json.loads(line, parse_constant=pytest.fail)["epoch"] for line in text.splitlines()] == [1, 2, 3, 4]
    found = History.from_jsonl(text)
    assert found.column("loss") == history.column("loss")
    assert math.isnan(found.column("validation_loss")[1])


@pytest.mark.parametrize(("line", "message"), [("{", "line 2: not JSON"), ('{"loss": "a"}', "line 2: expected")])
def test_a_damaged_line_is_named(history: History, line: str, message: str) -> None:
    with pytest.raises(DataError, match=f"run.jsonl, {message}"):
        History.from_jsonl('{"epoch": 1}\n' + line, "run.jsonl")
