"""XOR: the smallest task that one layer cannot learn, and two can.

Run it: python examples/xor.py
"""

import numpy as np

import chainrule as cr
from chainrule import nn


def main() -> float:
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)
    cr.random.seed(1)
    net = nn.Sequential(nn.Dense(2, 8), nn.Tanh(), nn.Dense(8, 1))
    optimizer = cr.optim.Adam(0.05)

    print("step     loss")
    for step in range(201):
        guess = net(X)  # forward: what does the network say?
        loss = cr.losses.binary_cross_entropy(guess, y)  # loss: how wrong is it?
        gradients = cr.backpropagate(loss)  # backpropagation: which way does each parameter move the error?
        optimizer.update(gradients)  # update: a small step towards less
        if step % 40 == 0:
            print(f"{step:4}   {loss.item():.4f}")

    print("\n  a  b   a xor b   network")
    for (a, b), truth, answer in zip(X, y[:, 0], cr.sigmoid(net(X))[:, 0].tolist(), strict=True):
        print(f"  {a:.0f}  {b:.0f}      {truth:.0f}       {answer:.3f}")
    return loss.item()


if __name__ == "__main__":
    main()
