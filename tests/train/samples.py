"""A small network, and what tests of training do with arrays."""

import numpy as np

from chainrule import nn

Data = tuple[np.ndarray, np.ndarray]


def classifier() -> nn.Sequential:
    return nn.Sequential(nn.Dense(4, 8), nn.Tanh(), nn.Dense(8, 3))


def bits(net: nn.Module) -> bytes:
    return b"".join(array.tobytes() for array in net.arrays().values())


def mended(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array
