"""`chainrule explain`: the numbers are those of PyTorch for the same weights and rows, in the words of the data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from chainrule.app.jobs.runs import open_model, save_model
from chainrule.data import builtin
from oracle import Results


@pytest.fixture(scope="module")
def net_run(tmp_path_factory: pytest.TempPathFactory, iris_run: Path) -> Path:
    """The model of a run on iris, whose weights are then set to numbers that are the same everywhere."""
    model = open_model(str(iris_run))
    folder = tmp_path_factory.mktemp("fixed")
    numbers = np.random.default_rng(3)
    for parameter in model.net.parameters():
        parameter.assign(numbers.normal(size=parameter.shape).astype(np.float32) * 0.4)
    save_model(folder, model.net, model.schema, model.answers)
    return folder


def explained(chainrule, *arguments: object) -> dict:
    ran = chainrule("explain", *arguments, "--json")
    assert (ran.status, ran.err) == (0, "")
    return json.loads(ran.out)


def by_name(step: dict) -> dict[str, np.ndarray]:
    """The gradients of the step's parameters."""
    found = {}
    for part in step["backpropagation"]:
        for gradient in part["gradients"]:
            found[gradient["name"]] = np.array(gradient["values"]).reshape(gradient["shape"])
    return found


def test_the_gradients_are_those_of_pytorch(chainrule, net_run: Path, oracle) -> None:
    found = explained(chainrule, net_run, "iris", "--row", 3, "--rows", "60:66")
    weights = {name: parameter.value for name, parameter in open_model(str(net_run)).net.named_parameters()}
    x, y = (np.array(found["step"][name]["values"]).reshape(found["step"][name]["shape"]) for name in ("x", "y"))

    def with_torch() -> Results:
        import torch

        held = {name: torch.tensor(array.astype(np.float64), requires_grad=True) for name, array in weights.items()}
        layers = sorted({name.partition(".")[0] for name in held}, key=int)
        value = torch.tensor(x, dtype=torch.float64)
        for layer in layers:
            value = value @ held[f"{layer}.weight"] + held[f"{layer}.bias"]
            value = value if layer == layers[-1] else torch.relu(value)
        loss = torch.nn.functional.cross_entropy(value, torch.tensor(y.astype(np.int64)))
        loss.backward()
        return {"loss": loss.detach().numpy()} | {name: tensor.grad.numpy() for name, tensor in held.items()}

    wanted = oracle("gradients", with_torch)
    gradients = by_name(found["step"])
    assert gradients.keys() == weights.keys()
    assert found["step"]["loss"]["value"] == pytest.approx(float(wanted["loss"]), rel=1e-5)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, wanted[name], rtol=2e-4, atol=1e-6)


def test_rows_columns_and_classes_are_named_as_in_the_file(chainrule, net_run: Path) -> None:
    found = explained(chainrule, net_run, "iris", "--row", 51)
    X, _, names = builtin.load("iris")
    (row,) = found["rows"]
    assert (row["row"], row["where"], row["answer"]) == (51, "line 53 of iris.csv", "versicolor")
    assert {cell["column"]: float(cell["written"]) for cell in row["cells"]} == pytest.approx(
        dict(zip(names, X[51].tolist(), strict=True))
    )
    assert found["outputs"] == ["setosa", "versicolor", "virginica"]
    assert [cell["inputs"][0][1] for cell in row["cells"]] == pytest.approx(np.ravel(found["step"]["x"]["values"]))
    shown = chainrule("explain", net_run, "iris", "--row", 51)
    assert shown.status == 0
    assert shown.out.startswith("Row 51  line 53 of iris.csv\n  species: versicolor")
    assert '−log p["versicolor"]' in shown.out
    assert all(len(line) <= 80 for line in shown.out.splitlines())
    for phase in ("1 ▶ forward", "2 loss", "3 ◀ backpropagation", "4 update"):
        assert phase in shown.out


def test_the_network_says_what_predict_says(chainrule, net_run: Path) -> None:
    ran = chainrule("predict", net_run, "iris", "--json")
    predicted = json.loads(ran.out)["predictions"]
    for row in explained(chainrule, net_run, "iris", "--rows", "48:52")["rows"]:
        said = predicted[row["row"]]
        assert row["guess"] == said["prediction"]
        for label, share in row["likely"]:
            assert share == pytest.approx(said[f"probability_{label}"])


