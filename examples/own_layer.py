"""A layer of your own: fields, __init__, __call__. Everything else (names, training, saving, gradients) follows.

The layer learns where to put the centres of Gaussian bumps and how wide they are; six of them and a Dense layer fit
a curve.
Run it: python examples/own_layer.py
"""

import numpy as np

import chainrule as cr
from chainrule import nn


def bumps(x: cr.Tensor, centre: cr.Tensor, width: cr.Tensor) -> cr.Tensor:
    """exp(-((x - centre) / width)²)."""
    return cr.exp(-(((x - centre) / width) ** 2))


class Bumps(nn.Module):
    """The function `bumps` with `count` centres and widths that are learned: (batch, 1) -> (batch, count)."""

    def __init__(self, count: int) -> None:
        self.centre = cr.Parameter(np.linspace(-2, 2, count, dtype=np.float32))
        self.width = cr.Parameter(np.ones(count, np.float32))

    def __call__(self, x: cr.Tensor) -> cr.Tensor:
        return bumps(x, self.centre, self.width)


def main() -> float:
    x = np.linspace(-3, 3, 200, dtype=np.float32)[:, None]
    y = np.sin(2 * x) * np.exp(-(x**2) / 4)
    cr.random.seed(0)
    net = nn.Sequential(Bumps(6), nn.Dense(6, 1))
    print(net)

    # The gradients of a layer of your own are checked like any other: against numeric differences, twice over.
    cr.check_gradients(bumps, x[:5], net[0].centre, net[0].width)
    print("\nfirst and second gradients of the layer agree with numeric differences")

    history = cr.fit(
        net, (x, y), loss="mean_squared_error", optimizer=cr.optim.Adam(0.02), epochs=150, batch_size=50, progress=False
    )
    print(f"mean squared error: {history['loss'][0]:.4f} before, {history['loss'][-1]:.6f} after {len(history)} epochs")
    print("centres:", np.round(net[0].centre.value, 2))
    return history["loss"][-1]


if __name__ == "__main__":
    main()
