"""A layer of your own: fields, __init__, __call__. Everything else (names, training, saving, gradients) follows.

The layer learns where to put the centres of Gaussian bumps; two of them with a Dense layer fit a curve.
Run it: python examples/own_layer.py
"""

import numpy as np

import chainrule as cr
from chainrule import nn


class Bumps(nn.Module):
    """exp(-((x - centre) / width)²) for each of `count` bumps: (batch, 1) -> (batch, count)."""

    def __init__(self, count: int) -> None:
        self.centre = cr.Parameter(np.linspace(-2, 2, count, dtype=np.float32))
        self.width = cr.Parameter(np.ones(count, np.float32))

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        return cr.exp(-(((x - self.centre) / self.width) ** 2))


def main() -> float:
    x = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
    y = np.sin(2 * x) * np.exp(-(x**2) / 4)
    cr.random.seed(0)
    net = nn.Sequential(Bumps(6), nn.Dense(6, 1))
    print(net)

    # The gradient of a layer of your own is checked like any other: against numeric differences.
    cr.check_gradients(lambda values: Bumps(6)(values), x[:5])
    print("\nthe gradient of Bumps agrees with numeric differences")

    history = cr.fit(
        net, (x, y), loss="mean_squared_error", optimizer=cr.optim.Adam(0.02), epochs=150, batch_size=50, progress=False
    )
    print(f"mean squared error: {history['loss'][0]:.4f} before, {history['loss'][-1]:.6f} after {len(history)} epochs")
    print("centres:", np.round(net[0].centre.value, 2))
    return history["loss"][-1]


if __name__ == "__main__":
    main()
