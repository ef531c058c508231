"""Handwritten digits, 8×8 pixels: 1,797 real images, three layers, about 97 in 100 right on images never seen.

Run it: python examples/digits.py
"""

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import builtin
from chainrule.data.batches import split


def main(epochs: int = 40) -> float:
    X, y, _ = builtin.load("digits")
    X = X / 16  # pixels from 0 to 1
    learned, held_out = split(len(X), 0.2, seed=0, labels=y)

    cr.random.seed(0)
    net = nn.Sequential(nn.Dense(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Dense(128, 10))
    print(net)
    cr.fit(
        net,
        (X[learned], y[learned]),
        loss="cross_entropy",
        optimizer=cr.optim.AdamW(3e-3, weight_decay=1e-3),
        epochs=epochs,
        batch_size=64,
        validation=0.1,
        metrics=["accuracy"],
        patience=10,
    )
    result = cr.evaluate(net, (X[held_out], y[held_out]), metrics=["accuracy"])
    print(f"\naccuracy on {len(held_out)} images never seen: {result['accuracy']:.3f}")

    answers = cr.predict(net, X[held_out]).argmax(axis=1)
    wrong = np.flatnonzero(answers != y[held_out])[:3]
    for i in wrong:
        print(f"\nthis {y[held_out][i]} was taken for a {answers[i]}:")
        for row in X[held_out][i].reshape(8, 8):
            print("  " + "".join(" ░▒▓█"[round(4 * float(v))] * 2 for v in row))
    return result["accuracy"]


if __name__ == "__main__":
    main()