def test_a_path_adds_up_to_the_gradient_and_names_inputs_rows_and_classes(chainrule, net_run: Path) -> None:
    found = explained(chainrule, net_run, "iris", "--rows", "50:56", "--path", "0.weight", "2,1")
    gradient = by_name(found["step"])["0.weight"][2, 1]
    assert found["answers"]["path"]["gradient"] == pytest.approx(gradient, rel=1e-4)
    shown = chainrule("explain", net_run, "iris", "--rows", "50:56", "--path", "0.weight", "2,1").out
    sums = re.search(r"add up to (\S+); backpropagation: (\S+)\.\n", shown)
    assert sums is not None
    assert sums[1] == sums[2]
    assert re.search(r"row 5\d ", shown)
    alone = by_name(explained(chainrule, net_run, "iris", "--row", 52)["step"])["0.weight"][2]
    place = f"2,{np.abs(alone).argmax()}"
    one = chainrule("explain", net_run, "iris", "--row", "52", "--path", "0.weight", place).out
    assert '"petal_length_cm"' in one
    assert "1 ▶ forward" not in one, "a question is answered alone"


def test_examples_are_rows_of_the_data_and_add_up(chainrule, net_run: Path) -> None:
    arguments = (net_run, "iris", "--row", 7, "--row", 70, "--row", 140)
    found = explained(chainrule, *arguments, "--examples", "2.bias", "1")
    answer = found["answers"]["examples"]
    assert sum(answer["contributions"]) == pytest.approx(answer["gradient"])
    shown = chainrule("explain", *arguments, "--examples", "2.bias", "1").out
    assert re.search(r"push it up\n +row 70 ", shown)


def test_gradient_and_sensitivity_are_those_of_the_step(chainrule, net_run: Path) -> None:
    found = explained(chainrule, net_run, "iris", "--row", 9, "--gradient-of", "2.bias", "--sensitivity")
    np.testing.assert_allclose(found["answers"]["gradient"]["values"], by_name(found["step"])["2.bias"])
    passed = found["step"]["backpropagation"][-1]["passed"][0]
    np.testing.assert_allclose(np.ravel(found["answers"]["sensitivity"]), np.ravel(passed["values"]))
    shown = chainrule("explain", net_run, "iris", "--row", 9, "--sensitivity").out
    strongest = builtin.load("iris")[2][int(np.abs(found["answers"]["sensitivity"]).argmax())]
    assert shown.split("most\n")[1].split()[0] == strongest


def test_numeric_gradients_agree(chainrule, net_run: Path) -> None:
    checks = explained(chainrule, net_run, "iris", "--row", 1, "--check")["step"]["checks"]
    assert checks
    assert all(check["agrees"] for check in checks)


def test_the_optimizer_is_that_of_the_run_unless_another_is_named(chainrule, iris_run: Path, net_run: Path) -> None:
    own = explained(chainrule, iris_run, "iris")["step"]["update"]
    assert own["optimizer"].startswith("AdamW(")
    assert not own["assumed"]
    assert explained(chainrule, net_run, "iris")["step"]["update"]["assumed"]
    named = explained(chainrule, iris_run, "iris", "--optimizer", "sgd", "--learning-rate", "0.25")["step"]["update"]
    assert named["optimizer"].startswith("SGD(learning_rate=0.25")


