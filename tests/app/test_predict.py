"""`chainrule predict` and `evaluate`: the answers of a model, for columns in any order and rows of any kind."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule.data import builtin
from chainrule.data.schema import TableSchema
from chainrule.interop.files import read_model


@pytest.fixture
def iris() -> pl.DataFrame:
    return pl.read_csv(builtin.path("iris"))


def predictions(text: str) -> pl.DataFrame:
    return pl.read_csv(text.encode(), infer_schema_length=None)


def test_answers_are_those_of_the_network(chainrule, iris_run: Path, iris: pl.DataFrame) -> None:
    net, metadata = read_model(iris_run / "model.safetensors")
    logits = cr.predict(net, TableSchema.from_json(metadata["schema"]).transform(iris).X).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = predictions(chainrule("predict", iris_run, "iris").out)
    assert found.columns == ["prediction"] + [f"probability_{c}" for c in ("setosa", "versicolor", "virginica")]
    np.testing.assert_allclose(found.drop("prediction").to_numpy(), expected, rtol=1e-5, atol=1e-9)
    best = found.drop("prediction").to_numpy().argmax(axis=1)
    assert found["prediction"].to_list() == np.array(["setosa", "versicolor", "virginica"])[best].tolist()


@pytest.mark.parametrize("change", ["shuffled", "more", "no target", "parquet", "json lines", "tabs"])
def test_columns_are_matched_by_name(chainrule, iris_run: Path, iris: pl.DataFrame, tmp_path: Path, change) -> None:
    expected = chainrule("predict", iris_run, "iris").out
    name = {"parquet": "new.parquet", "json lines": "new.jsonl", "tabs": "new.tsv"}.get(change, "new.csv")
    frame = iris.select(reversed(iris.columns)) if change == "shuffled" else iris
    frame = frame.with_columns(pl.lit("x").alias("extra")) if change == "more" else frame
    frame = frame.drop("species") if change == "no target" else frame
    path = tmp_path / name
    writers = {".parquet": frame.write_parquet, ".jsonl": frame.write_ndjson}
    writers.get(path.suffix, lambda p: frame.write_csv(p, separator="\t" if path.suffix == ".tsv" else ","))(path)
    ran = chainrule("predict", iris_run, name)
    assert ran.out == expected
    assert ("extra" in ran.err) == (change == "more")


def test_output_goes_to_a_file_and_notes_to_standard_error(chainrule, iris_run: Path, tmp_path: Path) -> None:
    expected = chainrule("predict", iris_run, "iris").out
    ran = chainrule("predict", iris_run / "model.safetensors", "iris", "--output", "answers.csv")
    assert (ran.status, ran.out) == (0, "")
    assert "150 predictions" in ran.err
    assert (tmp_path / "answers.csv").read_text() == expected
    quiet = chainrule("predict", iris_run, "iris", "--output", "answers.csv", "--quiet")
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")


def test_a_device_is_written_and_not_replaced(chainrule, iris_run: Path) -> None:
    assert chainrule("predict", iris_run, "iris", "--output", "/dev/null").status == 0
    assert not Path("/dev/null").is_file()


def test_json_holds_the_same(chainrule, iris_run: Path) -> None:
    ran = chainrule("predict", iris_run, "iris", "--json")
    document = json.loads(ran.out)
    assert document["rows"] == 150
    first = document["predictions"][0]
    assert first["prediction"] == predictions(chainrule("predict", iris_run, "iris").out)["prediction"][0]
    assert sum(first[f"probability_{c}"] for c in ("setosa", "versicolor", "virginica")) == pytest.approx(1)


def test_missing_cells_and_unseen_categories_have_answers(chainrule, tmp_path: Path) -> None:
    assert chainrule("train", "penguins", "--epochs", "2", "--quiet", "--output", "run").status == 0
    frame = pl.read_csv(builtin.path("penguins"), null_values=["", "NA"]).head(3).drop("species")
    empty = frame.with_columns(pl.lit(None).cast(kind).alias(name) for name, kind in frame.schema.items())
    moved = frame.with_columns(pl.lit("Atlantis").alias("island"))
    pl.concat([empty, moved]).write_csv(tmp_path / "new.csv")
    ran = chainrule("predict", "run", "new.csv")
    assert ran.status == 0
    assert predictions(ran.out).height == 6
    assert predictions(ran.out).drop("prediction").to_numpy().sum(axis=1) == pytest.approx(1, abs=1e-4)


def test_evaluate_agrees_with_scikit_learn(chainrule, iris_run: Path, iris: pl.DataFrame) -> None:
    from sklearn.metrics import accuracy_score, log_loss

    found = predictions(chainrule("predict", iris_run, "iris").out)
    ran = chainrule("evaluate", iris_run, "iris", "--json")
    document = json.loads(ran.out)
    assert document["rows"] == 150
    assert document["metrics"]["accuracy"] == pytest.approx(accuracy_score(iris["species"], found["prediction"]))
    shares = found.drop("prediction").to_numpy()  # six digits of each
    expected = log_loss(iris["species"], shares / shares.sum(axis=1, keepdims=True))
    assert document["metrics"]["log_loss"] == pytest.approx(expected, rel=1e-3)
    assert float(chainrule("evaluate", iris_run, "iris", "--quiet").out) == pytest.approx(
        document["metrics"]["accuracy"], abs=1e-6
    )
    shown = chainrule("evaluate", iris_run, "iris").out
    figures = re.findall(r"^  (accuracy|balanced accuracy|F1|log loss) +(\S+)  \w", shown, re.MULTILINE)
    assert [name for name, _ in figures] == ["accuracy", "balanced accuracy", "F1", "log loss"]
    assert "virginica" in shown


def test_evaluate_leaves_rows_without_an_answer_out_and_says_so(chainrule, iris_run, iris, tmp_path: Path) -> None:
    holes = iris.with_columns(
        pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise(pl.col("species")).alias("species")
    )
    holes.write_csv(tmp_path / "holes.csv")
    ran = chainrule("evaluate", iris_run, "holes.csv")
    assert "140 rows measured" in ran.out
    assert '10 rows have no "species"' in ran.err


def test_a_regression_answers_in_the_targets_unit(chainrule) -> None:
    assert chainrule("train", "diabetes", "--epochs", "5", "--quiet", "--output", "run").status == 0
    frame = pl.read_csv(builtin.path("diabetes"), infer_schema_length=None)
    found = predictions(chainrule("predict", "run", "diabetes").out)
    assert found.columns == ["prediction"]
    assert found["prediction"].mean() == pytest.approx(frame["progression"].mean(), rel=0.2)
    document = json.loads(chainrule("evaluate", "run", "diabetes", "--json").out)
    error = float(np.sqrt(((found["prediction"] - frame["progression"]) ** 2).mean()))
    assert document["metrics"]["rmse"] == pytest.approx(error, rel=1e-4)
