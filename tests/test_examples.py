"""Every example runs, says what it should, and learns what it promises."""

import importlib.util
import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import chainrule as cr

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_xor(capsys) -> None:
    assert example("xor").main() < 0.01
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-4:]]
    for a, b, truth, answer in rows:
        assert int(truth) == int(a) ^ int(b)
        assert abs(float(answer) - int(truth)) < 0.01


def test_worked_example(capsys) -> None:
    """The digits that the article gives; what the script prints is what it computed."""
    results = example("worked_example").main()
    printed = capsys.readouterr().out
    published = {
        "first error": "0.298371109",
        "w5": "0.35891648",
        "w1": "0.149780716",
        "last error": "0.0000351085",
    }
    for name, digits in published.items():
        places = len(digits.partition(".")[2])
        assert f"{results[name]:.{places}f}" == digits, name
        assert digits in printed, name
    for digits in ("0.593269992", "0.596884378", "0.75136507", "0.772928465", "0.082167041", "0.000438568"):
        assert digits in printed


def test_digits(capsys) -> None:
    assert example("digits").main(epochs=6) > 0.9
    printed = capsys.readouterr().out
    assert "Dense(64, 128)" in printed
    assert "accuracy on 359 images never seen" in printed


def test_own_layer(capsys) -> None:
    assert example("own_layer").main() < 1e-3
    assert "agree with numeric differences" in capsys.readouterr().out


def test_artillery(capsys, tmp_path) -> None:
    artillery = example("artillery")
    assert artillery.main() < 0.1
    printed = capsys.readouterr().out
    assert "hit within 0.1 m with shot" in printed
    assert printed.count("●") > 30, "the flight is drawn"

    file = tmp_path / "flights.svg"
    assert artillery.main(str(file)) < 0.1
    picture = ET.parse(file).getroot()
    flights = [element for element in picture if element.tag.endswith("polyline")]
    ends = [float(flight.get("points").split()[-1].split(",")[0]) for flight in flights]
    assert len(flights) > 2
    assert ends[-1] == pytest.approx(artillery.TARGET, abs=0.2)
    assert all(abs(after - 1800) < abs(before - 1800) for before, after in pairwise(ends))


def test_the_flight_of_the_gun_agrees_with_the_flight_in_plain_numbers() -> None:
    """The same steps in Python floats, and the derivative by a numeric difference."""
    artillery = example("artillery")

    def lands(elevation: float) -> float:
        x, height, vx, vy = 0.0, 0.0, 150 * np.cos(elevation), 150 * np.sin(elevation)
        step = artillery.TIME_STEP
        while True:
            through_air = np.hypot(vx - artillery.WIND, vy)
            drag = artillery.DRAG * through_air
            vx, vy = vx - step * drag * (vx - artillery.WIND), vy - step * (drag * vy + artillery.GRAVITY)
            before_x, before_height, x, height = x, height, x + step * vx, height + step * vy
            if height < 0:
                return before_x + before_height / (before_height - height) * (x - before_x)

    angle = cr.asarray(0.5, dtype=cr.float64)
    landed, _ = artillery.flight(angle, cr.asarray(150.0, dtype=cr.float64))
    (slope,) = cr.backpropagate(landed, wrt=[angle])
    assert landed.item() == pytest.approx(lands(0.5), rel=1e-12)
    assert slope.item() == pytest.approx((lands(0.5 + 1e-6) - lands(0.5 - 1e-6)) / 2e-6, rel=1e-5)
