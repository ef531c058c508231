"""Arrays to try functions on: every data type, in plain and awkward shapes and layouts."""

from collections.abc import Iterator

import numpy as np

DTYPES = ["bool", "int32", "int64", "float32", "float64"]
FLOATS = ["float32", "float64"]
INTEGERS = ["int32", "int64"]
NUMBERS = [*INTEGERS, *FLOATS]
SHAPES = [(), (0,), (5,), (1, 1), (2, 0, 3), (3, 1, 4)]

# Pairs of shapes that broadcast: equal, scalar, stretched on one side, on both, and empty.
PAIRS = [((3, 4), (3, 4)), ((), (2, 3)), ((4,), (3, 4)), ((3, 1), (1, 4)), ((2, 1, 3), (4, 1)), ((0, 3), (1, 3))]

SPECIALS = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.5, -3.5, np.inf, -np.inf, np.nan]


def draw(shape: tuple[int, ...], dtype: str, domain: str = "any", seed: int = 0) -> np.ndarray:
    """Random numbers of a data type: "any", "positive", "unit" (within ±1), "above one", "small" (±1 for integers)."""
    rng = np.random.default_rng((seed, *shape))
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.5
    low, high = {"any": (-9, 10), "positive": (1, 10), "unit": (-1, 2), "above one": (1, 10), "small": (0, 4)}[domain]
    if kind == "i":
        return rng.integers(low, high, shape).astype(dtype)
    ranges = {"any": (-4, 4), "positive": (0.1, 4), "unit": (-0.95, 0.95), "above one": (1.05, 5), "small": (-2, 2)}
    return rng.uniform(*ranges[domain], shape).astype(dtype)


def arrays(dtype: str, domain: str = "any", least_axes: int = 0) -> Iterator[np.ndarray]:
    """Arrays of every shape, then some that do not lie in a row: transposed, with steps, backwards, stretched."""
    for shape in SHAPES:
        if len(shape) >= least_axes:
            yield draw(shape, dtype, domain)
    whole = draw((4, 6), dtype, domain)
    yield from (whole.T, whole[::2, 1::3], whole[::-1, ::-1], np.broadcast_to(whole[0], (3, 6)))


def same(ours: object, expected: object, *, ulp: int = 0) -> None:
    """Assert equal shape, data type and values (NaN equals NaN); `ulp` allows for last digits."""
    found, wanted = np.asarray(ours), np.asarray(expected)
    assert found.dtype == wanted.dtype, f"{found.dtype} instead of {wanted.dtype}"
    assert found.shape == wanted.shape, f"{found.shape} instead of {wanted.shape}"
    if ulp and wanted.dtype.kind == "f":
        step = float(np.finfo(wanted.dtype).eps)
        tiny = float(np.finfo(wanted.dtype).smallest_normal)
        np.testing.assert_allclose(found, wanted, rtol=ulp * step, atol=tiny)
    else:
        np.testing.assert_array_equal(found, wanted)