def test_a_page_is_written_beside_the_answer(chainrule, net_run: Path, tmp_path: Path) -> None:
    ran = chainrule("explain", net_run, "iris", "--row", 2, "--html", "a.html", "--path", "0.weight", "0,0")
    assert ran.status == 0
    assert "Why ∂loss" in ran.out, "the page is written also, not instead, as diagnose does"
    assert "written to a.html" in ran.err
    page = (tmp_path / "a.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<script" not in page
    assert "http" not in page
    for words in ("line 4 of iris.csv", "sepal_length_cm", "setosa", "Why ∂loss"):
        assert words in page


def test_small_networks_become_formulas(chainrule, tmp_path: Path) -> None:
    train = ["train", "iris", "--hidden", "2", "--epochs", "1", "--quiet", "--output", "small"]
    assert chainrule(*train).status == 0
    assert chainrule("explain", "small", "iris", "--latex", "a.tex").status == 0
    assert r"\begin{bmatrix}" in (tmp_path / "a.tex").read_text()


def test_images_are_explained_by_their_pixels(chainrule, shapes: Path, tmp_path: Path) -> None:
    train = ["train", shapes, "--hidden", "4", "--epochs", "1", "--quiet", "--output", "run"]
    assert chainrule(*train).status == 0
    found = explained(chainrule, "run", shapes, "--row", -1, "--sensitivity")
    (row,) = found["rows"]
    assert row["answer"] == "right"
    assert row["where"].endswith("right/29.png")
    assert found["inputs"][9] == "pixel 1, 1"
    assert chainrule("explain", "run", shapes, "--sensitivity", "--html", "a.html").status == 0
    assert "data:image/png;base64," in (tmp_path / "a.html").read_text()


BAD = {
    "a row beyond the end": (("--row", "150"), ("no row 150", "0 to 149")),
    "a row that is no number": (("--row", "first"), ("--row", "integer")),
    "a span that is none": (("--rows", "eight"), ("--rows", "0:8", '"eight"')),
    "a span without rows": (("--rows", "8:8"), ("--rows 8:8", "150")),
    "a weight that is not there": (("--path", "0.wait", "0,0"), ('"0.wait"', 'did you mean "0.weight"')),
    "a place that is not there": (("--path", "0.weight", "4,0"), ("(4, 0)", "0 to 3")),
    "a place with an axis too few": (("--examples", "0.weight", "1"), ("0 to 3",)),
    "a place that is none": (("--examples", "0.weight", "a,b"), ("--examples", '"a,b"')),
    "a path without a place": (("--path", "0.weight"), ("--path", "2 arguments")),
    "a layer that is not there": (("--gradient-of", "9"), ('"9"', "Known: 0.weight")),
    "an optimizer that is not known": (("--optimizer", "adm"), ('"adm"', '"adam"')),
    "a rate that is none": (("--learning-rate", "nan"), ("learning_rate", "nan")),
    "a span beyond the end": (("--rows", "0:1000"), ("0:1000", "iris has 150", "0 to 149")),
    "a span before the beginning": (("--rows", "-151:3"), ("-151:3", "iris has 150")),
    "a row twice": (("--row", "1", "--row", "1"), ("row 1", "twice")),
    "a row that the span has too": (("--row", "-149", "--rows", "0:3"), ("row 1", "twice")),
    "a network too large for formulas": (
        ("--latex", "a.tex"),
        ("small networks", "0.weight", "(4, 64)", "64 elements"),
    ),
    "a file that cannot be written": (("--html", "nowhere/a.html"), ("nowhere",)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_ends_in_one_sentence(name: str, chainrule, iris_run: Path) -> None:
    flags, words = BAD[name]
    ran = chainrule("explain", iris_run, "iris", *flags)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for word in words:
        assert word in ran.err


HEAD = "sepal_length_cm,sepal_width_cm,petal_length_cm,petal_width_cm,species\n"
DATA = {
    "no column of answers": (HEAD.replace(",species", "") + "5,3,1,0.2\n", "0", ("species",)),
    "no answer in this row": (HEAD + "5,3,1,0.2,setosa\n5,3,1,0.2,\n", "1", ("line 3", '"species" is empty')),
    "a class that is not known": (HEAD + "5,3,1,0.2,tulip\n", "0", ("line 2", '"tulip"')),
    "a word for a number": (HEAD + "5,3,wide,0.2,setosa\n5,3,1,0.2,setosa\n", "0", ("line 2", '"wide"')),
}


@pytest.mark.parametrize("name", DATA)
def test_rows_that_do_not_fit_the_model(name: str, chainrule, iris_run: Path, tmp_path: Path) -> None:
    text, row, words = DATA[name]
    (tmp_path / "new.csv").write_text(text)
    ran = chainrule("explain", iris_run, "new.csv", "--row", row)
    assert (ran.status, ran.out) == (2, "")
    for word in words:
        assert word in ran.err
