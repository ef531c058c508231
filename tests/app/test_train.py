"""`chainrule train` as a stranger uses it: what it learns, what it writes, what it says, and how it stops."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import chainrule as cr
from chainrule.app.jobs.choices import decide
from chainrule.app.jobs.failure import in_words_of_flags
from chainrule.app.jobs.flags import Flags
from chainrule.app.jobs.lesson import prepare
from chainrule.app.jobs.source import open_source
from chainrule.data import builtin
from chainrule.look.diagnosis.finding import Findings
from chainrule.train.history import History

COMMAND = [sys.executable, "-W", "error", "-c", "import sys; from chainrule.app.cli.main import run; sys.exit(run())"]


def trained(chainrule, *arguments: object) -> dict:
    """The JSON document of a run that must succeed."""
    ran = chainrule("train", *arguments, "--json")
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


def people(rows: int = 400) -> pl.DataFrame:
    """A table as people have them: gaps, categories, dates, an identifier, free text; `income` follows from it."""
    rng = np.random.default_rng(2)
    age, city = rng.integers(18, 80, rows), rng.choice(["Köln", "São Paulo", "東京"], rows)
    member = rng.random(rows) < 0.4
    born = [f"{2024 - a}-0{1 + a % 9}-1{a % 10}" for a in age]
    income = 200.0 * age + 3000 * (city == "東京") + 1500 * member + rng.normal(0, 150, rows)
    return pl.DataFrame(
        {
            "key": [f"P{n:05}" for n in range(rows)],
            "age": [None if n % 11 == 0 else int(a) for n, a in enumerate(age)],
            "city": [None if n % 17 == 0 else str(c) for n, c in enumerate(city)],
            "member": ["yes" if m else "no" for m in member],
            "born": born,
            "always": ["x"] * rows,
            "remark": [f"row {n} was entered by hand on some day, see the folder number {n * 7}" for n in range(rows)],
            "income": income.round(2),
        }
    )


# --- What it learns ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "least", "extra"),
    [
        ("digits", 0.93, ["--epochs", "4"]),
        ("breast-cancer", 0.96, ["--epochs", "8"]),
        ("diabetes", 0.40, ["--epochs", "15"]),
    ],
)
def test_the_built_in_sets_are_learned(chainrule, name: str, least: float, extra: list[str]) -> None:
    # One seed and few epochs; scripts/check_scores.py holds the medians of five whole runs to what is promised.
    found = trained(chainrule, name, "--output", "run", *extra)
    assert found["network_score"]["metrics"][found["main"]] >= least
    weakest = found["baselines"][-1]["metrics"][found["main"]]
    assert found["network_score"]["metrics"][found["main"]] > weakest + 0.2


def test_a_mixed_table_is_understood_and_learned(chainrule, tmp_path: Path) -> None:
    people().write_csv(tmp_path / "people.csv", separator=";")
    found = trained(chainrule, "people.csv", "--target", "income", "--epochs", "30")
    kinds = {column["name"]: column["kind"] for column in found["columns"]}
    assert kinds == {
        "key": "identifier",
        "age": "numeric",
        "city": "categorical",
        "member": "boolean",
        "born": "date",
        "always": "constant",
        "remark": "text",
        "income": "target",
    }
    assert (found["task"], found["main"]) == ("regression", "r2")
    assert found["network_score"]["metrics"]["r2"] > 0.9
    assert {each["column"] for each in found["importance"][:2]} <= {"age", "born", "city"}
    assert "network" in found["verdict"]
    assert any("remark" in note for note in found["notes"])


def test_scores_are_those_of_scikit_learn_on_the_same_rows(chainrule) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

    found = trained(chainrule, "wine", "--epochs", "3", "--output", "run")
    counts = np.array(found["confusion"]["counts"])
    true, guess = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    metrics = found["network_score"]["metrics"]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(true, guess))
    assert metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, guess))
    assert metrics["f1"] == pytest.approx(f1_score(true, guess, average="macro"))
    majority = found["baselines"][-1]["metrics"]
    share = counts.sum(axis=1) / counts.sum()
    assert majority["accuracy"] == pytest.approx(share.max())
    rows = found["rows"]
    assert sum(rows.values()) == 178
    assert majority["log_loss"] == pytest.approx(log_loss(true, np.tile(share, (len(true), 1))), abs=0.01)


def test_the_ridge_baseline_is_the_one_that_the_validation_rows_choose(chainrule) -> None:
    from sklearn.linear_model import Ridge
    from sklearn.metrics import r2_score

    from chainrule.app.jobs.flags import Flags
    from chainrule.app.jobs.lesson import prepare
    from chainrule.app.jobs.source import open_source

    lesson = prepare(open_source("diabetes"), Flags("diabetes", seed=1))
    found = trained(chainrule, "diabetes", "--seed", "1", "--epochs", "1", "--output", "run")
    models = [Ridge(alpha=a).fit(lesson.training.X, lesson.training.y[:, 0]) for a in (100, 10, 1, 0.1, 0.01)]
    best = max(models, key=lambda model: r2_score(lesson.validation.y, model.predict(lesson.validation.X)))
    expected = r2_score(lesson.test.y, best.predict(lesson.test.X))
    assert found["baselines"][0]["metrics"]["r2"] == pytest.approx(expected, abs=1e-5)


def test_nothing_is_fitted_on_rows_that_are_kept_aside() -> None:
    from chainrule.app.jobs.flags import Flags
    from chainrule.app.jobs.lesson import prepare
    from chainrule.app.jobs.source import open_source

    lesson = prepare(open_source("breast-cancer"), Flags("breast-cancer"))
    names = [set(part.names.tolist()) for part in (lesson.training, lesson.validation, lesson.test)]
    assert sum(map(len, names)) == len(set.union(*names)) == 569
    # Standardised by the training rows: exactly there the mean is 0 and the deviation 1.
    np.testing.assert_allclose(lesson.training.X.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(lesson.training.X.std(axis=0), 1, atol=1e-5)
    assert abs(lesson.test.X.mean(axis=0)).max() > 1e-3
    shares = [np.bincount(part.y).max() / len(part) for part in (lesson.training, lesson.validation, lesson.test)]
    assert max(shares) - min(shares) < 0.01, "the parts are not stratified"


@pytest.mark.parametrize("loss", ["hinge", "kl_divergence", "binary_cross_entropy"])
def test_every_loss_for_classes_learns_and_predicts(chainrule, loss: str) -> None:
    found = trained(chainrule, "breast-cancer", "--loss", loss, "--epochs", "8", "--output", "run")
    assert found["network_score"]["metrics"]["accuracy"] > 0.9
    ran = chainrule("predict", "run", "breast-cancer")
    frame = pl.read_csv(ran.out.encode())
    truth = pl.read_csv(builtin.path("breast-cancer"))["diagnosis"]
    assert (frame["prediction"] == truth).mean() > 0.9
    assert (len(frame.columns) == 1) == (loss == "hinge"), "hinge scores are no probabilities"
    assert chainrule("evaluate", "run", "breast-cancer").status == 0


@pytest.mark.parametrize("loss", ["mae", "huber", "poisson"])
def test_every_loss_for_numbers_learns_in_the_targets_unit(chainrule, tmp_path: Path, loss: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 500).round(4)
    counts = rng.poisson(np.exp(2 + x))
    pl.DataFrame({"x": x, "count": counts}).write_csv(tmp_path / "counts.csv")
    arguments = ["counts.csv", "--target", "count", "--task", "regression", "--loss", loss]
    found = trained(chainrule, *arguments, "--epochs", "40", "--output", "run")
    assert found["network_score"]["metrics"]["r2"] > 0.4
    predicted = pl.read_csv(chainrule("predict", "run", "counts.csv").out.encode())["prediction"].to_numpy()
    assert np.corrcoef(predicted, np.exp(2 + x))[0, 1] > 0.95
    assert predicted.mean() == pytest.approx(counts.mean(), rel=0.2)


def test_categories_with_many_levels_are_embedded_and_the_model_loads_anywhere(chainrule, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    shop = rng.integers(0, 40, 800)
    frame = pl.DataFrame({"shop": [f"shop {s}" for s in shop], "late": np.where(shop % 2 == 0, "yes", "no")})
    frame.write_csv(tmp_path / "shops.csv")
    found = trained(chainrule, "shops.csv", "--target", "late", "--output", "run", "--epochs", "12")
    assert "Embedding(42, 13" in found["network"]
    assert found["network_score"]["metrics"]["accuracy"] > 0.95
    net = cr.load(tmp_path / "run" / "model.safetensors")
    assert cr.predict(net, np.array([[2.0], [3.0]])).shape == (2, 2)
    # A shop that training never saw has a code of its own, whose row was never trained: it says nothing.
    (tmp_path / "new.csv").write_text('shop\nshop 4711\n""\n')
    rows = json.loads(chainrule("predict", "run", "new.csv", "--json").out)["predictions"]
    assert all(0.1 < row["probability_yes"] < 0.9 for row in rows)


def test_weights_count(chainrule, tmp_path: Path) -> None:
    rows = [f"{n % 2},{'a' if n % 2 else 'b'},1\n{n % 2},{'b' if n % 2 else 'a'},0\n" for n in range(150)]
    (tmp_path / "w.csv").write_text("x,kind,w\n" + "".join(rows))
    found = trained(chainrule, "w.csv", "--target", "kind", "--weights", "w", "--output", "run", "--epochs", "30")
    assert found["network_score"]["metrics"]["accuracy"] == 1.0, "rows of weight 0 were counted"
    assert [column["kind"] for column in found["columns"]] == ["target", "weights", "numeric"]


# --- Images ------------------------------------------------------------------------------------------------------


def test_a_folder_of_images_is_learned(chainrule, shapes: Path) -> None:
    found = trained(chainrule, shapes, "--output", "run", "--epochs", "15")
    assert (found["kind"], found["target"], found["confusion"]["classes"]) == ("images", "class", ["left", "right"])
    assert found["network_score"]["metrics"]["accuracy"] >= 0.9
    ran = chainrule("predict", "run", shapes / "right")
    frame = pl.read_csv(ran.out.encode())
    assert (frame["prediction"] == "right").mean() >= 0.9
    assert frame["file"].str.ends_with(".png").all()
    assert chainrule("predict", "run", shapes / "left" / "03.png").status == 0
    document = json.loads(chainrule("evaluate", "run", shapes, "--json").out)
    assert document["rows"] == 60
    assert document["metrics"]["accuracy"] >= 0.9


def test_idx_files_are_learned_and_their_test_images_measured(chainrule, tmp_path: Path) -> None:
    X, y, _ = builtin.load("digits")
    pixels = np.minimum(X * 16, 255).astype(np.uint8).reshape(-1, 8, 8)
    for stem, rows in (("train", slice(0, 600)), ("t10k", slice(600, 800))):
        for kind, values in (("images-idx3", pixels[rows]), ("labels-idx1", y[rows].astype(np.uint8))):
            head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
            (tmp_path / f"{stem}-{kind}-ubyte").write_bytes(head + values.tobytes())
    found = trained(chainrule, tmp_path, "--output", "run", "--epochs", "10")
    assert found["rows"] == {"training": 480, "validation": 120, "test": 200}
    assert found["network_score"]["metrics"]["accuracy"] > 0.8
    document = json.loads(chainrule("evaluate", "run", tmp_path, "--json").out)
    assert document["metrics"]["accuracy"] == pytest.approx(found["network_score"]["metrics"]["accuracy"])
    one_file = trained(chainrule, tmp_path / "train-images-idx3-ubyte", "--output", "run-2", "--epochs", "1")
    assert sum(one_file["rows"].values()) == 600
    assert chainrule("predict", "run", tmp_path / "t10k-images-idx3-ubyte").out.count("\n") == 201


# --- What it writes and says -------------------------------------------------------------------------------------


def test_the_folder_of_a_run(chainrule, iris_run: Path) -> None:
    assert sorted(path.name for path in iris_run.iterdir()) == [
        "history.jsonl",
        "model.safetensors",
        "report.html",
        "run.json",
    ]
    history = History.from_jsonl((iris_run / "history.jsonl").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert "<title>species from iris" in (iris_run / "report.html").read_text()


def test_runs_have_names_of_their_own(chainrule) -> None:
    for folder in ("iris", "iris-2", "iris-3"):
        assert trained(chainrule, "iris", "--epochs", "1")["folder"] == f"runs/{folder}"


FILES = ("history.jsonl", "model.safetensors", "report.html", "run.json")


def test_a_run_that_is_there_is_replaced_only_when_that_is_asked_for(chainrule, tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in sorted((tmp_path / "run").iterdir())}

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    trained(chainrule, "iris", "--epochs", "2", "--output", "run")  # a folder that exists is no obstacle
    first = files()
    assert sorted(first) == sorted(("notes.txt", *FILES))
    refused = chainrule("train", "iris", "--epochs", "3", "--output", "run")
    assert (refused.status, refused.out, files()) == (2, "", first)
    assert refused.err.startswith("error: --output run already has a model.safetensors: name another folder, or give ")
    assert refused.err.endswith(" --overwrite to replace it.\n")
    mistaken = chainrule("train", "iris", "--target", "colour", "--output", "run", "--overwrite")
    assert (mistaken.status, files()) == (2, first), "a mistake in what was given replaces nothing"
    trained(chainrule, "iris", "--epochs", "3", "--output", "run", "--overwrite")
    second = files()
    assert second["notes.txt"] == b"mine"
    assert [name for name in FILES if first[name] == second[name]] == []


def test_without_output_overwrite_replaces_the_run_of_the_name_itself(chainrule) -> None:
    for _ in range(2):
        assert trained(chainrule, "iris", "--epochs", "1", "--overwrite")["folder"] == "runs/iris"


def test_nothing_of_a_replaced_run_stands_beside_one_that_broke_down(chainrule, tmp_path: Path) -> None:
    trained(chainrule, "diabetes", "--epochs", "1", "--output", "run")
    exploding = ["--optimizer", "sgd", "--learning-rate", "1e30", "--epochs", "3"]
    ran = chainrule("train", "diabetes", *exploding, "--output", "run", "--overwrite")
    assert (ran.status, list((tmp_path / "run").iterdir())) == (2, [])


def test_watch_in_a_pipe_prints_the_last_picture(chainrule) -> None:
    ran = chainrule("train", "iris", "--epochs", "2", "--watch", "--output", "run")
    *epochs, gap, first = ran.err.splitlines()[:4]
    assert all(line.startswith("epoch ") for line in epochs)
    assert (gap, first[:5]) == ("", "step ")
    assert "0 Dense" in ran.err


def test_the_same_seed_gives_the_same_bits(chainrule, tmp_path: Path) -> None:
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        trained(chainrule, "iris", "--epochs", "3", "--seed", seed, "--output", folder)
    models = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in "abc"]
    assert models[0] == models[1] != models[2]


def test_every_decision_names_who_made_it(chainrule) -> None:
    given = {
        "--hidden": "16,8",
        "--activation": "tanh",
        "--dropout": "0.1",
        "--loss": "cross_entropy",
        "--optimizer": "sgd",
        "--learning-rate": "0.01",
        "--schedule": "one_cycle",
        "--batch-size": "20",
        "--epochs": "2",
        "--patience": "5",
        "--validation": "0.3",
        "--test": "0.25",
        "--seed": "7",
    }
    settings = trained(chainrule, "iris", *(part for pair in given.items() for part in pair))["settings"]
    assert settings == {flag: {"value": value, "chosen_by": "you"} for flag, value in given.items()}
    settings = trained(chainrule, "iris", "--epochs", "1")["settings"]
    assert all(each["chosen_by"] not in ("", "you") for flag, each in settings.items() if flag != "--epochs")


def test_what_is_printed_fits_eighty_columns_and_is_plain(chainrule) -> None:
    ran = chainrule("train", "iris", "--epochs", "2", "--output", "run")
    assert ran.status == 0
    assert "\x1b" not in ran.out + ran.err
    assert max(map(len, ran.out.splitlines())) <= 80
    for part in ("iris: 150 rows", "--hidden", "logistic regression", "petal", "run", "chainrule predict run"):
        assert part in ran.out
    assert ran.err.count("epoch") == 2


def test_quiet_is_one_line(chainrule) -> None:
    ran = chainrule("train", "iris", "--epochs", "1", "--quiet", "--output", "run")
    assert (ran.status, ran.err, ran.out.count("\n")) == (0, "", 1)
    assert ran.out.startswith("accuracy ")


def test_escape_sequences_in_names_do_not_reach_the_terminal(chainrule, tmp_path: Path) -> None:
    rows = "".join(f"{n * 37 % 101},\x1b[31m{n % 3},{'[bold]yes[/bold]' if n % 2 else '[/]'}\n" for n in range(60))
    (tmp_path / "evil.csv").write_text("[red]size,\x1b]0;ownedkind,late\n" + rows)
    ran = chainrule("train", "evil.csv", "--target", "late", "--epochs", "1")
    assert "\x1b" not in ran.out + ran.err
    assert "[bold]yes[/bold]" in ran.out, ran.err


# --- Interruption ------------------------------------------------------------------------------------------------


def test_control_c_keeps_the_best_network_so_far(tmp_path: Path) -> None:
    arguments = ["train", "iris", "--epochs", "100000", "--patience", "100000", "--schedule", "constant"]
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--output", "run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "epoch      5/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopped by you" in out
    history = History.from_jsonl((tmp_path / "run" / "history.jsonl").read_text())
    assert 5 <= len(history) < 100_000
    assert "interrupted in epoch" in (tmp_path / "run" / "report.html").read_text()
    # The network that was kept is that of the best epoch, not of the last: it has exactly that validation loss.
    from chainrule.app.jobs.flags import Flags
    from chainrule.app.jobs.lesson import prepare
    from chainrule.app.jobs.source import open_source

    part = prepare(open_source("iris"), Flags("iris")).validation
    net = cr.load(tmp_path / "run" / "model.safetensors")
    best = history.epochs[history.best_epoch - 1]["validation_loss"]
    assert cr.evaluate(net, (part.X, part.y), "cross_entropy")["loss"] == pytest.approx(best, rel=1e-5)


def test_a_run_that_is_killed_leaves_its_best_network(tmp_path: Path, monkeypatch, chainrule) -> None:
    # kill -9 cannot be caught: what is there is what was written while the run went on.
    from chainrule.app.jobs import training

    monkeypatch.setattr(training, "SECONDS_BETWEEN_SAVES", 0.0)

    class Killed(BaseException):
        pass

    class KillsInEpochThree(training.Callback):
        def on_epoch_begin(self, trainer: training.Trainer) -> None:
            if trainer.epoch == 2:
                raise Killed

    from chainrule.app.jobs.flags import Flags

    with pytest.raises(Killed):
        training.train(Flags("iris", output="run"), callbacks=[KillsInEpochThree()])
    assert chainrule("predict", "run", "iris").status == 0


@pytest.mark.skipif(os.name != "posix", reason="pipes that close early are a matter of POSIX")
def test_a_reader_that_goes_away_is_no_error(iris_run: Path) -> None:
    command = [*COMMAND, "predict", str(iris_run), "iris"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


# --- A run that breaks down --------------------------------------------------------------------------------------

TOO_FAST = ("--learning-rate", "1e20", "--optimizer", "sgd", "--schedule", "constant")


def test_a_run_that_breaks_down_says_where_and_which_flags_help(chainrule, tmp_path: Path) -> None:
    ran = chainrule("train", "diabetes", *TOO_FAST)
    assert ran.status == 2
    message = ran.err[ran.err.index("error: ") :]
    assert "so training stopped there and nothing was saved. It began with matmul(" in message
    assert "Use a smaller --learning-rate (it was 1e+20), or add --repair, which looks for one." in message
    assert ".py" not in message
    assert "optimizer" not in message
    assert not (tmp_path / "runs").exists()
    lesson = prepare(open_source("diabetes"), Flags("diabetes"))
    line = int(re.search(r"for line (\d+) of diabetes.csv", message)[1])
    row = lesson.training.names.tolist().index(line)
    target = gzip.decompress(builtin.path("diabetes").read_bytes()).decode().splitlines()[line - 1].split(",")[-1]
    assert lesson.schema.restore(lesson.training.y[[row]]).item() == pytest.approx(float(target), rel=1e-5)


def test_repair_mends_such_a_run(chainrule) -> None:
    ran = chainrule("train", "diabetes", *TOO_FAST, "--epochs", "5", "--repair", "--quiet")
    assert ran.status == 0, ran.err


@pytest.mark.parametrize("was_repaired", [False, True])
def test_a_breakdown_of_unknown_cause_has_advice_too(was_repaired: bool, tmp_path: Path) -> None:
    flags = Flags("diabetes")
    lesson = prepare(open_source("diabetes"), flags)
    before = cr.NonFiniteError("the loss became nan in epoch 1, step 2, so training stopped there; it was.", None, 2, 1)
    after = in_words_of_flags(before, lesson, decide(flags, lesson), tmp_path, Findings(), was_repaired=was_repaired)
    assert f"so training stopped there and the best network so far is in {tmp_path}. Try a smaller" in str(after)
    assert ("--repair" in str(after)) != was_repaired
    assert (after.step, after.epoch) == (2, 1)
